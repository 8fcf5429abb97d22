/**
 * Sums.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** y = a + b, of one shape whose size is a multiple of 4. */
export function add(tape: Tape, a: Tensor, b: Tensor): Tensor {
  assertShape(b, a.shape, "add");
  const count = a.size;
  const y = tape.tensor(a.shape, "sum", [a, b]);
  elementwise(tape.gpu, "add", "sum", count / 4, { a, b, y }, { count });

  tape.record([y], () => {
    if (!y.grad) return;
    accumulateInto(tape, y.grad, b);
    passOn(tape, y, a);
  });
  return y;
}

/** dL/dx += dL/dy where y = x + something: without a copy if it can be; the last use of dL/dy. */
export function passOn(tape: Tape, y: Tensor, x: Tensor): void {
  if (!tape.handOver(y, x)) accumulateInto(tape, y.grad!, x);
}

/** dL/dx += g. */
function accumulateInto(tape: Tape, g: Tensor, x: Tensor): void {
  const count = g.size;
  tape.accumulate(
    x,
    (dx, beta) =>
      elementwise(tape.gpu, "add", "accumulate", count / 4, { a: g, y: dx }, { count, beta }),
  );
}
