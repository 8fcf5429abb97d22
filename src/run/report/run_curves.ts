/**
 * A run's curves: one small chart per metric.
 *
 * @module
 */

import { splits } from "../../tasks/task.ts";
import type { DomainScore, EvalEvent } from "../events.ts";
import { type Chart, figure, type Line, thinned } from "./chart.ts";
import { count, isNumber, type Maybe, mean, splitTitle } from "./format.ts";
import type { Column, RunHistory } from "./history.ts";
import { clip, type Html, markup } from "./html.ts";
import { knownFirst, metricView, type Topic, topics } from "./metric_names.ts";

/** Most metrics that are drawn. */
const METRICS = 60;
/** Most domains of a split that are drawn: two kinds of line in each colour. */
const DOMAINS = 14;

/** Curves with what was left out of them. */
export interface RunCurves {
  readonly charts: readonly Chart[];
  readonly body: Html;
  /** How many steps a point is the mean of, at most. */
  readonly width: number;
  /** Values that are no numbers. */
  readonly gaps: number;
  /** Metrics beyond those that are drawn. */
  readonly left: number;
}

/** Curves of all metrics by topic, and of the evaluations where there are several. */
export function runCurves({ columns, evaluations }: RunHistory): RunCurves {
  // A chart keeps its number while others come up, so that an open page knows it again.
  const numbers = new Map([...columns.keys()].map((name, i) => [name, i]));
  let [width, gaps] = [1, 0];
  const charts = knownFirst([...columns.keys()]).slice(0, METRICS).map((name) => {
    const view = metricView(name);
    const lines = [...columns.get(name)!].sort(byName).map(([method, column]): Line => {
      gaps += column.gaps;
      const line = metricLine(name, column);
      width = Math.max(width, line.width);
      const { x, y } = line;
      return { label: method, x, y, colour: method === "sft" ? 1 : 0 };
    });
    const chart: Chart = {
      ...{ id: `metric-${numbers.get(name)}`, title: clip(view.title, 100), x: "step" },
      ...{ y: view.unit, zero: view.zero, labels: lines.length > 1, height: 170, lines },
    };
    return { topic: view.topic, name, chart };
  });
  const evaluationCharts = evaluations.length < 2
    ? []
    : [splitChart(evaluations), ...domainCharts(evaluations)];
  const figures = [
    ...evaluationCharts.map((chart) => ({ topic: "Success" as const, figure: figure(chart) })),
    ...charts.map(({ topic, name, chart }) => ({ topic, figure: metricFigure(name, chart) })),
  ];
  return {
    charts: [...evaluationCharts, ...charts.map(({ chart }) => chart)],
    body: figures.length === 0 ? markup`<p>No step is done yet.</p>` : markup`
<p>Drag to zoom, double-click to see all; with the keyboard: arrow keys, + and &minus;, 0.</p>
${byTopic(figures)}`,
    ...{ width, gaps, left: Math.max(0, columns.size - METRICS) },
  };
}

/** A chart of a metric, with the name that the files have for it. */
export function metricFigure(name: string, chart: Chart): Html {
  return figure(chart, chart.title === name ? null : clip(name, 100));
}

/** Figures below their topics, in the order of these; what is not known better is to be opened. */
export function byTopic(figures: readonly { topic: Topic; figure: Html }[]): Html {
  const groups = Map.groupBy(figures, ({ topic }) => topic);
  return markup`${
    topics.map((topic) => {
      const found = groups.get(topic)?.map(({ figure }) => figure);
      if (found === undefined) return null;
      const charts = markup`<div class="charts">${found}</div>`;
      return topic === "Others"
        ? markup`<details><summary>${
          count(found.length, "other metric")
        }</summary>${charts}</details>
`
        : markup`<h3>${topic}</h3>
${charts}
`;
    })
  }`;
}

/** A metric's values as they are shown, few enough to be told apart. */
export function metricLine(
  name: string,
  { steps, values }: Pick<Column, "steps" | "values">,
  points?: number,
): ReturnType<typeof thinned> {
  const { factor } = metricView(name);
  const scaled = factor === 1
    ? values
    : values.map((value) => isNumber(value) ? factor * value : null);
  return thinned(steps, scaled, points);
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => a < b ? -1 : 1;

const evaluated = { x: "step", zero: true, labels: true } as const;

/** pass@1 of the evaluations by split, each the mean over domains. */
function splitChart(evaluations: readonly EvalEvent[]): Chart {
  const lines = splits.flatMap((split, colour) =>
    evaluationLine(splitTitle(split), colour, evaluations, (row) => row.split === split)
  );
  return {
    ...{ ...evaluated, id: "evaluation", title: "pass@1 in evaluation", y: "%, mean over domains" },
    ...{ height: 170, lines },
  };
}

/** pass@1 by domain, one chart for each split that has several. */
function domainCharts(evaluations: readonly EvalEvent[]): Chart[] {
  const rows = evaluations.flatMap(({ domains }) => domains);
  return splits.flatMap((split): Chart[] => {
    const names = [
      ...new Set(rows.filter((row) => row.split === split).map(({ name }) => String(name))),
    ];
    if (names.length < 2) return [];
    const shown = names.slice(0, DOMAINS);
    const lines = shown.flatMap((name, colour) =>
      evaluationLine(
        clip(name, 20),
        colour,
        evaluations,
        (row) => row.split === split && String(row.name) === name,
      )
    );
    const y = names.length > DOMAINS ? `%, the first ${DOMAINS} of ${names.length} domains` : "%";
    return [{
      ...{ ...evaluated, id: `evaluation-${split}`, title: `pass@1, ${splitTitle(split)}`, y },
      ...{ height: 170 + 8 * Math.max(0, shown.length - 6), lines },
    }];
  });
}

/** The mean pass@1 of some domains over the evaluations, in %; none if they never have one. */
export function evaluationLine(
  label: string,
  colour: number,
  evaluations: readonly EvalEvent[],
  belongs: (row: DomainScore) => boolean,
): Line[] {
  const points = evaluations.flatMap(({ step, domains }) => {
    const value = mean(domains.filter(belongs).map((row) => row["pass1"] as Maybe));
    return isNumber(value) ? [[step, 100 * value] as const] : [];
  });
  if (points.length === 0) return [];
  const { x, y } = thinned(points.map(([step]) => step), points.map(([, value]) => value));
  return [{ label, colour, x, y }];
}
