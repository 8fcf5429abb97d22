/**
 * Matrix products, and the linear layer made of them.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Bindable } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, Parameter, type Tensor } from "../tensor.ts";

const TILE_ROWS = 8; // ROWS in matmul.wgsl
/** Up to this many rows one lane per output column wins over a register tile that is mostly empty. */
const FEW_ROWS = 4;

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

/**
 * C = A B + beta C in one of three layouts: `nn` A[M,K] B[K,N], `nt` A[M,K] B[N,K]^T,
 * `tn` A[K,M]^T B[K,N]. N must be a multiple of 4; beta 0 never reads C.
 */
export function matmul(
  gpu: Gpu,
  layout: "nn" | "nt" | "tn",
  a: Bindable,
  b: Bindable,
  c: Bindable,
  { M, N, K }: MatmulSizes,
  beta: 0 | 1 = 0,
): void {
  assertMultipleOf4(N, "the number of columns", `multiply (${layout})`);
  const { lanes } = gpu.tuning;
  const columns = layout === "nt" ? 4 * lanes : 8 * lanes;
  for (let first = 0; first < K; first += LONGEST_SUM) {
    gpu.dispatch("matmul", layout, {
      constants: { LANES: lanes },
      bindings: layout === "nt" ? { a, b_rows: b, c } : { a, b, c },
      params: {
        rows: M,
        columns: N,
        inner: K,
        first,
        last: Math.min(first + LONGEST_SUM, K),
        beta: first === 0 ? beta : 1,
      },
      workgroups: [Math.ceil(N / columns), Math.ceil(M / TILE_ROWS)],
    });
  }
}

/** C[M,N] = A[M,K] B[K,N] for a few rows; the same bits as `matmul` nn. */
export function matvec(
  gpu: Gpu,
  a: Bindable,
  b: Bindable,
  c: Bindable,
  { M, N, K }: MatmulSizes,
): void {
  assertMultipleOf4(N, "the number of columns", "multiply a vector");
  const { lanes } = gpu.tuning;
  gpu.dispatch("matvec", "forward", {
    constants: { LANES: lanes },
    bindings: { a, b, c },
    params: { rows: M, columns: N, inner: K },
    workgroups: [Math.ceil(N / 4 / lanes), M],
  });
}

/**
 * y[T,N] = x[T,K] W[N,K]^T.
 *
 * @throws {TypeError} if the shapes do not fit.
 */
export function linear(tape: Tape, x: Tensor, w: Tensor): Tensor {
  const [T, K] = x.shape as [number, number];
  const [N] = w.shape as [number];
  assertShape(w, [N, K], "apply a linear layer");
  const { gpu } = tape;
  const y = tape.tensor([T, N], `linear(${w.label})`, [x, w]);
  const sizes = { M: T, N, K };
  if (!(w instanceof Parameter)) matmul(gpu, "nt", x, w, y, sizes);
  else if (T <= FEW_ROWS) matvec(gpu, x, w.transposed(), y, sizes);
  else matmul(gpu, "nn", x, w.transposed(), y, sizes);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => matmul(gpu, "nn", dy, w, dx, { M: T, N: K, K: N }, beta));
    tape.accumulate(w, (dw, beta) => matmul(gpu, "tn", dy, x, dw, { M: N, N: K, K: T }, beta));
  });
  return y;
}
