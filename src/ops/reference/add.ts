/**
 * Reference addition in f64, elementwise over arrays of one length.
 *
 *   forward   y = a + b
 *   backward  da = dy, db = dy
 *
 * @module
 */

/** a, b -> y = a + b. */
export function addForward(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]!);
}

/** dy -> da, db, two copies of it. */
export function addBackward(dy: ArrayLike<number>): { da: Float64Array; db: Float64Array } {
  return { da: Float64Array.from(dy), db: Float64Array.from(dy) };
}
