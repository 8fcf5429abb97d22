/**
 * Reference causal attention over packed sequences with grouped-query heads, in f64.
 * T tokens of all sequences end to end, H query heads, KV key/value heads (H a multiple of KV),
 * D head dimension. Query head h reads key/value head floor(h / (H / KV)). Token t sees the tokens
 * segmentStart[t]..t, that is its own sequence up to itself.
 *
 * Scores are multiplied by 1/sqrt(D), or by `scale` where it is given.
 *
 *   s_j = q_t . k_j / sqrt(D),  p = softmax(s),  out_t = sum_j p_j v_j,  L_t = log sum_j exp(s_j)
 *   dp_j = dout_t . v_j,  delta = sum_j p_j dp_j,  ds_j = p_j (dp_j - delta)
 *   dq_t += ds_j k_j / sqrt(D),  dk_j += ds_j q_t / sqrt(D),  dv_j += p_j dout_t
 *
 * @module
 */

/** Sizes of an attention: T tokens, H query heads, KV key/value heads, D head dimension. */
export interface AttentionShape {
  T: number;
  H: number;
  KV: number;
  D: number;
  scale?: number;
}

/** q [T,H,D], k and v [T,KV,D], segmentStart [T] -> out [T,H,D], logSumExp [T,H]. */
export function attentionForward(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  segmentStart: ArrayLike<number>,
  { T, H, KV, D, scale = 1 / Math.sqrt(D) }: AttentionShape,
): { out: Float64Array; logSumExp: Float64Array } {
  const out = new Float64Array(T * H * D);
  const logSumExp = new Float64Array(T * H);
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < H; h++) {
      const row = (t * H + h) * D;
      const keyRow = (j: number) => (j * KV + Math.floor(h / (H / KV))) * D;
      const start = segmentStart[t]!;
      const { p, lse } = causalSoftmax(q, row, k, keyRow, start, t, D, scale);
      logSumExp[t * H + h] = lse;
      for (let j = start; j <= t; j++) {
        for (let d = 0; d < D; d++) out[row + d]! += p[j - start]! * v[keyRow(j) + d]!;
      }
    }
  }
  return { out, logSumExp };
}

/** Inputs as in the forward and dout [T,H,D] -> dq [T,H,D], dk and dv [T,KV,D]. */
export function attentionBackward(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  segmentStart: ArrayLike<number>,
  dout: ArrayLike<number>,
  { T, H, KV, D, scale = 1 / Math.sqrt(D) }: AttentionShape,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const dq = new Float64Array(T * H * D);
  const dk = new Float64Array(T * KV * D);
  const dv = new Float64Array(T * KV * D);
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < H; h++) {
      const row = (t * H + h) * D;
      const keyRow = (j: number) => (j * KV + Math.floor(h / (H / KV))) * D;
      const start = segmentStart[t]!;
      const { p } = causalSoftmax(q, row, k, keyRow, start, t, D, scale);
      const dp = p.map((_, i) => dot(dout, row, v, keyRow(start + i), D));
      const delta = p.reduce((sum, pj, i) => sum + pj * dp[i]!, 0);
      for (let j = start; j <= t; j++) {
        const pj = p[j - start]!;
        const ds = pj * (dp[j - start]! - delta);
        for (let d = 0; d < D; d++) {
          dq[row + d]! += scale * ds * k[keyRow(j) + d]!;
          dk[keyRow(j) + d]! += scale * ds * q[row + d]!;
          dv[keyRow(j) + d]! += pj * dout[row + d]!;
        }
      }
    }
  }
  return { dq, dk, dv };
}

/**
 * Softmax of scale q[row] . k[keyRow(j)] over j = first..last, with its log-sum-exp.
 * Shared with the attention over a cache; `row` and `keyRow` are offsets of D-vectors.
 */
export function causalSoftmax(
  q: ArrayLike<number>,
  row: number,
  k: ArrayLike<number>,
  keyRow: (j: number) => number,
  first: number,
  last: number,
  D: number,
  scale = 1 / Math.sqrt(D),
): { p: Float64Array; lse: number } {
  const p = new Float64Array(last - first + 1);
  let max = -Infinity;
  for (let j = first; j <= last; j++) {
    p[j - first] = scale * dot(q, row, k, keyRow(j), D);
    max = Math.max(max, p[j - first]!);
  }
  let sum = 0;
  for (const s of p) sum += Math.exp(s - max);
  const lse = max + Math.log(sum);
  for (let i = 0; i < p.length; i++) p[i] = Math.exp(p[i]! - lse);
  return { p, lse };
}

function dot(a: ArrayLike<number>, ai: number, b: ArrayLike<number>, bi: number, D: number) {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += a[ai + d]! * b[bi + d]!;
  return sum;
}
