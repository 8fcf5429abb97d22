/**
 * Reference rotary position embedding in f64, rotate-half convention of Hugging Face's Llama.
 * T tokens, H heads, D head dimension, of which the first R rotate; the pair of channel i is i + R/2.
 *
 *   angle = position theta^(-2i/R),  i in 0..R/2-1
 *   forward   y[i]       = m (x[i] cos - x[i+R/2] sin)
 *             y[i+R/2]   = m (x[i+R/2] cos + x[i] sin)
 *   backward  the transpose of a rotation is the rotation by -angle
 *
 * @module
 */

/** Sizes of a rotation: H heads of D channels per token. */
export interface RopeShape {
  H: number;
  D: number;
  /** How many channels rotate; D when absent. */
  R?: number;
  /** m, 1 when absent. */
  magnitude?: number;
}

/** x [T,H,D], positions [T] -> y [T,H,D]. */
export function ropeForward(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  theta: number,
  shape: RopeShape,
): Float64Array {
  return rotate(x, positions, theta, shape, 1);
}

/** dy [T,H,D], positions [T] -> dx [T,H,D]. */
export function ropeBackward(
  dy: ArrayLike<number>,
  positions: ArrayLike<number>,
  theta: number,
  shape: RopeShape,
): Float64Array {
  return rotate(dy, positions, theta, shape, -1);
}

function rotate(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  theta: number,
  { H, D, R = D, magnitude = 1 }: RopeShape,
  sign: 1 | -1,
): Float64Array {
  const y = Float64Array.from(x);
  const half = R / 2;
  for (let t = 0; t < positions.length; t++) {
    for (let h = 0; h < H; h++) {
      const row = (t * H + h) * D;
      for (let i = 0; i < half; i++) {
        const angle = sign * positions[t]! * Math.pow(theta, -2 * i / R);
        const cos = magnitude * Math.cos(angle);
        const sin = magnitude * Math.sin(angle);
        const a = x[row + i]!;
        const b = x[row + i + half]!;
        y[row + i] = a * cos - b * sin;
        y[row + i + half] = b * cos + a * sin;
      }
    }
  }
  return y;
}
