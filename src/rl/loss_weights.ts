/**
 * How the losses of tokens become the loss of a batch: the weight of a token, such that the loss is
 * the weighted sum. With n_i sampled tokens in sequence i of S,
 *
 * ```text
 * grpo, sapo     1 / (n_i S)     mean over a sequence, then over sequences: short ones weigh more
 * bnpo           1 / (n_b B)     mean over the n_b tokens of micro-batch b of B
 * dr_grpo        1 / (S L)       a constant, L the longest that a completion may be
 * dapo, cispo    1 / sum n_i     mean over the tokens of the whole batch
 * ```
 *
 * These are TRL's definitions. A sequence without sampled tokens counts in S all the same.
 *
 * @module
 */

import { activeTokens, type MaskedSequence, type MicroBatch } from "./packing.ts";

/** The loss types of the GRPO family; they differ in weights, and `cispo` and `sapo` in the rule. */
export const LOSS_TYPES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"] as const;

/** Name of a loss type. */
export type LossType = typeof LOSS_TYPES[number];

/**
 * The weight of a token.
 *
 * @param sequences of one optimizer step
 * @param microBatches into which they were packed
 * @param longest L, the most tokens that a completion may have
 */
export function lossWeights<S extends MaskedSequence>(
  loss: LossType,
  sequences: readonly S[],
  microBatches: readonly MicroBatch<S>[],
  longest: number,
): (sequence: S, batch: MicroBatch<S>) => number {
  const S = sequences.length;
  switch (loss) {
    case "grpo":
    case "sapo":
      return (sequence) => 1 / (activeTokens([sequence]) * S);
    case "bnpo":
      return (_, { targets }) => 1 / (targets.length * microBatches.length);
    case "dr_grpo":
      return () => 1 / (S * longest);
    case "dapo":
    case "cispo": {
      const total = activeTokens(sequences);
      return () => 1 / total;
    }
  }
}
