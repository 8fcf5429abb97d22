/**
 * The linear layer.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { matmul } from "./matmul.ts";

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
  matmul(gpu, "nt", x, w, y, { M: T, N, K });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => matmul(gpu, "nn", dy, w, dx, { M: T, N: K, K: N }, beta));
    tape.accumulate(w, (dw, beta) => matmul(gpu, "tn", dy, x, dw, { M: N, N: K, K: T }, beta));
  });
  return y;
}
