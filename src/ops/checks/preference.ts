/**
 * Checks of the preference loss.
 *
 * @module
 */

import { preferenceLoss, preferenceMetrics } from "../preference_loss.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type Comparison, type KernelCheck, kernelCheck, near } from "./check.ts";

/**
 * Pairs with given numbers of tokens (chosen, rejected, ...), twice into the same sums.
 *
 * @param certain by how much log-probabilities are nearer to 0 than -2
 */
export function preferenceCase(
  counts: readonly number[],
  options: { beta: number; labelSmoothing: number },
  certain = 1,
): Case {
  return (bench) => {
    const P = counts.length / 2;
    const N = counts.reduce((sum, n) => sum + n, 0);
    const metrics = bench.sums();
    const sums = new Float64Array(preferenceMetrics.length);
    const gradients = [0, 1].map(() => {
      const lp = bench.random([N], 2).map((v) => (v - 2) / certain);
      const h = bench.random([N]).map((v) => v + 1);
      const logprob = bench.tensor([N], lp);
      const references = new Float32Array(2 * P);
      const dlogprob = new Float64Array(N);
      const offsets = bench.random([2 * P], 4);
      let first = 0;
      for (let pair = 0; pair < P; pair++) {
        const [middle, last] = [counts[2 * pair]!, counts[2 * pair]! + counts[2 * pair + 1]!];
        const tokens = lp.subarray(first, first + last);
        const [chosen, rejected] = [tokens.subarray(0, middle), tokens.subarray(middle)];
        const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
        references[2 * pair] = sum(chosen) + offsets[2 * pair]!;
        references[2 * pair + 1] = sum(rejected) + offsets[2 * pair + 1]!;
        const [referenceChosen, referenceRejected] = references.subarray(2 * pair) as unknown as [
          number,
          number,
        ];
        const expected = reference.preferenceLoss(
          { chosen, rejected, referenceChosen, referenceRejected },
          options,
        );
        const margin = expected.rewardChosen - expected.rewardRejected;
        [
          ...[expected.loss, expected.rewardChosen, expected.rewardRejected, margin],
          ...[Number(margin > 0), sum(chosen), sum(rejected)],
          sum(h.subarray(first, first + last)) / Math.max(last, 1),
        ].forEach((value, i) => sums[i]! += value / P);
        for (let n = 0; n < last; n++) {
          dlogprob[first + n] = (n < middle ? 1 : -1) * expected.dchosen / P;
        }
        first += last;
      }
      preferenceLoss(
        bench.forward,
        { logprob, entropy: bench.tensor([N], h) },
        {
          counts,
          reference: bench.tensor([P, 2], references),
          weight: bench.tensor([P], new Float32Array(P).fill(1 / P)),
        },
        options,
        metrics,
      );
      return near("dlogprob", logprob.grad!, dlogprob);
    });
    return [...gradients, near("metrics", metrics.tensors[0]!, sums)];
  };
}

const cases: Record<string, Case> = {
  "one pair of one token each": preferenceCase([1, 1], { beta: 0.1, labelSmoothing: 0 }),
  "a completion without tokens": preferenceCase([0, 3, 5, 0], { beta: 0.1, labelSmoothing: 0 }),
  "long completions": preferenceCase([1500, 700], { beta: 0.1, labelSmoothing: 0.2 }, 50),
  "large margins": preferenceCase([3, 5, 2, 2, 9, 1], { beta: 20, labelSmoothing: 0.1 }),
};
for (const P of [7, 9, 70]) {
  const counts = Array.from({ length: 2 * P }, (_, i) => 1 + (7 * i) % 13);
  for (const labelSmoothing of [0, 0.1]) {
    const options = { beta: 0.3, labelSmoothing };
    cases[`${P} pairs, smoothing ${labelSmoothing}`] = preferenceCase(counts, options);
  }
}
cases["a log-probability that is NaN shows in loss and gradient"] = (bench) => {
  const logprob = bench.tensor([2], Float32Array.of(-1, NaN));
  const entropy = bench.tensor([2], Float32Array.of(1, 1));
  const [reference, weight] = [Float32Array.of(-1, -1), Float32Array.of(1)];
  const batch = {
    counts: [1, 1],
    reference: bench.tensor([1, 2], reference),
    weight: bench.tensor([1], weight),
  };
  const metrics = bench.sums();
  preferenceLoss(bench.forward, { logprob, entropy }, batch, { beta: 0.1 }, metrics);
  const shows: Comparison["error"] = (content) =>
    Number.isNaN(new Float32Array(content)[0]) ? 0 : Infinity;
  return [
    { what: "dlogprob", tensor: logprob.grad!, error: shows },
    { what: "loss", tensor: metrics.tensors[0]!, error: shows },
  ];
};

/** The loss of direct preference optimisation. */
export const preferenceChecks: readonly KernelCheck[] = [
  kernelCheck("preference loss", ["preference_loss.sigmoid"], 1e-5, cases),
];
