/**
 * The linear layer.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";
import { matmul } from "./matmul.ts";

/**
 * y[T,N] = x[T,K] W[N,K]^T, plus a residual [T,N] where one is given.
 *
 * @param w stored as f32, or frozen in any float type
 * @throws {TypeError} if the shapes do not fit.
 */
export function linear(tape: Tape, x: Tensor, w: Tensor, residual?: Tensor): Tensor {
  const [T, K] = x.shape as [number, number];
  const [N] = w.shape as [number];
  assertShape(w, [N, K], "apply a linear layer");
  if (residual) assertShape(residual, [T, N], "add a residual to a linear layer");
  const { gpu } = tape;
  const inputs = residual ? [x, w, residual] : [x, w];
  const y = tape.tensor([T, N], `linear(${w.label})`, inputs);
  matmul(gpu, "nt", x, w, y, { M: T, N, K }, residual ?? 0);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => matmul(gpu, "nn", dy, w, dx, { M: T, N: K, K: N }, beta));
    tape.accumulate(w, (dw, beta) => matmul(gpu, "tn", dy, x, dw, { M: N, N: K, K: T }, beta));
    if (residual && !tape.handOver(y, residual)) {
      tape.accumulate(residual, (dr, beta) => {
        const count = dy.size;
        elementwise(gpu, "add", "accumulate", count / 4, { a: dy, y: dr }, { count, beta });
      });
    }
  });
  return y;
}
