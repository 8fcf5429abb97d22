/**
 * The activation of an MLP, with a gate (Shazeer 2020: SwiGLU, GeGLU) or without.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** SiLU, or GELU in its tanh form. */
export type Activation = "silu" | "gelu";

/** y[T,F] = act(gate) * up, with gate and up side by side in x[T, 2 F]. */
export function glu(tape: Tape, x: Tensor, activation: Activation): Tensor {
  const [rows, both] = x.shape as [number, number];
  const width = both / 2;
  assertShape(x, [rows, both], "apply a gated activation");
  assertMultipleOf4(width, "half of the width", "apply a gated activation");
  const { gpu } = tape;
  const units = rows * width / 4;
  const params = { rows, width };
  const special = { constants: { GELU: activation === "gelu" ? 1 : 0 } };
  const y = tape.tensor([rows, width], "glu", [x]);
  const bindings = { gate_up: x, y };
  elementwise(gpu, "glu", "forward", units, bindings, { ...params, beta: 0 }, special);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => {
      const bindings = { gate_up: x, dy, dgate_up: dx };
      elementwise(gpu, "glu", "backward", units, bindings, { ...params, beta }, special);
    });
  });
  return y;
}

/** y[T,F] = act(x). */
export function activate(tape: Tape, x: Tensor, activation: Activation): Tensor {
  const [rows, width] = x.shape as [number, number];
  assertMultipleOf4(width, "the width", "apply an activation");
  const { gpu } = tape;
  const units = rows * width / 4;
  const params = { rows, width };
  const special = { constants: { GELU: activation === "gelu" ? 1 : 0 } };
  const y = tape.tensor([rows, width], "activation", [x]);
  elementwise(gpu, "glu", "plain_forward", units, { x, y }, { ...params, beta: 0 }, special);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => {
      const bindings = { x, dy, dx };
      elementwise(gpu, "glu", "plain_backward", units, bindings, { ...params, beta }, special);
    });
  });
  return y;
}
