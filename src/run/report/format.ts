/**
 * Numbers as readers see them. What is not a number is a dash.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";

/** In place of a number that there is not. */
export const NONE = "\u2013";

/** A measure from a file, which may be missing or null. */
export type Maybe = number | null | undefined;

const titles: ReadonlyMap<string, string> = new Map([
  ["train", "trained on"],
  ["train-tools", "trained on, tools needed"],
  ["held-out", "held out"],
  ["composition", "new combinations"],
  ["depth", "more steps"],
  ["domain", "new domains"],
]);

/** A split or scope of tasks as readers know it. */
export function splitTitle(name: string): string {
  return titles.get(name) ?? name;
}

const MINUS = "\u2212";

/** With so many decimals and a real minus sign. */
export function fixed(value: Maybe, decimals = 2): string {
  if (!isNumber(value)) return NONE;
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** A share as a percentage without its sign: 0.5 is "50.0". */
export function percent(share: Maybe): string {
  return fixed(isNumber(share) ? 100 * share : share, 1);
}

/** A difference, with its sign. */
export function signed(value: Maybe, decimals = 1): string {
  const text = fixed(value, decimals);
  return isNumber(value) && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** To 3 significant digits, as short as can be. */
export function short(value: Maybe): string {
  if (!isNumber(value)) return NONE;
  const rounded = Number(value.toPrecision(3));
  const size = Math.abs(rounded);
  const text = size !== 0 && (size < 1e-4 || size >= 1e7)
    ? size.toExponential()
    : size.toLocaleString("en-US", { maximumFractionDigits: 7 });
  return rounded < 0 ? MINUS + text : text;
}

/** "62.1 [58.0, 66.2]"; without brackets where the ends are unknown. */
export function interval({ mean, low, high }: Interval, show: (value: number) => string): string {
  return isNumber(low) && isNumber(high)
    ? `${show(mean)} [${show(low)}, ${show(high)}]`
    : show(mean);
}

/** "2 h 5 min", "3 min 20 s", "8.2 s". */
export function duration(seconds: Maybe): string {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 60) return `${fixed(seconds, 1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A time as in events: "2026-11-24 23:18 UTC". */
export function moment(time: string): string {
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)/.exec(String(time));
  return found ? `${found[1]} ${found[2]} UTC` : NONE;
}

/** "1 seed", "5 seeds". */
export function count(number: number, what: string): string {
  return `${number.toLocaleString("en-US")} ${what}${number === 1 ? "" : "s"}`;
}

/** Whether there is a number to show. */
export function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Mean of the values that are numbers; NaN if none is. */
export function mean(values: readonly Maybe[]): number {
  const known = values.filter(isNumber);
  return known.reduce((sum, value) => sum + value, 0) / known.length;
}

/** A short text of any JSON value. */
export function compactJson(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? NONE;
}

/** `value` with 5 significant digits, which is more than a screen shows; null if it is no number. */
export function rounded(value: Maybe): number | null {
  return isNumber(value) ? Number(value.toPrecision(5)) : null;
}

/** `{ a: { b: 1 } }` as `[["a.b", 1]]`. */
export function flatten(value: unknown, path = ""): [string, unknown][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return path === "" ? [] : [[path, value]];
  }
  return Object.entries(value).flatMap(([name, part]) =>
    flatten(part, path === "" ? name : `${path}.${name}`)
  );
}
