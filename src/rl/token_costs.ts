/**
 * The divergence from a reference policy as something that sampled tokens cost.
 *
 * @module
 */

import type { PolicyLossOptions } from "../ops/policy_loss.ts";
import type { MaskedSequence } from "./packing.ts";

/** An estimate of a divergence, as losses and costs have it. */
export type KlForm = NonNullable<PolicyLossOptions["klForm"]>;

/**
 * Estimate of a token's divergence as a cost, with d = log p_old - log p_ref (Schulman 2020): k1 = d,
 * k2 = d^2 / 2, k3 = e^-d - 1 + d; where the ratio is 1, `unbiased` is k3. As a cost, unlike in a
 * loss, k1 is an unbiased estimate whose gradient is right, too.
 *
 * @returns nats; k3 at most 10, as in verl: one token must not drown the others
 */
export function klEstimate(d: number, form: KlForm): number {
  if (form === "k1") return d;
  if (form === "k2") return d * d / 2;
  return Math.min(10, Math.exp(Math.min(20, -d)) + d - 1);
}

/**
 * What the sampled tokens' divergence from a reference costs.
 *
 * @param reference log-probabilities of the same tokens, [T] of each sequence
 * @returns [T] costs of each sequence, and the mean over sequences of their sums, before the coefficient
 */
export function tokenDivergences(
  sequences: readonly (MaskedSequence & { readonly logprobs: Float32Array })[],
  reference: readonly { readonly logprobs: Float32Array }[],
  { klCoefficient, klForm }: { readonly klCoefficient: number; readonly klForm: KlForm },
): { costs: Float64Array[]; mean: number } {
  let sum = 0;
  const costs = sequences.map(({ mask, logprobs }, i) =>
    Float64Array.from(mask, (bit, t) => {
      if (!bit) return 0;
      const estimate = klEstimate(logprobs[t]! - reference[i]!.logprobs[t]!, klForm);
      sum += estimate;
      return klCoefficient * estimate;
    })
  );
  return { costs, mean: sum / Math.max(1, sequences.length) };
}
