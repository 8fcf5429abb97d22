/**
 * Curves of several runs over each other.
 *
 * @module
 */

import { type Chart, figure, type Line } from "./chart.ts";
import { splitTitle } from "./format.ts";
import type { RunHistory } from "./history.ts";
import { clip, type Html, markup } from "./html.ts";
import { knownFirst, metricView } from "./metric_names.ts";
import { byTopic, evaluationLine, metricFigure, metricLine } from "./run_curves.ts";
import { splits } from "../../tasks/task.ts";

/** Most metrics that are drawn. */
const METRICS = 36;

/** Points of a line: less than for a run alone, since there are several on a chart. */
const POINTS = 200;

/** A run by its label, which stays in its place. */
export interface LabelledHistory {
  readonly label: string;
  readonly history: RunHistory;
}

/** The charts and where they go. */
export function overlaidCurves(
  runs: readonly LabelledHistory[],
): { readonly charts: readonly Chart[]; readonly body: Html } {
  const common = { x: "step", labels: true, height: 190 } as const;
  const names = [...new Set(runs.flatMap(({ history }) => [...history.columns.keys()]))];
  const numbers = new Map(names.map((name, i) => [name, i]));
  const metrics = knownFirst(names).slice(0, METRICS).map((name) => {
    const { topic, title, unit, zero } = metricView(name);
    const lines = runs.flatMap(({ label, history }, colour) =>
      metricLineOf(history, name, label, colour)
    );
    const chart: Chart = {
      ...{ ...common, id: `metric-${numbers.get(name)}`, title: clip(title, 100), y: unit },
      ...{ zero, lines },
    };
    return { topic, name, chart };
  });
  const evaluations = splits.flatMap((split): Chart[] => {
    const lines = runs.flatMap(({ label, history: { evaluations } }, colour) =>
      evaluationLine(label, colour, evaluations, (row) => row.split === split)
    );
    const isCurve = lines.some(({ x }) => x.length > 1);
    const title = `pass@1 in evaluation, ${splitTitle(split)}`;
    return isCurve
      ? [{
        ...{ ...common, id: `evaluation-${split}`, title, y: "%, mean over domains" },
        ...{ zero: true, lines },
      }]
      : [];
  });
  const figures = [
    ...evaluations.map((chart) => ({ topic: "Success" as const, figure: figure(chart) })),
    ...metrics.map(({ topic, name, chart }) => ({ topic, figure: metricFigure(name, chart) })),
  ];
  const more = names.length - METRICS;
  return {
    charts: [...evaluations, ...metrics.map(({ chart }) => chart)],
    body: figures.length === 0
      ? markup`<p>No step is done yet.</p>`
      : markup`${byTopic(figures)}${
        more > 0 ? markup`<p class="note">${more} more on the pages of the runs.</p>` : null
      }`,
  };
}

/** What all methods of a run, warm-up first, report under a name. */
function metricLineOf(history: RunHistory, name: string, label: string, colour: number): Line[] {
  const columns = [...history.columns.get(name)?.values() ?? []];
  if (columns.length === 0) return [];
  const { x, y } = metricLine(name, {
    steps: columns.flatMap(({ steps }) => steps),
    values: columns.flatMap(({ values }) => values),
  }, POINTS);
  return [{ label, colour, x, y }];
}
