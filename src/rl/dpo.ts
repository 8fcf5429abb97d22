/**
 * Direct preference optimisation (Rafailov et al. 2023): of two completions of one prompt the better
 * becomes more likely than the worse, measured from a frozen reference policy.
 *
 *   m = beta ((l_w - ref_w) - (l_l - ref_l)),  l = sum_t m_t log p(x_t | x_<t)
 *   L = mean over pairs of -(1 - e) log sigmoid(m) - e log sigmoid(-m)
 *
 * with l_w and l_l of the chosen and the rejected completion, ref_w and ref_l the same under the
 * reference, and label smoothing e (Mitchell 2023). Sums run over the tokens that the model is to
 * produce: the results of tools, which differ between the two, belong to neither.
 *
 * Deviation from the paper: pairs are not labelled by people. The teacher's demonstration is preferred
 * to every episode of the student that failed, so that only half of a pair is the student's own.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { preferenceLoss } from "../ops/preference_loss.ts";
import type { Learner, Update } from "./learner.ts";
import { activeTokens, type MaskedSequence, packUnits } from "./packing.ts";
import type { Rollout } from "./rollout.ts";
import { scoreTokens } from "./score_tokens.ts";

/** Two completions of one prompt. */
export interface Preference {
  readonly chosen: MaskedSequence;
  readonly rejected: MaskedSequence;
}

/** The same, and the sums of their log-probabilities under the reference policy. */
export interface PreferencePair extends Preference {
  readonly referenceChosen: number;
  readonly referenceRejected: number;
}

/** Hyper-parameters of an update. */
export interface DpoOptions {
  /** How strongly the policy is held to the reference; default 0.1. */
  readonly beta?: number;
  /** Share of the preferences taken to be the wrong way round, in [0, 0.5); default 0. */
  readonly labelSmoothing?: number;
  readonly learningRate: number;
  readonly tokenBudget: number;
}

/**
 * Prefers the teacher's demonstration to each episode of a group that did not come to the correct
 * answer.
 *
 * @param rollouts the student's episodes of one task
 * @param demonstration how the teacher solves it
 */
export function preferencePairs(
  rollouts: readonly Pick<Rollout, "ids" | "mask" | "episode">[],
  demonstration: MaskedSequence,
): Preference[] {
  return rollouts
    .filter(({ episode, mask }) => !episode.correct && mask.includes(1))
    .map(({ ids, mask }) => ({ chosen: demonstration, rejected: { ids, mask } }));
}

/** Adds what the reference makes of each pair; a sequence that many pairs share is scored once. */
export async function withReference(
  reference: Decoder,
  preferences: readonly Preference[],
  options: { readonly tokenBudget: number },
): Promise<PreferencePair[]> {
  const sequences = [...new Set(preferences.flatMap(({ chosen, rejected }) => [chosen, rejected]))];
  const scores = await scoreTokens(reference, sequences, options);
  const sums = new Map(
    sequences.map((sequence, i) => [sequence, scores[i]!.logprobs.reduce((a, b) => a + b, 0)]),
  );
  return preferences.map(({ chosen, rejected }) => ({
    chosen,
    rejected,
    referenceChosen: sums.get(chosen)!,
    referenceRejected: sums.get(rejected)!,
  }));
}

/**
 * One update on a batch of pairs; both sequences of a pair are in the same micro-batch. Its metrics
 * are means over pairs.
 *
 * @throws {RangeError} if there are no pairs, or beta or the smoothing are out of range.
 */
export function dpoUpdate(
  learner: Learner,
  pairs: readonly PreferencePair[],
  { beta = 0.1, labelSmoothing = 0, learningRate, tokenBudget }: DpoOptions,
): Update {
  const units = pairs.map(({ chosen, rejected, referenceChosen, referenceRejected }) => [
    { ...chosen, reference: referenceChosen },
    { ...rejected, reference: referenceRejected },
  ]);
  return learner.update(packUnits(units, tokenBudget), (tape, statistics, batch, sums) => {
    const { sequences } = batch;
    const P = sequences.length / 2;
    const reference = Float32Array.from(sequences, ({ reference }) => reference);
    preferenceLoss(
      tape,
      statistics,
      {
        counts: sequences.map((sequence) => activeTokens([sequence])),
        reference: tape.upload(reference, "reference", [P, 2]),
        weight: tape.upload(new Float32Array(P).fill(1 / pairs.length), "weight"),
      },
      { beta, labelSmoothing },
      sums,
    );
  }, { learningRate });
}
