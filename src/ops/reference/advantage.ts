/**
 * Reference generalised advantage estimation and whitening in f64.
 *
 *   delta[t] = r[t] + gamma V[t+1] - V[t]
 *   A[t]     = delta[t] + gamma lambda A[t+1],   R[t] = A[t] + V[t]
 *   whiten:    (x - mean) / sqrt(var + 1e-8), var unbiased, 0 for a single value
 *
 * @module
 */

/** Rewards and values [N] of the tokens of sequences end to end -> advantages and returns [N]. */
export function generalisedAdvantages(
  rewards: ArrayLike<number>,
  values: ArrayLike<number>,
  lengths: readonly number[],
  { gamma, lambda }: { gamma: number; lambda: number },
): { advantages: Float64Array; returns: Float64Array } {
  const N = rewards.length;
  const advantages = new Float64Array(N);
  let first = 0;
  for (const length of lengths) {
    // The sum that the recursion stands for, term by term.
    for (let t = first; t < first + length; t++) {
      for (let u = t; u < first + length; u++) {
        const next = u + 1 < first + length ? values[u + 1]! : 0;
        const delta = rewards[u]! + gamma * next - values[u]!;
        advantages[t]! += (gamma * lambda) ** (u - t) * delta;
      }
    }
    first += length;
  }
  return { advantages, returns: advantages.map((advantage, t) => advantage + values[t]!) };
}

/** x [N] -> whitened [N]. */
export function whiten(x: ArrayLike<number>, { shiftMean = true } = {}): Float64Array {
  const values = Float64Array.from(x);
  const N = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / N;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const scale = 1 / Math.sqrt(squares / Math.max(1, N - 1) + 1e-8);
  return values.map((value) => (value - mean) * scale + (shiftMean ? 0 : mean));
}
