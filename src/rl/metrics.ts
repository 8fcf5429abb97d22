/**
 * What evaluation reports about episodes: counts of what happened, never the reward (an arm that is
 * rewarded for resembling the teacher would win on its own terms).
 *
 * @module
 */

import type { Reference } from "../tasks/task.ts";
import { alignArguments, multisetOverlap } from "./alignment.ts";
import { succeeded } from "./episode.ts";
import type { Episode, ScoredTool } from "./episode.ts";

/** An episode with the reference that it is compared with. */
export interface EvaluatedEpisode {
  /** The rollout. */
  episode: Episode;
  /** The teacher's (or the gold) trajectory; null leaves the episode out of the comparisons. */
  reference: Reference | null;
  /** The task's tools, for argument schemas. */
  tools?: readonly ScoredTool[];
}

/** Agreement of two multisets of tool names, each in [0, 1]. */
export interface ToolAgreement {
  /** Share of the student's calls that the reference has. */
  precision: number;
  /** Share of the reference's calls that the student made. */
  recall: number;
  /** Harmonic mean of the two. */
  f1: number;
}

/** The numbers of an evaluation table, over a set of episodes. */
export interface EpisodeSummary {
  /** Number of episodes that count; the unscorable are left out. */
  episodes: number;
  /** Share of correct answers: pass@1 if the answers were sampled. */
  pass1: number;
  /** Share of rollouts that ended by themselves. */
  finished: number;
  /** See {@link toolValidity}. */
  validity: number;
  /** Mean of {@link toolAgreement}'s precision. */
  toolPrecision: number;
  /** Mean of {@link toolAgreement}'s recall. */
  toolRecall: number;
  /** Mean of {@link toolAgreement}'s F1. */
  toolF1: number;
  /** Mean of {@link argumentAccuracy}. */
  arguments: number;
  /** Attempted calls per episode. */
  calls: number;
  /** See {@link overCallRate}. */
  overCall: number;
  /** See {@link noToolRate}. */
  noTool: number;
  /** Share of episodes that are wrong, and have a call whose tool is the reference's. */
  partial: number;
  /** See {@link distributionSimilarity}, of the students' to the references' tool names. */
  similarity: number;
}

/** Stands for an episode without a call in a distribution over tool names. */
export const NO_TOOL = "none";

/**
 * Unbiased estimate of the probability that at least one of k samples is correct,
 * 1 - C(n - c, k) / C(n, k).
 *
 * @param n Number of samples drawn.
 * @param c Number of them that are correct.
 * @param k Number of tries.
 * @throws {RangeError} Unless n, c, k are integers with 0 <= c <= n and 1 <= k <= n.
 */
export function passAtK(n: number, c: number, k: number): number {
  const valid = [n, c, k].every(Number.isInteger) && c >= 0 && c <= n && k >= 1 && k <= n;
  if (!valid) throw new RangeError(`Cannot compute pass@k: n=${n}, c=${c}, k=${k}`);
  let allWrong = 1;
  for (let i = 0; i < k; i++) allWrong *= Math.max(0, n - c - i) / (n - i);
  return 1 - allWrong;
}

/** Share of all attempted calls that parsed and executed; 0 if none was attempted. */
export function toolValidity(episodes: readonly Episode[]): number {
  const attempts = episodes.flatMap((episode) => episode.attempts);
  return ratio(attempts.filter(succeeded).length, attempts.length);
}

/**
 * Precision, recall and F1 of the student's executed calls against the reference, as multisets of
 * tool names. Repeats count, unlike in the reward. All 1 if neither side calls a tool; precision is
 * 0 if only the student calls none.
 */
export function toolAgreement(episode: Episode, reference: Reference): ToolAgreement {
  const student = episode.attempts.filter(succeeded).map((attempt) => attempt.name);
  const teacher = reference.calls.map((call) => call.name);
  if (student.length === 0 && teacher.length === 0) return { precision: 1, recall: 1, f1: 1 };
  const shared = multisetOverlap(student, teacher);
  return {
    precision: ratio(shared, student.length),
    recall: teacher.length === 0 ? 1 : shared / teacher.length,
    f1: 2 * shared / (student.length + teacher.length),
  };
}

/**
 * Argument similarity of the best pairing of executed calls, mean over the reference's calls.
 *
 * @returns A number in [0, 1]; 1 if neither side calls a tool.
 */
export function argumentAccuracy(
  episode: Episode,
  reference: Reference,
  tools?: readonly ScoredTool[],
): number {
  return alignArguments(episode.attempts, reference.calls, { tools });
}

/** Mean number of attempted calls, 0 without episodes. */
export function callsPerTask(episodes: readonly Episode[]): number {
  return ratio(
    episodes.reduce((sum, episode) => sum + episode.attempts.length, 0),
    episodes.length,
  );
}

/**
 * Attempted calls in units of the reference's: 1 is as many, more is over-calling. Episodes without
 * a reference are left out; 0 if the references call nothing.
 */
export function overCallRate(evaluated: readonly EvaluatedEpisode[]): number {
  let made = 0;
  let due = 0;
  for (const { episode, reference } of evaluated) {
    if (reference === null) continue;
    made += episode.attempts.length;
    due += reference.calls.length;
  }
  return ratio(made, due);
}

/** Share of episodes in which no call was attempted, 0 without episodes. */
export function noToolRate(episodes: readonly Episode[]): number {
  return ratio(episodes.filter((episode) => episode.attempts.length === 0).length, episodes.length);
}

/**
 * Counts of the tools called: attempts that parsed and name a known tool, executed or not. An
 * episode without one counts as {@link NO_TOOL} once.
 */
export function toolCounts(episodes: readonly Episode[]): Map<string, number> {
  return countNames(
    episodes.map((episode) =>
      episode.attempts
        .filter((attempt) => attempt.status !== "malformed" && attempt.status !== "unknown-tool")
        .map((attempt) => attempt.name)
    ),
  );
}

/** Counts of the tools that references call; one without calls counts as {@link NO_TOOL} once. */
export function referenceCounts(references: readonly Reference[]): Map<string, number> {
  return countNames(references.map((reference) => reference.calls.map((call) => call.name)));
}

/**
 * 1 - Jensen-Shannon divergence (base 2) of two distributions over tool names: 1 if they are equal,
 * 0 if they have nothing in common.
 *
 * @param student Counts per name, as {@link toolCounts} makes them.
 * @param teacher Counts per name, as {@link referenceCounts} makes them.
 * @returns A number in [0, 1]; 0 if either has no counts.
 */
export function distributionSimilarity(
  student: ReadonlyMap<string, number>,
  teacher: ReadonlyMap<string, number>,
): number {
  const studentTotal = total(student);
  const teacherTotal = total(teacher);
  if (studentTotal === 0 || teacherTotal === 0) return 0;
  let divergence = 0;
  for (const name of new Set([...student.keys(), ...teacher.keys()])) {
    const p = (student.get(name) ?? 0) / studentTotal;
    const q = (teacher.get(name) ?? 0) / teacherTotal;
    const middle = (p + q) / 2;
    if (p > 0) divergence += p / 2 * Math.log2(p / middle);
    if (q > 0) divergence += q / 2 * Math.log2(q / middle);
  }
  return Math.min(1, Math.max(0, 1 - divergence));
}

/**
 * All numbers of an evaluation table. Unscorable episodes are left out of everything, episodes
 * without a reference out of the comparisons with it.
 */
export function summarizeEpisodes(evaluated: readonly EvaluatedEpisode[]): EpisodeSummary {
  const counted = evaluated.filter(({ episode }) => !episode.unscorable);
  const episodes = counted.map(({ episode }) => episode);
  const guided = counted.flatMap(({ episode, reference, tools }) =>
    reference === null ? [] : [{ episode, reference, tools }]
  );
  const agreement = guided.map(({ episode, reference }) => toolAgreement(episode, reference));
  return {
    episodes: episodes.length,
    pass1: ratio(episodes.filter((episode) => episode.correct).length, episodes.length),
    finished: ratio(episodes.filter((episode) => episode.finished).length, episodes.length),
    validity: toolValidity(episodes),
    toolPrecision: mean(agreement.map(({ precision }) => precision)),
    toolRecall: mean(agreement.map(({ recall }) => recall)),
    toolF1: mean(agreement.map(({ f1 }) => f1)),
    arguments: mean(
      guided.map(({ episode, reference, tools }) => argumentAccuracy(episode, reference, tools)),
    ),
    calls: callsPerTask(episodes),
    overCall: overCallRate(guided),
    noTool: noToolRate(episodes),
    partial: ratio(
      guided.filter(({ episode }, i) =>
        !episode.correct && agreement[i]!.recall > 0 && episode.attempts.length > 0
      ).length,
      guided.length,
    ),
    similarity: distributionSimilarity(
      toolCounts(guided.map(({ episode }) => episode)),
      referenceCounts(guided.map(({ reference }) => reference)),
    ),
  };
}

function countNames(lists: readonly (readonly string[])[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const names of lists) {
    for (const name of names.length === 0 ? [NO_TOOL] : names) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return counts;
}

function total(counts: ReadonlyMap<string, number>): number {
  return counts.values().reduce((sum, count) => sum + count, 0);
}

function mean(values: readonly number[]): number {
  return ratio(values.reduce((sum, value) => sum + value, 0), values.length);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
