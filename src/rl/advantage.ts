/**
 * Group-relative advantages. For reward R_i in a group of G rollouts of one prompt,
 *
 * ```text
 * A_i = (R_i - mean(R)) / max(s, floor)
 * s   = sqrt(sum_j (R_j - mean(R))^2 / (G - 1))    std: "group"
 * s   = the same over the whole batch               std: "batch"
 * A_i = R_i - mean(R)                               std: "none" (Dr. GRPO)
 * ```
 *
 * The floor is this project's: in a group where every answer is wrong, rewards differ by a few
 * hundredths, and dividing by their standard deviation would make these differences weigh as much as
 * that between right and wrong. Unscorable rollouts (NaN) take no part in mean or deviation and get
 * advantage 0, and so does a rollout without a scorable companion.
 *
 * @module
 */

/** What the centred rewards are divided by. */
export type AdvantageScale = "group" | "batch" | "none";

/** Options of {@link groupAdvantages}. */
export interface AdvantageOptions {
  /** The standard deviation to divide by; default `group`. */
  std?: AdvantageScale;
  /** Its lower bound; default 0.1. */
  stdFloor?: number;
}

/** Rewards that differ by no more than this carry no signal: rounding, not behaviour. */
export const REWARD_RESOLUTION = 1e-9;

/**
 * Advantages of a batch of groups, in double precision.
 *
 * @param rewards [groups, rollouts]; groups may differ in size, NaN marks an unscorable rollout.
 * @param options Scale and floor.
 * @returns [groups, rollouts], of the same shape; finite, and summing to 0 in every group.
 * @throws {RangeError} If a reward is infinite, or the floor is negative or not finite.
 * @throws {TypeError} If the scale has an unknown name.
 */
export function groupAdvantages(
  rewards: readonly (readonly number[])[],
  options: AdvantageOptions = {},
): number[][] {
  const { std = "group", stdFloor = 0.1 } = options;
  if (!["group", "batch", "none"].includes(std)) {
    throw new TypeError(`Unknown advantage scale "${std}": expected one of group, batch, none`);
  }
  if (!(stdFloor >= 0 && stdFloor < Infinity)) {
    throw new RangeError(
      `Cannot compute advantages: stdFloor must be finite and >= 0: ${stdFloor}`,
    );
  }
  const batch = rewards.flatMap(scorable);
  const batchDeviation = std === "batch" ? deviation(batch) : 0;
  return rewards.map((group) => {
    if (isDead(group)) return group.map(() => 0);
    const known = scorable(group);
    const centre = mean(known);
    const spread = std === "group" ? deviation(known) : batchDeviation;
    const scale = std === "none" ? 1 : Math.max(spread, stdFloor);
    return group.map((reward) => Number.isNaN(reward) ? 0 : (reward - centre) / scale);
  });
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
function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}
