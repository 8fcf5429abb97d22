/**
 * RMSNorm (Zhang & Sennrich 2019).
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { rowwise } from "./launch.ts";
import { foldRows } from "./reduce.ts";

/**
 * y[T,C] = x / sqrt(mean(x^2) + epsilon) * w.
 *
 * @param x [T,C], C a multiple of 4
 * @param w [C]
 */
export function rmsnorm(tape: Tape, x: Tensor, w: Tensor, epsilon: number): Tensor {
  const [T, C] = x.shape as [number, number];
  assertShape(w, [C], "normalise");
  assertMultipleOf4(C, "the width", "normalise");
  const { gpu } = tape;
  const y = tape.tensor([T, C], `rmsnorm(${w.label})`, [x, w]);
  const rstd = tape.tensor([T], "rstd");
  rowwise(gpu, "rmsnorm", "forward", T, { x, w, y, rstd }, { rows: T, width: C, epsilon });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const saved = { x, w, dy, saved_rstd: rstd };
    tape.accumulate(
      x,
      (dx, beta) =>
        rowwise(gpu, "rmsnorm", "backward_x", T, { ...saved, dx }, { rows: T, width: C, beta }),
    );
    tape.accumulate(w, (dw, beta) => {
      const { lanes, partialRows: block } = gpu.tuning;
      const blocks = Math.ceil(T / block);
      const columns = Math.ceil(C / 4 / lanes);
      const partials = tape.tensor([blocks, C], "rmsnorm partial sums");
      gpu.dispatch("rmsnorm", "backward_w", {
        constants: { LANES: lanes },
        bindings: { x, dy, saved_rstd: rstd, partial_sums: partials },
        params: { rows: T, width: C, block },
        workgroups: [columns, blocks],
      });
      foldRows(tape, partials, dw, beta);
      gpu.release(partials.buffer);
    });
  }, [rstd]);
  return y;
}
