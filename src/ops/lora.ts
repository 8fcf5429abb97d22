/**
 * Low-rank adaptation (Hu et al. 2021).
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";
import { matmul } from "./matmul.ts";

/** Rows of a stacked matrix that one adapter belongs to: from the first to one past the last. */
export interface RowBlock {
  /** Its first row. */
  readonly first: number;
  /** One past its last row. */
  readonly last: number;
}

/** The adapter of one matrix W[N,K]; several, side by side, where W is several stacked. */
export interface LowRank {
  /** [R,K], R / blocks.length rows for each block. */
  readonly a: Tensor;
  /** [N,R], zero outside of the blocks. */
  readonly b: Tensor;
  /** Rows of W that each adapter belongs to, up to three. */
  readonly blocks: readonly RowBlock[];
  /** alpha / rank. */
  readonly scale: number;
}

/** Which inputs an adapter does not see. */
export interface Dropout {
  /** Share of them, from 0 to below 1. */
  readonly rate: number;
  /** Another draw for each run. */
  readonly seed: number;
  /** Another draw for each layer and each step. */
  readonly stream: number;
}

/** An adapter at work in one layer, and what it does not see. */
export interface Adaptation {
  /** The adapter. */
  readonly adapter: LowRank;
  /** Null where it sees everything. */
  readonly dropout: Dropout | null;
}

/** The backward half of `addLowRank`. */
export interface LowRankBackward {
  /** Scratch that it reads. */
  readonly saved: readonly Tensor[];
  /** Adds to the gradients of x and of the adapter. */
  run(dy: Tensor): void;
}

/**
 * y[T,N] += scale * dropout(x) A^T B^T, as a part of the layer that has just made y.
 *
 * @param x [T,K]
 * @returns its backward half, for the layer to run with its own
 */
export function addLowRank(
  tape: Tape,
  x: Tensor,
  y: Tensor,
  { adapter: { a, b, blocks, scale }, dropout }: Adaptation,
): LowRankBackward {
  const [T, K] = x.shape as [number, number];
  const [R] = a.shape as [number];
  const [, N] = y.shape as [number, number];
  assertShape(a, [R, K], "adapt a linear layer");
  assertShape(b, [N, R], "adapt a linear layer");
  const { gpu } = tape;
  const { rate = 0, seed = 0, stream = 0 } = dropout ?? {};
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`Cannot drop a share of ${rate}: it must be from 0 to below 1`);
  }
  /** y = factor * x + beta y, with the inputs dropped that this call drops. */
  const drop = (x: Tensor, y: Tensor, beta: 0 | 1) => {
    const params = { count: x.size, scale: 1 / (1 - rate), rate, seed, stream, beta };
    elementwise(gpu, "lora", "dropout", x.size / 4, { x, y }, params);
  };
  const multiply = (x: Tensor, y: Tensor) => {
    const params = { count: x.size, scale, rate: 0, seed: 0, stream: 0, beta: 0 };
    elementwise(gpu, "lora", "dropout", x.size / 4, { x, y }, params);
  };
  let seen = x;
  if (rate > 0) drop(x, seen = tape.tensor([T, K], "dropout"), 0);
  const narrow = tape.tensor([T, R], "x A^T");
  matmul(gpu, "nt", seen, a, narrow, { M: T, N: R, K });
  const scaled = tape.tensor([T, R], "scaled x A^T");
  multiply(narrow, scaled);
  tape.release(narrow);
  matmul(gpu, "nt", scaled, b, y, { M: T, N, K: R }, 1);

  const run = (dy: Tensor) => {
    tape.accumulate(b, (db, beta) => {
      matmul(gpu, "tn", dy, scaled, db, { M: N, N: R, K: T }, beta);
      if (blocks.length > 1 || blocks[0]!.last - blocks[0]!.first < N) {
        const [p, q, r] = [0, 1, 2].map((i) => blocks[i] ?? { first: 0, last: 0 });
        elementwise(gpu, "lora", "keep_blocks", N * R / 4, { blocks: db }, {
          ...{ rows: N, columns: R, width: R / blocks.length },
          ...{ first_a: p!.first, last_a: p!.last, first_b: q!.first, last_b: q!.last },
          ...{ first_c: r!.first, last_c: r!.last },
        });
      }
    });
    const wide = tape.tensor([T, R], "d(scaled x A^T)");
    matmul(gpu, "nn", dy, b, wide, { M: T, N: R, K: N });
    const dnarrow = tape.tensor([T, R], "d(x A^T)");
    multiply(wide, dnarrow);
    gpu.release(wide.buffer);
    tape.accumulate(
      a,
      (da, beta) => matmul(gpu, "tn", dnarrow, seen, da, { M: R, N: K, K: T }, beta),
    );
    tape.accumulate(x, (dx, beta) => {
      if (rate === 0) {
        matmul(gpu, "nn", dnarrow, a, dx, { M: T, N: K, K: R }, beta);
        return;
      }
      const dseen = tape.tensor([T, K], "d dropout");
      matmul(gpu, "nn", dnarrow, a, dseen, { M: T, N: K, K: R });
      drop(dseen, dx, beta);
      gpu.release(dseen.buffer);
    });
    gpu.release(dnarrow.buffer);
  };
  return { saved: rate > 0 ? [scaled, seen] : [scaled], run };
}
