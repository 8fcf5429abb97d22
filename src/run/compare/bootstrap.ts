/**
 * The bootstrap of differences that were measured on the same prompts with every seed.
 *
 * @module
 */

import { Random } from "../../random.ts";
import type { Interval } from "../../rl/statistics.ts";

/** Resamples. */
const DRAWS = 2000;

/**
 * 95 % percentile bootstrap of a mean over two crossed factors: each resample draws seeds and,
 * apart from them, prompts, with replacement, and takes the prompts that it drew from all of its
 * seeds. Were prompts drawn anew for each seed, what all seeds find hard would cancel out.
 *
 * It shows what a t interval over seeds does not, how much hangs on the choice of prompts. But few
 * seeds that are drawn again vary less than new ones would, so that nothing is decided by it.
 *
 * @param values [seeds, prompts]; equal arguments give the same interval
 * @throws {RangeError} if there are no values, or seeds differ in their number of prompts.
 */
export function crossedBootstrap(values: readonly (readonly number[])[]): Interval {
  const seeds = values.length;
  const prompts = values[0]?.length ?? 0;
  if (prompts === 0 || values.some((row) => row.length !== prompts)) {
    throw new RangeError(
      `Cannot bootstrap ${seeds} seeds of ${values.map((row) => row.length).join(", ")} prompts: ` +
        "every seed needs the same prompts, and at least one",
    );
  }
  const random = new Random("crossed bootstrap");
  const drawn = (count: number) => random.int(0, count - 1);
  const means = Float64Array.from({ length: DRAWS }, () => {
    const rows = Array.from({ length: seeds }, () => values[drawn(seeds)]!);
    let sum = 0;
    for (let i = 0; i < prompts; i++) {
      const prompt = drawn(prompts);
      for (const row of rows) sum += row[prompt]!;
    }
    return sum / (seeds * prompts);
  }).sort();
  const mean = values.flat().reduce((sum, value) => sum + value, 0) / (seeds * prompts);
  return { mean, low: quantile(means, 0.025), high: quantile(means, 0.975) };
}

/** Linear interpolation between order statistics. */
function quantile(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!);
}
