/**
 * How well the student's tool calls agree with a reference trajectory.
 *
 * With n_s calls of the student, n_r of the reference, and tp = the size of the intersection of the
 * two multisets of call keys:
 *
 * ```text
 * multiset-f1       2 tp / (n_s + n_r)
 * multiset-jaccard  tp / (n_s + n_r - tp)
 * tversky           tp / (tp + alpha max(0, n_s - tp - slack) + beta (n_r - tp))
 * lcs               2 LCS / (n_s + n_r)
 * edit              1 - Levenshtein / max(n_s, n_r)
 * dag               multiset-f1 x share of the reference's data dependencies that are respected
 * ```
 *
 * Repeats are dropped on both sides first. An attempt that did not execute stays in n_s with a key
 * that matches nothing: if it were dropped, repairing a useless call could lower the score.
 *
 * @module
 */

import type { ReferenceCall } from "../tasks/task.ts";
import { canonicalJson, editDistance } from "./arguments.ts";
import type { StringComparison } from "./arguments.ts";
import {
  type Call,
  distinctAttempts,
  distinctReference,
  isExecuted,
  originKey,
  pairCalls,
} from "./call_pairs.ts";
import { callIdentity } from "./episode.ts";
import type { ScoredTool, ToolAttempt } from "./episode.ts";

/** The alignment operators. */
export const ALIGNMENT_OPERATORS = [
  "set-exact",
  "set-any",
  "set-f1",
  "multiset-f1",
  "multiset-jaccard",
  "tversky",
  "lcs",
  "edit",
  "dag",
  "exact-sequence",
] as const;

/** Name of an alignment operator. */
export type AlignmentOperator = typeof ALIGNMENT_OPERATORS[number];

/** What may make two calls "the same" to an operator. */
export const CALL_KEYS = ["name", "name+keys", "name+args", "result"] as const;

/** Name of a key function of calls. */
export type CallKey = typeof CALL_KEYS[number];

/** Options of {@link alignTools} and {@link alignArguments}; the defaults are those of `flex`. */
export interface AlignmentOptions {
  /** The operator; default `tversky`. */
  operator?: AlignmentOperator;
  /** What is compared; default `name`. */
  key?: CallKey;
  /** Tversky weight of a call beyond the reference; default 0.3. */
  alpha?: number;
  /** Tversky weight of a missing reference call; default 0.7. */
  beta?: number;
  /** Number of extra calls that Tversky lets pass for nothing; default 1. */
  slack?: number;
  /** How string arguments are compared; default `exact`. */
  strings?: StringComparison;
  /** The task's tools: argument schemas, and which tools are stateful. */
  tools?: readonly ScoredTool[];
}

/**
 * Tool alignment a_t of the student's attempts with one reference trajectory. Where the reference
 * calls nothing, it is 1 for no attempt; any attempt makes it 1 / (1 + alpha n_s) under `tversky`
 * (no slack: such tasks teach when not to call), and 0 under the other operators.
 *
 * @param attempts The student's attempts, in order.
 * @param reference The reference's calls, in order.
 * @param options Operator, key and tools.
 * @returns A number in [0, 1].
 */
export function alignTools(
  attempts: readonly ToolAttempt[],
  reference: readonly ReferenceCall[],
  options: AlignmentOptions = {},
): number {
  const { operator = "tversky", key = "name", alpha = 0.3 } = options;
  const verbatim = operator === "exact-sequence"; // the strict baseline forgives no repeat either
  const done = verbatim ? [...attempts] : distinctAttempts(attempts, options.tools);
  const wanted = verbatim ? [...reference] : distinctReference(reference, options.tools);
  if (wanted.length === 0) {
    if (done.length === 0) return 1;
    return operator === "tversky" ? 1 / (1 + alpha * done.length) : 0;
  }
  // A space-free key that no reference call can have stands for each attempt that did not execute.
  const student = done.map((call, i) => isExecuted(call) ? callKey(call, key) : `#${i}`);
  const teacher = wanted.map((call) => callKey(call, key));
  const score = compareKeys(student, teacher, options);
  if (operator !== "dag") return score;
  return score * respectedShare(done, wanted, options);
}

/**
 * Argument alignment a_a: calls of the same tool are paired so that the sum of argument similarities
 * is largest; the score is the mean over the reference's calls, an unpaired one counting 0. Values
 * that are results of earlier calls on both sides count as equal if those calls are paired. Where
 * the reference calls nothing, 1 / (1 + alpha n_s) as in {@link alignTools}.
 *
 * @param attempts The student's attempts, in order.
 * @param reference The reference's calls, in order.
 * @param options String comparison, tools, alpha.
 * @returns A number in [0, 1].
 */
export function alignArguments(
  attempts: readonly ToolAttempt[],
  reference: readonly ReferenceCall[],
  options: AlignmentOptions = {},
): number {
  const { alpha = 0.3 } = options;
  const done = distinctAttempts(attempts, options.tools);
  const wanted = distinctReference(reference, options.tools);
  if (wanted.length === 0) return 1 / (1 + alpha * done.length);
  const { scores } = pairCalls(done.filter(isExecuted), wanted, options);
  return scores.reduce((sum, score) => sum + score, 0) / wanted.length;
}

/** A call as the operators compare it; each key function has its own name space. */
function callKey(call: Call, key: CallKey): string {
  switch (key) {
    case "name":
      return ` ${call.name}`;
    case "name+keys":
      return ` ${call.name} ${canonicalJson(Object.keys(call.arguments).sort())}`;
    case "name+args":
      return ` ${callIdentity(call.name, call.arguments)}`;
    case "result":
      return ` ${canonicalJson(call.result)}`;
  }
}

/** The operators on key sequences; `dag` yields its multiset-f1 factor. `teacher` is not empty. */
function compareKeys(student: string[], teacher: string[], options: AlignmentOptions): number {
  const { operator = "tversky", alpha = 0.3, beta = 0.7, slack = 1 } = options;
  const done = new Set(student);
  const wanted = new Set(teacher);
  const shared = done.intersection(wanted).size;
  const total = student.length + teacher.length;
  switch (operator) {
    case "set-exact":
      return shared === done.size && shared === wanted.size ? 1 : 0;
    case "set-any":
      return shared > 0 ? 1 : 0;
    case "set-f1":
      return 2 * shared / (done.size + wanted.size);
    case "exact-sequence":
      return student.length === teacher.length && student.every((k, i) => k === teacher[i]) ? 1 : 0;
    case "lcs":
      return 2 * longestCommonSubsequence(student, teacher) / total;
    case "edit":
      return 1 - editDistance(student, teacher) / Math.max(student.length, teacher.length);
  }
  const tp = multisetOverlap(student, teacher);
  if (tp === 0) return 0;
  if (operator === "multiset-jaccard") return tp / (total - tp);
  if (operator === "tversky") {
    const extra = Math.max(0, student.length - tp - slack);
    return tp / (tp + alpha * extra + beta * (teacher.length - tp));
  }
  return 2 * tp / total;
}

/** Size of the intersection of two multisets. */
export function multisetOverlap(a: readonly string[], b: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const item of b) counts.set(item, (counts.get(item) ?? 0) + 1);
  let overlap = 0;
  for (const item of a) {
    const left = counts.get(item) ?? 0;
    if (left > 0) overlap++;
    counts.set(item, left - 1);
  }
  return overlap;
}

/**
 * Share of the reference's ordered pairs that the student respects. A pair is ordered if the later
 * call's arguments contain the earlier one's result; it is respected if the student made both calls
 * in that order. 1 if no pair is ordered.
 */
function respectedShare(
  attempts: readonly ToolAttempt[],
  reference: readonly Call[],
  options: AlignmentOptions,
): number {
  const { partner } = pairCalls(attempts.filter(isExecuted), reference, options);
  let ordered = 0;
  let respected = 0;
  for (let later = 1; later < reference.length; later++) {
    const used = valuesWithin(reference[later]!.arguments);
    for (let earlier = 0; earlier < later; earlier++) {
      const result = originKey(reference[earlier]!.result);
      if (result === null || !used.has(result)) continue;
      ordered++;
      const [a, b] = [partner[earlier]!, partner[later]!];
      if (a >= 0 && a < b) respected++;
    }
  }
  return ordered === 0 ? 1 : respected / ordered;
}

/** Canonical JSON of every value in `value`, itself included. */
function valuesWithin(value: unknown, into: Set<string> = new Set()): Set<string> {
  into.add(canonicalJson(value));
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) valuesWithin(inner, into);
  }
  return into;
}

function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let previous: number[] = new Array(b.length + 1).fill(0);
  for (const item of a) {
    const row = [0];
    for (let j = 1; j <= b.length; j++) {
      row.push(item === b[j - 1] ? previous[j - 1]! + 1 : Math.max(previous[j]!, row[j - 1]!));
    }
    previous = row;
  }
  return previous[b.length]!;
}
