/**
 * Reference clipped value loss in f64 over N tokens. weight = mask / normaliser, so that the loss of
 * a batch is the plain sum of `loss`; `dvalue` is the derivative of coefficient times that.
 *
 *   loss = weight 0.5 max((V - R)^2, (clip(V, old - clip, old + clip) - R)^2)
 *   dV   = coefficient weight [not clipped] (V - R)
 *
 * @module
 */

/** Bound of a value's move, and weight of the loss. */
export interface ValueLossOptions {
  clip: number;
  coefficient: number;
}

/** Per-token columns, each [N]. */
export interface ValueLossTokens {
  value: ArrayLike<number>;
  oldValue: ArrayLike<number>;
  returns: ArrayLike<number>;
  weight: ArrayLike<number>;
}

/** Per-token columns -> loss [N], dvalue [N], clipped [N] (1 where the bound cut the gradient). */
export function valueLoss(
  { value, oldValue, returns, weight }: ValueLossTokens,
  { clip, coefficient }: ValueLossOptions,
): { loss: Float64Array; dvalue: Float64Array; clipped: Uint8Array } {
  const N = value.length;
  const loss = new Float64Array(N);
  const dvalue = new Float64Array(N);
  const clipped = new Uint8Array(N);
  for (let n = 0; n < N; n++) {
    const old = oldValue[n]!;
    const error = value[n]! - returns[n]!;
    const bounded = Math.min(Math.max(value[n]!, old - clip), old + clip) - returns[n]!;
    clipped[n] = bounded ** 2 > error ** 2 ? 1 : 0;
    loss[n] = weight[n]! * 0.5 * Math.max(error ** 2, bounded ** 2);
    dvalue[n] = clipped[n] ? 0 : coefficient * weight[n]! * error;
  }
  return { loss, dvalue, clipped };
}
