/**
 * The linear layer.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { passOn } from "./add.ts";
import { elementwise } from "./launch.ts";
import { type Adaptation, addLowRank } from "./lora.ts";
import { matmul } from "./matmul.ts";
import { foldRows } from "./reduce.ts";

/** What a linear layer adds to its product. */
export interface LinearAddends {
  /** [N] */
  readonly bias?: Tensor | undefined;
  /** [T,N] */
  readonly residual?: Tensor | undefined;
  /** A low-rank adapter of W. */
  readonly adapted?: Adaptation | undefined;
}

/**
 * y[T,N] = x[T,K] W[N,K]^T, plus a bias, a residual and what an adapter adds, where they are given.
 *
 * @param w stored as f32, or frozen in any float type
 * @throws {TypeError} if the shapes do not fit.
 */
export function linear(
  tape: Tape,
  x: Tensor,
  w: Tensor,
  { bias, residual, adapted }: LinearAddends = {},
): Tensor {
  const [T, K] = x.shape as [number, number];
  const [N] = w.shape as [number];
  assertShape(w, [N, K], "apply a linear layer");
  if (bias) assertShape(bias, [N], "add a bias to a linear layer");
  if (residual) assertShape(residual, [T, N], "add a residual to a linear layer");
  const { gpu } = tape;
  const { a, b } = adapted?.adapter ?? {};
  const inputs = [x, w, bias, residual, a, b].filter((input) => input !== undefined);
  const y = tape.tensor([T, N], `linear(${w.label})`, inputs);
  matmul(gpu, "nt", x, w, y, { M: T, N, K }, residual ?? 0);
  if (bias) {
    const count = T * N;
    elementwise(gpu, "add", "bias", count / 4, { b: bias, y }, { count }, {
      constants: { WIDTH4: N / 4 },
    });
  }
  const low = adapted ? addLowRank(tape, x, y, adapted) : null;

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    tape.accumulate(x, (dx, beta) => matmul(gpu, "nn", dy, w, dx, { M: T, N: K, K: N }, beta));
    tape.accumulate(w, (dw, beta) => matmul(gpu, "tn", dy, x, dw, { M: N, N: K, K: T }, beta));
    if (bias) tape.accumulate(bias, (db, beta) => foldRows(tape, dy, db, beta));
    low?.run(dy);
    if (residual) passOn(tape, y, residual);
  }, low?.saved ?? []);
  return y;
}
