/**
 * Reference sampling filter in f64: which tokens may be drawn, and with what probability.
 * V vocabulary. In this order:
 *
 *   temperature  z = logits / temperature; 0 means greedy
 *   top-k        keep the k largest z (0 = all); equal values: the lower token id first
 *   top-p        over the softmax of what top-k kept, keep the smallest prefix, in falling order,
 *                whose cumulative probability reaches p (1 = all); never fewer than one token
 *   result       renormalised over the kept tokens
 *
 * @module
 */

/** Filter settings; topK 0 and topP 1 switch a filter off, temperature 0 is greedy. */
export interface SamplingOptions {
  temperature: number;
  topK: number;
  topP: number;
}

/** logits [V] -> kept token ids in falling order of probability, probabilities [V] (0 if dropped). */
export function samplingFilter(
  logits: ArrayLike<number>,
  { temperature, topK, topP }: SamplingOptions,
): { kept: number[]; probabilities: Float64Array } {
  const greedy = temperature === 0;
  let kept = Array.from(logits, (_, id) => id).sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (greedy) kept = kept.slice(0, 1);
  else if (topK > 0) kept = kept.slice(0, topK);

  const max = logits[kept[0]!]!;
  const mass = kept.map((id) => greedy ? 1 : Math.exp((logits[id]! - max) / temperature));
  const total = mass.reduce((sum, value) => sum + value, 0);
  if (topP < 1) {
    let cumulative = 0;
    let count = 0;
    // The first token always stays, also with topP = 0.
    do cumulative += mass[count++]!; while (cumulative < topP * total && count < kept.length);
    kept = kept.slice(0, count);
  }

  const keptTotal = mass.slice(0, kept.length).reduce((sum, value) => sum + value, 0);
  const probabilities = new Float64Array(logits.length);
  kept.forEach((id, i) => probabilities[id] = mass[i]! / keptTotal);
  return { kept, probabilities };
}
