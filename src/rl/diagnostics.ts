/**
 * Diagnostics of a step, under the names that TRL uses where it has one.
 *
 * @module
 */

import { deadGroupFraction } from "./advantage.ts";
import { termWeights } from "./credit.ts";
import { findRepeats, succeeded } from "./episode.ts";
import type { CreditedRollout, ScoredRollout } from "./experience.ts";
import type { UpdateMetrics } from "./learner.ts";
import { toolValidity } from "./metrics.ts";
import type { RewardResult } from "./reward.ts";

type Metrics = Record<string, number>;

/** Diagnostics of the episodes, and of what they teach by comparison. */
export function describeGroups(groups: readonly (readonly CreditedRollout[])[]): Metrics {
  const rollouts = groups.flat();
  return {
    ...describeEpisodes(rollouts),
    frac_reward_zero_std: deadGroupFraction(
      groups.map((group) => group.map(({ reward }) => reward.total)),
    ),
    advantage_std: advantageDeviation(rollouts),
  };
}

/** Root mean square of the advantages. */
export function advantageDeviation(rollouts: readonly CreditedRollout[]): number {
  return Math.sqrt(mean(rollouts.map(({ advantage }) => advantage * advantage)));
}

/** Diagnostics of the episodes alone. */
export function describeEpisodes(rollouts: readonly ScoredRollout[]): Metrics {
  const reward = mean(rollouts.map(({ reward }) => reward.total));
  const terms = Object.keys(rollouts[0]!.reward.weighted) as (keyof RewardResult["weighted"])[];
  const judged = rollouts.flatMap(({ judged }) => judged ?? []);
  return {
    reward,
    reward_std: Math.sqrt(mean(rollouts.map(({ reward: { total } }) => (total - reward) ** 2))),
    ...Object.fromEntries(
      terms.map((
        term,
      ) => [`rewards/${term}`, mean(rollouts.map((one) => one.reward.weighted[term]))]),
    ),
    ...(judged.length > 0 ? { "rewards/judge": mean(judged) } : {}),
    pass1: mean(rollouts.map(({ episode }) => Number(episode.correct))),
    finished: mean(rollouts.map(({ episode }) => Number(episode.finished))),
    ...describeLengths(rollouts),
    ...describeTools(rollouts),
  };
}

/** What each term of the reward weighs, where that depends on how much it tells. */
export function describeWeights(rollouts: readonly ScoredRollout[]): Metrics {
  return Object.fromEntries(
    termWeights(rollouts).map(([term, weight]) => [`term_weights/${term}`, weight]),
  );
}

/** How long the completions are, tools' results left out. */
function describeLengths(rollouts: readonly ScoredRollout[]): Metrics {
  const lengths = rollouts.map(({ episode }) => episode.tokens);
  const terminated = rollouts.filter(({ episode }) => episode.finished);
  return {
    num_tokens: rollouts.reduce((sum, { ids }) => sum + ids.length, 0),
    "completions/mean_length": mean(lengths),
    "completions/min_length": Math.min(...lengths),
    "completions/max_length": Math.max(...lengths),
    "completions/mean_terminated_length": mean(terminated.map(({ episode }) => episode.tokens)),
    "completions/clipped_ratio": 1 - terminated.length / rollouts.length,
  };
}

/** What became of calls: of all, and of each tool that was called. */
function describeTools(rollouts: readonly ScoredRollout[]): Metrics {
  const episodes = rollouts.map(({ episode }) => episode);
  const attempts = episodes.flatMap((episode) => episode.attempts);
  const failed = (own: typeof attempts) => own.filter((attempt) => !succeeded(attempt)).length;
  const repeats = rollouts.map(({ episode, task }) => {
    const stateful = new Set(task.tools.filter((tool) => tool.stateful).map(({ name }) => name));
    return findRepeats(episode.attempts, stateful).filter((repeat) => repeat).length;
  });
  const beyond = rollouts.flatMap(({ episode, task }) =>
    task.reference ? [Math.max(0, episode.attempts.length - task.reference.calls.length)] : []
  );
  const perTool = [...Map.groupBy(attempts, ({ name }) => name)]
    .filter(([name]) => name !== "").sort(([a], [b]) => a < b ? -1 : 1);
  const known = new Set(rollouts.flatMap(({ task }) => task.tools.map(({ name }) => name)));
  return {
    "tools/call_frequency": attempts.length / rollouts.length,
    "tools/failure_frequency": attempts.length > 0 ? failed(attempts) / attempts.length : 0,
    "tools/validity": toolValidity(episodes),
    "tools/over_call_frequency": mean(beyond),
    "tools/repeat_frequency": mean(repeats),
    "tools/no_call_frequency": mean(episodes.map((one) => Number(one.attempts.length === 0))),
    ...Object.fromEntries(
      perTool.filter(([name]) => known.has(name)).flatMap(([name, own]) => [
        [`tools/${name}/call_frequency`, own.length / rollouts.length],
        [`tools/${name}/failure_frequency`, failed(own) / own.length],
      ]),
    ),
  };
}

/** What the losses' sums are called. */
const NAMES: Readonly<Record<string, string>> = {
  clip_low: "clip_ratio/low_mean",
  clip_high: "clip_ratio/high_mean",
  clip_dual: "clip_ratio/dual_mean",
  logprob_difference: "sampling/sampling_logp_difference/mean",
  value_loss: "loss/value_avg",
  value_clip_fraction: "val/clipfrac_avg",
  reward_chosen: "rewards/chosen",
  reward_rejected: "rewards/rejected",
  margin: "rewards/margins",
  accuracy: "rewards/accuracies",
  logprob_chosen: "logps/chosen",
  logprob_rejected: "logps/rejected",
};

/** Sums that say nothing more: means of a rollout are known from the rollout. */
const INNER = ["weight", "value", "return"];

/**
 * Means over the updates of a step. Sums of weight times something become means over tokens, also
 * where the weights of a loss do not add up to 1.
 *
 * @param reference whether the loss knew a reference, from which `kl` is the divergence
 */
export function meanMetrics(
  updates: readonly UpdateMetrics[],
  { reference = false }: { readonly reference?: boolean } = {},
): Metrics {
  if (updates.length === 0) return {};
  const names = Object.keys(updates[0]!).filter((name) => !INNER.includes(name));
  const of = (name: string) =>
    mean(updates.map((update) => {
      const value = update[name]!;
      const whole = name === "loss" || name === "grad_norm" || !update.weight;
      return whole ? value : value / update.weight!;
    }));
  const { ratio_squared, log_ratio_squared, kl, ...metrics } = Object.fromEntries(
    names.map((name) => [name, of(name)]),
  );
  const { ratio } = metrics;
  return {
    ...(reference && kl !== undefined ? { kl } : {}),
    ...Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [NAMES[name] ?? name, value]),
    ),
    ...(metrics.clip_low === undefined ? {} : {
      "clip_ratio/region_mean": metrics.clip_low + metrics.clip_high! + metrics.clip_dual!,
    }),
    ...(ratio === undefined
      ? {}
      : { ratio_std: Math.sqrt(Math.max(0, ratio_squared! - ratio ** 2)) }),
    ...(log_ratio_squared === undefined ? {} : { "policy/approxkl_avg": log_ratio_squared / 2 }),
  };
}

function mean(values: readonly number[]): number {
  const known = values.filter((x) => !Number.isNaN(x));
  return known.length > 0 ? known.reduce((sum, x) => sum + x, 0) / known.length : 0;
}
