/**
 * The divergence from a reference policy as something that sampled tokens cost.
 *
 * @module
 */

import type { PolicyLossOptions } from "../ops/policy_loss.ts";
import type { MaskedSequence } from "./packing.ts";

/**
 * Estimates of the divergence of each sampled token, times a coefficient: k1 = d, k2 = d^2 / 2,
 * k3 = e^-d - 1 + d (where the ratio is 1, `unbiased` is that), with d = log p_old - log p_ref
 * (Schulman 2020). As a cost, unlike in a loss, k1
 * is an unbiased estimate whose gradient is right, too.
 *
 * @param reference log-probabilities of the same tokens, [T] of each sequence
 * @returns [T] costs of each sequence, and the mean over sequences of their sums, before the coefficient
 */
export function tokenDivergences(
  sequences: readonly (MaskedSequence & { readonly logprobs: Float32Array })[],
  reference: readonly { readonly logprobs: Float32Array }[],
  { klCoefficient, klForm }: Required<Pick<PolicyLossOptions, "klCoefficient" | "klForm">>,
): { costs: Float64Array[]; mean: number } {
  let sum = 0;
  const costs = sequences.map(({ mask, logprobs }, i) => {
    return Float64Array.from(mask, (bit, t) => {
      if (!bit) return 0;
      const d = logprobs[t]! - reference[i]!.logprobs[t]!;
      const estimate = klForm === "k1" ? d : klForm === "k2" ? d * d / 2 : Math.exp(-d) - 1 + d;
      sum += estimate;
      return klCoefficient * estimate;
    });
  });
  return { costs, mean: sum / Math.max(1, sequences.length) };
}
