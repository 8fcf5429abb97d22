/**
 * Reference language-model head in f64: log probability of the target and entropy per row.
 * N rows, C channels, V vocabulary, temperature tau.
 *
 *   z = x W^T / tau,  log p = z - log sum exp z
 *   logprob_n = log p[target_n],  entropy_n = -sum_v p_v log p_v
 *   dz_v = dlogprob (1[v = target] - p_v) - dentropy p_v (log p_v + entropy)
 *   dx = dz W / tau,  dW = dz^T x / tau
 *
 * @module
 */

import { matmul } from "./matmul.ts";

/** Sizes of a head: N rows, C channels, V vocabulary. */
export interface LmHeadShape {
  N: number;
  C: number;
  V: number;
  /** Logits become cap tanh(logits / cap); absent leaves them. */
  cap?: number;
  /** How many of the V are tokens; all when absent. */
  vocabulary?: number;
}

/** x [N,C], W [V,C], targets [N] -> logprob [N], entropy [N]. */
export function lmHeadForward(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  targets: ArrayLike<number>,
  temperature: number,
  shape: LmHeadShape,
): { logprob: Float64Array; entropy: Float64Array } {
  const { N, V, vocabulary = V } = shape;
  const { logp } = logSoftmax(x, W, temperature, shape);
  const logprob = new Float64Array(N);
  const entropy = new Float64Array(N);
  for (let n = 0; n < N; n++) {
    logprob[n] = logp[n * V + targets[n]!]!;
    for (let v = 0; v < vocabulary; v++) {
      entropy[n]! -= Math.exp(logp[n * V + v]!) * logp[n * V + v]!;
    }
  }
  return { logprob, entropy };
}

/** Inputs as in the forward, dlogprob [N] and dentropy [N] -> dx [N,C], dW [V,C]. */
export function lmHeadBackward(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  targets: ArrayLike<number>,
  temperature: number,
  dlogprob: ArrayLike<number>,
  dentropy: ArrayLike<number>,
  shape: LmHeadShape,
): { dx: Float64Array; dW: Float64Array } {
  const { N, C, V, vocabulary = V } = shape;
  const { logp, slope } = logSoftmax(x, W, temperature, shape);
  const { entropy } = lmHeadForward(x, W, targets, temperature, shape);
  const dlogits = new Float64Array(N * V);
  for (let n = 0; n < N; n++) {
    for (let v = 0; v < vocabulary; v++) {
      const lp = logp[n * V + v]!;
      const p = Math.exp(lp);
      const dz = dlogprob[n]! * ((v === targets[n] ? 1 : 0) - p) -
        dentropy[n]! * p * (lp + entropy[n]!);
      dlogits[n * V + v] = dz / temperature * slope[n * V + v]!;
    }
  }
  return {
    dx: matmul("nn", dlogits, W, { M: N, N: C, K: V }),
    dW: matmul("tn", dlogits, x, { M: V, N: C, K: N }),
  };
}

/** Logits x W^T, capped, and the derivative of each with respect to what it was before the cap. */
export function headLogits(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  { N, C, V, cap }: LmHeadShape,
): { z: Float64Array; slope: Float64Array } {
  const z = matmul("nt", x, W, { M: N, N: V, K: C });
  const slope = new Float64Array(z.length).fill(1);
  if (cap === undefined) return { z, slope };
  for (let i = 0; i < z.length; i++) {
    const level = Math.tanh(z[i]! / cap);
    z[i] = cap * level;
    slope[i] = 1 - level * level;
  }
  return { z, slope };
}

/** Log-softmax of z [N,V] / temperature over the first `vocabulary` columns; the others are kept. */
export function logSoftmaxRows(
  z: ArrayLike<number>,
  temperature: number,
  { N, V, vocabulary = V }: Pick<LmHeadShape, "N" | "V" | "vocabulary">,
): Float64Array {
  const logp = Float64Array.from(z);
  for (let n = 0; n < N; n++) {
    let max = -Infinity;
    for (let i = n * V; i < n * V + vocabulary; i++) {
      logp[i]! /= temperature;
      max = Math.max(max, logp[i]!);
    }
    let sum = 0;
    for (let i = n * V; i < n * V + vocabulary; i++) sum += Math.exp(logp[i]! - max);
    const lse = max + Math.log(sum);
    for (let i = n * V; i < n * V + vocabulary; i++) logp[i]! -= lse;
  }
  return logp;
}

/** Log-probabilities, and the derivative of each capped logit with respect to the one before. */
function logSoftmax(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  temperature: number,
  shape: LmHeadShape,
): { logp: Float64Array; slope: Float64Array } {
  const { z, slope } = headLogits(x, W, shape);
  return { logp: logSoftmaxRows(z, temperature, shape), slope };
}
