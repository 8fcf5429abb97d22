/**
 * The composite teacher-guided reward. For a finished episode
 *
 * ```text
 * R = max(0, w_c c + lambda g (w_t a_t' + w_a a_a') + w_v v + w_f f - kappa p)
 * g = 1 if the answer is correct, else gamma
 * a' = max(a, phi) if the answer is correct and a call succeeded (or the reference has none), else a
 * ```
 *
 * and 0 for an unfinished one. With the default weights R is in [0, 1.10], at least 0.60 for a
 * correct and at most 0.16 for a wrong answer. `mentorReward` also offers the published rewards that
 * it is compared with (`reward_presets.ts`).
 *
 * @module
 */

import type { Reference, ReferenceCall } from "../tasks/task.ts";
import { alignArguments, ALIGNMENT_OPERATORS, alignTools, CALL_KEYS } from "./alignment.ts";
import type { AlignmentOptions } from "./alignment.ts";
import { succeeded } from "./episode.ts";
import type { Episode } from "./episode.ts";
import { PAPER_PRESETS, type PaperPreset, scorePaperPreset } from "./reward_presets.ts";
import { clamp, measureTerms, termsOf, unscorableResult } from "./reward_terms.ts";
import type { RewardResult, RewardTerms, ScoreContext } from "./reward_terms.ts";

export { replay } from "./episode.ts";
export type { AttemptStatus, Episode, ScoredTool, ToolAttempt } from "./episode.ts";
export { rewardOf } from "./reward_terms.ts";
export type { RewardResult, RewardTerms, ScoreContext } from "./reward_terms.ts";

/** The reward presets. */
export const REWARD_PRESETS = [...PAPER_PRESETS, "strict", "flex"] as const;

/** Name of a reward preset. */
export type RewardPreset = typeof REWARD_PRESETS[number];

/** Weights of the terms. */
export type RewardWeights = Omit<RewardTerms, "penalty">;

/** Value of a coefficient as a function of training progress in [0, 1]. */
export type Schedule = (progress: number) => number;

/** Options of {@link mentorReward}. All but `preset` apply to `flex` and `strict` only. */
export interface RewardOptions extends Omit<AlignmentOptions, "tools"> {
  /** Where the other options start from; default `flex`. */
  preset?: RewardPreset;
  /** Weights; those left out keep the preset's value. */
  weights?: Partial<RewardWeights>;
  /** What alignment is worth when the answer is wrong; default 0.2. */
  gamma?: number;
  /** Flexibility floor of alignment for correct answers reached by tools; default 0.5. */
  phi?: number;
  /** How many of the task's references count (the best one does); default 4. */
  references?: number;
  /** Alignment coefficient: a constant or a schedule; default {@link guidanceSchedule}. */
  lambda?: number | Schedule;
  /** Penalty coefficient: a constant or a schedule; default {@link costSchedule}. */
  kappa?: number | Schedule;
  /** Doubles the format weight for the first 20 % of training; default false. */
  earlyFormat?: boolean;
}

/** A reward function. */
export interface Reward {
  /** The preset it was made from. */
  readonly preset: RewardPreset;
  /** True if {@link Reward.score} requires a reference. */
  readonly needsReference: boolean;
  /** What its terms are worth, where they are to be normalised one by one; 1 where absent. */
  readonly weights?: Readonly<Partial<RewardTerms>>;
  /**
   * Scores one episode.
   *
   * @param episode The rollout.
   * @param reference The teacher's trajectory, or null if the task has none.
   * @param context Training progress and the task's tools.
   * @throws {TypeError} If the preset needs a reference and there is none.
   * @throws {RangeError} If progress is not in [0, 1].
   */
  score(episode: Episode, reference: Reference | null, context?: ScoreContext): RewardResult;
}

type CompositeOptions = Required<Omit<RewardOptions, "preset" | "weights" | "strings">> & {
  weights: RewardWeights;
  strings: AlignmentOptions["strings"];
};

const FLEX: CompositeOptions = {
  weights: { correctness: 0.7, tools: 0.2, arguments: 0.1, validity: 0.05, format: 0.05 },
  gamma: 0.2,
  phi: 0.5,
  operator: "tversky",
  key: "name",
  alpha: 0.3,
  beta: 0.7,
  slack: 1,
  references: 4,
  strings: "exact",
  lambda: guidanceSchedule,
  kappa: costSchedule,
  earlyFormat: false,
};

/**
 * Strict trajectory matching: `flex` without any of its devices against over-constraint. All of the
 * alignment weight is on replaying the one reference, names and arguments in order.
 */
const STRICT: CompositeOptions = {
  ...FLEX,
  weights: { ...FLEX.weights, tools: 0.3, arguments: 0 },
  phi: 0,
  operator: "exact-sequence",
  key: "name+args",
  slack: 0,
  references: 1,
  lambda: 1,
  kappa: 0,
};

/** The most that penalties take away, which is what they are worth as a term of their own. */
const PENALTY = 0.1;

/** Says whether a preset scores against a reference trajectory. */
export function needsReference(preset: RewardPreset): boolean {
  return preset !== "sparse" && preset !== "mentor-nohall";
}

/** Says whether the names of the tools are all that a preset wants to know of a reference. */
export function comparesNames(preset: RewardPreset): boolean {
  return preset === "mentor-exact" || preset === "mentor-partial" || preset === "mentor-f1";
}

/**
 * The default lambda: 1 for the first 30 % of training, a cosine down to 0.2 at 80 %, then flat.
 *
 * @param progress Share of training that is done, in [0, 1].
 */
export function guidanceSchedule(progress: number): number {
  const t = clamp((progress - 0.3) / 0.5, 0, 1);
  return 0.2 + 0.8 * (1 + Math.cos(Math.PI * t)) / 2;
}

/**
 * The default kappa: 0 for the first 30 % of training, since penalising calls early kills
 * exploration, then linear to 1 at 60 %.
 *
 * @param progress Share of training that is done, in [0, 1].
 */
export function costSchedule(progress: number): number {
  return clamp((progress - 0.3) / 0.3, 0, 1);
}

/**
 * Lambda from what the student already can do: 1 at no success, falling to 0.1 at the target.
 *
 * @param pass1 Moving average of pass@1 on the domain, in [0, 1].
 * @param target The pass@1 at which guidance has done its work.
 */
export function adaptiveGuidance(pass1: number, target = 0.8): number {
  return clamp((target - pass1) / target, 0.1, 1);
}

/**
 * Makes a reward function.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { mentorReward } from "./reward.ts";
 *
 * const reward = mentorReward({ preset: "flex", weights: { arguments: 0.2 } });
 * const episode = {
 *   attempts: [{ name: "add", arguments: { a: 2, b: 3 }, turn: 0, status: "ok" as const, result: 5 }],
 *   answer: "5",
 *   correct: true,
 *   finished: true,
 *   turns: [{ wellFormed: true }, { wellFormed: true }],
 *   tokens: 12,
 *   maxTokens: 64,
 * };
 * const reference = { calls: [{ name: "add", arguments: { a: 2, b: 3 }, result: 5 }], answer: "5" };
 * assertAlmostEquals(reward.score(episode, reference, { progress: 0 }).total, 1.2);
 * ```
 *
 * @param options Preset and what to change in it.
 * @throws {TypeError} If an option has an unknown name, or the preset takes no options.
 * @throws {RangeError} If a number is out of its range.
 */
export function mentorReward(options: RewardOptions = {}): Reward {
  const { preset = "flex", ...overrides } = options;
  oneOf("preset", preset, REWARD_PRESETS);
  const needs = needsReference(preset);
  let score: (episode: Episode, reference: Reference | null, context: ScoreContext) => RewardResult;
  let weights: Readonly<Partial<RewardTerms>> | undefined;
  if (isPaperPreset(preset)) {
    const extra = Object.keys(overrides);
    if (extra.length > 0) {
      throw new TypeError(
        `Cannot change ${
          extra.join(", ")
        } of reward preset "${preset}": it reproduces a published ` +
          `reward; use preset "flex" or "strict"`,
      );
    }
    score = (episode, reference, context) => scorePaperPreset(preset, episode, reference, context);
  } else {
    const composite = resolve(preset === "strict" ? STRICT : FLEX, overrides);
    weights = { ...composite.weights, penalty: PENALTY };
    score = (episode, reference, context) =>
      scoreComposite(composite, episode, reference!, context);
  }
  return {
    preset,
    needsReference: needs,
    ...(weights ? { weights } : {}),
    score(episode, reference, context = {}) {
      const progress = context.progress ?? 0;
      if (!(progress >= 0 && progress <= 1)) {
        throw new RangeError(`Cannot score an episode: progress is ${progress}, not in [0, 1]`);
      }
      if (needs && reference === null) {
        throw new TypeError(
          `Cannot score an episode with reward preset "${preset}": the task has no reference ` +
            `trajectory; give the task one, or use preset "sparse", which needs none`,
        );
      }
      if (episode.unscorable) return unscorableResult();
      return score(episode, reference, context);
    },
  };
}

/** Scores against the reference (of those that count) that is best for the student. */
function scoreComposite(
  options: CompositeOptions,
  episode: Episode,
  reference: Reference,
  context: ScoreContext,
): RewardResult {
  const trajectories = [reference.calls, ...reference.alternatives ?? []];
  let best: RewardResult | undefined;
  for (const calls of trajectories.slice(0, options.references)) {
    const result = scoreAgainst(options, episode, calls, context);
    const gain = best === undefined ? 1 : result.total - best.total ||
      result.terms.tools + result.terms.arguments - best.terms.tools - best.terms.arguments;
    if (gain > 0) best = result;
  }
  return best!;
}

function scoreAgainst(
  options: CompositeOptions,
  episode: Episode,
  calls: readonly ReferenceCall[],
  context: ScoreContext,
): RewardResult {
  const { weights, gamma, phi } = options;
  const { progress = 0 } = context;
  const alignment: AlignmentOptions = { ...options, tools: context.tools };
  const terms = measureTerms(episode, calls, context.tools, options.slack);
  terms.tools = alignTools(episode.attempts, calls, alignment);
  terms.arguments = alignArguments(episode.attempts, calls, alignment);

  const correct = terms.correctness === 1;
  const usedTools = calls.length === 0 || episode.attempts.some(succeeded);
  const floor = correct && usedTools ? phi : 0;
  const guidance = (context.lambda ?? valueAt(options.lambda, progress)) * (correct ? 1 : gamma);
  const formatWeight = weights.format * (options.earlyFormat && progress < 0.2 ? 2 : 1);
  const weighted: RewardTerms = {
    correctness: weights.correctness * terms.correctness,
    tools: guidance * weights.tools * Math.max(terms.tools, floor),
    arguments: guidance * weights.arguments * Math.max(terms.arguments, floor),
    validity: weights.validity * terms.validity,
    format: formatWeight * terms.format,
    penalty: 0 - (context.kappa ?? valueAt(options.kappa, progress)) * terms.penalty,
  };
  if (!episode.finished) return { total: 0, terms, weighted: termsOf(0) };
  return { total: Math.max(0, sum(weighted)), terms, weighted };
}

function resolve(base: CompositeOptions, overrides: Omit<RewardOptions, "preset">) {
  const unknown = Object.keys(overrides).filter((key) => !Object.hasOwn(base, key));
  if (unknown.length > 0) throw new TypeError(`Unknown reward option: ${unknown.join(", ")}`);
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined);
  const weights = { ...base.weights, ...overrides.weights };
  const options: CompositeOptions = { ...base, ...Object.fromEntries(given), weights };
  oneOf("operator", options.operator, ALIGNMENT_OPERATORS);
  oneOf("key", options.key, CALL_KEYS);
  for (const [name, weight] of Object.entries(weights)) {
    if (!Object.hasOwn(base.weights, name)) throw new TypeError(`Unknown reward weight: ${name}`);
    inRange(`weights.${name}`, weight, 0, Infinity);
  }
  for (const name of ["alpha", "beta", "slack"] as const) inRange(name, options[name], 0, Infinity);
  for (const name of ["gamma", "phi"] as const) inRange(name, options[name], 0, 1);
  if (!Number.isInteger(options.references)) {
    throw new RangeError(`Reward option references must be an integer: ${options.references}`);
  }
  inRange("references", options.references, 1, 4);
  return options;
}

function isPaperPreset(preset: RewardPreset): preset is PaperPreset {
  return (PAPER_PRESETS as readonly string[]).includes(preset);
}

function oneOf(what: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new TypeError(`Unknown reward ${what} "${value}": expected one of ${allowed.join(", ")}`);
}

function inRange(name: string, value: number, low: number, high: number): void {
  if (value >= low && value <= high && value < Infinity) return;
  throw new RangeError(`Reward option ${name} must be in [${low}, ${high}]: ${value}`);
}

function valueAt(schedule: number | Schedule, progress: number): number {
  return typeof schedule === "number" ? schedule : schedule(progress);
}

function sum(terms: RewardTerms): number {
  return Object.values(terms).reduce((total, term) => total + term, 0);
}
