/**
 * The LM head fused with the log-probability of each target, in vocabulary chunks.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { grid } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, rowRange, type Tensor } from "../tensor.ts";
import { sharedRows, zeros } from "./launch.ts";
import { matmul } from "./matmul.ts";

/** Largest number of logits that exist at once: 32 MiB of them. */
const LOGITS = 2 ** 23;
/** Largest chunk: a lane's two loops over vec4s must stay below 65,535 iterations (see matmul.ts). */
const LONGEST_CHUNK = 2 ** 16;

/** What is known of tokens and of the distributions they were drawn from, in nats; [N] each. */
export interface TokenStatistics {
  /** Log-probability of the target. */
  readonly logprob: Tensor;
  /** Entropy of the distribution. */
  readonly entropy: Tensor;
}

/** What becomes of logits before anything is made of them. */
export interface LogitLimits {
  /** Logits become cap * tanh(logits / cap); null or absent leaves them. */
  readonly cap?: number | null | undefined;
  /** Rows of the table that are tokens; those behind never win. All when absent. */
  readonly vocabulary?: number | undefined;
}

/** Options of `lmHead`. */
export interface LmHeadOptions extends LogitLimits {
  /** Divides the logits, in sampling and in training alike. */
  readonly temperature?: number;
  /** Vocabulary rows per chunk, a multiple of 64; chosen by memory when absent. */
  readonly chunk?: number;
}

/**
 * Log-softmax of x W^T / temperature at the targets, and its entropy. Backward recomputes the
 * logits chunk by chunk and writes dL/dx and dL/dW; no [N, V] tensor exists unless V fits one chunk.
 *
 * @param x hidden states [N,C]
 * @param w vocabulary table [V,C], V a multiple of 4, stored in any float type
 * @param targets u32 [N], below V
 */
export function lmHead(
  tape: Tape,
  x: Tensor,
  w: Tensor,
  targets: Tensor,
  { temperature = 1, chunk, cap, vocabulary }: LmHeadOptions = {},
): TokenStatistics {
  const [N, C] = x.shape as [number, number];
  const [V] = w.shape as [number];
  assertShape(w, [V, C], "apply the LM head");
  assertShape(targets, [N], "apply the LM head");
  assertMultipleOf4(V, "the vocabulary", "apply the LM head");
  if (!(temperature > 0)) {
    throw new RangeError(
      `Cannot apply the LM head: temperature is ${temperature}, it must be above 0`,
    );
  }
  const { gpu } = tape;
  const rows = chunkRows(tape, [N, V], chunk);
  const chunks = Math.ceil(V / rows);
  const inverse_temperature = 1 / temperature;
  const logits = tape.tensor([N, Math.min(rows, V)], "logits chunk");
  const statistics = tape.tensor([N, 4], "logit statistics");
  const logprob = tape.tensor([N], "logprob", [x, w]);
  const entropy = tape.tensor([N], "entropy", [x, w]);

  /** Logits of one chunk. */
  const project = (offset: number, count: number) => {
    matmul(gpu, "nt", x, rowRange(w, offset, count), logits, { M: N, N: count, K: C });
    limitLogits(gpu, logits, [N, count], { cap, vocabulary: (vocabulary ?? V) - offset });
  };
  for (let offset = 0; offset < V; offset += rows) {
    const count = Math.min(rows, V - offset);
    project(offset, count);
    const bindings = { logits, targets, statistics };
    const params = { rows: N, chunk: count, offset, first: offset === 0 ? 1 : 0 };
    sharedRows(gpu, "lm_head", "accumulate", [N, count], bindings, {
      ...params,
      inverse_temperature,
    });
  }
  const { wide } = gpu.tuning;
  gpu.dispatch("lm_head", "finish", {
    constants: { WIDE: wide },
    bindings: { final_statistics: statistics, logprob, entropy },
    params: { rows: N },
    workgroups: grid(Math.ceil(N / wide)),
  });

  tape.record([logprob, entropy], () => {
    if (!logprob.grad && !entropy.grad) return;
    const dlogprob = logprob.grad ?? zeros(tape, N);
    const dentropy = entropy.grad ?? dlogprob; // not read without `with_entropy`
    let held: 0 | 1 = 0; // whether dw held anything before this op; each chunk has rows of its own
    for (let offset = 0; offset < V; offset += rows) {
      const count = Math.min(rows, V - offset);
      if (chunks > 1) project(offset, count);
      gpu.dispatch("lm_head", "backward", {
        constants: { WIDE: wide },
        bindings: { dlogits: logits, targets, final_statistics: statistics, dlogprob, dentropy },
        params: {
          rows: N,
          chunk: count,
          offset,
          with_entropy: entropy.grad ? 1 : 0,
          inverse_temperature,
          cap: cap ?? 0,
        },
        workgroups: grid(Math.ceil(N * count / 4 / wide)),
      });
      tape.accumulate(
        x,
        (dx, beta) =>
          matmul(gpu, "nn", logits, rowRange(w, offset, count), dx, { M: N, N: C, K: count }, beta),
      );
      tape.accumulate(w, (dw, beta) => {
        if (offset === 0) held = beta;
        matmul(gpu, "tn", logits, x, rowRange(dw, offset, count), { M: count, N: C, K: N }, held);
      });
    }
  }, [logits, statistics]);
  return { logprob, entropy };
}

/** Rows of the vocabulary whose logits exist at once for N rows, all V where they fit. */
export function chunkRows(
  { gpu, room }: Tape,
  [N, V]: readonly [number, number],
  chunk?: number,
): number {
  const logits = Math.min(LOGITS, gpu.largestBinding / 4) / (N * room);
  const fitting = Math.max(64, Math.floor(logits / 64) * 64);
  return Math.min(V, chunk ?? Math.min(LONGEST_CHUNK, fitting));
}

/** Applies the limits to logits [rows, columns] in place; does nothing where there are none. */
export function limitLogits(
  gpu: Gpu,
  logits: Tensor,
  [rows, columns]: readonly [number, number],
  { cap, vocabulary = columns }: LogitLimits,
): void {
  if (!cap && vocabulary >= columns) return;
  const { wide } = gpu.tuning;
  gpu.dispatch("lm_head", "limit", {
    constants: { WIDE: wide },
    bindings: { limited: logits },
    params: {
      rows,
      chunk: columns,
      columns: Math.max(0, Math.min(vocabulary, columns)),
      cap: cap ?? 0,
    },
    workgroups: grid(Math.ceil(rows * columns / 4 / wide)),
  });
}
