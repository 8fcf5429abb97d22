/**
 * Losses as functions of one log-probability per token: each writes dL/dlogprob, the root of the
 * backward pass, and adds its diagnostics to an accumulator.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";
import type { TokenStatistics } from "./lm_head.ts";
import type { MetricSums } from "./metric_sums.ts";

/** Diagnostics of a loss: sums over tokens of weight times each. */
export const lossMetrics = [
  "loss",
  "kl", // k3 to the reference
  "clip_low",
  "clip_high",
  "approx_kl", // k3 to the policy that sampled
  "entropy",
  "logprob_difference", // |log ratio|
  "weight",
] as const;

/**
 * Negative log-likelihood, sum of -weight * logprob.
 *
 * @param weight [N] mask / number of tokens that the mean runs over
 */
export function nllLoss(
  tape: Tape,
  statistics: TokenStatistics,
  weight: Tensor,
  sums: MetricSums,
): void {
  const N = statistics.logprob.size;
  assertShape(weight, [N], "apply the NLL loss");
  const dlogprob = tape.tensor([N], "dlogprob");
  const metrics = tape.tensor([N, lossMetrics.length], "token metrics");
  const { logprob, entropy } = statistics;
  elementwise(tape.gpu, "policy_loss", "nll", N, { logprob, weight, entropy, dlogprob, metrics }, {
    rows: N,
  });
  statistics.logprob.grad = dlogprob;
  sums.add(tape, lossMetrics, metrics);
}

/** What a policy update knows of each token; [N] each. */
export interface PolicyBatch {
  readonly oldLogprob: Tensor;
  /** Under the frozen reference; `oldLogprob` where the coefficient is 0. */
  readonly referenceLogprob: Tensor;
  readonly advantage: Tensor;
  /** mask / number of tokens that the mean runs over */
  readonly weight: Tensor;
}

/** Widths of the trust region and the weight of the KL term. */
export interface PolicyLossOptions {
  readonly clipLow: number;
  readonly clipHigh: number;
  readonly klCoefficient: number;
}

/**
 * PPO's clipped surrogate with separate bounds, plus k3 KL to the reference:
 * -min(r A, clip(r, 1 - low, 1 + high) A) + beta (exp(d) - d - 1), d = ref - logprob.
 */
export function clippedPolicyLoss(
  tape: Tape,
  statistics: TokenStatistics,
  batch: PolicyBatch,
  { clipLow, clipHigh, klCoefficient }: PolicyLossOptions,
  sums: MetricSums,
): void {
  const N = statistics.logprob.size;
  for (const tensor of Object.values(batch)) assertShape(tensor, [N], "apply the policy loss");
  const dlogprob = tape.tensor([N], "dlogprob");
  const metrics = tape.tensor([N, lossMetrics.length], "token metrics");
  elementwise(tape.gpu, "policy_loss", "clipped", N, {
    logprob: statistics.logprob,
    entropy: statistics.entropy,
    old_logprob: batch.oldLogprob,
    reference_logprob: batch.referenceLogprob,
    advantage: batch.advantage,
    weight: batch.weight,
    dlogprob,
    metrics,
  }, { rows: N, clip_low: clipLow, clip_high: clipHigh, kl_coefficient: klCoefficient });
  statistics.logprob.grad = dlogprob;
  sums.add(tape, lossMetrics, metrics);
}
