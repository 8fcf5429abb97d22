/**
 * bf16 storage: the upper half of an f32, two per 32-bit word.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Bindable } from "../gpu/recorder.ts";
import { elementwise } from "./launch.ts";

/** wide[count] f32 = packed bf16; exact. `count` must be even. */
export function bf16ToF32(gpu: Gpu, packed: Bindable, wide: Bindable, count: number): void {
  elementwise(gpu, "cast", "bf16_to_f32", count / 2, { packed, wide }, { pairs: count / 2 });
}

/** narrow[count] bf16, packed = values f32, rounded to nearest with ties to even. `count` must be even. */
export function f32ToBf16(gpu: Gpu, values: Bindable, narrow: Bindable, count: number): void {
  elementwise(gpu, "cast", "f32_to_bf16", count / 2, { values, narrow }, { pairs: count / 2 });
}
