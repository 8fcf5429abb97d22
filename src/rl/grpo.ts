/**
 * Group relative policy optimisation (Shao et al. 2024) as MENTOR uses it.
 *
 * For each prompt G episodes o_1..o_G are sampled and scored. With r_t = exp(log p - log p_old):
 *
 *   A_i = (R_i - mean R) / max(std R, floor)
 *   L   = - sum_i sum_t m_it min(r_t A_i, clip(r_t, 1 - low, 1 + high) A_i) / sum_i sum_t m_it
 *         + beta k3(log p_ref, log p)
 *
 * Deviations from the paper, each by choice: tokens are averaged over the whole mini-batch and the
 * upper clip is wider (DAPO, Yu et al. 2025); the standard deviation has a floor, so that in a group
 * that failed altogether a small difference in alignment does not train as hard as correctness;
 * log p_old is the sampler's own, which equals the trainer's to 1e-5 here since both run the same
 * f32 kernels (`logprob_difference` shows it).
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import type { Generator } from "../model/generator.ts";
import { tokenStatistics } from "../model/nll.ts";
import { clippedPolicyLoss } from "../ops/policy_loss.ts";
import { Random } from "../random.ts";
import { Tape } from "../tape.ts";
import type { Task } from "../tasks/task.ts";
import type { ChatFormat } from "../text/chat_template.ts";
import { deadGroupFraction, groupAdvantages, isDead } from "./advantage.ts";
import type { Learner, Update, UpdateMetrics } from "./learner.ts";
import { toolValidity } from "./metrics.ts";
import { activeTokens, gather, packSequences } from "./packing.ts";
import type { Reward, RewardResult } from "./reward.ts";
import { type Rollout, rollout, type RolloutOptions } from "./rollout.ts";

/** A rollout with what it was worth. */
export interface ScoredRollout extends Rollout {
  readonly reward: RewardResult;
  readonly advantage: number;
}

/** Hyper-parameters of a step. */
export interface GrpoOptions {
  readonly group: number;
  readonly miniBatches: number;
  readonly clipLow: number;
  readonly clipHigh: number;
  readonly klCoefficient: number;
  readonly stdFloor: number;
  /** Rounds of fresh prompts in place of groups without signal. */
  readonly resampleDead: number;
  readonly learningRate: number;
  readonly tokenBudget: number;
}

/** What a step needs. */
export interface GrpoContext {
  readonly learner: Learner;
  readonly generator: Generator;
  readonly chat: ChatFormat;
  readonly reward: Reward;
  /** The frozen reference policy; needed where the KL coefficient is above 0. */
  readonly reference: Decoder | null;
  /** Fresh tasks; asked again where dead groups are resampled. */
  readonly draw: (count: number) => readonly Task[];
  /** Is told of every episode while the update is under way. */
  readonly onEpisode?: (episode: ScoredRollout, group: number, sample: number) => void;
  /** Does a part of the step under its name, for profiles; without, it is just done. */
  readonly span?: <T>(name: string, work: () => T | Promise<T>) => Promise<T>;
}

/** Result of a step: every group that was trained on, and the diagnostics. */
export interface GrpoResult {
  readonly groups: readonly (readonly ScoredRollout[])[];
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: { readonly rollout: number; readonly update: number };
}

/**
 * Samples, scores and updates once.
 *
 * @param prompts number of groups
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 */
export async function grpoStep(
  context: GrpoContext,
  prompts: number,
  sampling: RolloutOptions,
  options: GrpoOptions,
  progress: number,
): Promise<GrpoResult> {
  const started = performance.now();
  const groups = await scoredGroups(context, prompts, sampling, options, progress);
  const sampled = performance.now();
  const { span = plain, onEpisode } = context;
  const [described, updates] = await span("update", async () => {
    const submitted = policyUpdates(context, groups, sampling, options);
    // While the GPU works:
    groups.forEach((group, g) => group.forEach((one, sample) => onEpisode?.(one, g, sample)));
    const described = describe(groups);
    const results = await Promise.allSettled(submitted.map((update) => update.metrics()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    return [
      described,
      results.flatMap((one) => one.status === "fulfilled" ? one.value : []),
    ] as const;
  });
  return {
    groups,
    metrics: { ...described, ...average(updates) },
    seconds: {
      rollout: (sampled - started) / 1000,
      update: (performance.now() - sampled) / 1000,
    },
  };
}

async function scoredGroups(
  { generator, chat, reward, draw, span = plain }: GrpoContext,
  prompts: number,
  sampling: RolloutOptions,
  { group, stdFloor, resampleDead }: GrpoOptions,
  progress: number,
): Promise<ScoredRollout[][]> {
  const kept: { rollouts: Rollout[]; rewards: RewardResult[] }[] = [];
  for (let round = 0; round <= resampleDead && kept.length < prompts; round++) {
    const stream = `${sampling.stream}/${round}`;
    const tasks = draw(prompts - kept.length);
    const sampled = await span(
      "rollout",
      () => rollout(generator, chat, tasks, group, { ...sampling, stream }),
    );
    await span("scoring", () => {
      for (const rollouts of sampled) {
        const rewards = rollouts.map(({ episode, task }) =>
          reward.score(episode, task.reference, { progress, tools: task.tools })
        );
        const dead = isDead(rewards.map(({ total }) => total));
        if (!dead || round === resampleDead) kept.push({ rollouts, rewards });
      }
    });
  }
  const advantages = groupAdvantages(
    kept.map(({ rewards }) => rewards.map(({ total }) => total)),
    { stdFloor },
  );
  return kept.map(({ rollouts, rewards }, g) =>
    rollouts.map((one, i) => ({ ...one, reward: rewards[i]!, advantage: advantages[g]![i]! }))
  );
}

/** Does what a profile would time. */
async function plain<T>(_name: string, work: () => T | Promise<T>): Promise<T> {
  return await work();
}

/** Submits an update for each mini-batch that has something to learn from. */
function policyUpdates(
  context: GrpoContext,
  groups: readonly (readonly ScoredRollout[])[],
  { stream, temperature }: RolloutOptions,
  options: GrpoOptions,
): Update[] {
  const order = new Random(`${stream}/mini-batches`).shuffle(groups);
  const size = Math.ceil(order.length / options.miniBatches);
  const updates: Update[] = [];
  for (let first = 0; first < order.length; first += size) {
    const rollouts = order.slice(first, first + size).flat();
    if (rollouts.every(({ advantage }) => advantage === 0) && options.klCoefficient === 0) continue;
    updates.push(policyUpdate(context, rollouts, temperature, options));
  }
  return updates;
}

/** What an update needs of a rollout. */
export type PolicySample = Pick<ScoredRollout, "ids" | "mask" | "logprobs" | "advantage">;

/** One clipped-surrogate update on the rollouts of a mini-batch. */
export function policyUpdate(
  { learner, reference }: Pick<GrpoContext, "learner" | "reference">,
  rollouts: readonly PolicySample[],
  temperature: number,
  { tokenBudget, learningRate, clipLow, clipHigh, klCoefficient }: GrpoOptions,
): Update {
  const total = activeTokens(rollouts);
  return learner.update(packSequences(rollouts, tokenBudget), (tape, statistics, batch, sums) => {
    const values = (label: string, of: (rollout: PolicySample) => (t: number) => number) =>
      tape.upload(gather(batch, of), label);
    const oldLogprob = values("old logprob", ({ logprobs }) => (t) => logprobs[t]!);
    const frozen = new Tape(learner.model.gpu, { recording: false });
    const referenceLogprob = klCoefficient > 0 && reference
      ? tokenStatistics(frozen, reference, batch, { temperature }).logprob
      : oldLogprob;
    clippedPolicyLoss(
      tape,
      statistics,
      {
        oldLogprob,
        referenceLogprob,
        advantage: values("advantage", ({ advantage }) => () => advantage),
        weight: values("weight", () => () => 1 / total),
      },
      { clipLow, clipHigh, klCoefficient },
      sums,
    );
  }, { learningRate, temperature });
}

/** Diagnostics of the episodes, under the names that TRL uses where it has one. */
function describe(groups: readonly (readonly ScoredRollout[])[]): Record<string, number> {
  const rollouts = groups.flat();
  const mean = (value: (rollout: ScoredRollout) => number) => {
    const known = rollouts.map(value).filter((x) => !Number.isNaN(x));
    return known.length > 0 ? known.reduce((sum, x) => sum + x, 0) / known.length : 0;
  };
  const reward = mean(({ reward }) => reward.total);
  const terms = Object.keys(rollouts[0]!.reward.weighted) as (keyof RewardResult["weighted"])[];
  return {
    reward,
    reward_std: Math.sqrt(mean(({ reward: { total } }) => (total - reward) ** 2)),
    ...Object.fromEntries(
      terms.map((term) => [`rewards/${term}`, mean(({ reward }) => reward.weighted[term])]),
    ),
    pass1: mean(({ episode }) => Number(episode.correct)),
    finished: mean(({ episode }) => Number(episode.finished)),
    "tools/call_frequency": mean(({ episode }) => episode.attempts.length),
    "tools/validity": toolValidity(rollouts.map(({ episode }) => episode)),
    "completions/mean_length": mean(({ episode }) => episode.tokens),
    frac_reward_zero_std: deadGroupFraction(
      groups.map((group) => group.map(({ reward }) => reward.total)),
    ),
  };
}

function average(updates: readonly UpdateMetrics[]): Record<string, number> {
  if (updates.length === 0) return {};
  const names = Object.keys(updates[0]!).filter((name) => name !== "weight");
  return Object.fromEntries(
    names.map((name) => [
      name,
      updates.reduce((sum, update) => sum + update[name]!, 0) /
      updates.length,
    ]),
  );
}
