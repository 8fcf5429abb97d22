/**
 * Reference RMSNorm in f64. T tokens, C channels.
 *
 *   forward   r = 1 / sqrt(mean(x^2) + eps),  y = x r w
 *   backward  g = dy w,  dx = r (g - x r^2 mean(g x)),  dw = sum over t of dy x r
 *
 * @module
 */

/** Sizes of a norm: T rows of C channels. */
export interface RmsnormShape {
  T: number;
  C: number;
}

/** x [T,C], w [C] -> y [T,C] and the reciprocal root mean square rstd [T]. */
export function rmsnormForward(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  { T, C }: RmsnormShape,
): { y: Float64Array; rstd: Float64Array } {
  const y = new Float64Array(T * C);
  const rstd = new Float64Array(T);
  for (let t = 0; t < T; t++) {
    let squares = 0;
    for (let c = 0; c < C; c++) squares += x[t * C + c]! ** 2;
    const r = 1 / Math.sqrt(squares / C + eps);
    rstd[t] = r;
    for (let c = 0; c < C; c++) y[t * C + c] = x[t * C + c]! * r * w[c]!;
  }
  return { y, rstd };
}

/** x [T,C], w [C], dy [T,C] -> dx [T,C], dw [C]. */
export function rmsnormBackward(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  dy: ArrayLike<number>,
  { T, C }: RmsnormShape,
): { dx: Float64Array; dw: Float64Array } {
  const dx = new Float64Array(T * C);
  const dw = new Float64Array(C);
  const { rstd } = rmsnormForward(x, w, eps, { T, C });
  for (let t = 0; t < T; t++) {
    const r = rstd[t]!;
    let dot = 0;
    for (let c = 0; c < C; c++) dot += dy[t * C + c]! * w[c]! * x[t * C + c]!;
    for (let c = 0; c < C; c++) {
      const i = t * C + c;
      dx[i] = r * (dy[i]! * w[c]! - x[i]! * r * r * dot / C);
      dw[c]! += dy[i]! * x[i]! * r;
    }
  }
  return { dx, dw };
}
