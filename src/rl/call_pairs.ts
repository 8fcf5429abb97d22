/**
 * Which call of the student corresponds to which of a reference trajectory: repeats are dropped on
 * both sides, and calls of the same tool are paired so that their arguments agree best.
 *
 * @module
 */

import { argumentSimilarity, assign, canonicalJson } from "./arguments.ts";
import type { StringComparison } from "./arguments.ts";
import { callIdentity, statefulNames, succeeded } from "./episode.ts";
import type { ScoredTool } from "./episode.ts";

/** A call of either side that executed. */
export interface Call {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
  readonly result?: unknown;
}

/** A call that the student attempted; a `ToolAttempt` fits. */
export interface AttemptedCall {
  readonly name: string;
  /** null if they could not be parsed. */
  readonly arguments: Record<string, unknown> | null;
  /** `ok` if it executed. */
  readonly status: string;
  readonly result?: unknown;
}

/** How calls are compared. */
export interface PairingOptions {
  /** How string arguments are compared; default `exact`. */
  readonly strings?: StringComparison | undefined;
  /** The task's tools: argument schemas, and which tools are stateful. */
  readonly tools?: readonly ScoredTool[] | undefined;
}

/** A call of the student and the one of the reference that it corresponds to. */
export interface CallPair {
  /** Index of the student's attempt. */
  readonly attempt: number;
  /** Index of the reference's call. */
  readonly call: number;
  /** How similar each argument of the two is, in [0, 1], by its name. */
  readonly similarity: ReadonlyMap<string, number>;
}

/** Both trajectories beside each other. */
export interface CallMatch {
  /** In the order of the reference. */
  readonly pairs: readonly CallPair[];
  /** Indices of the attempts that do not count, since another one makes the same call. */
  readonly repeatedAttempts: ReadonlySet<number>;
  /** Indices of the reference's calls that repeat an earlier one. */
  readonly repeatedCalls: ReadonlySet<number>;
}

/**
 * Sets the student's attempts beside the reference's calls, as argument alignment does.
 *
 * @param attempts The student's attempts, in order.
 * @param reference The reference's calls, in order.
 * @param options String comparison and tools.
 */
export function matchCalls(
  attempts: readonly AttemptedCall[],
  reference: readonly Call[],
  options: PairingOptions = {},
): CallMatch {
  // Copies, so that an object that stands in two places is two calls.
  const [attempted, called] = [
    attempts.map((one) => ({ ...one })),
    reference.map((one) => ({ ...one })),
  ];
  const distinct = distinctAttempts(attempted, options.tools);
  const done = distinct.filter(isExecuted);
  const wanted = distinctReference(called, options.tools);
  const { partner, similarity } = pairCalls(done, wanted, options);
  const pairs = partner.flatMap((i, j) => {
    if (i < 0) return [];
    const [student, teacher] = [done[i]!, wanted[j]!];
    const names = Object.keys({ ...teacher.arguments, ...student.arguments });
    return [{
      attempt: attempted.indexOf(student),
      call: called.indexOf(teacher),
      similarity: new Map(names.map((name) => [name, similarity(j, i, name)])),
    }];
  });
  return {
    pairs,
    repeatedAttempts: missingFrom(distinct, attempted),
    repeatedCalls: missingFrom(wanted, called),
  };
}

/** Pairs student calls with reference calls of the same tool; `partner[j]` is -1 where none is left. */
export function pairCalls(
  student: readonly Call[],
  reference: readonly Call[],
  options: PairingOptions,
): {
  readonly partner: number[];
  readonly scores: number[];
  /** How similar one argument of a reference call `j` and a student call `i` is. */
  readonly similarity: (j: number, i: number, name: string) => number;
} {
  const schemas = new Map(options.tools?.map((tool) => [tool.name, tool.parameters]));
  const studentValues = student.map((call) => canonicalJson(call.arguments));
  const referenceResults = reference.map((call) => originKey(call.result));
  const studentResults = student.map((call) => originKey(call.result));
  const compare = (
    j: number,
    i: number,
    upstream: readonly number[] | undefined,
    part = (args: Record<string, unknown>) => args,
  ) => {
    const sameOrigin = upstream && ((r: unknown, s: unknown) => {
      const [wanted, given] = [originKey(r), originKey(s)];
      if (wanted === null || given === null) return false;
      return upstream.some((from, at) =>
        at < j && from >= 0 && from < i &&
        referenceResults[at] === wanted && studentResults[from] === given
      );
    });
    const { name, arguments: wanted } = reference[j]!;
    const given = student[i]!.arguments;
    const { strings } = options;
    return argumentSimilarity(part(wanted), part(given), schemas.get(name), {
      strings,
      sameOrigin,
    });
  };
  const pair = (upstream?: readonly number[]) => {
    const partner: number[] = new Array(reference.length).fill(-1);
    const scores: number[] = new Array(reference.length).fill(0);
    for (const name of new Set(reference.map((call) => call.name))) {
      const js = indicesOf(reference, name);
      const is = indicesOf(student, name);
      const weights = js.map((j) =>
        is.map((i) =>
          studentValues[i] === canonicalJson(reference[j]!.arguments) ? 1 : compare(j, i, upstream)
        )
      );
      for (const [row, column] of assign(weights).entries()) {
        if (column < 0) continue;
        partner[js[row]!] = is[column]!;
        scores[js[row]!] = weights[row]![column]!;
      }
    }
    return { partner, scores };
  };
  // Where a value came from is known only once calls are paired, so values alone pair them first.
  const upstream = pair().partner;
  return {
    ...pair(upstream),
    similarity: (j, i, name) =>
      compare(j, i, upstream, (args) => Object.hasOwn(args, name) ? { [name]: args[name] } : {}),
  };
}

/** A result or value that can be traced from call to call; booleans and null coincide too easily. */
export function originKey(value: unknown): string | null {
  if (value === undefined || value === null || typeof value === "boolean") return null;
  return canonicalJson(value);
}

/**
 * One attempt per call identity: the first that executed, or else the first, so that the outcome does
 * not depend on whether a failure came before or after.
 */
export function distinctAttempts<Attempt extends AttemptedCall>(
  attempts: readonly Attempt[],
  tools?: readonly ScoredTool[],
): Attempt[] {
  const stateful = statefulNames(tools);
  const kept = new Map<string, Attempt>();
  for (const [i, attempt] of attempts.entries()) {
    const anonymous = attempt.arguments === null || stateful.has(attempt.name);
    const identity = anonymous ? `#${i}` : ` ${callIdentity(attempt.name, attempt.arguments)}`;
    const before = kept.get(identity);
    if (before !== undefined && (succeeded(before) || !succeeded(attempt))) continue;
    kept.delete(identity); // so that the kept attempts stay in the order in which they were made
    kept.set(identity, attempt);
  }
  return [...kept.values()];
}

/** Drops the reference's own repeats too, or else replaying it could not score 1. */
export function distinctReference<Wanted extends Call>(
  reference: readonly Wanted[],
  tools?: readonly ScoredTool[],
): Wanted[] {
  const stateful = statefulNames(tools);
  const seen = new Set<string>();
  return reference.filter((call) => {
    const identity = callIdentity(call.name, call.arguments);
    const fresh = stateful.has(call.name) || !seen.has(identity);
    seen.add(identity);
    return fresh;
  });
}

/** Whether an attempt executed. */
export function isExecuted<Attempt extends AttemptedCall>(
  attempt: Attempt,
): attempt is Attempt & Call {
  return succeeded(attempt) && attempt.arguments !== null;
}

function missingFrom<T>(some: readonly T[], all: readonly T[]): Set<number> {
  const kept = new Set(some);
  return new Set(all.flatMap((one, i) => kept.has(one) ? [] : [i]));
}

function indicesOf(calls: readonly Call[], name: string): number[] {
  return calls.flatMap((call, i) => call.name === name ? [i] : []);
}
