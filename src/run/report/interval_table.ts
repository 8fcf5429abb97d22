/**
 * Intervals as a table that is a chart as well: every row has its numbers, and a strip that draws
 * them on a common axis. Places are percentages, so that strips fit any width without a script.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";
import { interval, isNumber, short } from "./format.ts";
import { type Html, markup } from "./html.ts";

/** One estimate of a row. */
export interface Mark {
  /** Which of the table's series it belongs to. */
  readonly series: number;
  readonly interval: Interval;
  /** Single values behind the estimate. */
  readonly dots?: readonly number[];
}

/** A row. */
export interface IntervalRow {
  readonly label: string;
  readonly marks: readonly Mark[];
}

/** A table of intervals. */
export interface IntervalTable {
  readonly caption: unknown;
  /** What the rows are. */
  readonly rowTitle: string;
  /** Name and unit of the axis. */
  readonly axis: string;
  /** What the rows' marks are, 7 at most; one name alone needs no legend. */
  readonly series: readonly string[];
  readonly rows: readonly IntervalRow[];
  /** Values that the axis must show, such as 0. */
  readonly include: readonly number[];
  /** A number of a row as text. */
  readonly show: (value: number) => string;
  /** A round number of the axis as text; as short as can be by default. */
  readonly tick?: (value: number) => string;
}

const LANE = 18; // px of a mark
const EDGE = 5; // px above and below

/** The table. */
export function intervalTable(table: IntervalTable): Html {
  const { caption, rowTitle, axis, series, rows, show, tick: label = short } = table;
  const scale = niceScale([
    ...table.include,
    ...rows.flatMap(({ marks }) =>
      marks.flatMap(({ interval: { mean, low, high }, dots = [] }) => [mean, low, high, ...dots])
    ),
  ]);
  const legend = series.length > 1
    ? markup`<span class="legend">${
      series.map((name, i) => markup`<span>${seriesKey(i)} ${name}</span> `)
    }</span>`
    : null;
  return markup`
    <table class="intervals">
      <caption>${caption}${legend}</caption>
      <thead>
        <tr>
          <th scope="col">${rowTitle}</th>
          <th scope="col">${axis}</th>
          <th scope="col" class="number">mean [95 % interval]</th>
        </tr>
      </thead>
      <tbody>
    ${
    rows.map(({ label, marks }) =>
      markup`
        <tr>
          <th scope="row">${label}</th>
          <td class="strip">${strip(marks, scale)}</td>
          <td class="number">${
        marks.length === 0
          ? "no data"
          : marks.map((mark) =>
            markup`<span class="line">${
              series.length > 1 ? key(series[mark.series]!, mark.series) : null
            }${interval(mark.interval, show)}</span>`
          )
      }</td>
        </tr>
      `
    )
  }</tbody>
      <tfoot aria-hidden="true">
        <tr>
          <td></td>
          <td class="strip">
            <svg class="axis" height="22">${
    scale.ticks.map((tick) =>
      markup`<text x="${scale.at(tick)}" y="16" text-anchor="middle">${label(tick)}</text>`
    )
  }</svg>
          </td>
          <td></td>
        </tr>
      </tfoot>
    </table>
  `;
}

function strip(marks: readonly Mark[], scale: Scale): Html {
  const height = Math.max(1, marks.length) * LANE + 2 * EDGE;
  return markup`<svg height="${height}" aria-hidden="true">${
    scale.ticks.map((tick) => rule(tick === 0 ? "zero" : "grid", scale.at(tick)))
  }${
    marks.map(({ series, interval: { mean, low, high }, dots = [] }, lane) => {
      const y = EDGE + (lane + 0.5) * LANE;
      return [
        isNumber(low) && isNumber(high) ? bar(series, scale.at(low), scale.at(high), y) : null,
        isNumber(mean) ? symbol(series, scale.at(mean), y) : null,
        dots.filter(isNumber).map((dot) =>
          markup`<circle class="seed" cx="${scale.at(dot)}" cy="${y + 7}" r="2"/>`
        ),
      ];
    })
  }</svg>`;
}

function bar(series: number, from: string, to: string, y: number): Html {
  return markup`<line class="bar m${series}" x1="${from}" x2="${to}" y1="${y}" y2="${y}"/>`;
}

function rule(name: string, x: string): Html {
  return markup`<line class="${name}" x1="${x}" x2="${x}" y1="0" y2="100%"/>`;
}

/** A mark with its interval, as a legend has it. */
export function seriesKey(series: number): Html {
  return markup`<svg class="swatch" width="30" height="14" aria-hidden="true">${[
    bar(series, "2", "28", 7),
    symbol(series, "15", 7),
  ]}</svg>`;
}

/** Stands for a series in a cell. */
function key(name: string, series: number): Html {
  return markup`<svg class="swatch" width="12" height="14" role="img" aria-label="${name}:">${
    symbol(series, "6", 7)
  }</svg> `;
}

/** Outlines around 0 of the marks of series that are no circles. */
const outlines = ["M-4-4h8v8h-8z", "M0-5L5 4H-5z", "M0-5.5L5.5 0L0 5.5L-5.5 0z"];

/** Full and hollow circles, squares, triangles and diamonds can be told apart without colour. */
function symbol(series: number, x: string, y: number): Html {
  const name = `mark m${series}${series % 2 === 0 ? "" : " hollow"}`;
  if (series < 2) return markup`<circle class="${name}" cx="${x}" cy="${y}" r="${5 - series}"/>`;
  const outline = outlines[Math.floor(series / 2) - 1]!;
  return markup`<svg x="${x}" y="${y}" overflow="visible"><path class="${name}" d="${outline}"/></svg>`;
}

/** An axis from 0 % to 100 % of a width. */
export interface Scale {
  readonly low: number;
  readonly high: number;
  /** Round values from one end to the other. */
  readonly ticks: readonly number[];
  /** Place of a value, as a percentage. */
  at(value: number): string;
}

/** An axis with about five round steps that holds all values that are numbers. */
export function niceScale(values: readonly number[]): Scale {
  const known = values.filter(isNumber);
  const [least, most] = known.length === 0 ? [0, 1] : [Math.min(...known), Math.max(...known)];
  const raw = (most - least || Math.abs(most) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999)!;
  const first = Math.floor(least / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(most / step - 1e-9));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) =>
    // Steps like 0.1 have no exact double; 12 digits are enough to be rid of their errors.
    Number(((first + i) * step).toPrecision(12)));
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  return {
    low,
    high,
    ticks,
    at: (value) => `${Number((100 * (value - low) / (high - low)).toFixed(2))}%`,
  };
}
