/**
 * Reference per-token losses in f64 over N tokens: the clipped surrogate with k3 divergence from a
 * reference policy, and plain negative log likelihood. weight = mask / normaliser, so that the
 * loss of a batch is the plain sum of `loss`.
 *
 *   rho  = exp(lp - old)
 *   loss = weight (-min(rho A, clip(rho, 1 - clipLow, 1 + clipHigh) A)
 *                  + klCoefficient (exp(ref - lp) - (ref - lp) - 1))
 *   dlp  = weight (-[not clipped] rho A + klCoefficient (1 - exp(ref - lp)))
 *   nll:  loss = -weight lp,  dlp = -weight
 *
 * @module
 */

/** Clip range and divergence weight of the surrogate. */
export interface PolicyLossOptions {
  clipLow: number;
  clipHigh: number;
  klCoefficient: number;
}

/** Per-token columns of the surrogate, each [N]; `reference` may be left out without divergence. */
export interface PolicyLossTokens {
  logprob: ArrayLike<number>;
  oldLogprob: ArrayLike<number>;
  advantage: ArrayLike<number>;
  weight: ArrayLike<number>;
  reference?: ArrayLike<number>;
}

/** Per-token columns -> loss [N], dlogprob [N], clipped [N] (1 where the clip cut the gradient). */
export function policyLoss(
  { logprob, oldLogprob, advantage, weight, reference }: PolicyLossTokens,
  { clipLow, clipHigh, klCoefficient }: PolicyLossOptions,
): { loss: Float64Array; dlogprob: Float64Array; clipped: Uint8Array } {
  const N = logprob.length;
  const loss = new Float64Array(N);
  const dlogprob = new Float64Array(N);
  const clipped = new Uint8Array(N);
  for (let n = 0; n < N; n++) {
    const A = advantage[n]!;
    const w = weight[n]!;
    const ratio = Math.exp(logprob[n]! - oldLogprob[n]!);
    const unclippedTerm = ratio * A;
    const clippedTerm = Math.min(Math.max(ratio, 1 - clipLow), 1 + clipHigh) * A;
    clipped[n] = clippedTerm < unclippedTerm ? 1 : 0;
    loss[n] = -Math.min(unclippedTerm, clippedTerm) * w;
    dlogprob[n] = clipped[n] ? 0 : -unclippedTerm * w;
    if (reference !== undefined && klCoefficient !== 0) {
      const difference = reference[n]! - logprob[n]!;
      loss[n]! += klCoefficient * w * (Math.exp(difference) - difference - 1);
      dlogprob[n]! += klCoefficient * w * (1 - Math.exp(difference));
    }
  }
  return { loss, dlogprob, clipped };
}

/** logprob [N], weight [N] -> loss [N], dlogprob [N] of the negative log likelihood. */
export function nllLoss(
  logprob: ArrayLike<number>,
  weight: ArrayLike<number>,
): { loss: Float64Array; dlogprob: Float64Array } {
  return {
    loss: Float64Array.from(logprob, (lp, n) => -weight[n]! * lp),
    dlogprob: Float64Array.from(weight, (w) => -w),
  };
}
