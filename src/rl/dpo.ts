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
import { MissingReferenceError, type Task } from "../tasks/task.ts";
import { describeEpisodes, meanMetrics } from "./diagnostics.ts";
import {
  type LearningContext,
  learningStep,
  plain,
  type StepResult,
  uncredited,
} from "./experience.ts";
import type { Learner, Update } from "./learner.ts";
import { activeTokens, type MaskedSequence, packUnits } from "./packing.ts";
import type { Rollout, RolloutOptions } from "./rollout.ts";
import { scoreTokens } from "./score_tokens.ts";
import { demonstration } from "./sft.ts";

/** Two completions of one prompt. */
export interface Preference {
  /** The better one, its prompt before it. */
  readonly chosen: MaskedSequence;
  /** The worse one. */
  readonly rejected: MaskedSequence;
}

/** The same, and the sums of their log-probabilities under the reference policy. */
export interface PreferencePair extends Preference {
  /** Of the better one, in nats. */
  readonly referenceChosen: number;
  /** Of the worse one. */
  readonly referenceRejected: number;
}

/** Hyper-parameters of an update. */
export interface DpoOptions {
  /** How strongly the policy is held to the reference; default 0.1. */
  readonly beta?: number;
  /** Share of the preferences taken to be the wrong way round, in [0, 0.5); default 0. */
  readonly labelSmoothing?: number;
  /** Of the optimizer. */
  readonly learningRate: number;
  /** Tokens of a micro-batch. */
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

/** Hyper-parameters of a step. */
export interface DpoStepOptions extends DpoOptions {
  /** Episodes of each prompt. */
  readonly group: number;
}

/**
 * Samples episodes with real tools, and prefers the teacher's demonstration to each that failed, in
 * one update. Nothing is left to learn, and no update made, in a step without such an episode.
 *
 * @param context its reference is the policy that both are measured from
 * @param prompts number of groups
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 * @throws {MissingReferenceError} if nobody shows how to solve a task.
 */
export async function dpoStep(
  context: LearningContext & { readonly reference: Decoder },
  prompts: number,
  sampling: RolloutOptions,
  { group, ...options }: DpoStepOptions,
  progress: number,
): Promise<StepResult> {
  const { learner, reference, chat, span = plain } = context;
  const draw = (count: number) => context.draw(count).map(withTeacher);
  const taught = { ...context, draw };
  return await learningStep(
    taught,
    prompts,
    sampling,
    { group },
    progress,
    async (scored, tell) => {
      const preferences = scored.flatMap((rollouts) => {
        const { task } = rollouts[0]!;
        return preferencePairs(rollouts, demonstration(chat, task, task.reference!));
      });
      const groups = uncredited(scored);
      const updates = await span("update", async () => {
        const update = preferences.length === 0
          ? null
          : dpoUpdate(learner, await withReference(reference, preferences, options), options);
        // While the GPU works:
        tell(groups);
        return update ? [await update.metrics()] : [];
      });
      return {
        groups,
        metrics: {
          ...describeEpisodes(groups.flat()),
          pairs: preferences.length,
          ...meanMetrics(updates),
        },
      };
    },
  );
}

function withTeacher(task: Task): Task {
  if (task.reference) return task;
  throw new MissingReferenceError(
    `Cannot prefer the teacher's way: task "${task.id}" has no reference; add "reference" to its ` +
      "line, or choose another method",
  );
}
