/**
 * Reference SwiGLU gate in f64, elementwise over arrays of any one length.
 *
 *   forward   y = silu(gate) up,  silu(g) = g s,  s = 1 / (1 + exp(-g))
 *   backward  dup = dy silu(gate),  dgate = dy up s (1 + gate (1 - s))
 *
 * @module
 */

/** gate, up -> y, all of one length. */
export function swigluForward(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (g, i) => g * sigmoid(g) * up[i]!);
}

/** gate, up, dy -> dgate, dup, all of one length. */
export function swigluBackward(
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  dy: ArrayLike<number>,
): { dgate: Float64Array; dup: Float64Array } {
  const dgate = Float64Array.from(gate, (g, i) => {
    const s = sigmoid(g);
    return dy[i]! * up[i]! * s * (1 + g * (1 - s));
  });
  const dup = Float64Array.from(gate, (g, i) => dy[i]! * g * sigmoid(g));
  return { dgate, dup };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
