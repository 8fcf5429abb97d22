/**
 * Attention of single tokens over cached keys and values, and copies within the cache.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Specialisation } from "../gpu/kernels.ts";
import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { fewestParts, type HeadSizes, lanesTogether } from "./attention.ts";

/** A window that reaches further back than any position. */
const NO_WINDOW = 0xffffffff;

/** Keys and values of one layer; [slots, length, KV * D] each. */
export interface LayerCache {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Which slot and position each row belongs to; u32 [R]. A position of 0xffffffff skips the row. */
export interface CacheRows {
  readonly slots: Tensor;
  readonly positions: Tensor;
}

/**
 * Copies the first `count` positions of slot `source` to slot `target`, for each fork.
 *
 * @param forks u32 [F, 3] rows of (source, target, count); no slot is both a source and a target
 * @param longest largest count
 */
export function forkCache(gpu: Gpu, cache: LayerCache, forks: Tensor, longest: number): void {
  const [, length, width] = cache.k.shape as [number, number, number];
  const { wide } = gpu.tuning;
  gpu.dispatch("kv_cache", "fork", {
    constants: { LANES: wide },
    bindings: { forks, cache_k: cache.k, cache_v: cache.v },
    params: { width, length },
    workgroups: [Math.ceil(longest * width / 4 / wide), forks.shape[0]!],
  });
}

/**
 * y[R, H * D]: each row's query over its slot's positions up to its own.
 *
 * @param window how many of the last positions it sees, its own included; null is all
 */
export function attentionDecode(
  tape: Tape,
  q: Tensor,
  cache: LayerCache,
  { slots, positions }: CacheRows,
  { heads, kvHeads, headDim, attentionScale }: HeadSizes,
  window: number | null = null,
): Tensor {
  const [R] = q.shape as [number];
  assertShape(q, [R, heads * headDim], "attend to the cache");
  const { gpu } = tape;
  const { lanes, simd } = gpu.tuning;
  const together = simd ? 8 : lanesTogether(gpu);
  const special: Specialisation = together > 1
    ? { prelude: { HEAD_DIM: headDim, LANES: together, PARTS: fewestParts(headDim) } }
    : { constants: { LANES: lanes }, prelude: { HEAD_DIM: headDim } };
  const y = tape.tensor([R, heads * headDim], "attention over cache");
  gpu.dispatch(together > 1 ? "attention_decode_simd" : "attention_decode", "forward", {
    ...special,
    bindings: { q, cache_k: cache.k, cache_v: cache.v, slots, positions, y },
    params: {
      heads,
      kv_heads: kvHeads,
      length: cache.k.shape[1]!,
      window: window ?? NO_WINDOW,
      scale: attentionScale ?? 1 / Math.sqrt(headDim),
    },
    workgroups: [heads, R],
  });
  return y;
}
