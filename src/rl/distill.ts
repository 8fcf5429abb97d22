/**
 * On-policy distillation (Agarwal et al. 2024, "On-Policy Distillation of Language Models"): a frozen
 * teacher says, for every token that the student sampled, how likely it finds each token of the
 * vocabulary in that place, and the student moves towards that.
 *
 *   L = sum_t m_t D(q(. | x_<t), p(. | x_<t)) / sum_t m_t
 *   D = beta KL(q || M) + (1 - beta) KL(p || M),  M = beta q + (1 - beta) p
 *
 * with teacher q, student p and m_t = 1 on sampled tokens. beta = 0 is KL(q || p), which covers all
 * that the teacher would do; beta = 1 is KL(p || q), which keeps to what the teacher would do. The
 * sum over the vocabulary is exact, and so is its gradient; the samples themselves are taken as given.
 *
 * Deviations from the paper's GKD, each by choice: no mixture of the student's samples with a data
 * set, as in TRL's DistillationTrainer, whose default beta = 1 and temperature = 1 these are too (GKD
 * has 0.5 and 0.9); tools answer during an episode, and their tokens carry no loss. As in both, both
 * distributions are taken at the temperature and the loss is not multiplied by its square.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { predictingStates } from "../model/nll.ts";
import { divergenceLoss } from "../ops/divergence.ts";
import { Tape } from "../tape.ts";
import { describeEpisodes, meanMetrics } from "./diagnostics.ts";
import {
  type LearningContext,
  learningStep,
  plain,
  type StepResult,
  uncredited,
} from "./experience.ts";
import { allMetrics, type Learner, type Update } from "./learner.ts";
import { activeTokens, type MaskedSequence, packSequences } from "./packing.ts";
import { miniBatches, type PassOptions } from "./policy_update.ts";
import type { RolloutOptions } from "./rollout.ts";

/** Hyper-parameters of an update. */
export interface DistillOptions {
  /** The teacher's share of the mixture that both are compared with, in [0, 1]; default 1. */
  readonly beta?: number;
  /** Divides the logits of both, as in sampling; default 1. */
  readonly temperature?: number;
  /** Of the optimizer. */
  readonly learningRate: number;
  /** Tokens of a micro-batch. */
  readonly tokenBudget: number;
}

/**
 * One update towards the teacher on the student's own samples. Its metrics are means over the sampled
 * tokens of the whole batch.
 *
 * @param teacher frozen; on the learner's GPU, with the learner's tokens
 * @throws {TypeError} if the vocabularies differ in size.
 * @throws {RangeError} if no token was sampled, or beta or temperature are out of range.
 */
export function distillUpdate(
  learner: Learner,
  teacher: Decoder,
  sequences: readonly MaskedSequence[],
  { beta = 1, temperature = 1, learningRate, tokenBudget }: DistillOptions,
): Update {
  const { model } = learner;
  const [student, other] = [model, teacher].map(({ config }) => config.vocabSize);
  if (student !== other) {
    throw new TypeError(
      `Cannot distil: the student has ${student} tokens and the teacher ${other}; ` +
        "take a teacher of the same tokenizer and vocabulary size",
    );
  }
  const total = activeTokens(sequences);
  return learner.update(packSequences(sequences, tokenBudget), (tape, { hidden }, batch, sums) => {
    const frozen = new Tape(model.gpu, { recording: false, room: tape.room });
    const weight = new Float32Array(batch.targets.length).fill(1 / total);
    divergenceLoss(
      tape,
      { x: hidden, w: model.head, cap: model.logitLimits.cap },
      {
        x: predictingStates(frozen, teacher, batch),
        w: teacher.head,
        cap: teacher.logitLimits.cap,
      },
      tape.upload(weight, "weight"),
      { beta, temperature, vocabulary: model.config.vocabSize },
      sums,
    );
  }, { learningRate, temperature });
}

/** Hyper-parameters of a step; the temperature is that of the update, and not of sampling. */
export interface DistillStepOptions extends DistillOptions, Omit<PassOptions, "stream"> {
  /** Episodes of each prompt. */
  readonly group: number;
}

/**
 * Samples episodes with real tools, and learns what the teacher would have done in their places. The
 * reward is there to be looked at; nothing depends on it.
 *
 * @param prompts number of groups
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 */
export async function distillStep(
  context: LearningContext & { readonly teacher: Decoder },
  prompts: number,
  sampling: RolloutOptions,
  options: DistillStepOptions,
  progress: number,
): Promise<StepResult> {
  const { learner, teacher, span = plain } = context;
  return await learningStep(context, prompts, sampling, options, progress, async (scored, tell) => {
    const groups = uncredited(scored);
    const updates = await span("update", () => {
      const passes = { ...options, stream: sampling.stream };
      const submitted = miniBatches(groups.flat(), passes)
        .map((batch) => distillUpdate(learner, teacher, batch, options));
      // While the GPU works:
      tell(groups);
      return allMetrics(submitted);
    });
    return {
      groups,
      metrics: { ...describeEpisodes(groups.flat()), ...meanMetrics(updates) },
    };
  });
}
