/**
 * How similar the arguments of two tool calls are, and the assignment problem of pairing calls.
 *
 * @module
 */

import { isRecord } from "../text/json_value.ts";

/** How two strings are compared: equal after normalisation, or 1 - normalised edit distance. */
export type StringComparison = "exact" | "edit";

/** Options of {@link valueSimilarity} and {@link argumentSimilarity}. */
export interface SimilarityOptions {
  /** How strings are compared; default `exact`. */
  strings?: StringComparison;
  /**
   * Says whether the student's value stands for the reference's because both came out of calls that
   * correspond, so that a wrong number upstream is not punished again downstream.
   */
  sameOrigin?: (reference: unknown, student: unknown) => boolean;
}

/** Two numbers that are not both integers are equal within this relative difference. */
export const FLOAT_TOLERANCE = 1e-6;

/** Up to this many calls on the smaller side the assignment is exact, beyond it greedy. */
export const EXACT_ASSIGNMENT_LIMIT = 8;

/**
 * JSON with sorted object keys: equal values give equal text.
 *
 * @param value Any JSON value; what JSON cannot express becomes null, or is dropped from objects.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (isRecord(value)) {
    const entries = Object.keys(value).sort().filter((key) => value[key] !== undefined)
      .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`);
    return `{${entries.join(",")}}`;
  }
  if (typeof value === "bigint") return value.toString();
  return JSON.stringify(value) ?? "null";
}

/**
 * Similarity of two argument objects: the mean over the union of their keys. A key that only one
 * side has scores 0, unless its value is the schema's default.
 *
 * @param reference The teacher's arguments.
 * @param student The student's arguments.
 * @param schema JSON Schema of the arguments, if known.
 * @param options How to compare.
 * @returns A number in [0, 1]; 1 if neither has arguments.
 */
export function argumentSimilarity(
  reference: Record<string, unknown>,
  student: Record<string, unknown>,
  schema?: unknown,
  options: SimilarityOptions = {},
): number {
  const properties = field(schema, "properties");
  const keys = new Set([...Object.keys(reference), ...Object.keys(student)]);
  let sum = 0;
  for (const key of keys) {
    const property = field(properties, key);
    const inReference = Object.hasOwn(reference, key);
    if (inReference && Object.hasOwn(student, key)) {
      sum += valueSimilarity(reference[key], student[key], property, options);
    } else {
      const fallback = field(property, "default");
      const only = inReference ? reference[key] : student[key];
      if (fallback !== undefined && canonicalJson(only) === canonicalJson(fallback)) sum += 1;
    }
  }
  return keys.size === 0 ? 1 : sum / keys.size;
}

/**
 * Similarity of two argument values: booleans, integers and enums exactly; other numbers within a
 * relative 1e-6; strings after NFKC, trimming and case folding; arrays element by element, or in any
 * order if the schema says `uniqueItems`; objects key by key.
 *
 * @param reference The teacher's value.
 * @param student The student's value.
 * @param schema JSON Schema of the value, if known.
 * @param options How to compare.
 * @returns A number in [0, 1].
 */
export function valueSimilarity(
  reference: unknown,
  student: unknown,
  schema?: unknown,
  options: SimilarityOptions = {},
): number {
  if (options.sameOrigin?.(reference, student)) return 1;
  if (field(schema, "enum") !== undefined) {
    return canonicalJson(reference) === canonicalJson(student) ? 1 : 0;
  }
  if (typeof reference === "number" && typeof student === "number") {
    return sameNumber(reference, student, field(schema, "type") === "integer") ? 1 : 0;
  }
  if (typeof reference === "string" && typeof student === "string") {
    return stringSimilarity(reference, student, options.strings ?? "exact");
  }
  if (Array.isArray(reference) && Array.isArray(student)) {
    return arraySimilarity(reference, student, schema, options);
  }
  if (isRecord(reference) && isRecord(student)) {
    return argumentSimilarity(reference, student, schema, options);
  }
  return canonicalJson(reference) === canonicalJson(student) ? 1 : 0;
}

/**
 * Pairs rows with columns so that the sum of their weights is largest. As many pairs are made as the
 * smaller side allows, also of weight 0; ties go to the earlier row and column.
 *
 * @param weights [rows, columns], each in [0, 1].
 * @returns For every row its column, or -1.
 */
export function assign(weights: readonly (readonly number[])[]): number[] {
  const rows = weights.length;
  const columns = weights[0]?.length ?? 0;
  if (columns <= EXACT_ASSIGNMENT_LIMIT) return assignExactly(weights, columns);
  if (rows <= EXACT_ASSIGNMENT_LIMIT) {
    const transposed = Array.from({ length: columns }, (_, c) => weights.map((row) => row[c] ?? 0));
    const result: number[] = new Array(rows).fill(-1);
    for (const [column, row] of assignExactly(transposed, rows).entries()) {
      if (row >= 0) result[row] = column;
    }
    return result;
  }
  return assignGreedily(weights);
}

/** Best assignment by dynamic programming over the set of columns that are still free. */
function assignExactly(weights: readonly (readonly number[])[], columns: number): number[] {
  const rows = weights.length;
  const masks = 1 << columns;
  // best[row * masks + used]: the most that rows row.. can add once the columns in `used` are taken.
  const best = new Float64Array((rows + 1) * masks);
  const choice = new Int8Array(rows * masks);
  for (let row = rows - 1; row >= 0; row--) {
    for (let used = 0; used < masks; used++) {
      let top = best[(row + 1) * masks + used]!;
      let column = -1;
      for (let c = columns - 1; c >= 0; c--) {
        if (used & (1 << c)) continue;
        // One on top of every weight, so that leaving a possible pair out never pays.
        const value = 1 + weights[row]![c]! + best[(row + 1) * masks + (used | (1 << c))]!;
        if (value >= top) {
          top = value;
          column = c;
        }
      }
      best[row * masks + used] = top;
      choice[row * masks + used] = column;
    }
  }
  let used = 0;
  return weights.map((_, row) => {
    const column = choice[row * masks + used]!;
    if (column >= 0) used |= 1 << column;
    return column;
  });
}

/** Takes the heaviest remaining pair again and again: near enough for more than 8 calls of one tool. */
function assignGreedily(weights: readonly (readonly number[])[]): number[] {
  const pairs = weights.flatMap((row, r) => row.map((weight, c) => ({ weight, r, c })));
  pairs.sort((a, b) => b.weight - a.weight || a.r - b.r || a.c - b.c);
  const result: number[] = new Array(weights.length).fill(-1);
  const taken = new Set<number>();
  for (const { r, c } of pairs) {
    if (result[r] !== -1 || taken.has(c)) continue;
    result[r] = c;
    taken.add(c);
  }
  return result;
}

/** Smallest number of insertions, deletions and substitutions that turn one sequence into another. */
export function editDistance(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substituted, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

function arraySimilarity(
  reference: readonly unknown[],
  student: readonly unknown[],
  schema: unknown,
  options: SimilarityOptions,
): number {
  const longest = Math.max(reference.length, student.length);
  if (longest === 0) return 1;
  const items = field(schema, "items");
  const similarity = (r: unknown, s: unknown) => valueSimilarity(r, s, items, options);
  let sum = 0;
  if (field(schema, "uniqueItems") === true) {
    const weights = reference.map((r) => student.map((s) => similarity(r, s)));
    for (const [r, s] of assign(weights).entries()) if (s >= 0) sum += weights[r]![s]!;
  } else {
    for (let i = 0; i < Math.min(reference.length, student.length); i++) {
      sum += similarity(reference[i], student[i]);
    }
  }
  return sum / longest;
}

function stringSimilarity(reference: string, student: string, how: StringComparison): number {
  const a = normalize(reference);
  const b = normalize(student);
  if (a === b) return 1;
  if (how === "exact") return 0;
  return 1 - editDistance(a, b) / Math.max(a.length, b.length);
}

/** Upper then lower case is JavaScript's nearest to Unicode case folding ("ß" and "SS" meet). */
function normalize(text: string): string {
  return text.normalize("NFKC").trim().toUpperCase().toLowerCase();
}

function sameNumber(a: number, b: number, integer: boolean): boolean {
  if (integer || (Number.isInteger(a) && Number.isInteger(b))) return a === b;
  return Math.abs(a - b) <= FLOAT_TOLERANCE * Math.max(Math.abs(a), Math.abs(b));
}

/** Reads a field of a JSON Schema (or of anything else) without trusting its shape. */
function field(schema: unknown, key: string): unknown {
  return isRecord(schema) && Object.hasOwn(schema, key) ? schema[key] : undefined;
}
