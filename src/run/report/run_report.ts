/**
 * The page of one training run.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";
import { splits } from "../../tasks/task.ts";
import { resolveConfig } from "../config/mod.ts";
import type { DomainScore, EvalEvent, RunEvent } from "../events.ts";
import { collectRunReport, type RunReport } from "./collect.ts";
import {
  compactJson,
  count,
  duration,
  fixed,
  flatten,
  isNumber,
  type Maybe,
  mean,
  moment,
  NONE,
  percent,
  signed,
  splitTitle,
} from "./format.ts";
import { RunHistory } from "./history.ts";
import { clip, type Html, markup, within } from "./html.ts";
import { intervalTable, type Mark } from "./interval_table.ts";
import { renderPage, wide } from "./page.ts";
import { rollouts, type RolloutViews, samples } from "./rollouts.ts";
import { type RunCurves, runCurves } from "./run_curves.ts";

export { collectRunReport, type RunReport };

/**
 * The report of a run: one HTML file below 2 MB that needs no other, whatever the run.
 *
 * The same run gives the same text.
 */
export function renderRunReport(run: RunReport): string {
  const curves = runCurves(new RunHistory(run.events));
  const views = rollouts(run.rollouts);
  return renderPage({
    title: `Run ${clip(run.name, 100)}`,
    lead: lead(run),
    charts: curves.charts,
    tokens: views.tokens,
    sections: [
      { id: "warnings", title: "Warnings", body: warnings(run.events) },
      { id: "evaluation", title: "Before and after", body: evaluation(run.events) },
      { id: "curves", title: "Curves", body: curves.body },
      { id: "samples", title: "Samples before and after", body: samples(run.samples) },
      { id: "rollouts", title: "Rollouts token by token", body: views.body },
      { id: "settings", title: "Settings", body: settings(run) },
      { id: "not-shown", title: "What was not shown", body: notShown(run, curves, views) },
    ],
  });
}

function lead(run: RunReport): Html {
  const { events } = run;
  const start = events.find((event) => event.type === "run-start");
  const end = events.findLast((event) => event.type === "run-end");
  const done = events.findLast((event) => event.type === "step")?.step ?? 0;
  const message = end?.message === undefined
    ? null
    : markup`<p class="bad">${clip(end.message, 2000)}</p>`;
  return markup`${message}${
    factList([
      ["Status", end ? end.status : "running, or interrupted"],
      ["Steps", start ? `${done} of ${start.steps}` : done],
      ...plan(run),
      ["Started", start ? moment(start.time) : NONE],
      ["Time taken", duration(end?.timing?.seconds)],
    ])
  }`;
}

/** Something to know about a run, by its name. */
export type Fact = readonly [name: string, value: unknown];

/** Facts beside each other. */
export function factList(facts: readonly Fact[]): Html {
  return markup`<dl class="facts">${
    facts.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)
  }</dl>
`;
}

/** What a run is about: what it learns by, from where, and on what. */
export function plan({ config, events }: Pick<RunReport, "config" | "events">): Fact[] {
  const start = events.find((event) => event.type === "run-start");
  const own = ownParts(events);
  const setting = (name: string) =>
    Object.hasOwn(config, name) ? clip(compactJson(config[name]), 200) : NONE;
  return [
    ["Method", start?.method ?? setting("method")],
    ["Reward", own.includes("reward") ? "its own, given in code" : setting("reward")],
    ...own.includes("potential")
      ? [["Credit", "by turns, with a potential of its own"] as const]
      : [],
    ["From", setting("from")],
    ["Seed", start?.seed ?? setting("seed")],
    ["Adapter", clip(start?.adapter ?? NONE, 200)],
  ];
}

/** What the run was given in code, whatever its config says. */
function ownParts(events: readonly RunEvent[]): string[] {
  const start = events.find((event) => event.type === "run-start");
  return Array.isArray(start?.own)
    ? start.own.slice(0, 4).map((part) => clip(String(part), 40))
    : [];
}

/** What was amiss, if there is anything. */
export function warnings(events: readonly RunEvent[]): Html {
  const found = events.filter((event) => event.type === "warning");
  if (found.length === 0) return markup`<p>None.</p>`;
  const items = within(
    found.map(({ step, message }) =>
      markup`<li>Step ${step}: ${clip(String(message), 500)}</li>
`
    ),
    60_000,
  );
  const more = found.length - items.length;
  return markup`<ul class="warnings">${items}${
    more > 0 ? markup`<li>${count(more, "more warning")} in events.jsonl</li>` : null
  }</ul>`;
}

/** Most domains of an evaluation that are shown. */
const DOMAINS = 120;

interface DomainPair {
  readonly name: string;
  readonly split: string;
  readonly before: DomainScore | undefined;
  readonly after: DomainScore | undefined;
}

/** pass@1 with intervals and all other measures, before and after. */
export function evaluation(events: readonly RunEvent[]): Html {
  const all = events.filter((event) => event.type === "eval");
  const before = all.find(({ phase }) => phase === "before");
  const after = all.findLast(({ phase }) => phase !== "before");
  if (!before && !after) return markup`<p>Nothing was evaluated.</p>`;
  const pairs = pairUp(before, after);
  const when = !after
    ? "there is no later evaluation yet"
    : after.phase === "after"
    ? `after: ${count(after.step, "step")}`
    : `after: ${count(after.step, "step")}, the run is not at its end`;
  const shown = pairs.slice(0, DOMAINS);
  return markup`${
    intervalTable({
      caption:
        `pass@1 in evaluation: share of sampled answers that the task's verifier accepts, with 95 % intervals over prompts; ${when}.`,
      ...{ rowTitle: "split, domain", axis: "pass@1 (%)", series: ["after", "before"] },
      include: [0],
      show: (value) => fixed(value, 1),
      rows: shown.map(({ name, split, before, after }) => ({
        label: `${splitTitle(split)}, ${clip(name, 60)}`,
        marks: [...markOf(after, 0), ...markOf(before, 1)],
      })),
    })
  }
${wide("All measures before and after", measures([...shown, ...means(pairs)]))}${
    pairs.length > DOMAINS
      ? markup`<p class="note">${count(pairs.length - DOMAINS, "more domain")} in events.jsonl.</p>`
      : null
  }`;
}

/** The rows of two evaluations that belong together; of one alone if there is but one. */
function pairUp(before: EvalEvent | undefined, after: EvalEvent | undefined): DomainPair[] {
  const same = (a: DomainScore) => (b: DomainScore) => a.name === b.name && a.split === b.split;
  const order: readonly string[] = splits;
  const rows = (before ?? after)!.domains.toSorted((a, b) =>
    order.indexOf(a.split) - order.indexOf(b.split)
  );
  return rows.map((row) => ({
    ...{ name: String(row.name), split: String(row.split) },
    before: before?.domains.find(same(row)),
    after: after?.domains.find(same(row)),
  }));
}

function markOf(score: DomainScore | undefined, series: number): Mark[] {
  const interval = score === undefined ? null : intervalOf(score);
  return interval === null ? [] : [{ series, interval }];
}

/** pass@1 in a domain, in %, with its interval; null if it is not there. */
export function intervalOf(score: DomainScore): Interval | null {
  if (!isNumber(score["pass1"])) return null;
  const [low, high] = Array.isArray(score["ci95"]) ? score["ci95"] : [NaN, NaN];
  return { mean: 100 * score["pass1"], low: 100 * low, high: 100 * high };
}

const columns: readonly [name: string, title: string, show: (value: Maybe) => string][] = [
  ["pass1", "pass@1 %", percent],
  ["greedy", "greedy %", percent],
  ["validity", "valid calls %", percent],
  ["calls", "calls per task", (value) => fixed(value)],
  ["toolF1", "tool F1", (value) => fixed(value)],
  ["similarity", "like the teacher", (value) => fixed(value)],
];

function measures(rows: readonly DomainPair[]): Html {
  return markup`<table>
<caption>Before &rarr; after. Valid: calls that parsed and ran; tool F1: agreement of the tools called with the teacher's; like the teacher: 1 &minus; JSD of the tools called, 1 is the teacher's own mix. Means are over domains.</caption>
<thead><tr><th scope="col">split</th><th scope="col">domain</th>${
    columns.map(([, title]) => markup`<th scope="col" class="number">${title}</th>`)
  }</tr></thead>
<tbody>
${
    rows.map(({ name, split, before, after }) =>
      markup`<tr><td class="name">${splitTitle(split)}</td><th scope="row">${clip(name, 60)}</th>${
        columns.map(([key, , show]) =>
          markup`<td class="number">${show(before?.[key] as Maybe)} &rarr; ${
            show(after?.[key] as Maybe)
          }</td>`
        )
      }</tr>
`
    )
  }</tbody>
</table>`;
}

/** A row per split: the means over its domains. */
function means(pairs: readonly DomainPair[]): DomainPair[] {
  return [...Map.groupBy(pairs, ({ split }) => split)].map(([split, members]) => {
    const meanOf = (when: "before" | "after") => {
      const values = columns.map((
        [key],
      ) => [key, mean(members.map((m) => m[when]?.[key] as Maybe))]);
      return { name: "mean", split, ...Object.fromEntries(values) } as DomainScore;
    };
    const [before, after] = [meanOf("before"), meanOf("after")];
    const change = 100 * ((after["pass1"] as number) - (before["pass1"] as number));
    const name = isNumber(change) ? `mean (${signed(change)} points)` : "mean";
    return { name, split, before, after };
  });
}

/** Settings other than the defaults, all of them, and how to make the run again. */
export function settings({ config, events }: Pick<RunReport, "config" | "events">): Html {
  const own = ownParts(events);
  const defaults = new Map(flatten(resolveConfig()));
  const text = (value: unknown) => clip(compactJson(value), 300);
  const rows = flatten(config).slice(0, 200);
  const changed = rows.filter(([name, value]) => text(value) !== text(defaults.get(name)));
  const table = markup`<table>
<caption>Settings other than the defaults.</caption>
<thead><tr><th scope="col">setting</th><th scope="col">value</th><th scope="col">default</th></tr></thead>
<tbody>
${
    changed.map(([name, value]) =>
      markup`<tr><th scope="row"><code>${clip(name, 80)}</code></th><td>${text(value)}</td><td>${
        text(defaults.get(name))
      }</td></tr>
`
    )
  }</tbody>
</table>`;
  return markup`${changed.length > 0 ? wide("Settings other than the defaults", table) : null}
<details><summary>All ${count(rows.length, "setting")}</summary><pre>${
    rows.map(([name, value]) => `${clip(name, 80)} = ${text(value)}\n`)
  }</pre></details>
<p>The same run again, in a new folder; on the same adapter it gives the same bits:</p>
<pre>./mentor train --config config.json --out FOLDER</pre>${
    own.length > 0
      ? markup`<p>This run was also given something in code (${own.join(", ")}), which is not in the
config: call <code>train</code> with it.</p>`
      : null
  }`;
}

function notShown(run: RunReport, curves: RunCurves, views: RolloutViews): Html {
  const items = [
    curves.width > 1
      ? `Single steps: a point of a curve is the mean of up to ${count(curves.width, "step")}.`
      : null,
    curves.gaps > 0
      ? `${count(curves.gaps, "value")} that were no numbers: gaps in the curves.`
      : null,
    curves.left > 0 ? `${count(curves.left, "more metric")}.` : null,
    run.episodes > 0
      ? `Most episodes: ${
        run.episodes.toLocaleString("en-US")
      } are in episodes.jsonl, ${views.shown} are here token by token. Tokens are recorded for the first prompt of each step only.`
      : null,
    run.rollouts.length > views.shown
      ? `${count(run.rollouts.length - views.shown, "chosen rollout")} too long for the page.`
      : null,
    views.cut ? "The ends of long rollouts." : null,
    run.unreadable > 0
      ? `${count(run.unreadable, "line")} of episodes.jsonl that are no episodes.`
      : null,
    "Other seeds: one run does not say how much of a difference is chance. Intervals are over prompts only.",
  ];
  return markup`<ul>${items.map((item) => item === null ? null : markup`<li>${item}</li>`)}</ul>`;
}
