/**
 * Reference activations of an MLP in f64, elementwise over arrays of any one length.
 *
 *   SiLU  act(x) = x s(x),  s(x) = 1 / (1 + exp(-x))
 *   GELU  act(x) = x (1 + tanh u) / 2,  u = sqrt(2/pi) (x + 0.044715 x^3)   (the tanh form)
 *
 *   gated  y = act(gate) up;  dup = dy act(gate),  dgate = dy up act'(gate)
 *
 * @module
 */

/** Which activation. */
export type ActivationName = "silu" | "gelu";

/** gate, up -> y, all of one length. */
export function gluForward(
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  name: ActivationName,
): Float64Array {
  return Float64Array.from(gate, (g, i) => value(g, name) * up[i]!);
}

/** gate, up, dy -> dgate, dup, all of one length. */
export function gluBackward(
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  dy: ArrayLike<number>,
  name: ActivationName,
): { dgate: Float64Array; dup: Float64Array } {
  return {
    dgate: Float64Array.from(gate, (g, i) => dy[i]! * up[i]! * slope(g, name)),
    dup: Float64Array.from(gate, (g, i) => dy[i]! * value(g, name)),
  };
}

/** x -> y, both of one length. */
export function activationForward(x: ArrayLike<number>, name: ActivationName): Float64Array {
  return Float64Array.from(x, (x) => value(x, name));
}

/** x, dy -> dx, all of one length. */
export function activationBackward(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  name: ActivationName,
): Float64Array {
  return Float64Array.from(x, (x, i) => dy[i]! * slope(x, name));
}

const RISE = Math.sqrt(2 / Math.PI);

function value(x: number, name: ActivationName): number {
  if (name === "silu") return x / (1 + Math.exp(-x));
  return x * (1 + Math.tanh(RISE * (x + 0.044715 * x ** 3))) / 2;
}

function slope(x: number, name: ActivationName): number {
  if (name === "silu") {
    const s = 1 / (1 + Math.exp(-x));
    return s * (1 + x * (1 - s));
  }
  const t = Math.tanh(RISE * (x + 0.044715 * x ** 3));
  return (1 + t) / 2 + x * (1 - t * t) / 2 * RISE * (1 + 3 * 0.044715 * x * x);
}
