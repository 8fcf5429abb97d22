/**
 * Matrix products.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Bindable } from "../gpu/recorder.ts";
import { assertMultipleOf4 } from "../tensor.ts";

/**
 * Terms summed by one dispatch. llvmpipe of Mesa 22 silently ends a shader's loops after 65,535
 * iterations in all; real sizes beyond this are rare (vocabularies), and one more pass is cheap.
 */
const LONGEST_SUM = 2 ** 15;

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
 * of 4; beta 0 never reads C.
 *
 * Every kernel sums in the order of K, so all of them give the same bits whatever M.
 *
 * @param addend beta, or D[M,N]
 */
export function matmul(
  gpu: Gpu,
  layout: "nn" | "nt" | "tn",
  a: Bindable,
  b: Bindable,
  c: Bindable,
  { M, N, K }: MatmulSizes,
  addend: Addend = 0,
): void {
  assertMultipleOf4(N, "the number of columns", `multiply (${layout})`);
  if (layout === "tn") assertMultipleOf4(M, "the number of rows", `multiply (${layout})`);
  else assertMultipleOf4(K, "the inner dimension", `multiply (${layout})`);
  const { kernel, rows, columns, ...special } = tile(gpu, layout, M);
  for (let first = 0; first < K; first += LONGEST_SUM) {
    const last = Math.min(first + LONGEST_SUM, K);
    const added = first === 0 ? addend : 1;
    const matrix = typeof added === "number" ? null : added;
    gpu.dispatch(kernel, matrix ? `${layout}_add` : layout, {
      ...special,
      bindings: matrix ? { a, b, c, addend: matrix } : { a, b, c },
      params: { rows: M, columns: N, inner: K, first, last, beta: matrix ? 0 : added as number },
      workgroups: [Math.ceil(N / columns), Math.ceil(M / rows)],
    });
  }
}

/** The kernel that suits the device, and the rows and columns of C that one workgroup makes. */
function tile({ tuning }: Gpu, layout: "nn" | "nt" | "tn", M: number) {
  if (tuning.simd) {
    // tn always makes 32 rows.
    const most = layout === "tn" ? 4 : tuning.simdBlocks;
    const blocks = layout === "tn" || M > 16 ? most : Math.min(most, M > 8 ? 2 : 1);
    const prelude = { BLOCKS: blocks, FILLED: layout !== "tn" && M === 1 ? 1 : 8 };
    return { kernel: "matmul_simd", rows: 8 * blocks, columns: 32, prelude } as const;
  }
  const few = 4 * tuning.matmulFew.lanesM * tuning.matmulFew.blocksM;
  const { lanesN, lanesM, blocksN, blocksM, depth } = M <= few ? tuning.matmulFew : tuning.matmul;
  return {
    kernel: "matmul",
    rows: 4 * lanesM * blocksM,
    columns: 4 * lanesN * blocksN,
    constants: { LANES_N: lanesN, LANES_M: lanesM, DEPTH: depth },
    prelude: { BLOCKS_N: blocksN, BLOCKS_M: blocksM },
  } as const;
}
