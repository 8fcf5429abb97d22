/**
 * Reference attention of single query rows over a key/value cache, in f64 (generation only, so it
 * has no backward). R rows, H query heads, KV key/value heads, D head dimension; the cache holds
 * `slots` sequences of at most `maxLength` tokens. Row r belongs to slot slots[r], stands at
 * positions[r], and sees the cached positions 0..positions[r], its own included.
 *
 *   p = softmax over j of (q_r . k[slot, j] / sqrt(D)),  out_r = sum_j p_j v[slot, j]
 *
 * @module
 */

import { causalSoftmax } from "./attention.ts";

/** Sizes of a cached attention: R rows, H and KV heads, D head dimension, slot capacity. */
export interface AttentionDecodeShape {
  R: number;
  H: number;
  KV: number;
  D: number;
  maxLength: number;
  /** How many of the last positions are seen; all when absent. */
  window?: number;
  scale?: number;
}

/** q [R,H,D], cacheK and cacheV [slots,maxLength,KV,D], slots [R], positions [R] -> out [R,H,D]. */
export function attentionDecode(
  q: ArrayLike<number>,
  cacheK: ArrayLike<number>,
  cacheV: ArrayLike<number>,
  slots: ArrayLike<number>,
  positions: ArrayLike<number>,
  { R, H, KV, D, maxLength, window = Infinity, scale }: AttentionDecodeShape,
): Float64Array {
  const out = new Float64Array(R * H * D);
  for (let r = 0; r < R; r++) {
    for (let h = 0; h < H; h++) {
      const row = (r * H + h) * D;
      const kv = Math.floor(h / (H / KV));
      const keyRow = (j: number) => ((slots[r]! * maxLength + j) * KV + kv) * D;
      const first = Math.max(0, positions[r]! + 1 - window);
      const { p } = causalSoftmax(q, row, cacheK, keyRow, first, positions[r]!, D, scale);
      for (let j = first; j <= positions[r]!; j++) {
        for (let d = 0; d < D; d++) out[row + d]! += p[j - first]! * cacheV[keyRow(j) + d]!;
      }
    }
  }
  return out;
}
