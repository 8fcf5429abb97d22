/**
 * How long a step will take, from the operations in it and the rates at which this machine does them.
 *
 * @module
 */

import type { Gpu } from "../../gpu/device.ts";
import type { DecoderConfig } from "../../model/config.ts";
import { matmul } from "../../ops/matmul.ts";
import type { Blueprint } from "./blueprint.ts";
import type { RunConfig } from "../config/mod.ts";

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
/** Products in one submit, so that what a submit costs beside them hardly counts. */
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
 * Seconds of a step of the method: every token of every episode forward and back, as often as the
 * method goes over it, forward through the models beside the student, and drawn one by one before
 * that unless it imitates. Products alone are counted, and attention as the product that it is.
 *
 * @param frozen whether adapters alone are trained: no gradients of weights
 */
export function stepSeconds(
  { many, few }: Rates,
  { config: model, onlookers }: Blueprint,
  config: RunConfig,
  { tokens: tokensPerEpisode, sampled }: EpisodeLength,
  frozen: boolean,
): number {
  const forward = forwardOperations(model, tokensPerEpisode);
  const training = (frozen ? 2 : 3) + (config.recompute === "blocks" ? 1 : 0);
  const { method, rollout: { prompts, group }, sft } = config;
  if (method === "sft") {
    return training * forward * sft.batch * tokensPerEpisode / many;
  }
  const others = (["expert", "base"] as const).map((role) => onlookers[role]);
  const teacher = onlookers.teacher?.config;
  const passes = passesOf(config);
  const operations = forward * (training * passes.training + passes.forward) +
    passes.teacher * (teacher ? forwardOperations(teacher, tokensPerEpisode) : 0) +
    others.reduce(
      (sum, one) => sum + (one ? forwardOperations(one.config, tokensPerEpisode) : 0),
      0,
    );
  const episodes = prompts * group;
  // A prompt is fed once for its whole group; what tools answer is little.
  const prompted = prompts * (tokensPerEpisode - sampled);
  return operations * episodes * tokensPerEpisode / many +
    forward * (episodes * sampled / few + prompted / many);
}

/** How often a method goes over the tokens of its episodes, by models of the student's size and not. */
function passesOf(
  { method, grpo, ppo, distill }: RunConfig,
): { training: number; forward: number; teacher: number } {
  switch (method) {
    case "grpo":
      return {
        training: grpo.epochs,
        forward: grpo.klCoef > 0 ? grpo.epochs : 0,
        teacher: 0,
      };
    case "ppo":
      return {
        training: ppo.epochs * (ppo.critic === "model" ? 2 : 1),
        forward: 1 + (ppo.klCoef > 0 ? 1 : 0) + (ppo.oldLogprobs === "trainer" ? 1 : 0),
        teacher: 0,
      };
    case "distill":
      return { training: distill.epochs, forward: 0, teacher: distill.epochs };
    case "dpo":
      // Where all failed: each episode beside a demonstration.
      return { training: 2, forward: 2, teacher: 0 };
    case "sft":
      return { training: 1, forward: 0, teacher: 0 };
  }
}

/** Of a token, in products. */
function forwardOperations(
  { hiddenSize: C, intermediateSize: F, layers, heads, kvHeads, headDim: D, gated, vocabSize }:
    DecoderConfig,
  tokensPerEpisode: number,
): number {
  const block = C * (heads + 2 * kvHeads) * D + heads * D * C + (gated ? 3 : 2) * C * F;
  const attention = tokensPerEpisode * heads * D;
  return 2 * (layers * (block + attention) + C * vocabSize);
}
