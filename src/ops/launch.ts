/**
 * The dispatch shapes that most kernels use, and zeros.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { KernelName, Specialisation } from "../gpu/kernels.ts";
import { boundRows, spans } from "../gpu/ranges.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import { rowRange, type Tensor } from "../tensor.ts";

type Bindings = Readonly<Record<string, Bindable>>;
type Params = Readonly<Record<string, number>>;

/** One lane per vec4 (or other unit) of `count` of them. */
export function elementwise(
  gpu: Gpu,
  name: KernelName,
  entry: string,
  count: number,
  bindings: Bindings,
  params: Params,
  { constants, ...special }: Specialisation = {},
): void {
  const { wide } = gpu.tuning;
  gpu.dispatch(name, entry, {
    ...special,
    constants: { LANES: wide, ...constants },
    bindings,
    params,
    workgroups: grid(Math.ceil(count / wide)),
  });
}

/** One lane per row. */
export function rowwise(
  gpu: Gpu,
  name: KernelName,
  entry: string,
  rows: number,
  bindings: Bindings,
  params: Params,
  constants: Params = {},
): void {
  const { lanes } = gpu.tuning;
  gpu.dispatch(name, entry, {
    constants: { LANES: lanes, ...constants },
    bindings,
    params,
    workgroups: grid(Math.ceil(rows / lanes)),
  });
}

/** As many lanes per row as the adapter wants for rows of `width` elements (see row_lanes.wgsl). */
export function sharedRows(
  gpu: Gpu,
  name: KernelName,
  entry: string,
  [rows, width]: readonly [number, number],
  bindings: Bindings,
  params: Params,
): void {
  const { rowLanes, wide } = gpu.tuning;
  let share = rowLanes;
  // Some four vec4s a lane: a long row takes the whole of a wide workgroup.
  while (rowLanes > 1 && 2 * share <= wide && 16 * share < width) share *= 2;
  const lanes = Math.max(gpu.tuning.lanes, share);
  gpu.dispatch(name, entry, {
    constants: { LANES: lanes, ROW_LANES: share },
    bindings,
    params,
    workgroups: grid(Math.ceil(rows / (lanes / share))),
  });
}

/** Zeroes a matrix [R,C], C a multiple of 4. */
export function clear(gpu: Gpu, y: Tensor): void {
  const [R, C] = y.shape as [number, number];
  for (const { first, count } of spans(R, boundRows(gpu, R, C * 4))) {
    const rows = rowRange(y, first, count);
    elementwise(gpu, "add", "clear", count * C / 4, { y: rows }, { count: count * C });
  }
}

/** A tensor of this step with `count` zeros, or up to three more. */
export function zeros(tape: Tape, count: number): Tensor {
  const tensor = tape.tensor([Math.ceil(count / 4) * 4], "zeros");
  elementwise(tape.gpu, "add", "clear", tensor.size / 4, { y: tensor }, { count: tensor.size });
  return tensor;
}
