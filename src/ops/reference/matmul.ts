/**
 * Reference matrix product in f64, the oracle of the matmul kernels.
 *
 * M rows and N columns of the result, K the summed dimension; all matrices row-major.
 *
 *   nn: C[M,N] = A[M,K] B[K,N]   + beta C     (dx = dy W)
 *   nt: C[M,N] = A[M,K] B[N,K]^T + beta C     (y = x W^T)
 *   tn: C[M,N] = A[K,M]^T B[K,N] + beta C     (dW = dy^T x)
 *
 * @module
 */

/** Which operands are stored transposed: `n` as is, `t` transposed. */
export type MatmulLayout = "nn" | "nt" | "tn";

/** Sizes of a product: M rows, N columns, K summed. */
export interface MatmulShape {
  M: number;
  N: number;
  K: number;
}

/**
 * C[M,N] = op(A) op(B) + beta C.
 *
 * @param c previous C[M,N], read only when beta is not zero
 * @returns the new C[M,N]; `c` is left as it was
 */
export function matmul(
  layout: MatmulLayout,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { M, N, K }: MatmulShape,
  beta = 0,
  c?: ArrayLike<number>,
): Float64Array {
  const out = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) {
        const av = layout === "tn" ? a[k * M + m]! : a[m * K + k]!;
        const bv = layout === "nt" ? b[n * K + k]! : b[k * N + n]!;
        sum += av * bv;
      }
      // beta = 0 must not read c: it may hold NaN or be absent.
      out[m * N + n] = beta === 0 ? sum : sum + beta * c![m * N + n]!;
    }
  }
  return out;
}
