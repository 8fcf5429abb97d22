/**
 * The page of a comparison.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";
import { type Chart, figure, type Line, thinned } from "./chart.ts";
import { behaviour, domains } from "./comparison_behaviour.ts";
import { type Comparison, scopes } from "./comparison.ts";
import { bases, costs, notShown, reproduction, settings } from "./comparison_details.ts";
import { both, ComparisonView, marksOf, meanCurve } from "./comparison_view.ts";
import { clip, type Html, markup } from "./html.ts";
import { fixed, interval, isNumber, percent, short, signed, splitTitle } from "./format.ts";
import { intervalTable } from "./interval_table.ts";
import { renderPage, wide } from "./page.ts";

/**
 * The report of a comparison: one HTML file that needs no other.
 *
 * The same comparison gives the same text.
 */
export function renderComparisonReport(comparison: Comparison): string {
  const view = new ComparisonView(comparison);
  const { charts, body } = curves(view);
  return renderPage({
    title: "Ways of training compared",
    lead: lead(view),
    charts,
    sections: [
      { id: "results", title: "Results", body: results(view) },
      { id: "hypotheses", title: "Hypotheses", body: hypotheses(comparison) },
      { id: "differences", title: "Paired differences", body: differences(comparison) },
      { id: "curves", title: "Learning curves", body },
      { id: "behaviour", title: "Behaviour", body: behaviour(view) },
      { id: "domains", title: "Domains", body: domains(view) },
      {
        id: "settings",
        title: "Settings",
        body: markup`${settings(comparison)}${bases(comparison)}<h3>Costs</h3>
${costs(view)}`,
      },
      { id: "reproduce", title: "How to reproduce", body: reproduction(comparison) },
      { id: "not-shown", title: "What was not shown", body: notShown(view) },
    ],
  });
}

function lead({ comparison }: ComparisonView): Html {
  const { conclusion, regime, adapter, seeds, arms, runs } = comparison;
  const facts: [string, unknown][] = [
    ["Arms", arms.length],
    ["Seeds", `${seeds.length} (${clip(seeds.join(", "), 200)})`],
    ["Runs", runs.length],
    ["Adapter", clip(adapter, 200)],
  ];
  return markup`
    <p class="verdict">${clip(conclusion, 10_000)}</p>
    <p>${clip(regime, 2000)}</p>
    <dl class="facts">${
    facts.map(([name, value]) =>
      markup`
        <div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>
      `
    )
  }</dl>
  `;
}

function results(view: ComparisonView): Html {
  const table = markup`
    <table>
      <caption>pass@1 in %: share of sampled answers that the task's verifier accepts; mean over seeds and its 95 % t interval over seeds, which is symmetric: it may end outside 0 and 100. Held out is the last three columns together, averaged over prompts.</caption>
      <thead>
        <tr><th scope="col">arm</th>${
    view.scopes.map((scope) => markup`<th scope="col" class="number">${splitTitle(scope)}</th>`)
  }</tr>
      </thead>
      <tbody>
    ${
    view.arms.map((arm) =>
      markup`
        <tr><th scope="row">${arm}</th>${
        view.scopes.map((scope) => {
          const found = view.summary(arm, scope)?.pass1;
          return markup`<td class="number">${
            found === undefined ? fixed(null) : markup`<b>${percent(found.mean)}</b> ${ends(found)}`
          }</td>`;
        })
      }</tr>
      `
    )
  }</tbody>
    </table>
  `;
  return markup`${wide("pass@1 of every arm in every scope", table)}
<h3>In and out of domain</h3>
${
    intervalTable({
      caption:
        "The same numbers on one axis. t intervals are over seeds; arms share seeds and prompts, so that whether two arms differ is answered by the paired differences rather than by overlap.",
      rowTitle: "arm",
      axis: "pass@1 (% of sampled answers)",
      series: both.map((scope) => splitTitle(scope)),
      include: [0],
      show: (value) => fixed(value, 1),
      rows: view.arms.map((arm) => ({ label: arm, marks: marksOf(view, arm, "pass1", 100) })),
    })
  }`;
}

/** "[58.0, 66.2]", small. */
function ends({ low, high }: { low: number; high: number }): Html | null {
  return isNumber(low) && isNumber(high)
    ? markup`<small>[${percent(low)}, ${percent(high)}]</small>`
    : null;
}

const verdicts = {
  supported: ["good", "\u2713 supported"],
  contradicted: ["bad", "\u2717 contradicted"],
  undecided: ["open", "? undecided"],
} as const;

function hypotheses({ hypotheses }: Comparison): Html {
  if (hypotheses.length === 0) return markup`<p>None was stated in advance.</p>`;
  const table = markup`
    <table class="stack">
      <caption>Stated before the runs, and judged by the 95 % t interval over seeds, which takes two seeds or more: undecided is what it does not settle.</caption>
      <thead>
        <tr>
          <th scope="col">name</th>
          <th scope="col">statement</th>
          <th scope="col">verdict</th>
          <th scope="col">estimate [95 % interval]</th>
        </tr>
      </thead>
      <tbody>
    ${
    hypotheses.map(({ id, statement, estimate, unit, verdict, note }) => {
      const [look, text] = verdicts[verdict];
      return markup`
        <tr>
          <th scope="row">${id}</th>
          <td>${clip(statement, 2000)}</td>
          <td class="${look}">${text}</td>
          <td>${interval(estimate, short)} ${unit}${
        note === undefined ? null : markup` <small>${clip(note, 1000)}</small>`
      }</td>
        </tr>
      `;
    })
  }</tbody>
    </table>
  `;
  return wide("Hypotheses and verdicts", table);
}

function differences({ differences }: Comparison): Html {
  if (differences.length === 0) return markup`<p>None was computed.</p>`;
  const tables = scopes.flatMap((scope) => {
    const rows = differences.filter((row) => row.scope === scope);
    if (rows.length === 0) return [];
    const table = intervalTable({
      caption: markup`<b>${splitTitle(scope)}</b>`,
      rowTitle: "arm \u2212 other arm",
      axis: "difference in pass@1 (points)",
      series: rows.some(({ bootstrap }) => bootstrap)
        ? ["t interval over seeds", "bootstrap over seeds and prompts"]
        : ["t interval over seeds"],
      include: [0],
      show: (value) => signed(value, 1),
      tick: (value) => signed(value, Number.isInteger(value) ? 0 : 1),
      rows: rows.map(({ arm, against, pass1, bootstrap, seeds }) => ({
        label: `${arm} \u2212 ${against}`,
        marks: [
          { series: 0, interval: inPoints(pass1), dots: seeds.map((value) => 100 * value) },
          ...(bootstrap ? [{ series: 1, interval: inPoints(bootstrap) }] : []),
        ],
      })),
    });
    return [table];
  });
  return markup`<p>Both arms of a pair start from the same base, draw the same prompts and answer the same test tasks; small dots are the single seeds. Right of 0 the first arm is better. An interval that holds 0 leaves open which is.</p>
<p>The t interval says what other seeds would have given on these test tasks; hypotheses are judged by it. The bootstrap draws seeds, and one set of prompts for all of them, 2,000 times: it says how much hangs on the prompts, but makes too little of how few the seeds are.</p>
${tables}`;
}

function inPoints({ mean, low, high }: Interval): Interval {
  return { mean: 100 * mean, low: 100 * low, high: 100 * high };
}

function curves(view: ComparisonView): { charts: Chart[]; body: Html } {
  const arms = view.arms.filter((arm) => view.runsOf(arm).some(({ curve }) => curve.length > 0));
  if (arms.length === 0) return { charts: [], body: markup`<p>No run has a learning curve.</p>` };
  const makers = [
    ["train", "step", "Trained on", "step"],
    ["held-out", "step", "Held out", "step"],
    ["train", "rollouts", "Trained on, by effort", "episodes sampled"],
    ["held-out", "rollouts", "Held out, by effort", "episodes sampled"],
  ] as const;
  const charts = makers.map(([scope, by, title, x]): Chart => ({
    ...{ id: `curve-${scope}-${by}`, title, x, y: "pass@1 (%)" },
    ...{ zero: true, labels: true, height: 320 },
    lines: arms.flatMap((arm, i) => linesOf(view, arm, i, by, scope)),
  }));
  const silent = arms.filter((arm) =>
    view.runsOf(arm).every(({ curve }) => curve.every(({ rollouts }) => rollouts === 0))
  );
  const keys = markup`<div class="keys" role="group" aria-label="Arms to show">${
    arms.map((arm, i) =>
      markup`<button type="button" aria-pressed="true" data-group="${arm}"><svg width="22" height="4" aria-hidden="true"><line class="k${
        i % 7
      }" x2="22" y1="2" y2="2" stroke-dasharray="${i < 7 ? "none" : "7 4"}"/></svg> ${arm}</button>
`
    )
  }</div>`;
  const body =
    markup`<p>Thin lines are seeds, thick ones their mean where every seed was measured. Drag to zoom, double-click to see all; with the keyboard: arrow keys, + and \u2212, 0.${
      silent.length > 0 ? ` No episodes are sampled by ${silent.join(", ")}.` : null
    }</p>
${keys}
<div class="pair">${charts.map((chart) => figure(chart))}</div>`;
  return { charts, body };
}

function linesOf(
  view: ComparisonView,
  arm: string,
  colour: number,
  by: "step" | "rollouts",
  scope: "train" | "held-out",
): Line[] {
  const runs = view.runsOf(arm);
  // An arm that samples nothing has no place on an axis of episodes.
  if (by === "rollouts" && runs.every(({ curve }) => curve.every((p) => p.rollouts === 0))) {
    return [];
  }
  const common = { label: arm, colour, group: arm };
  const percents = (values: readonly number[]) => values.map((value) => 100 * value);
  const seeds = runs.map(({ curve }): Line => {
    const points = curve.map((point) => point.pass1[scope]);
    const { x, y } = thinned(curve.map((point) => point[by]), percents(points), 100);
    return { ...common, thin: true, x, y };
  });
  const middle = meanCurve(runs, by, scope);
  const { x, y } = thinned(middle.x, percents(middle.y), 100);
  return [...seeds, { ...common, x, y }];
}
