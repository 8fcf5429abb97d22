/**
 * Line charts on two logarithmic axes, as SVG that follows the reader's light or dark theme.
 *
 * @module
 */

/** A point: both numbers are above 0. */
export type Point = readonly [x: number, y: number];

/** One line of a chart. */
export interface Series {
  /** As the legend says it. */
  readonly name: string;
  /** In the order of x. */
  readonly points: readonly Point[];
}

/** A dashed line of a given slope: y grows like x to the power of `exponent`. */
export interface Reference {
  /** As the legend says it. */
  readonly name: string;
  /** Its slope on two logarithmic axes. */
  readonly exponent: number;
  /** A point that it goes through. */
  readonly through: Point;
}

/** What a chart shows. */
export interface LinePlot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** At most as many as there are colours, 4. */
  readonly series: readonly Series[];
  readonly reference?: Reference;
  /** Where the x axis has its numbers; 1, 2 and 5 times powers of ten by default. */
  readonly xTicks?: readonly number[];
  /** 640 x 360 by default. */
  readonly width?: number;
  readonly height?: number;
}

/** Colours of the series; each is told from its neighbours by colour-blind readers too. */
const COLOURS = {
  light: ["#0b61a4", "#c2410c", "#15803d", "#7e22ce"],
  dark: ["#63b3f4", "#fb923c", "#4ade80", "#c084fc"],
} as const;

const MARGIN = { top: 66, right: 24, bottom: 50, left: 66 } as const;
/** Mean width of a character of the 12 px font; a legend need not be exact. */
const CHARACTER = 6.4;

/**
 * Writes a chart.
 *
 * @returns a whole SVG document
 * @throws {RangeError} if there is nothing to draw, more series than colours, or a number that a
 * logarithmic axis does not have.
 */
export function linePlot(plot: LinePlot): string {
  const { title, xLabel, yLabel, series, reference, width = 640, height = 360 } = plot;
  check(plot);
  const points = pointsOf(plot);
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const x = new LogAxis(points.map(([x]) => x), 0.04, left, right);
  const y = new LogAxis(points.map(([, y]) => y), 0.1, bottom, top);

  const parts: string[] = [
    text(left, 24, title, "title"),
    text((left + right) / 2, height - 12, xLabel, "label middle"),
    `<g transform="translate(16 ${number((top + bottom) / 2)}) rotate(-90)">` +
    `${text(0, 0, yLabel, "label middle")}</g>`,
  ];
  for (const tick of y.ticks(bottom - top)) {
    parts.push(line([left, y.at(tick)], [right, y.at(tick)], "grid"));
    parts.push(text(left - 8, y.at(tick) + 4, tickLabel(tick), "tick end"));
  }
  for (const tick of plot.xTicks ?? x.ticks((right - left) / 2)) {
    parts.push(line([x.at(tick), top], [x.at(tick), bottom], "grid"));
    parts.push(text(x.at(tick), bottom + 18, tickLabel(tick), "tick middle"));
  }
  parts.push(
    line([left, bottom], [right, bottom], "axis"),
    line([left, top], [left, bottom], "axis"),
  );
  if (reference) parts.push(referenceLine(reference, x, y));
  series.forEach(({ points }, i) => {
    const places = points.map(([px, py]) => `${number(x.at(px))},${number(y.at(py))}`);
    parts.push(`<polyline class="line s${i}" points="${places.join(" ")}"/>`);
    for (const [px, py] of points) {
      parts.push(
        `<circle class="dot s${i}" cx="${number(x.at(px))}" cy="${number(y.at(py))}" r="3.5">` +
          `<title>${escape(`${tickLabel(px)}: ${tickLabel(py)}`)}</title></circle>`,
      );
    }
  });
  parts.push(...legend(series, reference, left));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Text as the content or an attribute of an XML element. */
export function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

/** Every point that must be on the chart. */
function pointsOf({ series, reference }: LinePlot): Point[] {
  return [...series.flatMap(({ points }) => points), ...reference ? [reference.through] : []];
}

function check(plot: LinePlot): void {
  const { title, series } = plot;
  const wrong = pointsOf(plot).find((point) =>
    point.some((value) => !(value > 0 && value < Infinity))
  );
  if (wrong) {
    throw new RangeError(
      `Cannot plot "${title}": (${wrong.join(", ")}) has no place on logarithmic axes`,
    );
  }
  if (series.every(({ points }) => points.length === 0)) {
    throw new RangeError(`Cannot plot "${title}": its series have no points`);
  }
  if (series.length > COLOURS.light.length) {
    throw new RangeError(
      `Cannot plot "${title}": ${series.length} series, there are ${COLOURS.light.length} colours`,
    );
  }
}

/** From values to places in px, by their logarithm. */
class LogAxis {
  readonly low: number;
  readonly high: number;
  readonly #from: number;
  readonly #to: number;

  /** @param padding on either side of the values, as a share of the axis */
  constructor(values: readonly number[], padding: number, from: number, to: number) {
    const [least, most] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
    const span = Math.max(most - least, Math.log(2)); // a flat line needs room, too
    const middle = (least + most) / 2;
    this.low = Math.exp(middle - span * (0.5 + padding));
    this.high = Math.exp(middle + span * (0.5 + padding));
    this.#from = from;
    this.#to = to;
  }

  at(value: number): number {
    const share = Math.log(value / this.low) / Math.log(this.high / this.low);
    return this.#from + share * (this.#to - this.#from);
  }

  /** Round values, as many as an axis of `px` has room for; powers of ten where these suffice. */
  ticks(px: number): number[] {
    const found = [[1], [1, 5], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]].map((steps) => {
      const ticks: number[] = [];
      for (let power = Math.floor(Math.log10(this.low)); 10 ** power <= this.high; power++) {
        for (const step of steps) {
          const tick = step * 10 ** power;
          if (tick >= this.low && tick <= this.high) ticks.push(tick);
        }
      }
      return ticks;
    });
    const fits = (ticks: number[]) => ticks.length * 36 <= px;
    return found.find((ticks) => ticks.length >= 4 && fits(ticks)) ??
      found.findLast(fits) ?? found[0]!;
  }
}

function referenceLine({ exponent, through }: Reference, x: LogAxis, y: LogAxis): string {
  const height = (at: number) => through[1] * (at / through[0]) ** exponent;
  // Where the line leaves the chart at its top or bottom it ends.
  const within = (value: number) => Math.min(Math.max(value, y.low), y.high);
  const end = (at: number): Point => {
    const clipped = within(height(at));
    const place = exponent === 0 ? at : through[0] * (clipped / through[1]) ** (1 / exponent);
    return [x.at(place), y.at(clipped)];
  };
  return line(end(x.low), end(x.high), "reference");
}

function legend(
  series: readonly Series[],
  reference: Reference | undefined,
  left: number,
): string[] {
  const entries = series.map(({ name }, i) => ({ name, mark: `line s${i}` }));
  if (reference) entries.push({ name: reference.name, mark: "reference" });
  let at = left;
  return entries.flatMap(({ name, mark }) => {
    const begin = at;
    at += 30 + name.length * CHARACTER + 18;
    return [line([begin, 46], [begin + 22, 46], mark), text(begin + 28, 50, name, "label")];
  });
}

function line([x1, y1]: Point, [x2, y2]: Point, name: string): string {
  return `<line class="${name}" x1="${number(x1)}" y1="${number(y1)}" ` +
    `x2="${number(x2)}" y2="${number(y2)}"/>`;
}

function text(x: number, y: number, content: string, name: string): string {
  return `<text class="${name}" x="${number(x)}" y="${number(y)}">${escape(content)}</text>`;
}

function number(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function tickLabel(value: number): string {
  return value.toLocaleString("en-US", { maximumSignificantDigits: value < 1000 ? 3 : 21 });
}

/** Colours of one theme; classes rather than variables, which some viewers don't know. */
function theme(
  paper: string,
  ink: string,
  soft: string,
  grid: string,
  colours: readonly string[],
): string {
  return [
    `.paper{fill:${paper}}text{fill:${ink}}.tick{fill:${soft}}`,
    `.grid{stroke:${grid}}.axis,.reference{stroke:${soft}}`,
    ...colours.map((colour, i) => `.line.s${i}{stroke:${colour}}.dot.s${i}{fill:${colour}}`),
  ].join("");
}

const STYLE = [
  "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}",
  ".title{font-size:15px;font-weight:600}.middle{text-anchor:middle}.end{text-anchor:end}",
  ".line{fill:none;stroke-width:2}.reference{stroke-width:1.5;stroke-dasharray:6 5}",
  theme("#ffffff", "#1f2328", "#59636e", "#e4e7eb", COLOURS.light),
  "@media (prefers-color-scheme: dark){",
  theme("#0d1117", "#e6edf3", "#9198a1", "#262c36", COLOURS.dark),
  "}",
].join("");
