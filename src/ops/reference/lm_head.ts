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
}

/** x [N,C], W [V,C], targets [N] -> logprob [N], entropy [N]. */
export function lmHeadForward(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  targets: ArrayLike<number>,
  temperature: number,
  { N, C, V }: LmHeadShape,
): { logprob: Float64Array; entropy: Float64Array } {
  const logp = logSoftmax(x, W, temperature, { N, C, V });
  const logprob = new Float64Array(N);
  const entropy = new Float64Array(N);
  for (let n = 0; n < N; n++) {
    logprob[n] = logp[n * V + targets[n]!]!;
    for (let v = 0; v < V; v++) entropy[n]! -= Math.exp(logp[n * V + v]!) * logp[n * V + v]!;
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
  { N, C, V }: LmHeadShape,
): { dx: Float64Array; dW: Float64Array } {
  const logp = logSoftmax(x, W, temperature, { N, C, V });
  const { entropy } = lmHeadForward(x, W, targets, temperature, { N, C, V });
  const dlogits = new Float64Array(N * V);
  for (let n = 0; n < N; n++) {
    for (let v = 0; v < V; v++) {
      const lp = logp[n * V + v]!;
      const p = Math.exp(lp);
      const dz = dlogprob[n]! * ((v === targets[n] ? 1 : 0) - p) -
        dentropy[n]! * p * (lp + entropy[n]!);
      dlogits[n * V + v] = dz / temperature;
    }
  }
  return {
    dx: matmul("nn", dlogits, W, { M: N, N: C, K: V }),
    dW: matmul("tn", dlogits, x, { M: V, N: C, K: N }),
  };
}

function logSoftmax(
  x: ArrayLike<number>,
  W: ArrayLike<number>,
  temperature: number,
  { N, C, V }: LmHeadShape,
): Float64Array {
  const z = matmul("nt", x, W, { M: N, N: V, K: C });
  for (let n = 0; n < N; n++) {
    let max = -Infinity;
    for (let v = 0; v < V; v++) {
      z[n * V + v]! /= temperature;
      max = Math.max(max, z[n * V + v]!);
    }
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(z[n * V + v]! - max);
    const lse = max + Math.log(sum);
    for (let v = 0; v < V; v++) z[n * V + v]! -= lse;
  }
  return z;
}
