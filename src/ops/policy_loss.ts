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
  "kl", // to the reference
  "clip_low",
  "clip_high",
  "approx_kl", // k3 to the policy that sampled
  "entropy",
  "logprob_difference", // |log ratio|
  "weight",
  "ratio",
  "ratio_squared",
  "log_ratio_squared",
  "clip_dual",
] as const;

/**
 * Negative log-likelihood, sum of -weight * logprob.
 *
 * @param weight [N] mask / number of tokens that the mean runs over
 */
export function nllLoss(
  tape: Tape,
  { logprob, entropy }: TokenStatistics,
  weight: Tensor,
  sums: MetricSums,
): void {
  const N = logprob.size;
  assertShape(weight, [N], "apply the NLL loss");
  const dlogprob = tape.tensor([N], "dlogprob");
  const metrics = tape.tensor([N, lossMetrics.length], "token metrics");
  elementwise(tape.gpu, "policy_loss", "nll", N, { logprob, weight, entropy, dlogprob, metrics }, {
    rows: N,
  });
  logprob.grad = dlogprob;
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
  /**
   * u32 [S + 1], the first token of each sequence and N: where given, a token's ratio is its
   * sequence's, the exponential of the mean log ratio (GSPO, Zheng et al. 2025). Weights
   * and advantages are then to be equal within a sequence.
   */
  readonly starts?: Tensor | null;
}

/** The rules; all agree to first order at ratio 1. */
export const POLICY_RULES = ["clipped", "cispo", "sapo"] as const;

/**
 * Estimates of the divergence from the reference (Schulman 2020); `unbiased` is k3 times the ratio,
 * whose gradient is that of the divergence itself (DeepSeek-V3.2), with ratios of tokens only.
 */
export const KL_FORMS = ["k1", "k2", "k3", "unbiased"] as const;

/** What the loss of a token is. With r = exp(logprob - old logprob): */
export interface PolicyLossOptions {
  /**
   * - `clipped`: -min(min(r, ratioMax) A, clip(r, 1 - clipLow, 1 + clipHigh) A), PPO's surrogate
   * - `cispo`: -stop(min(r, ratioMax)) A logprob
   * - `sapo`: -(4 / tau) sigmoid(tau (r - 1)) A
   */
  readonly rule?: typeof POLICY_RULES[number];
  /** Width of the trust region below; default 0.2. */
  readonly clipLow?: number;
  /** Width of the trust region above; default 0.2. */
  readonly clipHigh?: number;
  /** Bound of the ratio itself, where it makes bad tokens (all, in `cispo`) dear; default none. */
  readonly ratioMax?: number;
  /** tau of tokens whose advantage is above 0, and of the others; default 1 and 1.05. */
  readonly temperatures?: readonly [number, number];
  /** Weight of the divergence from the reference; default 0. */
  readonly klCoefficient?: number;
  /** Its estimate, with d = logprob - reference: d, d^2 / 2, e^-d - 1 + d, or r times that. */
  readonly klForm?: typeof KL_FORMS[number];
}

/** The largest f32 that is far from overflow: no bound. */
const UNBOUNDED = 3e38;

/** The policy loss of one rule, plus the divergence from the reference. */
export function policyLoss(
  tape: Tape,
  { logprob, entropy }: TokenStatistics,
  batch: PolicyBatch,
  options: PolicyLossOptions,
  sums: MetricSums,
): void {
  const { rule = "clipped", clipLow = 0.2, clipHigh = 0.2, ratioMax = Infinity } = options;
  const { temperatures: [good, bad] = [1, 1.05], klCoefficient = 0, klForm = "k3" } = options;
  const { starts, oldLogprob, referenceLogprob, advantage, weight } = batch;
  const N = logprob.size;
  for (const tensor of [oldLogprob, referenceLogprob, advantage, weight]) {
    assertShape(tensor, [N], "apply the policy loss");
  }
  const dlogprob = tape.tensor([N], "dlogprob");
  const metrics = tape.tensor([N, lossMetrics.length], "token metrics");
  const [clip_low, clip_high] = rule === "sapo" ? [bad, good] : [clipLow, clipHigh];
  elementwise(tape.gpu, "policy_loss", rule, N, {
    logprob,
    entropy,
    old_logprob: starts ? levelled(tape, logprob, oldLogprob, starts) : oldLogprob,
    reference_logprob: referenceLogprob,
    advantage,
    weight,
    dlogprob,
    metrics,
  }, {
    rows: N,
    clip_low,
    clip_high,
    ratio_max: Math.min(ratioMax, UNBOUNDED),
    kl_coefficient: klCoefficient,
    kl_form: 1 + KL_FORMS.indexOf(klForm),
  });
  logprob.grad = dlogprob;
  sums.add(tape, lossMetrics, metrics);
}

/** Old log-probabilities that give each token the mean log ratio of its sequence. */
function levelled(tape: Tape, logprob: Tensor, old_logprob: Tensor, starts: Tensor): Tensor {
  const level_logprob = tape.tensor([logprob.size], "level logprob");
  const sequences = starts.size - 1;
  const bindings = { logprob, old_logprob, starts, level_logprob };
  elementwise(tape.gpu, "policy_loss", "sequence_ratio", sequences, bindings, { sequences });
  return level_logprob;
}
