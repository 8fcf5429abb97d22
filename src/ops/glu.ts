/**
 * SwiGLU (Shazeer 2020).
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** y = silu(gate) * up, elementwise over equal shapes. */
export function swiglu(tape: Tape, gate: Tensor, up: Tensor): Tensor {
  assertShape(up, gate.shape, "apply SwiGLU");
  const { gpu } = tape;
  const count = gate.size;
  assertMultipleOf4(count, "the number of elements", "apply SwiGLU");
  const y = tape.tensor(gate.shape, "swiglu", [gate, up]);
  elementwise(gpu, "glu", "forward", count / 4, { gate, up, y }, { count });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulatePair(
      gate,
      up,
      (dgate, beta_gate, dup, beta_up) =>
        elementwise(gpu, "glu", "backward", count / 4, { gate, up, dy, dgate, dup }, {
          count,
          beta_gate,
          beta_up,
        }),
    );
  });
  return y;
}
