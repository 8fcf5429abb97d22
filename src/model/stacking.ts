/**
 * Weights that are several tensors in a checkpoint and one parameter here, stacked by rows: one
 * product gives queries, keys and values, and one gives gate and up.
 *
 * @module
 */

import { elements } from "../tensor.ts";
import { type DecoderConfig, tensorShapes } from "./config.ts";

/** A parameter, and the tensors it is made of from its first row to its last. */
export interface Stack {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** Every parameter of a model, in the order of its tensors. */
export function stacks(config: DecoderConfig): Stack[] {
  const found = new Map<string, { name: string; shape: number[] }[]>();
  for (const [name, shape] of tensorShapes(config)) {
    const whole = stackedName(name);
    const parts = found.get(whole);
    if (parts) parts.push({ name, shape });
    else found.set(whole, [{ name, shape }]);
  }
  return [...found].map(([name, parts]) => {
    const [, ...width] = parts[0]!.shape;
    const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
    return { name, shape: [rows, ...width], parts };
  });
}

/** The parameter that a tensor is part of. */
function stackedName(tensor: string): string {
  return tensor.replace(/\.[qkv]_proj\./, ".qkv_proj.").replace(
    /\.(gate|up)_proj\./,
    ".gate_up_proj.",
  );
}

/** Values of its tensors out of those of a parameter; they share memory. */
export function unstack({ parts }: Stack, whole: Float32Array): Map<string, Float32Array> {
  let offset = 0;
  return new Map(parts.map(({ name, shape }) => {
    const size = elements(shape);
    offset += size;
    return [name, whole.subarray(offset - size, offset)];
  }));
}
