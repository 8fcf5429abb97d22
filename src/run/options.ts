/**
 * What a config means to the algorithms.
 *
 * @module
 */

import { warmupCosine } from "../optim/schedule.ts";
import type { DistillStepOptions } from "../rl/distill.ts";
import type { DpoStepOptions } from "../rl/dpo.ts";
import type { GrpoOptions } from "../rl/grpo.ts";
import type { LearnerOptions } from "../rl/learner.ts";
import type { PpoStepOptions } from "../rl/ppo_step.ts";
import type { RolloutOptions } from "../rl/rollout.ts";
import type { RunConfig } from "./config/mod.ts";

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

/**
 * The learning rate of a step.
 *
 * @param progress share of the method's steps that are done
 * @param peak that of the first step; the policy's by default
 */
export function learningRate(
  { optimizer }: RunConfig,
  progress: number,
  peak: number = optimizer.learningRate,
): number {
  return warmupCosine(progress, 1, { peak, warmup: 0, floor: optimizer.finalRate });
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

/** A step of PPO. @param progress share of the method's steps that are done */
export function ppoOptions(config: RunConfig, progress: number): PpoStepOptions {
  const { ppo, rollout, optimizer, tokenBudget } = config;
  const { klCoef, valueCoef, whitenRewards, oldLogprobs, critic: _, criticLearningRate, ...same } =
    ppo;
  return {
    ...same,
    group: rollout.group,
    klCoefficient: klCoef,
    valueCoefficient: valueCoef,
    whitenRewards: whitenRewards === "scale",
    recompute: oldLogprobs === "trainer",
    learningRate: learningRate(config, progress),
    criticLearningRate: learningRate(
      config,
      progress,
      criticLearningRate ?? optimizer.learningRate,
    ),
    tokenBudget,
  };
}

/** A step of distillation. @param progress share of the method's steps that are done */
export function distillOptions(config: RunConfig, progress: number): DistillStepOptions {
  const { distill: { teacher: _, ...same }, rollout: { group }, tokenBudget } = config;
  return { ...same, group, tokenBudget, learningRate: learningRate(config, progress) };
}

/** A step of preferences. @param progress share of the method's steps that are done */
export function dpoOptions(config: RunConfig, progress: number): DpoStepOptions {
  const { dpo, rollout: { group }, tokenBudget } = config;
  return { ...dpo, group, tokenBudget, learningRate: learningRate(config, progress) };
}
