/**
 * Advantages from rewards. For reward R_i in a group of G rollouts of one prompt,
 *
 * ```text
 * baseline "group"   A_i = (R_i - mean(R)) / max(s, floor)              GRPO (Shao et al. 2024)
 *   std "group"        s = sqrt(sum_j (R_j - mean(R))^2 / (G - 1))
 *   std "batch"        s = the same over the whole batch
 *   std "none"         A_i = R_i - mean(R)                              Dr. GRPO (Liu et al. 2025)
 * baseline "others"  A_i = G / (G - 1) (R_i - mean(R))                  RLOO (Ahmadian et al. 2024)
 * baseline "none"    A_i = R_i                                          rewards that are regrets
 * ```
 *
 * The floor is this project's: in a group where every answer is wrong, rewards differ by a few
 * hundredths, and dividing by their standard deviation would make these differences weigh as much as
 * that between right and wrong. Unscorable rollouts (NaN) take no part in mean or deviation and get
 * advantage 0, and so does a rollout without a scorable companion where there is a baseline.
 *
 * Beside them stand what normalises each term of a reward by itself (GDPO), weighs terms by how much
 * they tell (entropy weights), credits turns by differences of a potential, and whitens over tokens
 * (REINFORCE++).
 *
 * @module
 */

/** What the centred rewards are divided by. */
export type AdvantageScale = "group" | "batch" | "none";

/** What is subtracted from a reward: its group's mean, that of the others in it, or nothing. */
export type AdvantageBaseline = "group" | "others" | "none";

/** Options of {@link groupAdvantages}. */
export interface AdvantageOptions {
  /** What is subtracted; default `group`. */
  baseline?: AdvantageBaseline;
  /** The standard deviation to divide by, with baseline `group` alone; default `group`. */
  std?: AdvantageScale;
  /** Its lower bound; default 0.1. */
  stdFloor?: number;
  /** Added to it, as other libraries do in place of a floor; default 0. */
  epsilon?: number;
}

/** Rewards that differ by no more than this carry no signal: rounding, not behaviour. */
export const REWARD_RESOLUTION = 1e-9;

/**
 * Advantages of a batch of groups, in double precision.
 *
 * @param rewards [groups, rollouts]; groups may differ in size, NaN marks an unscorable rollout.
 * @param options Baseline, scale and floor.
 * @returns [groups, rollouts], of the same shape; finite, and with a baseline summing to 0 in every
 * group.
 * @throws {RangeError} If a reward is infinite, or floor or epsilon are negative or not finite.
 * @throws {TypeError} If baseline or scale have an unknown name.
 */
export function groupAdvantages(
  rewards: readonly (readonly number[])[],
  options: AdvantageOptions = {},
): number[][] {
  const { baseline = "group", std = "group", stdFloor = 0.1, epsilon = 0 } = options;
  oneOf("baseline", baseline, ["group", "others", "none"]);
  oneOf("scale", std, ["group", "batch", "none"]);
  for (const [name, value] of Object.entries({ stdFloor, epsilon })) {
    if (value >= 0 && value < Infinity) continue;
    throw new RangeError(
      `Cannot compute advantages: ${name} must be finite and >= 0: ${value}`,
    );
  }
  const batch = rewards.flatMap(scorable);
  const batchDeviation = std === "batch" ? deviation(batch) : 0;
  return rewards.map((group) => {
    if (baseline === "none") return group.map((reward) => Number.isNaN(reward) ? 0 : reward);
    if (isDead(group)) return group.map(() => 0);
    const known = scorable(group);
    const centre = mean(known);
    const spread = std === "group" ? deviation(known) : batchDeviation;
    const scale = baseline === "others"
      ? (known.length - 1) / known.length
      : std === "none"
      ? 1
      : Math.max(spread, stdFloor) + epsilon;
    return group.map((reward) => Number.isNaN(reward) ? 0 : (reward - centre) / scale);
  });
}

/**
 * Advantages of rewards with several terms, each normalised in its group before they are added
 * (GDPO, Liu et al. 2026): a rare term counts as much as a frequent one of the same weight.
 *
 * ```text
 * z_k = (r_k - mean_group) / (s_group + epsilon),  Z = sum_k w_k z_k
 * A   = (Z - mean_batch) / (s_batch + epsilon)
 * ```
 *
 * @param terms [groups, rollouts, K]; NaN where a term has no value.
 * @param weights [K]
 * @param options epsilon, as other libraries have it; default 1e-4
 */
export function termAdvantages(
  terms: readonly (readonly (readonly number[])[])[],
  weights: readonly number[],
  { epsilon = 1e-4 }: { epsilon?: number } = {},
): number[][] {
  const combined = terms.map((group) => {
    const columns = weights.map((_, k) => group.map((row) => row[k]!));
    const z = columns.map((column) => {
      const known = scorable(column);
      const [centre, spread] = [known.length > 0 ? mean(known) : 0, deviation(known)];
      return column.map((value) => (value - centre) / (spread + epsilon));
    });
    return group.map((row, i) => {
      if (row.every(Number.isNaN)) return NaN;
      return weights.reduce(
        (sum, weight, k) => sum + (Number.isNaN(z[k]![i]!) ? 0 : weight * z[k]![i]!),
        0,
      );
    });
  });
  const known = combined.flatMap(scorable);
  const [centre, spread] = [known.length > 0 ? mean(known) : 0, deviation(known)];
  return combined.map((group) =>
    group.map((value) => Number.isNaN(value) ? 0 : (value - centre) / (spread + epsilon))
  );
}

/**
 * Weights of a reward's terms by the entropy-weight method (OSS Mentor, Fan et al.): with shares
 * p_ik = x_ik / sum_i x_ik of the n rollouts in term k,
 *
 * ```text
 * e_k = -sum_i p_ik log p_ik / log n,   w_k = (1 - e_k) / sum_j (1 - e_j)
 * ```
 *
 * A term that is the same for all rollouts has e = 1 and weight 0: it tells nothing.
 *
 * @param terms [rollouts, K], each >= 0; rows with NaN are left out.
 * @returns [K] weights that sum to 1; all equal where no term tells anything.
 */
export function entropyWeights(terms: readonly (readonly number[])[]): number[] {
  const rows = terms.filter((row) => !row.some(Number.isNaN));
  const K = terms[0]?.length ?? 0;
  const diversity = Array.from({ length: K }, (_, k) => {
    const column = rows.map((row) => row[k]!);
    const total = column.reduce((sum, x) => sum + x, 0);
    if (rows.length < 2 || total <= 0) return 0;
    const entropy = column.reduce(
      (sum, x) => x > 0 ? sum - x / total * Math.log(x / total) : sum,
      0,
    );
    // A term without variance has exactly the entropy log n, up to rounding.
    return Math.max(0, 1 - entropy / Math.log(rows.length) - REWARD_RESOLUTION);
  });
  const total = diversity.reduce((sum, d) => sum + d, 0);
  return diversity.map((d) => total > 0 ? d / total : 1 / K);
}

/**
 * Advantages turn by turn. With the potential Phi_k of an episode up to its turn k and Phi_0 = 0, turn
 * k is paid Phi_k - Phi_(k-1), and the last one the reward R as well: an episode is worth R + Phi_K.
 * What is still to come from turn k on is
 *
 * ```text
 * G_k = R + Phi_K - Phi_(k-1)
 * A_k = (G_k - mean G_k of the group) / max(std (R + Phi_K) of the group, floor)
 * ```
 *
 * so that a turn answers for what it and later ones brought, and not for what was there before it.
 * That is the same as a reward of R + Phi_K with a baseline that knows the state: R should not have
 * the terms of Phi in it already.
 *
 * @param rewards [groups, rollouts]: R; NaN is left out and gets 0
 * @param potentials [groups, rollouts, turns]: Phi after each turn
 * @returns [groups, rollouts, turns]
 */
export function turnAdvantages(
  rewards: readonly (readonly number[])[],
  potentials: readonly (readonly (readonly number[])[])[],
  { stdFloor = 0.1 }: { stdFloor?: number } = {},
): number[][][] {
  return rewards.map((group, g) => {
    const own = potentials[g]!;
    const worth = group.map((reward, i) => reward + (own[i]!.at(-1) ?? 0));
    const known = group.flatMap((reward, i) => Number.isNaN(reward) ? [] : [i]);
    if (known.length < 2) return own.map((turns) => turns.map(() => 0));
    const scale = Math.max(deviation(known.map((i) => worth[i]!)), stdFloor) || 1;
    /** What is to come from turn k on, counted from 0; an episode that is over has its reward left. */
    const toCome = (i: number, k: number) => {
      const turns = own[i]!;
      return worth[i]! - (k === 0 ? 0 : turns[Math.min(k, turns.length) - 1] ?? 0);
    };
    return own.map((turns, i) =>
      turns.map((_, k) => {
        if (Number.isNaN(group[i]!)) return 0;
        return (toCome(i, k) - mean(known.map((j) => toCome(j, k)))) / scale;
      })
    );
  });
}

/**
 * Returns to go of each token, whitened over all of them (REINFORCE++, Hu 2025): the reward comes
 * with the last token, and each token may cost something.
 *
 * @param rewards one per rollout; NaN is left out and gets 0
 * @param costs [rollouts, tokens]: what each sampled token costs, such as a divergence
 * @returns [rollouts, tokens]
 */
export function returnAdvantages(
  rewards: readonly number[],
  costs: readonly ArrayLike<number>[],
): Float64Array[] {
  const returns = costs.map((cost, i) => {
    const result = new Float64Array(cost.length);
    let toGo = rewards[i]!;
    for (let t = cost.length - 1; t >= 0; t--) result[t] = toGo -= cost[t]!;
    return result;
  });
  return whiten(returns);
}

/**
 * (x - mean) / sqrt(variance + 1e-8) over all values of all lists, with the unbiased variance.
 *
 * @param values lists; one with NaN in it is left out and becomes 0
 */
export function whiten(values: readonly ArrayLike<number>[]): Float64Array[] {
  const scored = values.filter((list) => !Array.from(list).some(Number.isNaN));
  let [count, sum] = [0, 0];
  for (const list of scored) for (let i = 0; i < list.length; i++) (sum += list[i]!, count++);
  const centre = count > 0 ? sum / count : 0;
  let squares = 0;
  for (const list of scored) {
    for (let i = 0; i < list.length; i++) squares += (list[i]! - centre) ** 2;
  }
  const scale = count > 1 ? 1 / Math.sqrt(squares / (count - 1) + 1e-8) : 0;
  return values.map((list) =>
    scored.includes(list)
      ? Float64Array.from(list, (value) => (value - centre) * scale)
      : new Float64Array(list.length)
  );
}

/**
 * True if a group carries no signal: fewer than two scorable rollouts, or all rewards equal.
 *
 * @param group The rewards of one prompt's rollouts.
 */
export function isDead(group: readonly number[]): boolean {
  const known = scorable(group);
  return known.length < 2 || Math.max(...known) - Math.min(...known) <= REWARD_RESOLUTION;
}

/**
 * Share of groups that carry no signal.
 *
 * @param rewards [groups, rollouts].
 * @returns A number in [0, 1]; 0 without groups.
 */
export function deadGroupFraction(rewards: readonly (readonly number[])[]): number {
  return rewards.length === 0 ? 0 : rewards.filter(isDead).length / rewards.length;
}

function oneOf(what: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new TypeError(
    `Unknown advantage ${what} "${value}": expected one of ${allowed.join(", ")}`,
  );
}

function scorable(group: readonly number[]): number[] {
  return group.filter((reward) => {
    if (Number.isFinite(reward)) return true;
    if (Number.isNaN(reward)) return false;
    throw new RangeError(`Cannot compute advantages: a reward is ${reward}`);
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Unbiased standard deviation; 0 for fewer than two values. */
export function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}
