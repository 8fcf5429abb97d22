/**
 * Reference AdamW and global-norm clipping in f64, as torch.optim.AdamW and
 * torch.nn.utils.clip_grad_norm_ define them. Arrays of any one length; step counts from 1.
 *
 *   g = scale dp,  p = p (1 - lr wd)
 *   m = beta1 m + (1 - beta1) g,        v = beta2 v + (1 - beta2) g^2
 *   p = p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
 *   scale = min(1, maxNorm / (norm + 1e-6)),  norm over all parameters together
 *
 * @module
 */

/** Settings of one update; `gradientScale` is the clip scale. */
export interface AdamwOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  step: number;
  gradientScale?: number;
}

/** A parameter with its two moments, all of one length. */
export interface AdamwState {
  parameter: Float64Array;
  m: Float64Array;
  v: Float64Array;
}

/** One update: parameter, gradient, m and v of one length -> the new parameter, m and v. */
export function adamwStep(
  parameter: ArrayLike<number>,
  gradient: ArrayLike<number>,
  m: ArrayLike<number>,
  v: ArrayLike<number>,
  { learningRate, beta1, beta2, eps, weightDecay, step, gradientScale = 1 }: AdamwOptions,
): AdamwState {
  const next: AdamwState = {
    parameter: Float64Array.from(parameter),
    m: Float64Array.from(m),
    v: Float64Array.from(v),
  };
  for (let i = 0; i < parameter.length; i++) {
    const g = gradientScale * gradient[i]!;
    const m1 = beta1 * m[i]! + (1 - beta1) * g;
    const v1 = beta2 * v[i]! + (1 - beta2) * g * g;
    const mHat = m1 / (1 - Math.pow(beta1, step));
    const vHat = v1 / (1 - Math.pow(beta2, step));
    next.m[i] = m1;
    next.v[i] = v1;
    next.parameter[i] = parameter[i]! * (1 - learningRate * weightDecay) -
      learningRate * mHat / (Math.sqrt(vHat) + eps);
  }
  return next;
}

/** Euclidean norm of all gradients taken as one vector. */
export function globalNorm(gradients: Iterable<ArrayLike<number>>): number {
  let squares = 0;
  for (const gradient of gradients) {
    for (let i = 0; i < gradient.length; i++) squares += gradient[i]! ** 2;
  }
  return Math.sqrt(squares);
}

/** Factor that brings a gradient of this norm to at most `maxNorm`. */
export function clipScale(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}
