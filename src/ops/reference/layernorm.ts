/**
 * Reference LayerNorm in f64. T tokens, C channels.
 *
 *   forward   n = (x - mean(x)) r,  r = 1 / sqrt(mean((x - mean(x))^2) + eps),  y = n w + b
 *   backward  g = dy w,  dx = r (g - mean(g) - n mean(g n)),  dw = sum over t of dy n,  db of dy
 *
 * @module
 */

/** x [T,C], w and b [C] -> y [T,C]. */
export function layernormForward(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  b: ArrayLike<number>,
  eps: number,
  { T, C }: { T: number; C: number },
): Float64Array {
  const y = new Float64Array(T * C);
  for (let t = 0; t < T; t++) {
    const { n } = normalised(x, t, C, eps);
    for (let c = 0; c < C; c++) y[t * C + c] = n[c]! * w[c]! + b[c]!;
  }
  return y;
}

/** x [T,C], w [C], dy [T,C] -> dx [T,C], dw and db [C]. */
export function layernormBackward(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  eps: number,
  dy: ArrayLike<number>,
  { T, C }: { T: number; C: number },
): { dx: Float64Array; dw: Float64Array; db: Float64Array } {
  const [dx, dw, db] = [new Float64Array(T * C), new Float64Array(C), new Float64Array(C)];
  for (let t = 0; t < T; t++) {
    const { n, r } = normalised(x, t, C, eps);
    let [mean, product] = [0, 0];
    for (let c = 0; c < C; c++) {
      const g = dy[t * C + c]! * w[c]!;
      mean += g / C;
      product += g * n[c]! / C;
      dw[c]! += dy[t * C + c]! * n[c]!;
      db[c]! += dy[t * C + c]!;
    }
    for (let c = 0; c < C; c++) {
      dx[t * C + c] = r * (dy[t * C + c]! * w[c]! - mean - n[c]! * product);
    }
  }
  return { dx, dw, db };
}

function normalised(x: ArrayLike<number>, t: number, C: number, eps: number) {
  const row = Float64Array.from({ length: C }, (_, c) => x[t * C + c]!);
  const mean = row.reduce((sum, v) => sum + v, 0) / C;
  const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C;
  const r = 1 / Math.sqrt(variance + eps);
  return { n: row.map((v) => (v - mean) * r), r };
}
