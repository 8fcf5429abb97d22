/**
 * What the checks of sampling share: slots as GPU state, and log-probabilities in f64.
 *
 * @module
 */

import { type SamplingOptions, SLOT_WORDS, type SlotState, slotWords } from "../sample.ts";
import type { Bench } from "./check.ts";

/** Rows of (token, position, end, stream) as the words of slots. */
export function stateWords(
  rows: readonly (readonly number[])[],
  sampling: SamplingOptions,
): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    rows.flatMap(([token, position, end, stream]) =>
      slotWords({ token: token!, position: position!, end: end!, stream: stream!, sampling })
    ),
  );
}

/** Rows of (token, position, end, stream) as GPU state with a ring of `steps` rows. */
export function slotState(
  bench: Bench,
  rows: readonly (readonly number[])[],
  steps: number,
  sampling: SamplingOptions,
): SlotState {
  const S = rows.length;
  return {
    state: bench.tensor([S, SLOT_WORDS], stateWords(rows, sampling)),
    slots: bench.tensor([S], Uint32Array.from(rows.keys())),
    tokens: bench.tensor([S], Uint32Array.from(rows, ([token]) => token!)),
    positions: bench.tensor([S], Uint32Array.from(rows, ([, position]) => position!)),
    ring: bench.tensor([steps, S, 2], new Uint32Array(steps * S * 2)),
  };
}

/** The same logits for S slots. */
export function repeated(logits: Float32Array, S: number): Float32Array {
  const all = new Float32Array(S * logits.length);
  for (let s = 0; s < S; s++) all.set(logits, s * logits.length);
  return all;
}

/** log softmax(logits / temperature), in f64. */
export function logSoftmax(logits: Float32Array, temperature: number): Float64Array {
  const z = Float64Array.from(logits, (v) => v / temperature);
  const top = Math.max(...z);
  const log = top + Math.log(z.reduce((total, v) => total + Math.exp(v - top), 0));
  return z.map((v) => v - log);
}
