/**
 * The loss of direct preference optimisation, as a function of the log-probabilities of two
 * completions: it writes dL/dlogprob of every token of both.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { rowwise } from "./launch.ts";
import type { TokenStatistics } from "./lm_head.ts";
import type { MetricSums } from "./metric_sums.ts";

/** Diagnostics: sums over pairs of weight times each. */
export const preferenceMetrics = [
  "loss",
  "reward_chosen", // beta (l_w - ref_w)
  "reward_rejected",
  "margin", // the former minus the latter
  "accuracy", // whether the margin is above 0
  "logprob_chosen", // l_w, a sum over tokens
  "logprob_rejected",
  "entropy", // mean over the tokens of both
] as const;

/** Most tokens of a pair: its lane goes over them twice, and llvmpipe ends loops at 65,535. */
const LONGEST_PAIR = 2 ** 15 - 1;

/** Which tokens belong to which pair, and what the reference made of them. */
export interface PreferenceBatch {
  /** Number of predicted tokens of each sequence: chosen, rejected, chosen, ...; [2 P], their sum is N. */
  readonly counts: readonly number[];
  /** Sums of log-probabilities under the reference, [P,2]: chosen, rejected. */
  readonly reference: Tensor;
  /** 1 / number of pairs that the mean runs over, [P]. */
  readonly weight: Tensor;
}

/** How strongly the policy is held to the reference, and how often a preference is wrong. */
export interface PreferenceLossOptions {
  /** Weight of the KL divergence from the reference that the loss implies. */
  readonly beta: number;
  /** Share of the preferences taken to be the wrong way round, in [0, 0.5). */
  readonly labelSmoothing?: number;
}

/**
 * -(1 - e) log sigmoid(m) - e log sigmoid(-m), m = beta ((l_w - ref_w) - (l_l - ref_l)), with l_w and
 * l_l the sums over the tokens of the chosen and the rejected completion (Rafailov et al. 2023, eq. 7;
 * smoothing e: Mitchell 2023).
 *
 * @param statistics of the N predicted tokens, pair by pair, the chosen completion first
 * @throws {TypeError} if the counts don't fit the tokens or the pairs.
 * @throws {RangeError} if beta is not above 0, the smoothing not in [0, 0.5) or a pair too long.
 */
export function preferenceLoss(
  tape: Tape,
  statistics: TokenStatistics,
  { counts, reference, weight }: PreferenceBatch,
  { beta, labelSmoothing = 0 }: PreferenceLossOptions,
  sums: MetricSums,
): void {
  const action = "apply the preference loss";
  const N = statistics.logprob.size;
  const P = counts.length / 2;
  const starts = Uint32Array.from([0, ...counts]);
  for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  if (starts.at(-1) !== N || !Number.isInteger(P)) {
    throw new TypeError(
      `Cannot ${action}: ${counts.length} completions have ${
        starts.at(-1)
      } tokens, the batch has ` +
        `${N}; there must be two completions per pair, and every token must belong to one`,
    );
  }
  assertShape(reference, [P, 2], action);
  assertShape(weight, [P], action);
  if (!(beta > 0 && beta < Infinity)) {
    throw new RangeError(`Cannot ${action}: beta is ${beta}, it must be above 0`);
  }
  if (!(labelSmoothing >= 0 && labelSmoothing < 0.5)) {
    throw new RangeError(
      `Cannot ${action}: labelSmoothing is ${labelSmoothing}, it must be from 0 to below 0.5`,
    );
  }
  const longest = counts.reduce(
    (most, n, i) => i % 2 ? Math.max(most, counts[i - 1]! + n) : most,
    0,
  );
  if (longest > LONGEST_PAIR) {
    throw new RangeError(
      `Cannot ${action}: a pair has ${longest} predicted tokens, ${LONGEST_PAIR} are possible; leave it out`,
    );
  }
  const dlogprob = tape.tensor([N], "dlogprob");
  const metrics = tape.tensor([P, preferenceMetrics.length], "pair metrics");
  const { logprob, entropy } = statistics;
  rowwise(tape.gpu, "preference_loss", "sigmoid", P, {
    logprob,
    entropy,
    starts: tape.upload(starts, "starts"),
    references: reference,
    weight,
    dlogprob,
    metrics,
  }, { pairs: P, beta, label_smoothing: labelSmoothing });
  logprob.grad = dlogprob;
  sums.add(tape, preferenceMetrics, metrics);
}
