/**
 * From what episodes were worth to the advantage of each token that was sampled.
 *
 * @module
 */

import {
  type AdvantageScale,
  entropyWeights,
  groupAdvantages,
  returnAdvantages,
  termAdvantages,
  turnAdvantages,
  whiten,
} from "./advantage.ts";
import {
  type CreditedRollout,
  creditTokens,
  type Potential,
  type ScoredRollout,
  turnOfTokens,
  turnPotentials,
} from "./experience.ts";
import type { RewardTerms } from "./reward.ts";
import { isTruncated } from "./rollout.ts";

/**
 * Where advantages come from: `group` (GRPO), `rloo`, `reinforce++` (returns whitened over all
 * tokens), `reinforce++-baseline` (less the group's mean first), or `none`: the reward itself.
 */
export const ESTIMATORS = ["group", "rloo", "reinforce++", "reinforce++-baseline", "none"] as const;

/** How rewards become advantages. */
export interface CreditOptions {
  readonly estimator: typeof ESTIMATORS[number];
  /** What advantages are divided by, of estimator `group`. */
  readonly std: AdvantageScale;
  /** The least of it. */
  readonly stdFloor: number;
  /** Whether a reward's terms are added and then normalised, or the other way round (GDPO). */
  readonly normalise: "sum" | "terms";
  /** Whether terms have the reward's weights, or those of the entropy-weight method. */
  readonly weighting: "fixed" | "entropy";
  /** What an episode costs that the context cut short. */
  readonly truncatedPenalty: number;
}

/**
 * Advantages of scored groups. With a potential, turns are credited by its differences, whatever
 * `estimator`, `std` and `normalise` say of whole episodes.
 *
 * @param costs [T] what each sampled token costs, in the order of the rollouts; null for nothing
 * @param weights of the reward's terms, for `normalise: "terms"`; 1 where absent
 * @throws {TypeError} if something is to be subtracted that `normalise: "terms"` has no place for.
 */
export function creditGroups(
  groups: readonly (readonly ScoredRollout[])[],
  options: CreditOptions,
  { costs = null, weights, potential = null, progress = 0 }: {
    readonly costs?: readonly Float64Array[] | null;
    readonly weights?: Readonly<Partial<Record<string, number>>> | undefined;
    readonly potential?: Potential | null | undefined;
    readonly progress?: number;
  } = {},
): CreditedRollout[][] {
  const { estimator, std, stdFloor, normalise, weighting, truncatedPenalty } = options;
  const flat = groups.flat();
  const totals = weighting === "entropy"
    ? entropyTotals(flat)
    : flat.map((one) => one.reward.total);
  const spent = (i: number) => costs ? costs[i]!.reduce((sum, cost) => sum + cost, 0) : 0;
  const tokenwise = estimator === "reinforce++";
  if (normalise === "terms" && !potential && (costs || truncatedPenalty > 0)) {
    throw new TypeError(
      'Cannot credit episodes: with normalise = "terms" only a reward\'s own terms count, so that ' +
        'neither a truncatedPenalty nor the cost of a divergence (klIn = "reward") would. ' +
        'Set the former to 0 and klIn to "loss", or normalise to "sum"',
    );
  }
  const worth = totals.map((total, i) =>
    total - (isTruncated(flat[i]!) ? truncatedPenalty : 0) -
    (tokenwise && !potential ? 0 : spent(i))
  );
  const rewards = regroup(groups, worth);

  if (potential) {
    const potentials = groups.map((group) =>
      group.map((one) => turnPotentials(one, potential, progress))
    );
    const turns = turnAdvantages(rewards, potentials, { stdFloor }).flat();
    return regroup(groups, flat.map((one, i) => perTurn(one, turns[i]!)));
  }
  if (tokenwise || estimator === "reinforce++-baseline") {
    const lists = tokenwise
      ? returnAdvantages(worth, flat.map((one, i) => sampledOf(one, costs?.[i])))
      : whiten(
        groupAdvantages(rewards, { std: "none" }).flat().map((advantage, i) =>
          // What nobody can score has no part in the variance either.
          sampledOf(flat[i]!).fill(Number.isNaN(worth[i]!) ? NaN : advantage)
        ),
      );
    return regroup(groups, flat.map((one, i) => perToken(one, lists[i]!)));
  }
  const advantages = normalise === "terms"
    ? termAdvantages(
      groups.map((group) => group.map(({ reward }) => Object.values(reward.weighted))),
      Object.keys(flat[0]!.reward.weighted).map((term) => weights?.[term] ?? 1),
    )
    : groupAdvantages(rewards, {
      baseline: estimator === "rloo" ? "others" : estimator,
      std,
      stdFloor,
    });
  const values = advantages.flat();
  return regroup(
    groups,
    flat.map((one, i) => ({ ...one, advantage: values[i]!, advantages: null })),
  );
}

/**
 * The weights of the reward's terms, by how much each tells these episodes apart; the penalty has
 * none, since what is subtracted stays as it is.
 */
export function termWeights(rollouts: readonly ScoredRollout[]): [keyof RewardTerms, number][] {
  const names = Object.keys(rollouts[0]!.reward.terms)
    .filter((name) => name !== "penalty") as (keyof RewardTerms)[];
  const weights = entropyWeights(
    rollouts.map(({ reward }) => names.map((name) => reward.terms[name])),
  );
  return names.map((name, k) => [name, weights[k]!]);
}

/** Rewards whose terms have these weights. */
function entropyTotals(rollouts: readonly ScoredRollout[]): number[] {
  const weights = termWeights(rollouts);
  return rollouts.map(({ reward, episode }) => {
    if (Number.isNaN(reward.total)) return NaN;
    if (!episode.finished) return 0;
    const sum = weights.reduce((sum, [name, weight]) => sum + weight * reward.terms[name], 0);
    return sum + reward.weighted.penalty;
  });
}

/** A list over sampled tokens alone; zeros without values. */
function sampledOf({ mask }: ScoredRollout, values?: Float64Array): Float64Array {
  const picked: number[] = [];
  mask.forEach((bit, t) => {
    if (bit) picked.push(values?.[t] ?? 0);
  });
  return Float64Array.from(picked);
}

function perTurn(one: ScoredRollout, turns: readonly number[]): CreditedRollout {
  const of = turnOfTokens(one.mask);
  return creditTokens(one, Float64Array.from(of, (turn) => turn < 0 ? 0 : turns[turn] ?? 0));
}

function perToken(one: ScoredRollout, sampled: Float64Array): CreditedRollout {
  let n = 0;
  return creditTokens(one, Float64Array.from(one.mask, (bit) => bit ? sampled[n++]! : 0));
}

function regroup<T>(groups: readonly (readonly unknown[])[], flat: readonly T[]): T[][] {
  let first = 0;
  return groups.map((group) => flat.slice(first, first += group.length));
}
