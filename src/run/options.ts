/**
 * What a config means to the algorithms.
 *
 * @module
 */

import { warmupCosine } from "../optim/schedule.ts";
import type { GrpoOptions } from "../rl/grpo.ts";
import type { LearnerOptions } from "../rl/learner.ts";
import type { RolloutOptions } from "../rl/rollout.ts";
import type { RunConfig } from "./config.ts";

/** What cispo bounds its weights by where nothing is said. */
const CISPO_BOUND = 5;

/** How episodes are sampled. */
export function samplingOptions(
  { rollout: { temperature, topK, topP, maxCalls }, seed }: RunConfig,
  maxTokens: number,
  stream: string,
): RolloutOptions {
  return { temperature, topK, topP, maxCalls, seed, maxTokens, stream };
}

/** How a run's learner learns. */
export function learnerOptions({ optimizer, recompute }: RunConfig): LearnerOptions {
  const { betas, epsilon, weightDecay, gradClip } = optimizer;
  return {
    ...{ betas, epsilon, weightDecay },
    gradClip: gradClip === 0 ? Infinity : gradClip,
    checkpoints: recompute === "blocks",
  };
}

/** The learning rate of a step. @param progress share of the method's steps that are done */
export function learningRate({ optimizer }: RunConfig, progress: number): number {
  const { learningRate: peak, finalRate: floor } = optimizer;
  return warmupCosine(progress, 1, { peak, warmup: 0, floor });
}

/** A step of the GRPO family. @param entropyCoefficient as its controller has it by now */
export function grpoOptions(
  { grpo, rollout, tokenBudget }: RunConfig,
  { learningRate, entropyCoefficient }: {
    readonly learningRate: number;
    readonly entropyCoefficient: number;
  },
): GrpoOptions {
  const { klCoef, ratioMax, sapoTemperatures, entropyCoef: _first, entropyTarget: _, ...same } =
    grpo;
  return {
    ...same,
    group: rollout.group,
    klCoefficient: klCoef,
    ratioMax: ratioMax > 0 ? ratioMax : grpo.loss === "cispo" ? CISPO_BOUND : Infinity,
    temperatures: sapoTemperatures,
    learningRate,
    entropyCoefficient,
    tokenBudget,
  };
}
