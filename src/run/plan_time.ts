/**
 * How long a step will take, from the operations in it and the rates at which this machine does them.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { DecoderConfig } from "../model/config.ts";
import { matmul } from "../ops/matmul.ts";
import type { RunConfig } from "./config.ts";

/** Operations per second of products with many rows, and with a few. */
export interface Rates {
  readonly many: number;
  readonly few: number;
}

/** Tokens of an episode, on average. */
export interface EpisodeLength {
  /** In all. */
  readonly tokens: number;
  /** Of these, drawn by the model. */
  readonly sampled: number;
}

/** Rows of a product in training. */
const MANY = 512;
/** Products in one submit: a read-back in Deno costs 10 ms whatever it is for. */
const TOGETHER = 8;

/**
 * Times products of a model's width.
 *
 * @param rows of a product in decoding: the sequences at a time
 */
export async function measureRates(
  gpu: Gpu,
  { hiddenSize: K, intermediateSize: N }: DecoderConfig,
  rows: number,
): Promise<Rates> {
  const buffer = (count: number) => ({ buffer: gpu.scratch(count * 4, "rate") });
  const [a, b, c] = [buffer(MANY * K), buffer(N * K), buffer(MANY * N)];
  const rate = async (M: number): Promise<number> => {
    let best = 0;
    // The first one compiles.
    for (let round = 0; round < 4; round++) {
      const started = performance.now();
      for (let i = 0; i < TOGETHER; i++) matmul(gpu, "nt", a, b, c, { M, N, K });
      await gpu.read({ ...c, bytes: 16 });
      const seconds = Math.max((performance.now() - started - 10) / 1000, 1e-4);
      if (round > 0) best = Math.max(best, TOGETHER * 2 * M * N * K / seconds);
    }
    return best;
  };
  const rates = { many: await rate(MANY), few: await rate(Math.min(rows, MANY)) };
  gpu.endStep();
  return rates;
}

/**
 * Seconds of a step of the method: every token of every episode forward and back, and drawn one by
 * one before that with GRPO. Products alone are counted, and attention as the product that it is.
 *
 * @param frozen whether adapters alone are trained: no gradients of weights
 */
export function stepSeconds(
  { many, few }: Rates,
  model: DecoderConfig,
  { method, rollout: { prompts, group }, sft, recompute }: RunConfig,
  { tokens: tokensPerEpisode, sampled }: EpisodeLength,
  frozen: boolean,
): number {
  const { hiddenSize: C, intermediateSize: F, layers, heads, kvHeads, headDim: D } = model;
  const block = C * (heads + 2 * kvHeads) * D + heads * D * C + (model.gated ? 3 : 2) * C * F;
  const attention = tokensPerEpisode * heads * D;
  const forward = 2 * (layers * (block + attention) + C * model.vocabSize);
  const passes = (frozen ? 2 : 3) + (recompute === "blocks" ? 1 : 0);
  const episodes = method === "grpo" ? prompts * group : sft.batch;
  const tokens = episodes * tokensPerEpisode;
  const training = passes * forward * tokens / many;
  if (method !== "grpo") return training;
  // A prompt is fed once for its whole group; what tools answer is little.
  const prompted = prompts * (tokensPerEpisode - sampled);
  return training + forward * (episodes * sampled / few + prompted / many);
}
