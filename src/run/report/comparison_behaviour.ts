/**
 * How the arms of a comparison behave, and where.
 *
 * @module
 */

import { scopes } from "./comparison.ts";
import { scopeMean } from "./comparison_scopes.ts";
import { both, type ComparisonView, marksOf } from "./comparison_view.ts";
import { count, fixed, interval, isNumber, mean, percent, splitTitle } from "./format.ts";
import { type Html, markup } from "./html.ts";
import { intervalTable } from "./interval_table.ts";
import { wide } from "./page.ts";
import { scatter } from "./scatter.ts";

/** How the arms use tools, and how like the teacher. */
export function behaviour(view: ComparisonView): Html {
  const plots = both.map((scope) =>
    scatter({
      title: splitTitle(scope),
      x: "similarity to the teacher (1 \u2212 JSD, bits)",
      y: "pass@1 (%)",
      points: view.arms.flatMap((arm) => {
        const found = view.summary(arm, scope);
        if (!found) return [];
        const { mean, low, high } = found.pass1;
        return [{
          label: arm,
          x: found.similarity,
          y: { mean: 100 * mean, low: 100 * low, high: 100 * high },
          dots: view.domainsOf(arm).map((domains) =>
            [
              scopeMean(domains, scope, "similarity"),
              100 * scopeMean(domains, scope, "pass1"),
            ] as const
          ),
        }];
      }),
    })
  );
  const table = (
    title: string,
    axis: string,
    measure: "validity" | "calls" | "greedy" | "toolF1",
    factor: number,
  ) =>
    intervalTable({
      ...{ caption: markup`<b>${title}</b>`, rowTitle: "arm", axis, include: [0] },
      series: both.map((scope) => splitTitle(scope)),
      show: (value) => fixed(value, factor === 1 ? 2 : 1),
      rows: view.arms.map((arm) => ({ label: arm, marks: marksOf(view, arm, measure, factor) })),
    });
  return markup`<h3>Like the teacher, or right?</h3>
<p>Similarity compares which tools are called how often, not the answers: 1 is the teacher's own mix of tools. Small dots are seeds. The horizontal axis does not begin at 0.</p>
<div class="pair">${plots}</div>
${
    wide(
      "Similarity and tool F1",
      markup`
        <table>
          <caption>The numbers behind it, with tool F1: agreement of the tools called in each task with the teacher's.</caption>
          <thead>
            <tr><th scope="col">arm</th>${
        both.map((scope) =>
          markup`
                <th scope="col" class="number">similarity, ${splitTitle(scope)}</th>
                <th scope="col" class="number">tool F1, ${splitTitle(scope)}</th>
              `
        )
      }</tr>
          </thead>
          <tbody>
        ${
        view.arms.map((arm) =>
          markup`
            <tr><th scope="row">${arm}</th>${
            both.flatMap((scope) =>
              (["similarity", "toolF1"] as const).map((name) => {
                const found = view.summary(arm, scope)?.[name];
                return markup`<td class="number">${
                  found
                    ? interval(found, (x) => fixed(x))
                    : fixed(null)
                }</td>`;
              })
            )
          }</tr>
          `
        )
      }</tbody>
        </table>
      `,
    )
  }
<h3>Tool use</h3>
${table("Valid calls", "calls that parsed and ran (%)", "validity", 100)}
${table("Calls per task", "attempted calls per task", "calls", 1)}
${table("Greedy answers", "correct greedy answers (%)", "greedy", 100)}`;
}

/** Most rows of the table of domains. */
const DOMAINS = 200;

/** pass@1 of every arm in every domain. */
export function domains(view: ComparisonView): Html {
  const all = view.arms.flatMap((arm) => view.domainsOf(arm).flat());
  const keys = [...new Set(all.map(({ name, split }) => JSON.stringify([split, name])))];
  const order = (split: string) => {
    const place = scopes.findIndex((scope) => scope === split);
    return place < 0 ? scopes.length : place;
  };
  const rows = keys.map((key) => JSON.parse(key) as [split: string, name: string])
    .sort(([a], [b]) => order(a) - order(b));
  const cell = (arm: string, split: string, name: string) => {
    const values = view.domainsOf(arm).flatMap((domains) =>
      domains.filter((row) => row.name === name && row.split === split)
        .map(({ measures }) => measures.pass1)
    ).filter(isNumber);
    if (values.length === 0) return fixed(null);
    return markup`${percent(mean(values))}${
      values.length > 1
        ? markup`
          <small>${percent(Math.min(...values))}&ndash;${percent(Math.max(...values))}</small>
        `
        : null
    }`;
  };
  const table = markup`
    <table>
      <caption>pass@1 in %, mean over seeds; small: lowest and highest seed. comparison.csv has every measure of every seed.</caption>
      <thead>
        <tr><th scope="col">split</th><th scope="col">domain</th>${
    view.arms.map((arm) => markup`<th scope="col" class="number">${arm}</th>`)
  }</tr>
      </thead>
      <tbody>
    ${
    rows.slice(0, DOMAINS).map(([split, name]) =>
      markup`
        <tr><td class="name">${splitTitle(split)}</td><th scope="row">${name}</th>${
        view.arms
          .map((arm) => markup`<td class="number">${cell(arm, split, name)}</td>`)
      }</tr>
      `
    )
  }</tbody>
    </table>
  `;
  return markup`${wide("pass@1 of every arm in every domain", table)}${
    rows.length > DOMAINS
      ? markup`<p class="note">${count(rows.length - DOMAINS, "more row")} in comparison.csv.</p>`
      : null
  }`;
}
