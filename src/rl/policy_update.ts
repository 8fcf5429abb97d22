/**
 * Updates of a policy on a batch of experience: mini-batches, epochs, and the loss of a micro-batch.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { tokenStatistics } from "../model/nll.ts";
import { policyLoss, type PolicyLossOptions } from "../ops/policy_loss.ts";
import { Random } from "../random.ts";
import { Tape } from "../tape.ts";
import type { Learner, Update } from "./learner.ts";
import { type LossType, lossWeights } from "./loss_weights.ts";
import { activeTokens, gather, type MaskedSequence, packSequences } from "./packing.ts";

/** What an update needs of a rollout. */
export interface PolicySample extends MaskedSequence {
  /** [T] log p under the policy that sampled. */
  readonly logprobs: Float32Array;
  /** Of every token, unless they differ. */
  readonly advantage: number;
  /** [T] */
  readonly advantages?: Float64Array | null;
  /** [T] 1 where the token counts; all where absent. The divergence is that of all tokens. */
  readonly counts?: Uint8Array | null;
}

/** How to update. */
export interface PolicyUpdateOptions extends Omit<PolicyLossOptions, "rule"> {
  readonly loss: LossType;
  /** Whose ratio is clipped: that of each token, or of its sequence (GSPO). */
  readonly ratio: "token" | "sequence";
  readonly learningRate: number;
  readonly tokenBudget: number;
  /** What the mean entropy of the tokens that count is worth. */
  readonly entropyCoefficient?: number;
  /** The temperature that was sampled at. */
  readonly temperature: number;
  /** The longest that a completion may be; what `dr_grpo` divides by. */
  readonly longest: number;
}

/** How often to go over a batch. */
export interface PassOptions {
  readonly epochs: number;
  readonly miniBatches: number;
  /** Names the random order. */
  readonly stream: string;
}

/** The groups of each mini-batch of each epoch, in a random order of its own. */
export function miniBatches<T>(
  groups: readonly T[],
  { epochs, miniBatches, stream }: PassOptions,
): T[][] {
  return Array.from({ length: epochs }, (_, epoch) => {
    const name = epoch === 0 ? `${stream}/mini-batches` : `${stream}/mini-batches/${epoch}`;
    const order = new Random(name).shuffle([...groups]);
    const size = Math.ceil(order.length / miniBatches);
    const count = Math.ceil(order.length / size);
    return Array.from({ length: count }, (_, i) => order.slice(i * size, (i + 1) * size));
  }).flat();
}

/** Whether an update on these rollouts would change anything. */
export function teaches(
  samples: readonly PolicySample[],
  { klCoefficient = 0, entropyCoefficient = 0 }: PolicyUpdateOptions,
): boolean {
  if (activeTokens(samples) === 0) return false;
  if (klCoefficient > 0 || entropyCoefficient > 0) return true;
  return samples.some(({ advantage, advantages }) =>
    advantages ? advantages.some((value) => value !== 0) : advantage !== 0
  );
}

/** One update on the rollouts of a mini-batch. */
export function policyUpdate(
  { learner, reference }: { readonly learner: Learner; readonly reference: Decoder | null },
  samples: readonly PolicySample[],
  options: PolicyUpdateOptions,
): Update {
  const { loss, ratio, tokenBudget, learningRate, temperature, longest } = options;
  const { klCoefficient = 0, entropyCoefficient = 0 } = options;
  const batches = packSequences(samples, tokenBudget);
  const weightOf = lossWeights(loss, samples, batches, longest);
  const rule = loss === "cispo" || loss === "sapo" ? loss : "clipped";
  const counted = samples.reduce(
    (sum, { mask, counts }) => sum + mask.reduce((n, bit, t) => n + (bit & (counts?.[t] ?? 1)), 0),
    0,
  );
  return learner.update(batches, (tape, tokens, batch, sums) => {
    const values = (label: string, of: (sample: PolicySample) => (t: number) => number) =>
      tape.upload(gather(batch, of), label);
    const oldLogprob = values("old logprob", ({ logprobs }) => (t) => logprobs[t]!);
    const frozen = new Tape(learner.model.gpu, { recording: false, room: tape.room });
    const referenceLogprob = klCoefficient > 0 && reference
      ? tokenStatistics(frozen, reference, batch, { temperature }).logprob
      : oldLogprob;
    const advantage = values("advantage", (sample) => {
      const own = advantageOf(sample);
      if (ratio === "token") return own;
      const mean = meanOver(sample.mask, own);
      return () => mean;
    });
    const weight = values("weight", (sample) => {
      const own = weightOf(sample, batch);
      return () => own;
    });
    const starts = ratio === "sequence"
      ? tape.upload(firstTokens(batch.sequences), "starts")
      : null;
    const columns = { oldLogprob, referenceLogprob, advantage, weight, starts };
    policyLoss(tape, tokens, columns, { ...options, rule }, sums);
    if (entropyCoefficient > 0) {
      const share = -entropyCoefficient / counted;
      tokens.entropy.grad = values(
        "entropy gradient",
        ({ counts }) => (t) => counts && !counts[t] ? 0 : share,
      );
    }
  }, { learningRate, temperature });
}

/** What a token's advantage is; 0 of one that does not count. */
function advantageOf({ advantage, advantages, counts }: PolicySample): (t: number) => number {
  return (t) => counts && !counts[t] ? 0 : advantages ? advantages[t]! : advantage;
}

/** One ratio has one advantage: the mean over the sampled tokens. */
function meanOver(mask: Uint8Array, value: (t: number) => number): number {
  let [sum, count] = [0, 0];
  mask.forEach((bit, t) => {
    if (bit) [sum, count] = [sum + value(t), count + 1];
  });
  return sum / count;
}

/** [S + 1] the number of the first predicted token of each sequence, and of all. */
function firstTokens(sequences: readonly MaskedSequence[]): Uint32Array {
  const starts = new Uint32Array(sequences.length + 1);
  sequences.forEach((sequence, i) => starts[i + 1] = starts[i]! + activeTokens([sequence]));
  return starts;
}
