/**
 * SwiGLU (Shazeer 2020).
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** y[T,F] = silu(gate) * up, with gate and up side by side in x[T, 2 F]. */
export function swiglu(tape: Tape, x: Tensor): Tensor {
  const [rows, both] = x.shape as [number, number];
  const width = both / 2;
  assertShape(x, [rows, both], "apply SwiGLU");
  assertMultipleOf4(width, "half of the width", "apply SwiGLU");
  const { gpu } = tape;
  const units = rows * width / 4;
  const params = { rows, width };
  const y = tape.tensor([rows, width], "swiglu", [x]);
  elementwise(gpu, "glu", "forward", units, { gate_up: x, y }, { ...params, beta: 0 });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => {
      const bindings = { gate_up: x, dy, dgate_up: dx };
      elementwise(gpu, "glu", "backward", units, bindings, { ...params, beta });
    });
  });
  return y;
}
