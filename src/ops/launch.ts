/**
 * The two dispatch shapes that most kernels use, and zeros.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { KernelName } from "../gpu/kernels.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

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
  constants: Params = {},
): void {
  const { wide } = gpu.tuning;
  gpu.dispatch(name, entry, {
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

/** A tensor of this step with `count` zeros, or up to three more. */
export function zeros(tape: Tape, count: number): Tensor {
  const tensor = tape.tensor([Math.ceil(count / 4) * 4], "zeros");
  elementwise(tape.gpu, "add", "clear", tensor.size / 4, { y: tensor }, { count: tensor.size });
  return tensor;
}
