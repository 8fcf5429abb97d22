/**
 * Line charts that the page's script draws with uPlot: what they show, as data.
 *
 * @module
 */

import { isNumber, type Maybe, rounded, short } from "./format.ts";
import { type Html, markup } from "./html.ts";

/** One line of a chart. */
export interface Line {
  /** Written at the line's end, where the chart has labels. */
  readonly label: string;
  /** Ascending. */
  readonly x: readonly number[];
  /** null leaves a gap. */
  readonly y: readonly (number | null)[];
  /** Which colour of the page, from 0. */
  readonly colour: number;
  /** One of many that a thick line sums up. */
  readonly thin?: boolean;
  /** Lines that buttons show and hide together. */
  readonly group?: string;
}

/** A chart. */
export interface Chart {
  /** Unique on the page. */
  readonly id: string;
  /** What it shows, for the caption. */
  readonly title: string;
  /** Name and unit of the x axis. */
  readonly x: string;
  /** Name and unit of the y axis. */
  readonly y: string;
  /** Whether the y axis shows 0. */
  readonly zero: boolean;
  /** Whether lines are labelled at their ends. */
  readonly labels: boolean;
  /** Height of the plot in px. */
  readonly height: number;
  readonly lines: readonly Line[];
}

/** Most points of a line; more can't be told apart on a screen. */
const POINTS = 400;

/**
 * A line of at most 400 points: where there are more values, each point is the mean of as many
 * neighbours as it takes.
 */
export function thinned(
  xs: readonly number[],
  ys: readonly Maybe[],
  points = POINTS,
): { x: number[]; y: (number | null)[]; width: number } {
  const width = Math.max(1, Math.ceil(xs.length / points));
  const x: number[] = [];
  const y: (number | null)[] = [];
  for (let first = 0; first < xs.length; first += width) {
    const known = ys.slice(first, first + width).filter(isNumber);
    x.push(xs[Math.min(first + width, xs.length) - 1]!);
    y.push(
      known.length === 0
        ? null
        : rounded(known.reduce((sum, value) => sum + value, 0) / known.length),
    );
  }
  return { x, y, width };
}

/**
 * The place of a chart on the page, with a sentence for those who can't see it.
 *
 * @param name what the files call it
 */
export function figure(chart: Chart, name: string | null = null): Html {
  const { id, title, x, y, height, lines } = chart;
  const thick = lines.filter(({ thin }) => !thin);
  const told = thick.map((line) => {
    const known = line.y.filter(isNumber);
    const ends = known.length === 0
      ? "no values"
      : `from ${short(known[0])} to ${short(known.at(-1))}, between ${
        short(Math.min(...known))
      } and ${short(Math.max(...known))}`;
    return `${thick.length > 1 ? `${line.label}: ` : ""}${ends}`;
  });
  const label = `Line chart. ${title}: ${y} by ${x}. ${told.join("; ")}.`;
  return markup`
    <figure class="chart" id="figure-${id}">
      <figcaption><b>${title}</b> <small>${y}${
    name === null ? null : markup` <code>${name}</code>`
  }</small></figcaption>
      <div class="plot" data-chart="${id}" data-height="${height}" role="img"
        aria-label="${label}" tabindex="0"></div>
      <output></output>
    </figure>
  `;
}
