/**
 * What a finished rollout looks like to rewards and metrics: plain data taken from the rollout
 * engine's own records of model-produced tokens, never searched out of decoded text. A host can
 * build these by hand.
 *
 * @module
 */

import { callsAnswer } from "../tasks/call_match.ts";
import { checkAnswer, type CheckedTask, type Reference } from "../tasks/task.ts";
import { canonicalJson } from "./arguments.ts";

/**
 * What became of one attempted tool call: executed (`ok`), not parsable (`malformed`), no such tool
 * among the task's tools (`unknown-tool`), refused by the tool's schema (`bad-arguments`), or it
 * threw, timed out or otherwise returned an error (`failed`).
 */
export type AttemptStatus = "ok" | "malformed" | "unknown-tool" | "bad-arguments" | "failed";

/** One tool call that the student attempted. */
export interface ToolAttempt {
  /** The tool's name as the student wrote it; empty if not even that could be parsed. */
  name: string;
  /** The parsed arguments, or null if they could not be parsed. */
  arguments: Record<string, unknown> | null;
  /** Index into {@link Episode.turns} of the turn that made the attempt. */
  turn: number;
  /** What became of the attempt. */
  status: AttemptStatus;
  /** What the tool returned, if it ran. */
  result?: unknown;
}

/** One rollout of the student on one task. */
export interface Episode {
  /** Every attempted tool call, in the order of generation. */
  attempts: ToolAttempt[];
  /** The final answer, or null if the student gave none. */
  answer: string | null;
  /** What the task's verifier says of the answer. */
  correct: boolean;
  /** False if a turn, call or length limit (or the loop detector) ended the rollout. */
  finished: boolean;
  /** One entry per assistant turn. */
  turns: { wellFormed: boolean }[];
  /** Number of tokens that the student produced. */
  tokens: number;
  /** Number of tokens that the student was allowed to produce. */
  maxTokens: number;
  /**
   * True if infrastructure failed (not the student): the reward is NaN, and the rollout is left out
   * of its group's statistics.
   */
  unscorable?: boolean;
}

/** What scoring wants to know of a task's tools; the `Tool` of `src/tools/tool.ts` fits. */
export interface ScoredTool {
  /** The tool's name. */
  name: string;
  /** JSON Schema of its arguments: defaults, enums and unordered arrays count in comparisons. */
  parameters?: unknown;
  /** True if calling twice with the same arguments can be meaningful; such calls are no repeats. */
  stateful?: boolean;
}

/**
 * The teacher's trajectory as the episode that it was, for rewards that compare with what it is
 * worth: every call executed in a turn of its own, then the answer. Nobody counts its tokens.
 *
 * @param reference What the teacher did.
 * @param task Checks the answer; without it, the answer counts as right.
 */
export function replay(reference: Reference, task?: CheckedTask): Episode {
  const { calls } = reference;
  const answer = task?.check === "calls" ? callsAnswer(calls) : reference.answer;
  return {
    attempts: calls.map(({ name, arguments: args, result }, turn) => ({
      name,
      arguments: args,
      turn,
      status: "ok",
      result,
    })),
    answer,
    correct: task ? checkAnswer(task, answer) : true,
    finished: true,
    turns: Array.from({ length: calls.length + 1 }, () => ({ wellFormed: true })),
    tokens: 0,
    maxTokens: Infinity,
  };
}

/** True if the attempt parsed, named a known tool, passed its schema and executed. */
export function succeeded(attempt: { readonly status: string }): boolean {
  return attempt.status === "ok";
}

/** True if the student gave an answer that is not blank. */
export function hasAnswer(episode: Episode): boolean {
  return episode.answer !== null && episode.answer.trim() !== "";
}

/**
 * Identity of a call: the tool's name and its arguments as canonical JSON, so that the order of the
 * arguments never matters.
 */
export function callIdentity(name: string, args: Record<string, unknown> | null): string {
  return `${name} ${canonicalJson(args)}`;
}

/** Names of the stateful tools among `tools`. */
export function statefulNames(tools: readonly ScoredTool[] = []): Set<string> {
  return new Set(tools.filter((tool) => tool.stateful).map((tool) => tool.name));
}

/**
 * Marks the attempts that repeat an earlier one: same tool and same arguments, unless the tool is
 * stateful. A retry that succeeds after a failure is recovery, not repetition, and what could not be
 * parsed has no identity and repeats nothing.
 *
 * @param attempts The episode's attempts, in order.
 * @param stateful Names of the tools whose repeated calls are meaningful.
 * @returns One flag per attempt.
 */
export function findRepeats(
  attempts: readonly ToolAttempt[],
  stateful: ReadonlySet<string>,
): boolean[] {
  const executed = new Map<string, boolean>();
  return attempts.map((attempt) => {
    if (attempt.arguments === null || stateful.has(attempt.name)) return false;
    const identity = callIdentity(attempt.name, attempt.arguments);
    const before = executed.get(identity);
    executed.set(identity, before === true || succeeded(attempt));
    return before === true || (before === false && !succeeded(attempt));
  });
}

/**
 * Execution validity v: the share of attempts that executed. A repeat of a call that already
 * executed is left out of both sides of the fraction, or else a student could raise its validity by
 * repeating a call that works.
 *
 * @param attempts The episode's attempts, in order.
 * @param repeats The flags of {@link findRepeats}.
 * @param whenNone The value when nothing was attempted.
 * @returns A number in [0, 1].
 */
export function executionValidity(
  attempts: readonly ToolAttempt[],
  repeats: readonly boolean[],
  whenNone: number,
): number {
  if (attempts.length === 0) return whenNone;
  const executed = attempts.filter((attempt, i) => succeeded(attempt) && !repeats[i]).length;
  const invalid = attempts.filter((attempt) => !succeeded(attempt)).length;
  return executed / (executed + invalid);
}

/**
 * Share of well-formed assistant turns. A turn with a malformed call is not well-formed, whatever
 * its flag says; a well-formed turn that only asks again what was asked before is not counted at
 * all, so that padding an episode with repeats cannot dilute a malformed turn.
 *
 * @param episode The rollout.
 * @param stateful Names of the tools whose repeated calls are meaningful.
 * @returns A number in [0, 1]; 0 without turns.
 */
export function wellFormedShare(episode: Episode, stateful: ReadonlySet<string>): number {
  const malformed = episode.turns.map((turn) => !turn.wellFormed);
  const calls = new Set<number>();
  const fresh = new Set<number>();
  const asked = new Set<string>();
  for (const attempt of episode.attempts) {
    calls.add(attempt.turn);
    if (attempt.status === "malformed") malformed[attempt.turn] = true;
    // Unlike for findRepeats, a retry is no news either: or else repairing the first try could turn
    // the second from a good turn into one that is not counted, and cost reward.
    const identity = callIdentity(attempt.name, attempt.arguments);
    const known = attempt.arguments !== null && !stateful.has(attempt.name) && asked.has(identity);
    if (!known) fresh.add(attempt.turn);
    asked.add(identity);
  }
  let counted = 0;
  let good = 0;
  for (const turn of episode.turns.keys()) {
    if (!malformed[turn] && calls.has(turn) && !fresh.has(turn)) continue;
    counted++;
    if (!malformed[turn]) good++;
  }
  return counted === 0 ? 0 : good / counted;
}
