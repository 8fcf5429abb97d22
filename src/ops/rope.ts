/**
 * Rotary position embedding (Su et al. 2021), in Hugging Face's half-split layout.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Tape } from "../tape.ts";
import { assertShape, Tensor } from "../tensor.ts";
import type { HeadSizes } from "./attention.ts";
import type { CacheRows, LayerCache } from "./attention_decode.ts";
import { elementwise, zeros } from "./launch.ts";

/** Cosines and sines of position * frequency, each [positions, R/2] for R rotated dimensions. */
export interface RopeTable {
  /** R, at most D; 0 rotates nothing. */
  readonly dims: number;
  /** cos(angle). */
  readonly cosines: Tensor;
  /** sin(angle). */
  readonly sines: Tensor;
}

/**
 * Computes the table in f64 on the host: at position 1,000 an angle from f32 powers is off by 1e-4.
 *
 * @param frequencies angle per position of each rotated pair, [R/2]; none where nothing is rotated
 * @param magnitude what cosines and sines are multiplied by
 * @throws {RangeError} if R is not a multiple of 8.
 */
export function ropeTable(
  gpu: Gpu,
  positions: number,
  frequencies: Float64Array,
  magnitude = 1,
): RopeTable {
  const half = frequencies.length;
  if (half % 4 !== 0) {
    throw new RangeError(
      `Cannot rotate ${2 * half} dimensions: rotary embedding needs a multiple of 8`,
    );
  }
  // A buffer can't be empty.
  const size = Math.max(positions * half, 4);
  const cosines = new Float32Array(size);
  const sines = new Float32Array(size);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      const angle = p * frequencies[i]!;
      cosines[p * half + i] = magnitude * Math.cos(angle);
      sines[p * half + i] = magnitude * Math.sin(angle);
    }
  }
  const table = (values: Float32Array, label: string) => {
    const buffer = gpu.allocate(values.byteLength, "weights", label);
    gpu.write(buffer, values);
    return new Tensor(buffer, half === 0 ? [1, 4] : [positions, half], "f32", label);
  };
  return {
    dims: 2 * half,
    cosines: table(cosines, "rope cosines"),
    sines: table(sines, "rope sines"),
  };
}

/** Queries, keys and values of T tokens, [T, H * D] and twice [T, KV * D]. */
export interface Heads {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/**
 * Parts qkv[T, (H + 2 KV) * D] and rotates every head of queries and keys by its token's position.
 *
 * @param positions u32 [T], below the table's length
 */
export function rope(
  tape: Tape,
  qkv: Tensor,
  positions: Tensor,
  table: RopeTable,
  sizes: HeadSizes,
): Heads {
  const { gpu } = tape;
  const { T, units, params } = layout(qkv, positions, table, sizes);
  const { heads, kvHeads, headDim } = sizes;
  const { cosines, sines } = table;
  const part = (heads: number, name: string) => tape.tensor([T, heads * headDim], name, [qkv]);
  const q = part(heads, "queries");
  const k = part(kvHeads, "keys");
  const v = part(kvHeads, "values");
  const bindings = { qkv, positions, cosines, sines, q, k, v };
  elementwise(gpu, "rope", "split", units, bindings, { ...params, length: 0, beta: 0 });

  tape.record([q, k, v], () => {
    if (!q.grad && !k.grad && !v.grad) return;
    const [dq, dk, dv] = [q, k, v].map((part) => part.grad ?? zeros(tape, part.size));
    tape.accumulate(qkv, (dqkv, beta) => {
      const bindings = { dqkv, positions, cosines, sines, dq: dq!, dk: dk!, dv: dv! };
      elementwise(gpu, "rope", "join", units, bindings, { ...params, length: 0, beta });
    });
  });
  return { q, k, v };
}

/** The same with keys and values going to each row's slot and position in the cache; returns q. */
export function ropeToCache(
  tape: Tape,
  qkv: Tensor,
  table: RopeTable,
  sizes: HeadSizes,
  { k: cache_k, v: cache_v }: LayerCache,
  { slots, positions }: CacheRows,
): Tensor {
  const { T, units, params } = layout(qkv, positions, table, sizes);
  const { cosines, sines } = table;
  const q = tape.tensor([T, sizes.heads * sizes.headDim], "queries");
  const bindings = { qkv, positions, cosines, sines, q, cache_k, cache_v, slots };
  const length = cache_k.shape[1]!;
  elementwise(tape.gpu, "rope", "split_to_cache", units, bindings, { ...params, length, beta: 0 });
  return q;
}

/** Checks the shapes; `units` is the number of lanes. */
function layout(
  qkv: Tensor,
  positions: Tensor,
  table: RopeTable,
  { heads, kvHeads, headDim }: HeadSizes,
) {
  const [T] = qkv.shape as [number];
  const all = heads + 2 * kvHeads;
  assertShape(qkv, [T, all * headDim], "part queries, keys and values");
  if (table.dims > headDim) {
    throw new RangeError(`Cannot rotate ${table.dims} dimensions of heads that have ${headDim}`);
  }
  assertShape(positions, [T], "rotate");
  const half = headDim / 2;
  const params = { rows: T, heads, kv_heads: kvHeads, half, rotated: table.dims / 2 };
  return { T, units: T * all * half / 4, params };
}
