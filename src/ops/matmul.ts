/**
 * Matrix products.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { boundRows, slice, type Span, spans } from "../gpu/ranges.ts";
import type { Specialisation } from "../gpu/kernels.ts";
import type { Bindable } from "../gpu/recorder.ts";
import type { MatmulTile } from "../gpu/tuning.ts";
import { fold } from "./reduce.ts";
import { assertMultipleOf4, bytesPerElement, type FloatType, type Operand } from "../tensor.ts";

/**
 * Terms summed by one dispatch. llvmpipe of Mesa 22 silently ends a shader's loops after 65,535
 * iterations in all; real sizes beyond this are rare (vocabularies), and one more pass is cheap.
 */
const LONGEST_SUM = 2 ** 15;

/** About as many terms has a part of a sum that is split among workgroups. */
const SHORTEST_PART = 256;

/** Bytes of an element of all but B. */
const F32 = bytesPerElement.f32;

/** Sizes of C[M,N] with inner dimension K. */
export interface MatmulSizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What is added to a product: nothing, what C held, or another matrix (in layout `nt` alone). */
export type Addend = 0 | 1 | Bindable;

/**
 * C = A B + beta C in one of three layouts: `nn` A[M,K] B[K,N], `nt` A[M,K] B[N,K]^T,
 * `tn` A[K,M]^T B[K,N]; or C = A B^T + D. N, and the contiguous dimension of A, must be multiples
 * of 4; beta 0 never reads C. A matrix larger than the device sees at once is worked on in blocks.
 *
 * Of `nn` and `nt` every kernel sums in the order of K, so that all of them give the same bits
 * whatever M; of `tn` a sum may be split, always in the same way for the same sizes.
 *
 * @param b stored as f32, bf16 or f16; all else is f32
 * @param addend beta, or D[M,N]
 */
export function matmul(
  gpu: Gpu,
  layout: "nn" | "nt" | "tn",
  a: Bindable,
  b: Operand,
  c: Bindable,
  { M, N, K }: MatmulSizes,
  addend: Addend = 0,
): void {
  assertMultipleOf4(N, "the number of columns", `multiply (${layout})`);
  if (layout === "tn") assertMultipleOf4(M, "the number of rows", `multiply (${layout})`);
  else assertMultipleOf4(K, "the inner dimension", `multiply (${layout})`);
  const stored = (b.dtype ?? "f32") as FloatType;
  const width = bytesPerElement[stored];
  const [transposedA, transposedB] = [layout === "tn", layout === "nt"];
  const [aStride, bStride] = [transposedA ? M : K, transposedB ? K : N];

  const most = { M, N, K: Math.min(K, LONGEST_SUM) };
  const cut = (dimension: "M" | "N" | "K", rows: number, rowBytes: number) =>
    most[dimension] = Math.min(most[dimension], boundRows(gpu, rows, rowBytes));
  if (transposedA) cut("K", K, aStride * F32);
  else cut("M", M, aStride * F32);
  if (transposedB) cut("N", N, bStride * width);
  else cut("K", K, bStride * width);
  cut("M", M, N * F32);

  for (const k of spans(K, most.K)) {
    const added = k.first === 0 ? addend : 1;
    const matrix = typeof added === "number" ? null : added;
    for (const m of spans(M, most.M)) {
      for (const n of spans(N, most.N)) {
        const tiling = tile(gpu, layout, m.count, n.count);
        const { kernel, prelude } = tiling;
        const { x, y, count } = workgroupsOf(tiling, m.count, n.count);
        const whole = m.count === M && n.count === N;
        const parts = transposedA && whole ? partsOf(gpu, count, k.count, M * N * F32) : 1;
        const bytes = parts * M * N * F32;
        // As long as it is needed: scratch may be longer, and more than a dispatch sees.
        const partial = parts > 1
          ? slice({ buffer: gpu.scratch(bytes, "parts of a product") }, 0, bytes)
          : null;
        const bindings = {
          a: transposedA ? block(a, k, m, [K, M]) : block(a, m, k, [M, K]),
          b: transposedB ? block(b, n, k, [N, K], width) : block(b, k, n, [K, N], width),
          c: partial ?? block(c, m, n, [M, N]),
        };
        gpu.dispatch(kernel, matrix ? `${layout}_add` : layout, {
          prelude,
          stored,
          bindings: matrix ? { ...bindings, addend: block(matrix, m, n, [M, N]) } : bindings,
          params: {
            rows: m.count,
            columns: n.count,
            terms: k.count,
            // The kernel with parts, and no other, is told their length.
            ...(kernel === "matmul" ? { split: Math.ceil(k.count / parts) } : {}),
            a_stride: aStride,
            b_stride: bStride,
            c_stride: N,
            beta: typeof added === "number" && !partial ? added : 0,
          },
          workgroups: [x, y, parts],
        });
        if (!partial) continue;
        fold(gpu, partial, c, [parts, M * N], added as 0 | 1);
        gpu.release(partial.buffer);
      }
    }
  }
}

/** Some rows and columns of a matrix, from its first element to its last. */
function block(
  matrix: Bindable,
  rows: Span,
  columns: Span,
  [R, C]: readonly [number, number],
  width = F32,
): Bindable {
  if (rows.count === R && columns.count === C) return matrix;
  const offset = (rows.first * C + columns.first) * width;
  return slice(matrix, offset, ((rows.count - 1) * C + columns.count) * width);
}

/** A kernel, and the rows and columns of C that one of its workgroups makes. */
export interface Tiling extends Specialisation {
  readonly kernel: "matmul" | "matmul_few" | "matmul_simd";
  /** Of a workgroup. */
  readonly rows: number;
  /** Of a workgroup. */
  readonly columns: number;
}

/** The kernel that suits the device, for a product of M rows and N columns. */
export function tile(
  { tuning }: Gpu,
  layout: "nn" | "nt" | "tn",
  M: number,
  N: number,
): Tiling {
  if (tuning.simd) {
    // tn always makes 32 rows.
    const most = layout === "tn" ? 4 : tuning.simdBlocks;
    const blocks = layout === "tn" || M > 16 ? most : Math.min(most, M > 8 ? 2 : 1);
    const prelude = { BLOCKS: blocks, FILLED: layout !== "tn" && M === 1 ? 1 : 8 };
    return { kernel: "matmul_simd", rows: 8 * blocks, columns: 32, prelude };
  }
  if (layout === "nt" && M <= tuning.fewRows) {
    const rows = [1, 4, 8].find((rows) => M <= rows) ?? Math.ceil(M / 4) * 4;
    return { kernel: "matmul_few", rows, columns: 32, prelude: { ROWS: rows } };
  }
  const large = tiled(tuning.matmul);
  const small = tiled(tuning.matmulSmall);
  // Where the sum can be split the adapter is filled all the same.
  const fills = layout === "tn" || workgroupsOf(large, M, N).count >= tuning.workgroups;
  return fills && M > small.rows ? large : small;
}

/**
 * Into how many parts a sum over tokens is split: the gradient of a small weight makes few workgroups
 * that are long at work.
 */
function partsOf(
  { tuning, largestBinding }: Gpu,
  workgroups: number,
  terms: number,
  bytes: number,
): number {
  const wanted = Math.floor(tuning.workgroups / workgroups);
  const fitting = Math.floor(largestBinding / bytes);
  return Math.max(1, Math.min(wanted, fitting, Math.ceil(terms / SHORTEST_PART)));
}

function tiled({ lanesN, lanesM, blocksN, blocksM, depth }: MatmulTile): Tiling {
  return {
    kernel: "matmul",
    rows: 4 * lanesM * blocksM,
    columns: 4 * lanesN * blocksN,
    prelude: {
      LANES_N: lanesN,
      LANES_M: lanesM,
      BLOCKS_N: blocksN,
      BLOCKS_M: blocksM,
      DEPTH: depth,
    },
  };
}

function workgroupsOf({ rows, columns }: Tiling, M: number, N: number) {
  const [x, y] = [Math.ceil(N / columns), Math.ceil(M / rows)];
  return { x, y, count: x * y };
}
