/**
 * What PPO makes of scored episodes before the first update: a reward per token, advantages, returns,
 * and what there is to say about them. The equations are in `ppo.ts`.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { generalisedAdvantages, whiten } from "../ops/advantage.ts";
import { Tape } from "../tape.ts";
import { type MaskedSequence, predictedTokens } from "./packing.ts";
import { klEstimate, type KlForm } from "./token_costs.ts";

/** An episode, and what models make of it; all [T], 0 where the mask is 0. */
export interface EpisodeScores extends MaskedSequence {
  readonly oldLogprobs: Float32Array;
  /** Those of the old policy where nobody asks for the divergence. */
  readonly referenceLogprobs: Float32Array;
  readonly oldValues: Float32Array;
  /** Reward of the end. */
  readonly score: number;
  /** Whether it ended by itself. */
  readonly finished: boolean;
}

/** An episode to train on; [T], 0 where the mask is 0. */
export interface EstimatedEpisode extends EpisodeScores {
  /** Whitened over the rollout. */
  readonly advantages: Float32Array;
  readonly returns: Float32Array;
}

/** What rewards and advantages depend on; `ppoDefaults` says what each is. */
export interface AdvantageSettings {
  readonly klCoefficient: number;
  readonly klForm: KlForm;
  readonly missingEosPenalty: number;
  readonly whitenRewards: boolean;
  readonly gamma: number;
  readonly lambda: number;
}

/**
 * Advantages and returns of every sampled token, in one read-back.
 *
 * @param episodes each with a sampled token or more
 */
export async function estimateAdvantages(
  gpu: Gpu,
  episodes: readonly EpisodeScores[],
  settings: AdvantageSettings,
): Promise<{ episodes: EstimatedEpisode[]; metrics: Record<string, number> }> {
  const { klCoefficient, klForm, missingEosPenalty, whitenRewards } = settings;
  const tokens = episodes.map(predictedTokens);
  const lengths = tokens.map(({ length }) => length);
  const N = lengths.reduce((sum, length) => sum + length, 0);
  const [rewards, values] = [new Float32Array(N), new Float32Array(N)];
  let [n, kl, scores] = [0, 0, 0];
  episodes.forEach(({ oldLogprobs, referenceLogprobs, oldValues, score, finished }, i) => {
    for (const t of tokens[i]!) {
      const own = klEstimate(oldLogprobs[t]! - referenceLogprobs[t]!, klForm);
      kl += own;
      rewards[n] = -klCoefficient * own;
      values[n++] = oldValues[t]!;
    }
    const end = score - (finished ? 0 : missingEosPenalty);
    scores += end;
    rewards[n - 1]! += end;
  });

  const tape = new Tape(gpu, { recording: false });
  const given = tape.upload(rewards, "rewards");
  const { advantages, returns } = generalisedAdvantages(
    tape,
    whitenRewards ? whiten(tape, given, { shiftMean: false }) : given,
    tape.upload(values, "values"),
    lengths,
    settings,
  );
  const reading = gpu.read(whiten(tape, advantages), returns);
  gpu.recycle();
  const [whitened, targets] = (await reading).map((bytes) => new Float32Array(bytes));

  let next = 0;
  const estimated = episodes.map((episode, i) => {
    const { length } = episode.ids;
    const own = { advantages: new Float32Array(length), returns: new Float32Array(length) };
    for (const t of tokens[i]!) {
      own.advantages[t] = whitened![next]!;
      own.returns[t] = targets![next++]!;
    }
    return { ...episode, ...own };
  });
  const E = episodes.length;
  const divergence: Record<string, number> = klCoefficient > 0
    ? { "objective/kl": kl / E, "objective/non_score_reward": -klCoefficient * kl / E }
    : {};
  const metrics = {
    ...divergence,
    "objective/scores": scores / E,
    "objective/rlhf_reward": (scores - klCoefficient * kl) / E,
    "returns/mean": moments(targets!).mean,
    "values/mean": moments(values).mean,
    explained_variance: explainedVariance(values, targets!),
  };
  return { episodes: estimated, metrics };
}

/**
 * 1 - Var(R - V) / Var(R): 1 is a perfect value function, 0 one that says nothing, and below that it
 * is worse than nothing. 0 where all returns are the same.
 */
export function explainedVariance(values: Float32Array, returns: Float32Array): number {
  const { variance } = moments(returns);
  if (variance === 0) return 0;
  return 1 - moments(returns.map((value, n) => value - values[n]!)).variance / variance;
}

function moments(values: Float32Array): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, variance: squares / values.length };
}
