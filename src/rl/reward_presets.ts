/**
 * Published rewards, reproduced for comparison.
 *
 * - `sparse`, `mentor-partial`, `mentor-nohall`, `mentor-exact`, `mentor-f1`: MENTOR and its
 *   ablations. They look at *sets of tool names*: T of the reference, S of the student's calls that
 *   could be parsed and name a known tool, executed or not.
 * - `toolrl`: ToolRL's format reward {0, 1} plus correctness in [-3, 3]. Its order-dependent greedy
 *   matching is kept; its length reward and annealed scales, off by default there, are not offered.
 * - `recall`: ReCall's F1 of the answer's words with a floor of 0.1.
 *
 * Deviations: correctness is the task's verifier; `toolrl` scores an unfinished episode like one that
 * cannot be parsed; `recall` compares words that are numbers as numbers, where the usual
 * normalisation would drop signs and decimal points.
 *
 * @module
 */

import type { Reference, ReferenceCall } from "../tasks/task.ts";
import { alignArguments, multisetOverlap } from "./alignment.ts";
import { canonicalJson } from "./arguments.ts";
import { callIdentity, hasAnswer } from "./episode.ts";
import type { Episode } from "./episode.ts";
import { measureTerms, rewardOf } from "./reward_terms.ts";
import type { RewardResult, RewardTerms, ScoreContext } from "./reward_terms.ts";

/** The presets that reproduce a published reward. */
export const PAPER_PRESETS = [
  "sparse",
  "mentor-exact",
  "mentor-partial",
  "mentor-nohall",
  "mentor-f1",
  "toolrl",
  "recall",
] as const;

/** Name of a preset that reproduces a published reward. */
export type PaperPreset = typeof PAPER_PRESETS[number];

/**
 * Scores an episode by a published reward.
 *
 * @param preset Which one.
 * @param episode A scorable rollout.
 * @param reference The teacher's trajectory; may be null for `sparse` and `mentor-nohall`.
 * @param context The task's tools.
 */
export function scorePaperPreset(
  preset: PaperPreset,
  episode: Episode,
  reference: Reference | null,
  context: ScoreContext,
): RewardResult {
  const calls = reference?.calls ?? null;
  const terms = measureTerms(episode, calls, context.tools, 1);
  if (calls !== null) {
    terms.tools = toolSetScore("mentor-f1", episode, calls);
    terms.arguments = alignArguments(episode.attempts, calls, { tools: context.tools });
  }
  if (preset === "toolrl") return scoreToolRl(terms, episode, calls!);
  if (preset === "recall") return scoreRecall(terms, episode, reference!);
  return scoreMentor(preset, terms, episode, calls);
}

/** The five rewards of MENTOR's code. Its floors count as format, its bonus as validity. */
function scoreMentor(
  preset: Exclude<PaperPreset, "toolrl" | "recall">,
  terms: RewardTerms,
  episode: Episode,
  calls: readonly ReferenceCall[] | null,
): RewardResult {
  if (calls !== null) terms.tools = toolSetScore(preset, episode, calls);
  if (!episode.finished) return rewardOf({}, terms);
  const correct = terms.correctness;
  if (preset === "sparse") {
    return rewardOf(correct === 1 ? { correctness: 1 } : { format: 0.1 }, terms);
  }
  if (!hasAnswer(episode) || calls?.length === 0) return rewardOf({ format: 0.1 }, terms);
  const guided = preset !== "mentor-nohall";
  const bonus = preset !== "mentor-partial" &&
    episode.attempts.every((attempt) => attempt.status !== "unknown-tool");
  return rewardOf({
    correctness: 0.7 * correct,
    tools: guided ? (correct === 1 ? 1 : 0.2) * 0.3 * terms.tools : 0,
    validity: bonus ? 0.1 : 0,
  }, terms);
}

/** Overlap, equality or F1 of the sets of tool names, depending on the preset. */
function toolSetScore(
  preset: PaperPreset,
  episode: Episode,
  calls: readonly ReferenceCall[],
): number {
  const teacher = new Set(calls.map((call) => call.name));
  const student = new Set(
    episode.attempts
      .filter((attempt) => attempt.status !== "malformed" && attempt.status !== "unknown-tool")
      .map((attempt) => attempt.name),
  );
  const shared = student.intersection(teacher).size;
  const exact = student.size > 0 && shared === student.size && shared === teacher.size;
  if (preset === "mentor-exact") return exact ? 1 : 0;
  if (preset === "mentor-partial") return shared > 0 ? 1 : 0;
  return shared === 0 ? 0 : 2 * shared / (student.size + teacher.size);
}

/**
 * ToolRL: format + 6 s / s_max - 3, with s = Jaccard of the names + for every reference call the best
 * unused call of the same tool (Jaccard of the keys + number of equal values).
 */
function scoreToolRl(
  terms: RewardTerms,
  episode: Episode,
  calls: readonly ReferenceCall[],
): RewardResult {
  const { attempts } = episode;
  const wellFormed = episode.finished && hasAnswer(episode) && episode.turns.length > 0 &&
    episode.turns.every((turn) => turn.wellFormed);
  const format = wellFormed ? 1 : 0;
  const predicted = attempts.map((attempt) => ({
    name: attempt.name,
    arguments: attempt.arguments ?? {},
  }));
  const parsed = episode.finished && attempts.every((attempt) => attempt.status !== "malformed");
  terms.format = format;
  terms.tools = 0;
  terms.arguments = 0;
  if (calls.length === 0) return rewardOf({ format }, terms);
  if (!parsed || attempts.length === 0) return rewardOf({ format, tools: -3 }, terms);

  const identities = (list: readonly { name: string; arguments: Record<string, unknown> }[]) =>
    canonicalJson(list.map((call) => callIdentity(call.name, call.arguments)));
  if (identities(predicted) === identities(calls)) {
    terms.tools = terms.arguments = 1;
    return rewardOf({ format, tools: 3 }, terms);
  }
  const names = jaccard(predicted.map((call) => call.name), calls.map((call) => call.name));
  const used = new Set<number>();
  let matched = 0;
  let most = 0;
  for (const call of calls) {
    const wanted = Object.entries(call.arguments);
    most += 1 + wanted.length;
    let best = 0;
    let bestIndex = -1;
    for (const [i, candidate] of predicted.entries()) {
      if (used.has(i) || candidate.name !== call.name) continue;
      const keys = jaccard(Object.keys(candidate.arguments), Object.keys(call.arguments));
      const values = wanted.filter(([key, value]) =>
        Object.hasOwn(candidate.arguments, key) &&
        canonicalJson(candidate.arguments[key]) === canonicalJson(value)
      ).length;
      if (keys + values > best) {
        best = keys + values;
        bestIndex = i;
      }
    }
    if (bestIndex >= 0) used.add(bestIndex);
    matched += best;
  }
  terms.tools = names;
  terms.arguments = matched / most;
  return rewardOf({
    format,
    tools: 6 * names / (1 + most) - 3,
    arguments: 6 * matched / (1 + most),
  }, terms);
}

/** ReCall: 0 if unfinished or badly formatted, else the answer's F1, else 0.1. */
function scoreRecall(terms: RewardTerms, episode: Episode, reference: Reference): RewardResult {
  const wellFormed = episode.finished && hasAnswer(episode) && episode.turns.length > 0 &&
    episode.turns.every((turn) => turn.wellFormed) &&
    episode.attempts.every((attempt) => attempt.status !== "malformed");
  if (!wellFormed) return rewardOf({}, terms);
  const overlap = answerF1(episode.answer!, reference.answer);
  return rewardOf(overlap > 0 ? { correctness: overlap } : { format: 0.1 }, terms);
}

/**
 * F1 of the words of two answers, after the normalisation usual in question answering: lower case,
 * no punctuation, no articles.
 */
function answerF1(answer: string, gold: string): number {
  const a = words(answer);
  const b = words(gold);
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 1 : 0;
  return 2 * multisetOverlap(a, b) / (a.length + b.length);
}

function words(text: string): string[] {
  return text.toLowerCase().split(/\s+/).flatMap((word) => {
    const number = word.replace(/^\$|[.,;:!?%]+$/g, "").replaceAll(",", "");
    if (/^[+-]?(\d+\.?\d*|\.\d+)$/.test(number)) return [String(Number(number))];
    const bare = word.replace(/[!-/:-@[-`{-~]/g, "");
    return bare === "" || /^(a|an|the)$/.test(bare) ? [] : [bare];
  });
}

/** Multiset Jaccard; 1 if both are empty. */
function jaccard(a: readonly string[], b: readonly string[]): number {
  const union = a.length + b.length;
  if (union === 0) return 1;
  const overlap = multisetOverlap(a, b);
  return overlap / (union - overlap);
}
