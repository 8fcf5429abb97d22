/**
 * A run's curves: one small chart per metric.
 *
 * @module
 */

import type { DomainScore, EvalEvent, RunEvent } from "../events.ts";
import { type Chart, figure, type Line, thinned } from "./chart.ts";
import { isNumber, type Maybe, mean } from "./format.ts";
import { clip, type Html, markup } from "./html.ts";
import { metricView, topics } from "./metric_names.ts";

/** Most metrics that are drawn. */
const METRICS = 60;

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
export function runCurves(events: readonly RunEvent[]): RunCurves {
  const steps = events.filter((event) => event.type === "step")
    .map(({ step, method, metrics, timing }) => ({
      ...{ step, method },
      values: new Map<string, Maybe>([
        ...Object.entries(metrics ?? {}),
        ...Object.entries(timing ?? {}).map(([part, s]) => [`timing/${part}`, s] as const),
      ]),
    }));
  const names = [...new Set(steps.flatMap(({ values }) => [...values.keys()]))];
  const methods = [...new Set(steps.map(({ method }) => method))].sort();
  let [width, gaps] = [1, 0];
  const charts = names.slice(0, METRICS).map((name, i) => {
    const view = metricView(name);
    const lines = methods.flatMap((method): Line[] => {
      const found = steps.filter((step) => step.method === method && step.values.has(name));
      if (found.length === 0) return [];
      const values = found.map((step) => step.values.get(name));
      gaps += values.filter((value) => !isNumber(value)).length;
      const scaled = values.map((value) => isNumber(value) ? view.factor * value : null);
      const line = thinned(found.map(({ step }) => step), scaled);
      width = Math.max(width, line.width);
      const { x, y } = line;
      return [{ label: method, x, y, colour: method === "sft" ? 1 : 0 }];
    });
    const chart: Chart = {
      ...{ id: `metric-${i}`, title: clip(view.title, 100), x: "step", y: view.unit },
      ...{ zero: view.zero, labels: lines.length > 1, height: 170, lines },
    };
    return { topic: view.topic, name, chart };
  });
  const evaluations = evaluationChart(events.filter((event) => event.type === "eval"));
  const parts = topics.flatMap((topic) => {
    const found = charts.filter((one) => one.topic === topic);
    const figures = found.map(({ name, chart }) =>
      figure(chart, chart.title === name ? null : clip(name, 100))
    );
    if (topic === "Success" && evaluations) figures.unshift(figure(evaluations));
    return figures.length === 0 ? [] : [markup`<h3>${topic}</h3>
<div class="charts">${figures}</div>
`];
  });
  return {
    charts: [...evaluations ? [evaluations] : [], ...charts.map(({ chart }) => chart)],
    body: parts.length === 0 ? markup`<p>No step is done yet.</p>` : markup`
<p>Drag to zoom, double-click to see all; with the keyboard: arrow keys, + and &minus;, 0.</p>
${parts}`,
    ...{ width, gaps, left: Math.max(0, names.length - METRICS) },
  };
}

const splitNames: Readonly<Record<DomainScore["split"], string>> = {
  train: "trained on",
  composition: "combinations",
  depth: "more steps",
  domain: "new domains",
};

/** pass@1 of the evaluations by split, if there are at least two; each the mean over domains. */
function evaluationChart(evaluations: readonly EvalEvent[]): Chart | null {
  if (evaluations.length < 2) return null;
  const lines = Object.entries(splitNames).flatMap(([split, label], colour): Line[] => {
    const points = evaluations.flatMap(({ step, domains }) => {
      const value = mean(
        domains.filter((row) => row.split === split).map((row) => row["pass1"] as Maybe),
      );
      return isNumber(value) ? [[step, 100 * value] as const] : [];
    });
    if (points.length === 0) return [];
    const { x, y } = thinned(points.map(([step]) => step), points.map(([, value]) => value));
    return [{ label, colour, x, y }];
  });
  return {
    ...{ id: "evaluation", title: "pass@1 in evaluation", x: "step", y: "%, mean over domains" },
    ...{ zero: true, labels: true, height: 170, lines },
  };
}
