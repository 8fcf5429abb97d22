/**
 * The terms of the rewards and what they have in common under every preset.
 *
 * @module
 */

import type { ReferenceCall, Task } from "../tasks/task.ts";
import {
  executionValidity,
  findRepeats,
  hasAnswer,
  statefulNames,
  wellFormedShare,
} from "./episode.ts";
import type { Episode, ScoredTool } from "./episode.ts";

/** One number per term of the reward. */
export interface RewardTerms {
  /** c: 1 if the task's verifier accepts the answer. */
  correctness: number;
  /** a_t: tool alignment with the reference. */
  tools: number;
  /** a_a: argument alignment with the reference. */
  arguments: number;
  /** v: attempts that executed / attempts. */
  validity: number;
  /** f: well-formed turns / turns, 0 without an answer or without any attempt where one is due. */
  format: number;
  /** p: penalty for repeats, over-calling and length, in [0, 0.1]. */
  penalty: number;
}

/** A scored episode. */
export interface RewardResult {
  /** The reward R; NaN if the episode is unscorable. */
  total: number;
  /**
   * The metric behind each term, **unweighted**, in [0, 1], before the flexibility floor and whether
   * or not its weight is 0. NaN if the episode is unscorable; tools and arguments are 0 if there was
   * no reference to compare with.
   */
  terms: RewardTerms;
  /** What each term contributed; the sum is `total` (before its lower bound of 0). */
  weighted: RewardTerms;
}

/** The result of an episode that nobody can score. */
export function unscorableResult(): RewardResult {
  return { total: NaN, terms: termsOf(NaN), weighted: termsOf(NaN) };
}

/** What surrounds the scoring of one episode. */
export interface ScoreContext {
  /** Share of training that is done, in [0, 1]; default 0. */
  progress?: number;
  /** Takes the place of the lambda schedule, for instance by `adaptiveGuidance`. */
  lambda?: number;
  /** Takes the place of the kappa schedule. */
  kappa?: number;
  /** The task's tools, for argument schemas and to know which tools are stateful. */
  tools?: readonly ScoredTool[];
  /** The task itself, for rewards that look at more than its reference; presets don't. */
  task?: Task;
}

/**
 * The terms that are the same under every preset; tools and arguments are left at 0.
 *
 * @param episode The rollout.
 * @param calls The reference's calls; null if there is no reference, which then demands no call.
 * @param tools The task's tools.
 * @param slack Number of extra calls that pass for nothing.
 */
export function measureTerms(
  episode: Episode,
  calls: readonly ReferenceCall[] | null,
  tools: readonly ScoredTool[] | undefined,
  slack: number,
): RewardTerms {
  const { attempts } = episode;
  const stateful = statefulNames(tools);
  const repeats = findRepeats(attempts, stateful);
  const due = calls !== null && calls.length > 0;
  const answered = hasAnswer(episode);
  const expected = answered && (attempts.length > 0 || !due);
  const repeated = repeats.filter((repeat) => repeat).length;
  const over = calls === null ? 0 : Math.max(0, attempts.length - calls.length - slack - 1);
  const overlong = clamp((episode.tokens / episode.maxTokens - 0.8) / 0.2, 0, 1);
  const penalty = Math.min(0.05, 0.025 * repeated) + Math.min(0.03, 0.01 * over) + 0.05 * overlong;
  return {
    correctness: episode.correct && answered ? 1 : 0,
    tools: 0,
    arguments: 0,
    validity: executionValidity(attempts, repeats, due ? 0 : 1),
    format: expected ? wellFormedShare(episode, stateful) : 0,
    penalty: Math.min(0.1, penalty),
  };
}

/** Terms that all have the same value. */
export function termsOf(value: number): RewardTerms {
  return {
    correctness: value,
    tools: value,
    arguments: value,
    validity: value,
    format: value,
    penalty: value,
  };
}

/**
 * What an episode is worth, for rewards of one's own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { rewardOf } from "./reward_terms.ts";
 *
 * assertEquals(rewardOf({ correctness: 1, penalty: -0.25 }).total, 0.75);
 * ```
 *
 * @param parts What each term contributes; 0 where left out.
 * @param terms The metric behind each, where that is something else.
 */
export function rewardOf(parts: Partial<RewardTerms>, terms?: RewardTerms): RewardResult {
  const weighted = { ...termsOf(0), ...parts };
  const total = Object.values(weighted).reduce((sum, part) => sum + part, 0);
  return { total, terms: terms ?? weighted, weighted };
}

/** `value` moved into [low, high]; NaN (a share of no budget at all) is low. */
export function clamp(value: number, low: number, high: number): number {
  return value > low ? Math.min(value, high) : low;
}
