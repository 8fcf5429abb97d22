/**
 * Reference addition in f64, elementwise over arrays of one length.
 *
 *   y = a + b
 *
 * @module
 */

/** a, b -> y = a + b. */
export function addForward(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]!);
}
