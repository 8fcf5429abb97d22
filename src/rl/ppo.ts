/**
 * Proximal policy optimisation with a learned value function (Schulman et al. 2017), from sampled
 * and scored episodes on.
 *
 * For the sampled tokens t of an episode, with V_t the value of the state that t was sampled in, V
 * and A after the last token 0, and rho_t = exp(log p - log p_old):
 *
 *   r_t     = -beta KL_t + [t is the last] (score - [not finished] penalty)
 *   delta_t = r_t + gamma V_{t+1} - V_t
 *   A_t     = delta_t + gamma lambda A_{t+1},   R_t = A_t + V_t,   A' = (A - mean A) / std A
 *   L       = - mean min(rho_t A'_t, clip(rho_t, 1 - eps, 1 + eps) A'_t)
 *             + c mean 1/2 max((V - R)^2, (clip(V, V_old - eps_v, V_old + eps_v) - R)^2)
 *
 * V is a linear head on the policy's own hidden states, trained by the same update, or on those of a
 * critic of its own. Advantages are whitened over the whole rollout, returns are not; then come
 * `epochs` passes over shuffled mini-batches, in each of which every token weighs the same.
 *
 * Deviations from TRL's trainer, each by choice: a tool's tokens are skipped, so that the state after
 * a sampled token is that of the next sampled one (as in verl); the value loss has the policy's mask,
 * without the state after the end; log p_old is the sampler's own, which here equals the trainer's
 * but for rounding, unless `recompute` asks for the latter; k3 in a reward is at most 10 (as in
 * verl), since one token must not drown the score; `approx_kl` is k3 and not half a square.
 *
 * Diagnostics to look at: `explained_variance` should rise from 0 towards 1, `approx_kl` stay in the
 * hundredths, `clip_ratio/region_mean` below 0.3, `objective/kl` grow slowly.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { predictingStates } from "../model/nll.ts";
import type { ValueHead } from "../model/value_head.ts";
import type { MetricSums } from "../ops/metric_sums.ts";
import { policyLoss } from "../ops/policy_loss.ts";
import { clippedValueLoss } from "../ops/value_loss.ts";
import { Random } from "../random.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { allMetrics, type Learner, type Update, type UpdateMetrics } from "./learner.ts";
import {
  activeTokens,
  gather,
  type MaskedSequence,
  type MicroBatch,
  packSequences,
} from "./packing.ts";
import { meanMetrics } from "./diagnostics.ts";
import { estimateAdvantages, type EstimatedEpisode } from "./ppo_advantages.ts";
import { scoreTokens, scoreValues } from "./score_tokens.ts";
import type { KlForm } from "./token_costs.ts";

/** A sampled episode and what it was worth. */
export interface PpoSample extends MaskedSequence {
  /** [T] log-probabilities under the policy that sampled; 0 where the mask is 0. */
  readonly logprobs: Float32Array;
  /** What its end is rewarded with; NaN where nobody can say, which leaves the sample out. */
  readonly score: number;
  /** Whether it ended by itself, and not for want of room. */
  readonly finished: boolean;
}

/** Who takes part. */
export interface PpoContext {
  /** The policy. Without a critic it trains the head too: `extra: head.parameters`. */
  readonly learner: Learner;
  /** The value function, on the critic's hidden states or the policy's. */
  readonly head: ValueHead;
  /** A value model of its own with the head in its `extra`; null for a trunk that is shared. */
  readonly critic: Learner | null;
  /** The frozen reference policy; needed where the KL coefficient is above 0. */
  readonly reference: Decoder | null;
}

/** What `ppoUpdate` does where its options say nothing else: TRL's defaults. */
export const ppoDefaults = {
  /** Of sampling. */
  temperature: 1,
  /** Passes over the rollout. */
  epochs: 4,
  /** Updates per pass. */
  miniBatches: 1,
  /** Weight of the divergence from the reference in each token's reward. */
  klCoefficient: 0.05,
  /** Which estimate of it: log ratio, half its square, or the one that is never negative. */
  klForm: "k1" as KlForm,
  /** How far the ratio may move from 1. */
  clip: 0.2,
  /** How far a value may move from the old one. */
  valueClip: 0.2,
  /** Weight of the value loss beside the policy's; 1 for a critic of its own. */
  valueCoefficient: 0.1,
  /** Discount from token to token. */
  gamma: 1,
  /** Decay of generalised advantages; 1 is rewards alone. */
  lambda: 0.95,
  /** Mean `approx_kl` of a pass after which no other is made; 0 for no such limit. */
  targetKl: 0,
  /** Taken from the score of an episode that did not finish. */
  missingEosPenalty: 0,
  /** Whether rewards are scaled to variance 1, their mean kept. */
  whitenRewards: false,
  /** Whether log p_old is computed anew by the trainer. */
  recompute: false,
};

/** Hyper-parameters of an update; the others are those of {@linkcode ppoDefaults}. */
export interface PpoOptions extends Partial<Readonly<typeof ppoDefaults>> {
  /** Of the policy. */
  readonly learningRate: number;
  /** Of the critic; the same by default. */
  readonly criticLearningRate?: number;
  /** Tokens of a micro-batch. */
  readonly tokenBudget: number;
  /** Name of the random numbers that shuffle mini-batches; another one each step. */
  readonly stream: string;
}

type Settings = Readonly<typeof ppoDefaults> & PpoOptions;

/** What came of the updates from one rollout. */
export interface PpoOutcome {
  /**
   * Diagnostics, means over the updates; `epochs` is 0, and there are no others, if no sample has
   * both a score and a sampled token.
   */
  readonly metrics: Record<string, number>;
  /** [T] of each sample, whitened, 0 off its mask; null of one that was left out. */
  readonly advantages: readonly (Float32Array | null)[];
}

/**
 * All updates from one rollout. Without a target for the divergence they are submitted at once.
 *
 * @throws {RangeError} if a number is out of range, or a score infinite.
 * @throws {TypeError} if a reference is missing, or no learner trains the head.
 * @throws {DivergedError} if a loss or gradient is not finite.
 */
export async function ppoUpdate(
  context: PpoContext,
  samples: readonly PpoSample[],
  options: PpoOptions,
): Promise<PpoOutcome> {
  const settings: Settings = { ...ppoDefaults, ...options };
  check(context, samples, settings);
  const teaches = samples.map((one) => !Number.isNaN(one.score) && activeTokens([one]) > 0);
  const kept = samples.filter((_, i) => teaches[i]);
  if (kept.length === 0) return { metrics: { epochs: 0 }, advantages: samples.map(() => null) };
  const scored = await scoreEpisodes(context, kept, settings);
  const { gpu } = context.learner.model;
  const { episodes, metrics } = await estimateAdvantages(gpu, scored, settings);
  let next = 0;
  return {
    metrics: { ...metrics, ...await train(context, episodes, settings) },
    advantages: teaches.map((one) => one ? episodes[next++]!.advantages : null),
  };
}

function check(
  { learner, head, critic, reference }: PpoContext,
  samples: readonly PpoSample[],
  { epochs, miniBatches, klCoefficient }: Settings,
): void {
  const counts = { epochs, miniBatches };
  for (const [name, count] of Object.entries(counts)) {
    if (!(Number.isSafeInteger(count) && count > 0)) {
      throw new RangeError(`Cannot update: ${name} is ${count}, it must be a positive integer`);
    }
  }
  const infinite = samples.findIndex(({ score }) => Math.abs(score) === Infinity);
  if (infinite >= 0) {
    throw new RangeError(
      `Cannot update: the score of sample ${infinite} is ${samples[infinite]!.score}; ` +
        "give NaN to leave a sample out",
    );
  }
  if (klCoefficient > 0 && !reference) {
    throw new TypeError(
      `Cannot update: klCoefficient is ${klCoefficient}, but there is no reference policy; ` +
        "give one, or a coefficient of 0",
    );
  }
  const trained = new Set((critic ?? learner).parameters.values());
  if (![...head.parameters.values()].every((parameter) => trained.has(parameter))) {
    throw new TypeError(
      `Cannot update: the ${critic ? "critic" : "policy"} does not train the value head; ` +
        "make its learner with { extra: head.parameters }",
    );
  }
}

/** Old values, old log-probabilities and the reference's, all submitted before any is read. */
async function scoreEpisodes(
  { learner, head, critic, reference }: PpoContext,
  samples: readonly PpoSample[],
  { temperature, tokenBudget, klCoefficient, recompute }: Settings,
) {
  const limits = { temperature, tokenBudget };
  const shared = critic ? null : head;
  const [own, judged, values] = await Promise.all([
    recompute ? scoreTokens(learner.model, samples, { ...limits, head: shared }) : null,
    klCoefficient > 0 && reference ? scoreTokens(reference, samples, limits) : null,
    recompute && !critic ? null : scoreValues((critic ?? learner).model, head, samples, limits),
  ]);
  return samples.map((sample, i) => {
    const oldLogprobs = own ? own[i]!.logprobs : sample.logprobs;
    return {
      ...sample,
      oldLogprobs,
      referenceLogprobs: judged ? judged[i]!.logprobs : oldLogprobs,
      oldValues: values ? values[i]! : own![i]!.values!,
    };
  });
}

/** Every epoch, as long as the policy stays near enough. */
async function train(
  context: PpoContext,
  episodes: readonly EstimatedEpisode[],
  settings: Settings,
): Promise<Record<string, number>> {
  const { epochs, miniBatches, targetKl, stream } = settings;
  const random = new Random(`${stream}/mini-batches`);
  const size = Math.ceil(episodes.length / miniBatches);
  const submitted: Submitted[] = [];
  let epoch = 0;
  while (epoch < epochs) {
    const first = submitted.length;
    const order = random.shuffle(episodes);
    for (let at = 0; at < order.length; at += size) {
      submitted.push(update(context, order.slice(at, at + size), settings));
    }
    epoch++;
    if (targetKl > 0) {
      const { approx_kl } = meanMetrics(await metricsOf(submitted.slice(first), "policy"));
      if (approx_kl! > targetKl) break;
    }
  }
  const critic = meanMetrics(await metricsOf(submitted, "critic"));
  return {
    ...Object.fromEntries(
      Object.entries(critic).filter(([name]) => name !== "loss")
        .map(([name, value]) => [name === "grad_norm" ? "critic/grad_norm" : name, value]),
    ),
    ...meanMetrics(await metricsOf(submitted, "policy")),
    epochs: epoch,
  };
}

/** An update of the policy, and one of the critic where that is a model of its own. */
interface Submitted {
  readonly policy: Update;
  readonly critic: Update | null;
}

function metricsOf(
  submitted: readonly Submitted[],
  of: keyof Submitted,
): Promise<UpdateMetrics[]> {
  return allMetrics(submitted.flatMap((pair) => pair[of] ?? []));
}

/** Submits one update of the policy, and one of the critic where there is one. */
function update(
  { learner, head, critic }: PpoContext,
  episodes: readonly EstimatedEpisode[],
  settings: Settings,
): Submitted {
  const { temperature, tokenBudget, clip, valueClip, valueCoefficient, learningRate } = settings;
  const { criticLearningRate = learningRate } = settings;
  const batches = packSequences(episodes, tokenBudget);
  const total = activeTokens(episodes);
  const weightOf = (tape: Tape, batch: MicroBatch<EstimatedEpisode>) =>
    tape.upload(gather(batch, () => () => 1 / total), "weight");
  const valueLoss = (
    tape: Tape,
    hidden: Tensor,
    batch: MicroBatch<EstimatedEpisode>,
    coefficient: number,
    sums: MetricSums,
  ) =>
    clippedValueLoss(
      tape,
      head.values(tape, hidden),
      {
        oldValue: column(tape, batch, "oldValues"),
        returns: column(tape, batch, "returns"),
        weight: weightOf(tape, batch),
      },
      { clip: valueClip, coefficient },
      sums,
    );

  const policy = learner.update(batches, (tape, statistics, batch, sums) => {
    const oldLogprob = column(tape, batch, "oldLogprobs");
    // The divergence from the reference is in the rewards, not in the loss.
    policyLoss(
      tape,
      statistics,
      {
        oldLogprob,
        referenceLogprob: oldLogprob,
        advantage: column(tape, batch, "advantages"),
        weight: weightOf(tape, batch),
      },
      { clipLow: clip, clipHigh: clip },
      sums,
    );
    if (!critic) valueLoss(tape, statistics.hidden, batch, valueCoefficient, sums);
  }, { learningRate, temperature });
  if (!critic) return { policy, critic: null };
  const value = critic.step(batches, (tape, batch, sums) => {
    valueLoss(tape, predictingStates(tape, critic.model, batch), batch, 1, sums);
  }, criticLearningRate);
  return { policy, critic: value };
}

/** One value of each episode's predicted tokens, in the order of a micro-batch; [N]. */
function column(
  tape: Tape,
  batch: MicroBatch<EstimatedEpisode>,
  name: "oldLogprobs" | "advantages" | "returns" | "oldValues",
): Tensor {
  return tape.upload(gather(batch, (episode) => (t) => episode[name][t]!), name);
}
