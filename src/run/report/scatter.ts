/**
 * Points with intervals on two axes, as SVG.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";
import { isNumber, short } from "./format.ts";
import { type Html, markup } from "./html.ts";
import { niceScale } from "./interval_table.ts";

/** A point with its interval on both axes. */
export interface ScatterPoint {
  readonly label: string;
  readonly x: Interval;
  readonly y: Interval;
  /** Single values behind the point, [x, y] each. */
  readonly dots: readonly (readonly [number, number])[];
}

/** A scatter plot. */
export interface Scatter {
  readonly title: string;
  /** Names and units of the axes. */
  readonly x: string;
  readonly y: string;
  readonly points: readonly ScatterPoint[];
}

const [WIDTH, HEIGHT] = [440, 380];
const BOX = { left: 46, right: 426, top: 12, bottom: 330 } as const;
/** Mean width of a character of the 13 px font; labels need not be placed exactly. */
const CHARACTER = 7.8;

/** The plot; the y axis begins at 0. */
export function scatter({ title, x, y, points }: Scatter): Html {
  const known = points.filter((point) => isNumber(point.x.mean) && isNumber(point.y.mean));
  const values = (axis: "x" | "y", index: 0 | 1) =>
    known.flatMap((point) => [
      point[axis].mean,
      point[axis].low,
      point[axis].high,
      ...point.dots.map((dot) => dot[index]),
    ]);
  const [across, up] = [niceScale(values("x", 0)), niceScale([0, ...values("y", 1)])];
  const place = (from: number, to: number, scale: typeof up) => (value: number) =>
    round(from + (value - scale.low) / (scale.high - scale.low) * (to - from));
  const px = place(BOX.left, BOX.right, across);
  const py = place(BOX.bottom, BOX.top, up);
  const labels = placeLabels(known.map(({ label, x, y }) => [label, px(x.mean), py(y.mean)]));
  const cross = ({ x, y }: ScatterPoint) => [
    segment("bar m0", [px(x.low), py(y.mean)], [px(x.high), py(y.mean)]),
    segment("bar m0", [px(x.mean), py(y.low)], [px(x.mean), py(y.high)]),
    markup`<circle class="mark m0" cx="${px(x.mean)}" cy="${py(y.mean)}" r="5"/>`,
  ];
  const seeds = ({ dots }: ScatterPoint) =>
    dots.filter((dot) => dot.every(isNumber)).map(([a, b]) =>
      markup`<circle class="seed" cx="${px(a)}" cy="${py(b)}" r="2"/>`
    );
  const [middle, centre] = [(BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2];
  return markup`<figure class="scatter">
<figcaption><b>${title}</b></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: ${y} against ${x}; the table below has the numbers">
${
    up.ticks.map((tick) => [
      segment(tick === 0 ? "zero" : "grid", [BOX.left, py(tick)], [BOX.right, py(tick)]),
      text("end", BOX.left - 6, py(tick) + 4, short(tick)),
    ])
  }
${
    across.ticks.map((tick) => [
      segment("grid", [px(tick), BOX.top], [px(tick), BOX.bottom]),
      text("middle", px(tick), BOX.bottom + 18, short(tick)),
    ])
  }
${text("middle", middle, HEIGHT - 8, x)}
<text class="middle" transform="translate(13 ${centre}) rotate(-90)">${y}</text>
${known.map(seeds)}
${known.map(cross)}
${
    labels.map(({ x, y, from }) =>
      Math.abs(y - from[1]) > STEP + 5
        ? segment("leader", from, [x, y - (y > from[1] ? 12 : -4)])
        : null
    )
  }
${labels.map((label) => text(`label ${label.anchor}`, label.x, label.y, label.text))}
</svg>
</figure>
`;
}

type Place = readonly [x: number, y: number];

/** A line; nothing where one of its ends is unknown. */
function segment(name: string, [x1, y1]: Place, [x2, y2]: Place): Html | null {
  if (![x1, y1, x2, y2].every(isNumber)) return null;
  return markup`<line class="${name}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
}

function text(name: string, x: number, y: number, content: string): Html {
  return markup`<text class="${name}" x="${x}" y="${y}">${content}</text>`;
}

interface Label {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly anchor: "begin" | "middle" | "end";
  /** The point. */
  readonly from: Place;
}

type Box = readonly [left: number, right: number, top: number, bottom: number];

const STEP = 15; // px between the places that a label may have

/** Puts each label near its point where it covers the fewest points and labels before it. */
function placeLabels(points: readonly (readonly [string, number, number])[]): Label[] {
  const taken: Box[] = points.map(([, x, y]) => [x - 7, x + 7, y - 7, y + 7]);
  return points.map(([text, x, y]) => {
    const width = text.length * CHARACTER;
    const options = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5].flatMap((row) =>
      (["begin", "end", "middle"] as const).map((anchor) => {
        const at = anchor === "middle" ? x : anchor === "begin" ? x + 10 : x - 10;
        const left = anchor === "middle" ? x - width / 2 : anchor === "begin" ? at : at - width;
        const base = y + 4 + row * STEP;
        const box: Box = [left, left + width, base - 11, base + 3];
        const outside = box[0] < BOX.left || box[1] > BOX.right || box[2] < BOX.top ||
          box[3] > BOX.bottom;
        const covered = taken.reduce((sum, other) => sum + overlap(box, other), 0);
        const cost = covered + (outside ? 1000 : 0) + 8 * Math.abs(row);
        return { box, label: { text, x: at, y: base, anchor, from: [x, y] as const }, cost };
      })
    );
    const best = options.reduce((a, b) => b.cost < a.cost ? b : a);
    taken.push(best.box);
    return best.label;
  });
}

/** Area of what two boxes share. */
function overlap(a: Box, b: Box): number {
  const across = Math.min(a[1], b[1]) - Math.max(a[0], b[0]);
  const down = Math.min(a[3], b[3]) - Math.max(a[2], b[2]);
  return Math.max(0, across) * Math.max(0, down);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
