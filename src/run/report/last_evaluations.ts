/**
 * The last evaluations of several runs side by side.
 *
 * @module
 */

import { meanInterval } from "../../rl/statistics.ts";
import { splits } from "../../tasks/task.ts";
import type { DomainScore, EvalEvent } from "../events.ts";
import { fixed, isNumber, NONE, percent, splitTitle } from "./format.ts";
import { clip, type Html, markup } from "./html.ts";
import { intervalTable } from "./interval_table.ts";
import { wide } from "./page.ts";
import { intervalOf } from "./run_report.ts";

/** Most domains that are shown. */
const ROWS = 200;

/** The last evaluation of each run by split, and in full by domain. */
export function lastEvaluations(
  runs: readonly { readonly label: string; readonly evaluations: readonly EvalEvent[] }[],
): Html {
  const labels = runs.map(({ label }) => label);
  const last = runs.map(({ evaluations }) => evaluations.at(-1));
  if (last.every((found) => found === undefined)) return markup`<p>Nothing was evaluated.</p>`;
  const scores = last.map((found) => found?.domains ?? []);
  const steps = last.map((found, i) => `${labels[i]}: ${found ? `step ${found.step}` : "none"}`);
  const shown = splits.filter((split) => scores.some((rows) => rows.some(isIn(split))));
  const table = intervalTable({
    caption:
      `pass@1 by split: means over domains, with 95 % intervals from those of the domains. Evaluated after ${
        steps.join(", ")
      }.`,
    ...{ rowTitle: "split", axis: "pass@1 (%)", series: labels },
    include: [0],
    show: (value) => fixed(value, 1),
    rows: shown.map((split) => ({
      label: splitTitle(split),
      marks: scores.flatMap((rows, series) => {
        const intervals = rows.filter(isIn(split)).flatMap((row) => intervalOf(row) ?? []);
        return intervals.length === 0 ? [] : [{ series, interval: meanInterval(intervals) }];
      }),
    })),
  });
  return markup`${table}<details><summary>pass@1 by domain</summary>${
    wide("pass@1 by domain", domainTable(scores, labels))
  }</details>`;
}

const isIn = (split: string) => (row: DomainScore) => row.split === split;

function domainTable(
  scores: readonly (readonly DomainScore[])[],
  labels: readonly string[],
): Html {
  const keyOf = ({ name, split }: DomainScore) => JSON.stringify([split, name]);
  const byKey = scores.map((rows) => new Map(rows.map((row) => [keyOf(row), row])));
  const all = new Map(scores.flatMap((rows) => rows.map((row) => [keyOf(row), row] as const)));
  const order: readonly string[] = splits;
  const rows = [...all].sort(([, a], [, b]) => order.indexOf(a.split) - order.indexOf(b.split));
  return markup`<table>
<caption>pass@1 in %.</caption>
<thead><tr><th scope="col">split</th><th scope="col">domain</th>${
    labels.map((label) => markup`<th scope="col" class="number">${label}</th>`)
  }</tr></thead>
<tbody>
${
    rows.slice(0, ROWS).map(([key, { name, split }]) =>
      markup`<tr><td class="name">${splitTitle(String(split))}</td><th scope="row">${
        clip(String(name), 60)
      }</th>${
        byKey.map((found) => {
          const value = found.get(key)?.["pass1"];
          return markup`<td class="number">${isNumber(value) ? percent(value) : NONE}</td>`;
        })
      }</tr>
`
    )
  }</tbody>
</table>`;
}
