/**
 * Reference generalised Jensen-Shannon divergence between a teacher q and a student p in f64
 * (Agarwal et al. 2024, "On-Policy Distillation of Language Models", eq. 1). N rows, V vocabulary,
 * temperature tau.
 *
 *   p = softmax(z / tau),  q = softmax(z_teacher / tau),  M = beta q + (1 - beta) p
 *   D = beta KL(q || M) + (1 - beta) KL(p || M)
 *   beta = 0:  D = KL(q || p)        beta = 1:  D = KL(p || q)
 *   g_v = dD/dp_v = (1 - beta) log(p_v / M_v);  beta = 0: -q_v / p_v;  beta = 1: log(p_v / q_v) + 1
 *   dz_v = p_v (g_v - sum_u p_u g_u) / tau
 *
 * @module
 */

import { headLogits, logSoftmaxRows } from "./lm_head.ts";
import { matmul } from "./matmul.ts";

/** Which divergence, and the temperature of both distributions. */
export interface DivergenceOptions {
  beta: number;
  temperature: number;
}

/** Sizes of the logits: N rows, V columns, of which the first `vocabulary` are tokens. */
export interface DivergenceShape {
  N: number;
  V: number;
  vocabulary?: number;
}

/** Columns of `divergence`. */
export interface DivergenceResult {
  /** [N] nats */
  divergence: Float64Array;
  /** [N] of the student, nats */
  entropy: Float64Array;
  /** [N] of the teacher, nats */
  teacherEntropy: Float64Array;
  /** [N,V] derivative of each row's divergence with respect to the student's logits */
  dlogits: Float64Array;
}

/** Logits of student and teacher, each [N,V] -> divergence of each row and its derivative. */
export function divergence(
  student: ArrayLike<number>,
  teacher: ArrayLike<number>,
  { beta, temperature }: DivergenceOptions,
  shape: DivergenceShape,
): DivergenceResult {
  const { N, V, vocabulary = V } = shape;
  const logp = logSoftmaxRows(student, temperature, shape);
  const logq = logSoftmaxRows(teacher, temperature, shape);
  const result = {
    divergence: new Float64Array(N),
    entropy: new Float64Array(N),
    teacherEntropy: new Float64Array(N),
    dlogits: new Float64Array(N * V),
  };
  for (let n = 0; n < N; n++) {
    let [toMixture, fromTeacher] = [0, 0];
    for (let i = n * V; i < n * V + vocabulary; i++) {
      const [lp, lq] = [logp[i]!, logq[i]!];
      const [p, q] = [Math.exp(lp), Math.exp(lq)];
      const lm = mixture(lp, lq, beta);
      toMixture += p * (lp - lm);
      fromTeacher += q * (lq - lm);
      result.entropy[n]! -= p * lp;
      result.teacherEntropy[n]! -= q * lq;
    }
    const [own, theirs] = beta === 0 ? [0, 1] : beta === 1 ? [1, 0] : [1 - beta, beta];
    result.divergence[n] = own * toMixture + theirs * fromTeacher;
    for (let i = n * V; i < n * V + vocabulary; i++) {
      const [lp, lq] = [logp[i]!, logq[i]!];
      const p = Math.exp(lp);
      // p g and sum p g of the formula above; p cancels in the limit where it could be 0 / 0.
      result.dlogits[i] = beta === 0
        ? (p - Math.exp(lq)) / temperature
        : own * p * (lp - mixture(lp, lq, beta) - toMixture) / temperature;
    }
  }
  return result;
}

/** log M */
function mixture(lp: number, lq: number, beta: number): number {
  if (beta === 0) return lp;
  if (beta === 1) return lq;
  const [a, b] = [lq + Math.log(beta), lp + Math.log(1 - beta)];
  const top = Math.max(a, b);
  return top + Math.log(Math.exp(a - top) + Math.exp(b - top));
}

/** Hidden states [N,C] and the table [V,C] that makes logits of them. */
export interface ReferenceHead {
  x: ArrayLike<number>;
  w: ArrayLike<number>;
  C: number;
  /** Logits become cap tanh(logits / cap); absent leaves them. */
  cap?: number;
}

/** Two heads, weight [N] -> the sum of weight times divergence, dx [N,C] and dW [V,C]. */
export function headDivergence(
  student: ReferenceHead,
  teacher: ReferenceHead,
  weight: ArrayLike<number>,
  options: DivergenceOptions,
  shape: DivergenceShape,
): DivergenceResult & { loss: number; dx: Float64Array; dW: Float64Array } {
  const { N, V } = shape;
  const { x, w, C } = student;
  const { z, slope } = headLogits(x, w, { ...student, ...shape });
  const taught = headLogits(teacher.x, teacher.w, { ...teacher, ...shape });
  const result = divergence(z, taught.z, options, shape);
  const dz = result.dlogits.map((d, i) => weight[Math.floor(i / V)]! * d * slope[i]!);
  return {
    ...result,
    loss: result.divergence.reduce((sum, d, n) => sum + weight[n]! * d, 0),
    dx: matmul("nn", dz, w, { M: N, N: C, K: V }),
    dW: matmul("tn", dz, x, { M: V, N: C, K: N }),
  };
}
