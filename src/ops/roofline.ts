/**
 * The two rates that bound every kernel: copying, and multiply-adds in registers.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";
import { elementwise } from "./launch.ts";

/** y = x for `count` f32, a multiple of 4: moves 8 bytes for each. */
export function copy(gpu: Gpu, x: Bindable, y: Bindable, count: number): void {
  elementwise(gpu, "roofline", "copy", count / 4, { x, y }, { count });
}

/** Multiply-adds of one lane in one iteration; two floating-point operations each. */
export const MULTIPLY_ADDS = 128;

/** `iterations` rounds of multiply-adds in each of `lanes` lanes; y[lanes] of vec4s ends as 4s. */
export function multiplyAdd(gpu: Gpu, y: Bindable, lanes: number, iterations: number): void {
  const width = gpu.tuning.simd ? gpu.tuning.lanes : gpu.tuning.wide;
  gpu.dispatch("roofline", "multiply_add", {
    constants: { LANES: width },
    bindings: { y },
    params: { lanes, iterations },
    workgroups: grid(Math.ceil(lanes / width)),
  });
}
