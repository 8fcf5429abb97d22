/**
 * Checks of the ranking of tokens by their logits.
 *
 * @module
 */

import { rankTokens, type SamplingOptions, SLOT_WORDS } from "../sample.ts";
import { type Case, contained, type KernelCheck, kernelCheck, relativeError } from "./check.ts";
import { logSoftmax, stateWords } from "./slots.ts";

const unfiltered: SamplingOptions = { temperature: 1, topK: 0, topP: 1, seed: 1 };

/**
 * Ranks V logits, one row for each temperature, and each row belongs to another slot. What top-k
 * and top-p would leave out is ranked all the same.
 *
 * @param logitOf logits by token; random ones by default
 */
function ranking(
  V: number,
  count: number,
  temperatures: readonly number[],
  logitOf?: (token: number) => number,
): Case {
  return (bench) => {
    const R = temperatures.length;
    const rows = temperatures.map(() =>
      logitOf ? Float32Array.from({ length: V }, (_, v) => logitOf(v)) : bench.random([V], 3)
    );
    const slotOf = (row: number) => R - 1 - row;
    const state = new Uint32Array(R * SLOT_WORDS);
    temperatures.forEach((temperature, row) => {
      const sampling = { ...unfiltered, temperature, topK: 1, topP: 0.5 };
      state.set(stateWords([[0, 3, 50, row]], sampling), slotOf(row) * SLOT_WORDS);
    });
    const slots = {
      state: bench.tensor([R, SLOT_WORDS], state),
      slots: bench.tensor([R], Uint32Array.from(rows.keys(), slotOf)),
    };
    const steps = 2;
    const likeliest = bench.blank([steps, R, count, 2]);
    const logits = bench.tensor([R, V], Float32Array.from(rows.flatMap((row) => [...row])));
    rankTokens(bench.gpu, logits, slots, likeliest, steps - 1);
    const error = (content: ArrayBuffer) => {
      const tokens = new Uint32Array(content);
      const logprobs = new Float32Array(content);
      let worst = 0;
      rows.forEach((row, r) => {
        const exact = logSoftmax(row, temperatures[r]! || 1);
        const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b);
        for (let place = 0; place < count; place++) {
          const at = 2 * (((steps - 1) * R + r) * count + place);
          const token = order[place]!;
          if (tokens[at] !== token) worst = Infinity;
          worst = Math.max(worst, relativeError([logprobs[at + 1]!], [exact[token]!], 1));
        }
      });
      // Another step's rows are left alone.
      return logprobs.subarray(0, R * count * 2).every(Number.isNaN) ? worst : Infinity;
    };
    return [{ what: "ranking", tensor: likeliest, error }, contained(likeliest)];
  };
}

/** The likeliest tokens. */
export const likeliestChecks: readonly KernelCheck[] = [
  kernelCheck("likeliest tokens", ["sample.rank"], 1e-5, {
    "the likeliest one": ranking(33, 1, [1, 0]),
    "some, at several temperatures": ranking(100, 20, [1, 0.3, 2, 0, 1]),
    "all of a small vocabulary": ranking(7, 7, [1]),
    "equal logits, the lower token first": ranking(40, 20, [1, 0.5], (v) => v % 3),
    "a large vocabulary": ranking(50_000, 5, [0.7, 1]),
  }),
];
