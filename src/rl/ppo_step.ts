/**
 * A step of PPO on tool tasks: sampled episodes, what they were worth, and the updates from them.
 *
 * Groups are prompts that happen to be the same: advantages come from the value function, and are
 * whitened over the whole step.
 *
 * @module
 */

import { advantageDeviation, describeEpisodes } from "./diagnostics.ts";
import {
  collect,
  type CreditedRollout,
  type LearningContext,
  plain,
  type ScoredRollout,
  type StepResult,
} from "./experience.ts";
import { type PpoContext, type PpoOptions, ppoUpdate } from "./ppo.ts";
import type { RolloutOptions } from "./rollout.ts";

/** Hyper-parameters of a step; temperature and stream are those of sampling. */
export interface PpoStepOptions extends Omit<PpoOptions, "temperature" | "stream"> {
  /** Episodes of each prompt; 1 will do. */
  readonly group: number;
}

/**
 * Samples, scores and updates.
 *
 * @param prompts number of groups
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 */
export async function ppoStep(
  context: LearningContext & PpoContext,
  prompts: number,
  sampling: RolloutOptions,
  options: PpoStepOptions,
  progress: number,
): Promise<StepResult> {
  const started = performance.now();
  const { span = plain, onEpisode } = context;
  const { group, ...update } = options;
  const scored = await collect(context, prompts, sampling, { group, resampleDead: 0 }, progress);
  const sampled = performance.now();
  const samples = scored.flat().map(({ reward, episode: { finished }, ...one }) => ({
    ...one,
    score: reward.total,
    finished,
  }));
  const { temperature, stream } = sampling;
  const { metrics, advantages } = await span(
    "update",
    () => ppoUpdate(context, samples, { ...update, temperature, stream }),
  );
  let n = 0;
  const groups = scored.map((group) => group.map((one) => credited(one, advantages[n++]!)));
  groups.forEach((group, g) => group.forEach((one, sample) => onEpisode?.(one, g, sample)));
  const episodes = groups.flat();
  const described = describeEpisodes(episodes);
  return {
    groups,
    metrics: { ...described, advantage_std: advantageDeviation(episodes), ...metrics },
    seconds: {
      rollout: (sampled - started) / 1000,
      update: (performance.now() - sampled) / 1000,
    },
  };
}

/** @param advantages null of an episode that nothing is learned from */
function credited(one: ScoredRollout, advantages: Float32Array | null): CreditedRollout {
  const count = one.mask.reduce((sum, bit) => sum + bit, 0);
  const sum = advantages?.reduce((a, b) => a + b, 0) ?? 0;
  return {
    ...one,
    advantage: count > 0 ? sum / count : 0,
    advantages: advantages && Float64Array.from(advantages),
  };
}
