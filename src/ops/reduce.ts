/**
 * Sums in a fixed order.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Bindable } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/** y[C] = beta y + column sums of x[R,C]; many rows are first summed in blocks. */
export function foldRows(tape: Tape, x: Tensor, y: Tensor, beta: 0 | 1): void {
  const [R, C] = x.shape as [number, number];
  const { gpu } = tape;
  const { lanes, partialRows: block } = gpu.tuning;
  const blocks = Math.ceil(R / block);
  const columns = Math.ceil(C / 4 / lanes);
  const constants = { LANES: lanes };
  if (blocks > 1) {
    const partials = tape.tensor([blocks, C], "partial sums");
    gpu.dispatch("reduce", "partial_rows", {
      constants,
      bindings: { x, y: partials },
      params: { rows: R, width: C, block },
      workgroups: [columns, blocks],
    });
    foldRows(tape, partials, y, beta);
    gpu.release(partials.buffer);
    return;
  }
  fold(gpu, x, y, [R, C], beta);
}

/** The same in one pass, row after row. */
export function fold(
  gpu: Gpu,
  x: Bindable,
  y: Bindable,
  [R, C]: readonly [number, number],
  beta: 0 | 1,
): void {
  const { lanes } = gpu.tuning;
  gpu.dispatch("reduce", "fold_rows", {
    constants: { LANES: lanes },
    bindings: { x, y },
    params: { rows: R, width: C, beta },
    workgroups: [Math.ceil(C / 4 / lanes)],
  });
}
