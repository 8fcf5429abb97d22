/**
 * Checks of advantage estimation and whitening.
 *
 * @module
 */

import { generalisedAdvantages, whiten } from "../advantage.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type KernelCheck, kernelCheck, near } from "./check.ts";

/** Sequences of the given lengths, end to end. */
export function estimate(lengths: readonly number[], gamma: number, lambda: number): Case {
  return (bench) => {
    const N = lengths.reduce((sum, length) => sum + length, 0);
    const [rewards, values] = [bench.random([N]), bench.random([N], 2)];
    const options = { gamma, lambda };
    const { advantages, returns } = generalisedAdvantages(
      bench.forward,
      bench.tensor([N], rewards),
      bench.tensor([N], values),
      lengths,
      options,
    );
    const expected = reference.generalisedAdvantages(rewards, values, lengths, options);
    return [
      near("advantages", advantages, expected.advantages),
      near("returns", returns, expected.returns),
    ];
  };
}

/** N values around `mean`, in buffers with something else behind them. */
export function whitening(N: number, mean: number, shiftMean: boolean): Case {
  return (bench) => {
    const x = bench.random([N], 2).map((value) => value + mean);
    const input = bench.tensor([N], Float32Array.of(...x, 7, 7, 7, 7));
    const y = whiten(bench.forward, input, { shiftMean });
    // A single value is its own mean: nothing is left of it.
    return [near("whitened", y, reference.whiten(x, { shiftMean }), N === 1 ? 1 : undefined)];
  };
}

const gae: Record<string, Case> = {};
const many = Array.from({ length: 150 }, (_, s) => 1 + (s * 7) % 23);
for (const lengths of [[1], [5], [300], [3, 1, 8, 2, 17, 4, 1, 1, 6], many]) {
  for (const [gamma, lambda] of [[1, 0.95], [0.9, 0.7], [1, 0], [1, 1]] as const) {
    const label = `${lengths.length} sequences, the first of ${lengths[0]}`;
    gae[`${label}, gamma ${gamma}, lambda ${lambda}`] = estimate(lengths, gamma, lambda);
  }
}

const whitened: Record<string, Case> = {};
for (const N of [1, 2, 3, 9, 256, 1023, 5000]) {
  for (const shiftMean of [true, false]) {
    whitened[`${N} values, mean ${shiftMean ? "shifted" : "kept"}`] = whitening(N, 3, shiftMean);
  }
}
whitened["values that are all the same"] = (bench) => {
  const y = whiten(bench.forward, bench.tensor([6], new Float32Array(6).fill(0.5)));
  return [near("whitened", y, new Float64Array(6), 1)];
};

/** Advantages of tokens. */
export const advantageChecks: readonly KernelCheck[] = [
  kernelCheck("generalised advantages", ["advantage.gae"], 1e-5, gae),
  kernelCheck("whiten", ["advantage.terms", "advantage.whiten"], 1e-5, whitened),
];
