/**
 * Residual addition.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** y = a + b, elementwise over equal shapes. */
export function add(tape: Tape, a: Tensor, b: Tensor): Tensor {
  assertShape(b, a.shape, "add");
  const { gpu } = tape;
  const count = a.size;
  assertMultipleOf4(count, "the number of elements", "add");
  const y = tape.tensor(a.shape, "add", [a, b]);
  elementwise(gpu, "add", "forward", count / 4, { a, b, y }, { count });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    for (const input of [a, b]) {
      tape.accumulate(
        input,
        (dx, beta) =>
          elementwise(gpu, "add", "accumulate", count / 4, { a: dy, y: dx }, { count, beta }),
      );
    }
  });
  return y;
}
