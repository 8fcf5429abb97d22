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
  creditTokens,
  type LearningContext,
  learningStep,
  plain,
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
  const { span = plain } = context;
  const { group, ...update } = options;
  return await learningStep(
    context,
    prompts,
    sampling,
    { group },
    progress,
    async (scored, tell) => {
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
      const groups = scored.map((group) =>
        group.map((one) => {
          const own = advantages[n++]!;
          return creditTokens(one, own && Float64Array.from(own));
        })
      );
      tell(groups);
      const episodes = groups.flat();
      const described = describeEpisodes(episodes);
      return {
        groups,
        metrics: { ...described, advantage_std: advantageDeviation(episodes), ...metrics },
      };
    },
  );
}
