/**
 * Causal attention with grouped-query heads over packed sequences.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Specialisation } from "../gpu/kernels.ts";
import { sharesRegisters } from "../gpu/tuning.ts";
import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";

/** Number of query heads, of key/value heads (a divisor), and the dimension of each. */
export interface HeadSizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** What scores are multiplied by; 1/sqrt(D) when absent. */
  readonly attentionScale?: number;
}

/**
 * Largest head that lanes share in registers: rows of 128 no longer fit them, and take 1.2 to 1.6
 * times as long as with loads under llvmpipe.
 */
const WIDEST_SHARED = 64;

/** Most lanes that share a row, and that work on the keys of one. */
const [MOST_PARTS, MOST_TOGETHER] = [8, 32];

/** Where each token's sequence begins and ends in the packed batch; u32 [T] each. */
export interface Segments {
  readonly start: Tensor;
  /** One past the last token. */
  readonly end: Tensor;
}

/**
 * Segment bounds of sequences packed end to end, from their lengths.
 *
 * @param window how many tokens back a token sees, itself included: its segment begins no earlier,
 * and that of a key ends no later
 */
export function segmentBounds(
  lengths: readonly number[],
  window: number | null = null,
): { start: Uint32Array; end: Uint32Array; positions: Uint32Array } {
  const T = lengths.reduce((sum, n) => sum + n, 0);
  const start = new Uint32Array(T);
  const end = new Uint32Array(T);
  const positions = new Uint32Array(T);
  let first = 0;
  for (const length of lengths) {
    start.fill(first, first, first + length);
    end.fill(first + length, first, first + length);
    for (let i = 0; i < length; i++) {
      positions[first + i] = i;
      if (window !== null) {
        start[first + i] = first + Math.max(0, i + 1 - window);
        end[first + i] = first + Math.min(length, i + window);
      }
    }
    first += length;
  }
  return { start, end, positions };
}

/**
 * y[T, H * D] = softmax(scale q k^T) v, causal within each segment; no [T, T] matrix is stored.
 *
 * @param q [T, H * D]
 * @param k [T, KV * D]
 * @param v [T, KV * D]
 * @throws {RangeError} if D is not a multiple of 4.
 * @throws {TypeError} if a shape does not fit.
 */
export function attention(
  tape: Tape,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  segments: Segments,
  { heads, kvHeads, headDim, attentionScale }: HeadSizes,
): Tensor {
  const [T] = q.shape as [number];
  assertShape(q, [T, heads * headDim], "attend");
  assertShape(k, [T, kvHeads * headDim], "attend");
  assertShape(v, [T, kvHeads * headDim], "attend");
  const { gpu } = tape;
  const { lanes } = gpu.tuning;
  const simd = gpu.tuning.simd && headDim <= WIDEST_SHARED;
  if (headDim % 4 !== 0) {
    throw new RangeError(`Cannot attend: headDim is ${headDim}, it must be a multiple of 4`);
  }
  const parts = !simd && lanesTogether(gpu) > 1 ? Math.min(lanes, fewestParts(headDim)) : 1;
  const special: Specialisation = simd
    ? { prelude: { HEAD_DIM: headDim } }
    : { constants: { LANES: lanes }, prelude: { HEAD_DIM: headDim, PARTS: parts } };
  const backward = simd ? "attention_simd_backward" : "attention_backward";
  const scale = attentionScale ?? 1 / Math.sqrt(headDim);
  // A lane owns one key, and one query or two; or several share them.
  const keyTiles = Math.ceil(T / (simd ? 8 : lanes / parts));
  const queryTiles = simd ? Math.ceil(T / 16) : keyTiles;
  const y = tape.tensor([T, heads * headDim], "attention", [q, k, v]);
  const rowSums = tape.tensor([T, heads, 2], "attention log-sum-exp and delta");
  gpu.dispatch(simd ? "attention_simd" : "attention", "forward", {
    ...special,
    bindings: { q, k, v, segment_start: segments.start, y, row_sums: rowSums },
    params: { tokens: T, heads, kv_heads: kvHeads, scale },
    workgroups: [queryTiles, heads],
  });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const params = { tokens: T, heads, kv_heads: kvHeads, scale };
    const saved = { q, k, v, dy, row_sums: rowSums };
    gpu.dispatch("attention_backward", "delta_rows", {
      constants: { LANES: lanes },
      prelude: { HEAD_DIM: headDim, PARTS: parts },
      bindings: { dy, y, sums: rowSums },
      params: { ...params, beta_k: 0, beta_v: 0 },
      workgroups: [Math.ceil(T / lanes), heads],
    });
    tape.accumulate(q, (dq, beta) =>
      gpu.dispatch(backward, "backward_q", {
        ...special,
        bindings: { ...saved, segment_start: segments.start, dq },
        params: { ...params, beta_k: beta, beta_v: 0 },
        workgroups: [queryTiles, heads],
      }));
    tape.accumulatePair(
      k,
      v,
      (dk, betaK, dv, betaV) =>
        gpu.dispatch(backward, "backward_kv", {
          ...special,
          bindings: { ...saved, segment_end: segments.end, dk, dv },
          params: { ...params, beta_k: betaK, beta_v: betaV },
          workgroups: [keyTiles, kvHeads],
        }),
    );
  }, [rowSums]);
  return y;
}

/** How many lanes see each other's registers, where lanes are to share rows; 1 where they are not. */
export function lanesTogether({ info, tuning }: Gpu): number {
  const together = tuning.rowLanes > 1 && sharesRegisters(info);
  return together ? Math.min(info.subgroupSize, MOST_TOGETHER) : 1;
}

/**
 * The lanes that share a row: so many that none has more than four vec4 of it, as far as eight lanes
 * and the number of vec4 allow.
 */
export function fewestParts(headDim: number): number {
  let parts = 1;
  while (parts < MOST_PARTS && headDim / parts > 16 && headDim % (8 * parts) === 0) parts *= 2;
  return parts;
}
