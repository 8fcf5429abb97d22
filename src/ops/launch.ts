/**
 * The two dispatch shapes that most kernels use.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { KernelName } from "../gpu/kernels.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";

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
): void {
  const { wide } = gpu.tuning;
  gpu.dispatch(name, entry, {
    constants: { LANES: wide },
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
): void {
  const { lanes } = gpu.tuning;
  gpu.dispatch(name, entry, {
    constants: { LANES: lanes },
    bindings,
    params,
    workgroups: grid(Math.ceil(rows / lanes)),
  });
}
