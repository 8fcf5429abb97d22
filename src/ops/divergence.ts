/**
 * The divergence of a student from a frozen teacher over the whole vocabulary, from the hidden states
 * of both and fused with both LM heads, in vocabulary chunks.
 *
 * @module
 */

import { grid } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, rowRange, type Tensor } from "../tensor.ts";
import { sharedRows, zeros } from "./launch.ts";
import { chunkRows, limitLogits } from "./lm_head.ts";
import { matmul } from "./matmul.ts";
import type { MetricSums } from "./metric_sums.ts";

/** Diagnostics: sums over tokens of weight times each, in nats. */
export const divergenceMetrics = [
  "loss",
  "divergence", // the loss again, for where another loss is summed beside this one
  "entropy", // of the student, at the temperature of the loss
  "teacher_entropy",
] as const;

/** What predicts the next token: hidden states and the table that makes logits of them. */
export interface Head {
  /** Hidden states [N,C]. */
  readonly x: Tensor;
  /** Vocabulary table [V,C], V a multiple of 4, stored in any float type. */
  readonly w: Tensor;
  /** Logits become cap * tanh(logits / cap); null or absent leaves them. */
  readonly cap?: number | null | undefined;
}

/** Options of `divergenceLoss`. */
export interface DivergenceOptions {
  /** The teacher's share of the mixture, in [0, 1]. */
  readonly beta: number;
  /** Divides the logits of both. */
  readonly temperature?: number;
  /** Rows of both tables that are tokens; all when absent. */
  readonly vocabulary?: number;
  /** Vocabulary rows per chunk, a multiple of 64; chosen by memory when absent. */
  readonly chunk?: number;
}

/**
 * Generalised Jensen-Shannon divergence between teacher q and student p (Agarwal et al. 2024, eq. 1):
 *
 *   L = sum_n weight_n (beta KL(q || M) + (1 - beta) KL(p || M)),  M = beta q + (1 - beta) p
 *
 * where beta 0 stands for KL(q || p), the forward divergence, and beta 1 for KL(p || q), the reverse
 * one. It is the root of a backward pass, which writes dL/dx and dL/dW of the student; nothing that
 * the teacher has is trained. No [N, V] tensor exists unless V fits one chunk.
 *
 * @param weight [N] mask / number of tokens that the mean runs over
 * @throws {TypeError} if the tables differ in size.
 * @throws {RangeError} if beta is not in [0, 1] or the temperature not above 0.
 */
export function divergenceLoss(
  tape: Tape,
  student: Head,
  teacher: Head,
  weight: Tensor,
  { beta, temperature = 1, vocabulary, chunk }: DivergenceOptions,
  sums: MetricSums,
): void {
  const [N, C] = student.x.shape as [number, number];
  const [V] = student.w.shape as [number];
  const action = "compute a divergence";
  assertShape(student.w, [V, C], action);
  assertShape(teacher.x, [N, -1], action);
  assertShape(teacher.w, [V, teacher.x.shape[1]!], action);
  assertShape(weight, [N], action);
  assertMultipleOf4(V, "the vocabulary", action);
  if (!(beta >= 0 && beta <= 1)) {
    throw new RangeError(`Cannot ${action}: beta is ${beta}, it must be from 0 to 1`);
  }
  if (!(temperature > 0)) {
    throw new RangeError(`Cannot ${action}: temperature is ${temperature}, it must be above 0`);
  }
  const { gpu } = tape;
  const { wide } = gpu.tuning;
  const rows = chunkRows(tape, [N, V], chunk);
  const chunks = Math.ceil(V / rows);
  const inverse_temperature = 1 / temperature;
  const [student_share, teacher_share] = shares(beta);
  const scratch = (of: string) => ({
    logits: tape.tensor([N, rows], `${of}'s logits chunk`),
    statistics: tape.tensor([N, 4], `${of}'s logit statistics`),
  });
  const [own, theirs] = [scratch("student"), scratch("teacher")];
  const divergences = tape.tensor([N, 2], "divergences");
  const metrics = tape.tensor([N, divergenceMetrics.length], "token metrics", [
    student.x,
    student.w,
  ]);

  /** Logits of one chunk. */
  const project = ({ x, w, cap }: Head, logits: Tensor, offset: number, count: number) => {
    const sizes = { M: N, N: count, K: x.shape[1]! };
    matmul(gpu, "nt", x, rowRange(w, offset, count), logits, sizes);
    limitLogits(gpu, logits, [N, count], { cap, vocabulary: (vocabulary ?? V) - offset });
  };
  /** Does something with the logits of both, chunk by chunk. */
  const eachChunk = (again: boolean, work: (offset: number, count: number) => void) => {
    for (let offset = 0; offset < V; offset += rows) {
      const count = Math.min(rows, V - offset);
      if (again || chunks > 1) {
        project(student, own.logits, offset, count);
        project(teacher, theirs.logits, offset, count);
      }
      work(offset, count);
    }
  };

  const targets = zeros(tape, N); // of no interest here
  eachChunk(true, (offset, count) => {
    const params = { rows: N, chunk: count, offset, first: offset === 0 ? 1 : 0 };
    for (const { logits, statistics } of [own, theirs]) {
      const bindings = { logits, targets, statistics };
      sharedRows(gpu, "lm_head", "accumulate", [N, count], bindings, {
        ...params,
        inverse_temperature,
      });
    }
  });
  tape.release(targets);
  const normalisers = {
    statistics: own.statistics,
    teacher_statistics: theirs.statistics,
  };
  eachChunk(false, (offset, count) => {
    const bindings = { logits: own.logits, teacher_logits: theirs.logits, ...normalisers };
    sharedRows(gpu, "divergence", "accumulate", [N, count], { ...bindings, sums: divergences }, {
      rows: N,
      chunk: count,
      first: offset === 0 ? 1 : 0,
      beta,
      inverse_temperature,
    });
  });
  gpu.dispatch("divergence", "finish", {
    constants: { WIDE: wide },
    bindings: { ...normalisers, final_sums: divergences, weight, metrics },
    params: { rows: N, student_share, teacher_share },
    workgroups: grid(Math.ceil(N / wide)),
  });
  sums.add(tape, divergenceMetrics, metrics);

  tape.record([metrics], () => {
    let held: 0 | 1 = 0; // whether dw held anything before this op; each chunk has rows of its own
    eachChunk(false, (offset, count) => {
      gpu.dispatch("divergence", "backward", {
        constants: { WIDE: wide },
        bindings: {
          dlogits: own.logits,
          teacher_logits: theirs.logits,
          ...normalisers,
          final_sums: divergences,
          weight,
        },
        params: {
          rows: N,
          chunk: count,
          beta,
          student_share,
          inverse_temperature,
          cap: student.cap ?? 0,
        },
        workgroups: grid(Math.ceil(N * count / 4 / wide)),
      });
      const { x, w } = student;
      tape.accumulate(x, (dx, beta) => {
        const sizes = { M: N, N: C, K: count };
        matmul(gpu, "nn", own.logits, rowRange(w, offset, count), dx, sizes, beta);
      });
      tape.accumulate(w, (dw, beta) => {
        if (offset === 0) held = beta;
        const sizes = { M: count, N: C, K: N };
        matmul(gpu, "tn", own.logits, x, rowRange(dw, offset, count), sizes, held);
      });
    });
  }, [own.logits, theirs.logits, own.statistics, theirs.statistics, divergences]);
}

/** What KL(student || M) and KL(teacher || M) count in the divergence. */
function shares(beta: number): readonly [student: number, teacher: number] {
  if (beta === 0) return [0, 1]; // M is the student
  if (beta === 1) return [1, 0]; // M is the teacher
  return [1 - beta, beta];
}
