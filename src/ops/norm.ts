/**
 * RMSNorm (Zhang & Sennrich 2019), over a row or over each head, and LayerNorm (Ba et al. 2016).
 *
 * @module
 */

import type { KernelName } from "../gpu/kernels.ts";
import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import type { HeadSizes } from "./attention.ts";
import { rowwise, sharedRows } from "./launch.ts";
import { foldRows } from "./reduce.ts";

/**
 * y[T,C] = x / sqrt(mean(x^2) + epsilon) * (offset + w).
 *
 * @param x [T,C], C a multiple of 4
 * @param w [C]
 * @param offset 1 where the weights say how far the scale is from 1
 */
export function rmsnorm(tape: Tape, x: Tensor, w: Tensor, epsilon: number, offset = 0): Tensor {
  const [T, C] = x.shape as [number, number];
  assertShape(w, [C], "normalise");
  assertMultipleOf4(C, "the width", "normalise");
  const { gpu } = tape;
  const y = tape.tensor([T, C], `rmsnorm(${w.label})`, [x, w]);
  const rstd = tape.tensor([T], "rstd");
  const params = { rows: T, width: C };
  sharedRows(gpu, "rmsnorm", "forward", [T, C], { x, w, y, rstd }, { ...params, epsilon, offset });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const saved = { x, w, dy, saved_rstd: rstd };
    tape.accumulate(
      x,
      (dx, beta) =>
        sharedRows(gpu, "rmsnorm", "backward_x", [T, C], { ...saved, dx }, {
          ...params,
          beta,
          offset,
        }),
    );
    tape.accumulate(
      w,
      (dw, beta) => sumOverRows(tape, "rmsnorm", { x, dy, saved_rstd: rstd }, dw, beta, params),
    );
  }, [rstd]);
  return y;
}

/**
 * y[T,C] = (x - mean(x)) / sqrt(var(x) + epsilon) * w + b.
 *
 * @param x [T,C], C a multiple of 4
 * @param w [C]
 * @param b [C]
 */
export function layernorm(tape: Tape, x: Tensor, w: Tensor, b: Tensor, epsilon: number): Tensor {
  const [T, C] = x.shape as [number, number];
  assertShape(w, [C], "normalise");
  assertShape(b, [C], "normalise");
  assertMultipleOf4(C, "the width", "normalise");
  const { gpu } = tape;
  const y = tape.tensor([T, C], `layernorm(${w.label})`, [x, w, b]);
  const moments = tape.tensor([T, 2], "mean and rstd");
  const params = { rows: T, width: C };
  sharedRows(gpu, "layernorm", "forward", [T, C], { x, w, b, y, moments }, { ...params, epsilon });

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const saved = { x, dy, saved_moments: moments };
    tape.accumulate(
      x,
      (dx, beta) =>
        sharedRows(gpu, "layernorm", "backward_x", [T, C], { ...saved, w, dx }, {
          ...params,
          beta,
        }),
    );
    tape.accumulate(w, (dw, beta) => sumOverRows(tape, "layernorm", saved, dw, beta, params));
    tape.accumulate(b, (db, beta) => foldRows(tape, dy, db, beta));
  }, [moments]);
  return y;
}

/**
 * RMSNorm of each head of queries and keys in qkv[T, (H + 2 KV) * D]; values stay as they are.
 *
 * @param wq [D]
 * @param wk [D]
 * @param offset 1 where the weights say how far the scale is from 1
 */
export function headNorm(
  tape: Tape,
  qkv: Tensor,
  wq: Tensor,
  wk: Tensor,
  { heads, kvHeads, headDim: D }: HeadSizes,
  epsilon: number,
  offset = 0,
): Tensor {
  const [T] = qkv.shape as [number];
  const all = heads + 2 * kvHeads;
  assertShape(qkv, [T, all * D], "normalise heads");
  assertShape(wq, [D], "normalise heads");
  assertShape(wk, [D], "normalise heads");
  assertMultipleOf4(D, "the head dimension", "normalise heads");
  const { gpu } = tape;
  const y = tape.tensor([T, all * D], "normalised heads", [qkv, wq, wk]);
  const rstd = tape.tensor([T, all], "rstd of heads");
  const sizes = { rows: T, heads, kv_heads: kvHeads };
  const params = { ...sizes, epsilon, offset };
  const constants = { WIDTH4: D / 4 };
  const weights = { w_q: wq, w_k: wk };
  const forward = { qkv, ...weights, y, rstd };
  rowwise(gpu, "head_norm", "forward", T * all, forward, { ...params, beta: 0 }, constants);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const saved = { qkv, dy, saved_rstd: rstd };
    tape.accumulate(qkv, (dqkv, beta) => {
      const bindings = { ...saved, ...weights, dqkv };
      rowwise(gpu, "head_norm", "backward_x", T * all, bindings, { ...params, beta }, constants);
    });
    for (const [w, first, count] of [[wq, 0, heads], [wk, heads, kvHeads]] as const) {
      tape.accumulate(w, (dw, beta) => {
        const kind = { ...sizes, first, count };
        sumOverRows(tape, "head_norm", saved, dw, beta, kind, constants);
      });
    }
  }, [rstd]);
  return y;
}

/** dw = beta dw + the sum over rows that a kernel's `backward_w` makes block by block. */
function sumOverRows(
  tape: Tape,
  kernel: KernelName,
  bindings: Readonly<Record<string, Tensor>>,
  dw: Tensor,
  beta: 0 | 1,
  params: Readonly<Record<string, number>> & { readonly rows: number },
  constants: Readonly<Record<string, number>> = {},
): void {
  const { gpu } = tape;
  const [C] = dw.shape as [number];
  const { lanes, partialRows: block } = gpu.tuning;
  const blocks = Math.ceil(params.rows / block);
  const partials = tape.tensor([blocks, C], "norm partial sums");
  gpu.dispatch(kernel, "backward_w", {
    constants: { LANES: lanes, ...constants },
    bindings: { ...bindings, partial_sums: partials },
    params: { ...params, block },
    workgroups: [Math.ceil(C / 4 / lanes), blocks],
  });
  foldRows(tape, partials, dw, beta);
  gpu.release(partials.buffer);
}
