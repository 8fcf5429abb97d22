/**
 * What a comparison cost, how it was set up, and what does not follow from it.
 *
 * @module
 */

import { type Comparison, scopes } from "./comparison.ts";
import type { ComparisonView } from "./comparison_view.ts";
import { clip, type Html, markup } from "./html.ts";
import {
  compactJson,
  count,
  duration,
  fixed,
  flatten,
  isNumber,
  mean,
  NONE,
  percent,
  short,
} from "./format.ts";
import { wide } from "./page.ts";

/** What the arms start from, seed by seed; nothing where that was not judged. */
export function bases({ gates = [] }: Comparison): Html | null {
  if (gates.length === 0) return null;
  const table = markup`
    <table>
      <caption>Before any training, over the domains trained on that need tools. Wanted: valid calls above 90 %, pass@1 from 0.5 to 30 %, and answers that are wrong, with a call of some right tool, 10 times as frequent as right ones. A dash was not kept, and is not judged.</caption>
      <thead>
        <tr>
          <th scope="col">seed</th>
          <th scope="col" class="number">valid calls (%)</th>
          <th scope="col" class="number">pass@1 (%)</th>
          <th scope="col" class="number">partly right (%)</th>
          <th scope="col" class="number">partly / wholly right</th>
          <th scope="col">as wanted</th>
        </tr>
      </thead>
      <tbody>
    ${
    gates.map(({ seed, validity, pass1, partial, passed }) =>
      markup`
        <tr>
          <th scope="row">${seed}</th>
          <td class="number">${percent(validity)}</td>
          <td class="number">${percent(pass1)}</td>
          <td class="number">${percent(partial)}</td>
          <td class="number">${fixed(partial / pass1, 1)}</td>
          <td class="${passed ? "good" : "bad"}">${passed ? "\u2713 yes" : "\u2717 no"}</td>
        </tr>
      `
    )
  }</tbody>
    </table>
  `;
  return markup`<h3>The base</h3>
${wide("What the arms start from", table)}`;
}

/** What each arm took, as means over its runs. */
export function costs(view: ComparisonView): Html {
  const rows = view.comparison.arms.map(({ name }) => {
    const runs = view.runsOf(name);
    const of = (value: (run: typeof runs[number]) => number) => mean(runs.map(value));
    return markup`
      <tr>
        <th scope="row">${name}</th>
        <td class="number">${runs.length}</td>
        <td class="number">${short(of((run) => run.steps))}</td>
        <td class="number">${short(of((run) => run.prompts))}</td>
        <td class="number">${short(of((run) => run.optimizerTokens))}</td>
        <td class="number">${duration(of((run) => run.seconds))}</td>
      </tr>
    `;
  });
  return wide(
    "What the arms took",
    markup`
      <table>
        <caption>What each arm took, mean per run, up to the model that is measured; the time is that of all runs that imitation chooses from. Tokens are counted as often as the optimizer learns from them. Arms with equal prompts are not equal in tokens: imitation learns from one sequence per prompt, reinforcement from a group.</caption>
        <thead>
          <tr>
            <th scope="col">arm</th>
            <th scope="col" class="number">runs</th>
            <th scope="col" class="number">steps</th>
            <th scope="col" class="number">prompts seen</th>
            <th scope="col" class="number">optimizer tokens</th>
            <th scope="col" class="number">time</th>
          </tr>
        </thead>
        <tbody>
      ${rows}</tbody>
      </table>
    `,
  );
}

/** The arms' descriptions, the settings that differ, and those that all share. */
export function settings({ arms, regime }: Comparison): Html {
  const flat = arms.map(({ settings }) => new Map(flatten(settings)));
  const names = [...new Set(flat.flatMap((one) => [...one.keys()]))].sort();
  const text = (one: ReadonlyMap<string, unknown>, name: string) =>
    one.has(name) ? clip(compactJson(one.get(name)), 300) : NONE;
  const isShared = (name: string) => new Set(flat.map((one) => text(one, name))).size === 1;
  const shared = names.filter((name) => isShared(name));
  const differing = names.filter((name) => !isShared(name));
  const table = markup`
    <table>
      <caption>Settings that differ between arms; a dash is the default.</caption>
      <thead>
        <tr><th scope="col">setting</th>${
    arms.map(({ name }) => markup`<th scope="col">${name}</th>`)
  }</tr>
      </thead>
      <tbody>
    ${
    differing.map((name) =>
      markup`
        <tr><th scope="row"><code>${name}</code></th>${
        flat.map((one) => markup`<td>${text(one, name)}</td>`)
      }</tr>
      `
    )
  }</tbody>
    </table>
  `;
  return markup`<h3>Regime</h3>
<p>${clip(regime, 2000)}</p>
<h3>Arms</h3>
<dl>${
    arms.map(({ name, description }) =>
      markup`
        <dt><b>${name}</b></dt>
        <dd>${clip(description, 2000)}</dd>
      `
    )
  }</dl>
${differing.length > 0 ? wide("Settings that differ between arms", table) : null}
${
    shared.length > 0
      ? markup`
        <details>
          <summary>${count(shared.length, "setting")} that all arms share</summary>
          <pre>${shared.map((name) => `${name} = ${text(flat[0]!, name)}\n`)}</pre>
        </details>
      `
      : null
  }`;
}

/** What is needed to get the same numbers again. */
export function reproduction({ seeds, adapter, regime, command }: Comparison): Html {
  const seedsText = clip(seeds.join(", "), 200);
  return markup`
    <ol>
      <li>${
    command === undefined
      ? markup`Take the regime &ldquo;${
        clip(regime, 2000)
      }&rdquo; with the seeds ${seedsText} and the settings above.`
      : markup`With the seeds ${seedsText}: <pre>${
        clip(command, 2000)
      }</pre> Arms from files need these files; interrupted, the same command goes on.`
  }</li>
      <li>Train every arm of a seed from the same base. On the same adapter (${
    clip(
      adapter,
      200,
    )
  }) the same seed gives the same bits; on another adapter sums are taken in another order, and single answers differ.</li>
      <li><code>comparison.json</code> beside this page has every sampled outcome; <code>./mentor report FOLDER</code> makes this page and <code>comparison.csv</code> from it again. The CSV has one row per arm, seed, domain and split.</li>
    </ol>
  `;
}

/** The limits of the evidence, as far as the data tell them. */
export function notShown(view: ComparisonView): Html {
  const { seeds, arms, differences, hypotheses, failed = [] } = view.comparison;
  const missing = view.missing();
  const open = hypotheses.filter(({ verdict }) => verdict === "undecided");
  const bounded = differences.filter(({ pass1 }) => isNumber(pass1.low)).length;
  const unmeasured = view.scopes.filter((scope) =>
    !view.arms.some((arm) => view.summary(arm, scope) !== undefined)
  );
  const unbounded = view.arms.some((arm) =>
    scopes.some((scope) => {
      const found = view.summary(arm, scope)?.pass1;
      return found !== undefined && !(isNumber(found.low) && isNumber(found.high));
    })
  );
  const items = [
    `Other models, sizes, tasks and teachers: all numbers are of one regime.`,
    seeds.length < 5
      ? `Small differences: with ${count(seeds.length, "seed")} an interval over seeds is wide.`
      : null,
    unbounded ? "Uncertainty where there is no interval: one seed has none." : null,
    bounded > 1
      ? `That every single difference holds: ${bounded} are shown, each with its own 95 % t interval and no correction for their number. Where differences vary from seed to seed as a normal distribution does, such an interval misses one time in 20, so ${
        fixed(bounded / 20, 1)
      } of these would be expected to.`
      : null,
    differences.length > 0
      ? "Other test tasks: t intervals over seeds are about the ones at hand."
      : null,
    open.length > 0
      ? `Either side of ${open.map(({ id }) => id).join(", ")}: the interval holds both.`
      : null,
    missing.length > 0
      ? `${count(missing.length, "run")} that should be there: ${
        clip(missing.map((one) => nameOf(one, failed)).join(", "), 1000)
      }.`
      : null,
    unmeasured.length > 0 ? `Anything about ${unmeasured.join(", ")}: it was not measured.` : null,
    "Rewards: each arm is rewarded by another rule, so that only the verifier's judgement is compared.",
    arms.length > 0
      ? "The best that an arm could do: it may do better with other settings than those listed."
      : null,
  ];
  return markup`<ul>${items.map((item) => item === null ? null : markup`<li>${item}</li>`)}</ul>`;
}

function nameOf(
  { arm, seed }: { arm: string; seed: number },
  failed: NonNullable<Comparison["failed"]>,
): string {
  const why = failed.find((one) => one.arm === arm && one.seed === seed)?.failed;
  return `${arm} with seed ${seed}${why === undefined ? "" : ` (${clip(why, 300)})`}`;
}
