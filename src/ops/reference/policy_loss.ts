/**
 * Reference per-token losses in f64 over N tokens: the rules of the policy losses with divergence
 * from a reference policy, and plain negative log likelihood. weight = mask / normaliser, so that
 * the loss of a batch is the plain sum of `loss`.
 *
 *   rho     = exp(lp - old), or exp of the sequence's mean of that
 *   clipped = -min(min(rho, ratioMax) A, clip(rho, 1 - clipLow, 1 + clipHigh) A)
 *   cispo   = -stop(min(rho, ratioMax)) A lp
 *   sapo    = -(4 / tau) sigmoid(tau (rho - 1)) A
 *   loss    = weight (rule + klCoefficient kl)
 *   nll:  loss = -weight lp,  dlp = -weight
 *
 * @module
 */

/** The rule and the divergence; defaults are those of the GPU's `policyLoss`. */
export interface PolicyLossOptions {
  rule?: "clipped" | "cispo" | "sapo";
  clipLow?: number;
  clipHigh?: number;
  ratioMax?: number;
  /** tau where the advantage is above 0, and elsewhere. */
  temperatures?: readonly [number, number];
  klCoefficient?: number;
  klForm?: "k1" | "k2" | "k3" | "unbiased";
}

/** Per-token columns of the surrogate, each [N]; `reference` may be left out without divergence. */
export interface PolicyLossTokens {
  logprob: ArrayLike<number>;
  oldLogprob: ArrayLike<number>;
  advantage: ArrayLike<number>;
  weight: ArrayLike<number>;
  reference?: ArrayLike<number>;
  /** First token of each sequence and N: the ratio is the sequence's. */
  starts?: ArrayLike<number>;
}

/** What the losses came to, [N] each. */
export interface PolicyLossResult {
  loss: Float64Array;
  dlogprob: Float64Array;
  /** exp of the log ratio that the rule saw. */
  ratio: Float64Array;
  /** 1 where a bound cut the gradient of `clipped`, or the weight of `cispo`. */
  clipped: Uint8Array;
}

/**
 * The estimate of the divergence and its derivative by lp, of d = lp - reference; `unbiased` is k3
 * times rho, through which it is differentiated, too.
 */
export function klEstimate(
  d: number,
  form: "k1" | "k2" | "k3" | "unbiased",
  rho: number,
): [number, number] {
  if (form === "k1") return [d, 1];
  if (form === "k2") return [d * d / 2, d];
  const [k3, slope] = [Math.exp(-d) - 1 + d, 1 - Math.exp(-d)];
  return form === "k3" ? [k3, slope] : [rho * k3, rho * (slope + k3)];
}

/**
 * Per-token columns -> loss, dL/dlogprob. The latter is that of the whole batch's loss, also where
 * a token's ratio is that of its sequence.
 */
export function policyLoss(
  { logprob, oldLogprob, advantage, weight, reference, starts }: PolicyLossTokens,
  options: PolicyLossOptions,
): PolicyLossResult {
  const { rule = "clipped", clipLow = 0.2, clipHigh = 0.2, ratioMax = Infinity } = options;
  const { temperatures: [good, bad] = [1, 1.05], klCoefficient = 0, klForm = "k3" } = options;
  const N = logprob.length;
  const [loss, dlogprob, ratio] = [0, 1, 2].map(() => new Float64Array(N)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const clipped = new Uint8Array(N);
  const logRatio = Float64Array.from({ length: N }, (_, n) => logprob[n]! - oldLogprob[n]!);
  const sequences = starts ? Array.from(starts).slice(1).map((end, i) => [starts[i]!, end]) : [];
  /** What flows into each log ratio. */
  const backward = new Float64Array(N);
  for (const [first, end] of sequences) {
    const mean = logRatio.subarray(first, end).reduce((a, b) => a + b, 0) / (end! - first!);
    logRatio.fill(mean, first, end);
  }
  for (let n = 0; n < N; n++) {
    const [A, w, rho] = [advantage[n]!, weight[n]!, Math.exp(logRatio[n]!)];
    ratio[n] = rho;
    if (rule === "clipped") {
      const plain = Math.min(rho, ratioMax) * A;
      const bounded = Math.min(Math.max(rho, 1 - clipLow), 1 + clipHigh) * A;
      const held = bounded < plain || (A < 0 && rho > ratioMax);
      clipped[n] = Number(held);
      loss[n] = -w * Math.min(plain, bounded);
      backward[n] = held ? 0 : -w * rho * A;
    } else if (rule === "cispo") {
      const share = Math.min(rho, ratioMax);
      clipped[n] = Number(rho > ratioMax);
      loss[n] = -w * share * A * logprob[n]!;
      dlogprob[n]! += -w * share * A;
    } else {
      const tau = A > 0 ? good : bad;
      const gate = 1 / (1 + Math.exp(-tau * (rho - 1)));
      loss[n] = -w * 4 / tau * gate * A;
      backward[n] = -w * 4 * gate * (1 - gate) * rho * A;
    }
    if (reference !== undefined && klCoefficient !== 0) {
      const [value, slope] = klEstimate(logprob[n]! - reference[n]!, klForm, rho);
      loss[n]! += w * klCoefficient * value;
      dlogprob[n]! += w * klCoefficient * slope;
    }
  }
  for (const [first, end] of sequences) {
    const mean = backward.subarray(first, end).reduce((a, b) => a + b, 0) / (end! - first!);
    backward.fill(mean, first, end);
  }
  for (let n = 0; n < N; n++) dlogprob[n]! += backward[n]!;
  return { loss, dlogprob, ratio, clipped };
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
