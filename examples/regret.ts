/**
 * Regret as reward (Karzanov et al. 2025, arXiv 2502.02619): what an episode is worth less what a
 * benchmark is worth on the same prompt. The benchmark stands in for the group's mean (`estimator:
 * "none"`), so that equal rewards teach, too, and no group is dead. What calls cost is phased in.
 *
 * @module
 */

import { costSchedule, mentorReward, replay, type Reward, rewardOf } from "../mod.ts";
import { type RunResult, train, type TrainOptions } from "../mod.ts";

type Score = Reward["score"];

const composite = mentorReward({ preset: "flex", lambda: 1, kappa: 0 });

/** What episodes are compared by: the composite reward, less a fee for each call. */
const worth: Score = (episode, reference, context = {}) => {
  const { terms, weighted } = composite.score(episode, reference, context);
  const fee = 0.02 * costSchedule(context.progress ?? 0) * episode.attempts.length;
  return rewardOf({ ...weighted, penalty: -fee }, terms);
};

/** The teacher as benchmark: its trajectory is replayed. Hardly ever above 0. */
export const againstTeacher: Score = (episode, reference, context = {}) => {
  const own = worth(episode, reference, context);
  const teacher = worth(replay(reference!, context.task), reference, context);
  return { ...own, total: own.total - teacher.total };
};

/** The policy before training as benchmark: the same steps with learning rates of 0 are its scores. */
async function againstBase(settings: object, options: TrainOptions): Promise<Score> {
  const scores = new Map<string, number[]>();
  const score: Score = (episode, reference, context) => {
    const own = worth(episode, reference, context);
    const { id } = context!.task!;
    scores.set(id, [...scores.get(id) ?? [], own.total]);
    return own;
  };
  const rate = { learningRate: 0 };
  const still = { optimizer: rate, sft: rate, evaluation: { prompts: 0 }, out: null };
  await train({ ...settings, ...still }, { ...options, reward: { score } });
  return (episode, reference, context) => {
    const own = worth(episode, reference, context);
    const base = scores.get(context!.task!.id)!;
    return { ...own, total: own.total - base.reduce((sum, one) => sum + one, 0) / base.length };
  };
}

export async function trainOnRegret(
  benchmark: "teacher" | "base",
  settings: { grpo?: object; [other: string]: unknown } = {},
  options: TrainOptions = {},
): Promise<RunResult> {
  const config = { ...settings, grpo: { ...settings.grpo, estimator: "none", resampleDead: 0 } };
  const score = benchmark === "base" ? await againstBase(config, options) : againstTeacher;
  return await train(config, { ...options, reward: { score } });
}

if (import.meta.main) console.table((await trainOnRegret("base")).domains);
