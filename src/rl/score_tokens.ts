/**
 * What a model, as it is, makes of sequences that are there already: a teacher-forced pass without
 * gradients. Log-probabilities under a reference policy, the values that advantages start from, and
 * the old log-probabilities where the sampler's own won't do.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { tokenStatistics } from "../model/nll.ts";
import type { ValueHead } from "../model/value_head.ts";
import { elementwise } from "../ops/launch.ts";
import { Tape } from "../tape.ts";
import { elements, Tensor } from "../tensor.ts";
import { activeTokens, type MaskedSequence, type MicroBatch, packSequences } from "./packing.ts";

/** Of one sequence, [T] each, aligned with its ids; 0 where its mask is 0. */
export interface TokenScores {
  /** Log-probability of the token, in nats. */
  readonly logprobs: Float32Array;
  /** Entropy of the distribution that the token was one draw of, in nats. */
  readonly entropies: Float32Array;
  /** Value of the state that the token was sampled in: of the hidden state before it. */
  readonly values: Float32Array | null;
}

/** How to score. */
export interface ScoreOptions {
  /** Divides the logits; that of sampling. */
  readonly temperature?: number;
  /** Tokens that are worked on at a time. */
  readonly tokenBudget: number;
  /** The value function, where values are wanted. */
  readonly head?: ValueHead | null;
}

/**
 * Scores the predicted tokens of sequences, all in one submit and one read-back.
 *
 * @returns scores of each sequence, in their order; zeros where nothing is predicted
 * @throws {OutOfMemoryError} if a micro-batch does not fit; nothing was submitted then.
 */
export async function scoreTokens(
  model: Decoder,
  sequences: readonly MaskedSequence[],
  { temperature = 1, tokenBudget, head = null }: ScoreOptions,
): Promise<TokenScores[]> {
  const { gpu } = model;
  const scores = sequences.map(({ ids }) => ({
    logprobs: new Float32Array(ids.length),
    entropies: new Float32Array(ids.length),
    values: head && new Float32Array(ids.length),
  }));
  if (activeTokens(sequences) === 0) return scores;
  const numbered = sequences.map(({ ids, mask }, index) => ({ ids, mask, index }));
  const batches = packSequences(numbered, tokenBudget);
  const results: Tensor[] = [];
  try {
    for (const batch of batches) {
      const room = (batch.capacity ?? batch.ids.length) / batch.ids.length;
      const tape = new Tape(gpu, { recording: false, room });
      const { logprob, entropy, hidden } = tokenStatistics(tape, model, batch, { temperature });
      const found = [logprob, entropy, ...head ? [head.values(tape, hidden)] : []];
      results.push(...found.map((tensor) => keep(tape, tensor)));
      gpu.recycle();
    }
  } catch (error) {
    gpu.discard();
    throw error;
  }
  const contents = (await gpu.read(...results)).map((bytes) => new Float32Array(bytes));
  for (const batch of batches) {
    const [logprob, entropy, value] = contents.splice(0, head ? 3 : 2);
    scatter(batch, ({ index }, t, n) => {
      const own = scores[index]!;
      own.logprobs[t] = logprob![n]!;
      own.entropies[t] = entropy![n]!;
      if (own.values) own.values[t] = value![4 * n]!;
    });
  }
  return scores;
}

/**
 * A copy that the next micro-batch leaves alone. Uploads are the buffers of a step that are not
 * handed out twice before its submit; scratch is.
 */
function keep(tape: Tape, { buffer, shape, label }: Tensor): Tensor {
  const size = elements(shape);
  // Buffers are whole vec4s, whatever the size of what they hold.
  const count = Math.ceil(size / 4) * 4;
  const copy = tape.upload(new Float32Array(count), `kept ${label}`);
  elementwise(tape.gpu, "add", "accumulate", count / 4, { a: { buffer }, y: copy }, {
    count,
    beta: 0,
  });
  return new Tensor(copy.buffer, shape, "f32", copy.label);
}

/** Visits the predicted tokens of a micro-batch: number n is token t of a sequence. */
function scatter<S extends MaskedSequence>(
  { sequences }: MicroBatch<S>,
  visit: (sequence: S, t: number, n: number) => void,
): void {
  let n = 0;
  for (const sequence of sequences) {
    sequence.mask.forEach((bit, t) => {
      if (bit && t > 0) visit(sequence, t, n++);
    });
  }
}
