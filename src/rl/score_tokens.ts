/**
 * What a model, as it is, makes of sequences that are there already: a teacher-forced pass without
 * gradients. Log-probabilities under a reference policy, the values that advantages start from, and
 * the old log-probabilities where the sampler's own won't do.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { type PackedBatch, predictingStates, tokenStatistics } from "../model/nll.ts";
import type { ValueHead } from "../model/value_head.ts";
import { elementwise } from "../ops/launch.ts";
import { Tape } from "../tape.ts";
import { elements, Tensor } from "../tensor.ts";
import { activeTokens, type MaskedSequence, packSequences, predictedTokens } from "./packing.ts";

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
  const scores = await score(model, sequences, tokenBudget, head ? 3 : 2, (tape, batch) => {
    const { logprob, entropy, hidden } = tokenStatistics(tape, model, batch, { temperature });
    return [logprob, entropy, ...head ? [head.values(tape, hidden)] : []];
  });
  return scores.map(([logprobs, entropies, values = null]) => ({
    logprobs: logprobs!,
    entropies: entropies!,
    values,
  }));
}

/**
 * The values alone, for which no logits are needed.
 *
 * @returns [T] of each sequence, as `scoreTokens` has them
 */
export async function scoreValues(
  model: Decoder,
  head: ValueHead,
  sequences: readonly MaskedSequence[],
  { tokenBudget }: Pick<ScoreOptions, "tokenBudget">,
): Promise<Float32Array[]> {
  const scores = await score(model, sequences, tokenBudget, 1, (tape, batch) => [
    head.values(tape, predictingStates(tape, model, batch)),
  ]);
  return scores.map(([values]) => values!);
}

/**
 * Runs a pass over micro-batches and hands what it finds back by sequence.
 *
 * @param count of tensors that the pass gives
 * @param pass gives [N], or [N,4] of which column 0 counts
 */
async function score(
  { gpu }: Decoder,
  sequences: readonly MaskedSequence[],
  tokenBudget: number,
  count: number,
  pass: (tape: Tape, batch: PackedBatch) => Tensor[],
): Promise<Float32Array[][]> {
  const scores = sequences.map(({ ids: { length } }) =>
    Array.from({ length: count }, () => new Float32Array(length))
  );
  if (activeTokens(sequences) === 0) return scores;
  const numbered = sequences.map(({ ids, mask }, index) => ({ ids, mask, index }));
  const batches = packSequences(numbered, tokenBudget);
  const results: Tensor[] = [];
  try {
    for (const batch of batches) {
      const room = (batch.capacity ?? batch.ids.length) / batch.ids.length;
      const tape = new Tape(gpu, { recording: false, room });
      results.push(...pass(tape, batch).map((tensor) => keep(tape, tensor)));
      gpu.recycle();
    }
  } catch (error) {
    gpu.discard();
    throw error;
  }
  const contents = await gpu.read(...results);
  for (const { sequences, targets } of batches) {
    for (const [column, bytes] of contents.splice(0, count).entries()) {
      const values = new Float32Array(bytes);
      const width = values.length / targets.length;
      let n = 0;
      for (const { ids, mask, index } of sequences) {
        for (const t of predictedTokens({ ids, mask })) {
          scores[index]![column]![t] = values[width * n++]!;
        }
      }
    }
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
