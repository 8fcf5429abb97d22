/**
 * 95 % confidence intervals. Samples of one prompt resemble each other, and so do runs of one seed:
 * an interval that takes every sample for independent is too narrow.
 *
 * @module
 */

import { Random } from "../random.ts";

/** An estimate with its 95 % confidence interval. */
export interface Interval {
  /** The estimate. */
  mean: number;
  /** Lower end. */
  low: number;
  /** Upper end. */
  high: number;
}

/** Options of the bootstrap intervals. */
export interface BootstrapOptions {
  /** Seed of the resampling; default 0. The same seed gives the same interval. */
  seed?: number;
  /** Number of resamples; default 2000. */
  draws?: number;
}

/** The 97.5 % quantile of the standard normal distribution. */
const Z = 1.959963984540054;

/** 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom. */
// deno-fmt-ignore
const T = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
  2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
  2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/**
 * Wilson interval of a proportion of independent trials; never empty, also at 0 and 1.
 *
 * @param successes Number of successes.
 * @param trials Number of trials; without any the interval is [0, 1].
 * @throws {RangeError} Unless 0 <= successes <= trials.
 */
export function wilsonInterval(successes: number, trials: number): Interval {
  if (!(successes >= 0 && successes <= trials && trials < Infinity)) {
    throw new RangeError(`Cannot estimate a proportion: ${successes} successes of ${trials}`);
  }
  if (trials === 0) return { mean: 0, low: 0, high: 1 };
  const p = successes / trials;
  const shrink = 1 + Z * Z / trials;
  const centre = (p + Z * Z / (2 * trials)) / shrink;
  const half = Z * Math.sqrt(p * (1 - p) / trials + Z * Z / (4 * trials * trials)) / shrink;
  // At 0 and 1 the exact ends are p itself; the square root may miss them by a rounding error.
  return {
    mean: p,
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === trials ? 1 : Math.min(1, centre + half),
  };
}

/**
 * t interval of the mean of a few independent values, such as the results of several seeds.
 *
 * @param values At least one value; with only one the interval is infinite.
 * @throws {RangeError} If there are no values, or one is not finite.
 */
export function tInterval(values: readonly number[]): Interval {
  const centre = finiteMean(values);
  if (values.length === 1) return { mean: centre, low: -Infinity, high: Infinity };
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  const error = Math.sqrt(squares / (values.length - 1) / values.length);
  const half = tQuantile(values.length - 1) * error;
  return { mean: centre, low: centre - half, high: centre + half };
}

/**
 * Interval of the mean of independent estimates from the interval of each, whose halves may differ:
 * the squares of the halves on a side add up. The method of variance estimates recovery (Zou and
 * Donner, "Construction of confidence limits about effect measures", 2008).
 *
 * @returns NaN ends where an interval has none
 */
export function meanInterval(intervals: readonly Interval[]): Interval {
  const count = intervals.length;
  const mean = intervals.reduce((sum, one) => sum + one.mean, 0) / count;
  const half = (end: "low" | "high") =>
    Math.sqrt(intervals.reduce((sum, one) => sum + (one.mean - one[end]) ** 2, 0)) / count;
  return { mean, low: mean - half("low"), high: mean + half("high") };
}

/**
 * Percentile bootstrap of a mean over clusters: whole clusters are drawn with replacement. With
 * clusters of paired differences it is the interval of the mean difference.
 *
 * @param clusters [prompts, samples]: the values of each prompt's samples; empty ones are skipped.
 * @param options Seed and number of resamples.
 * @throws {RangeError} If there are no values, one is not finite, or draws is not positive.
 */
export function bootstrapInterval(
  clusters: readonly (readonly number[])[],
  options: BootstrapOptions = {},
): Interval {
  return hierarchicalBootstrap([clusters], options);
}

/**
 * Bootstrap interval of a proportion over prompts. Where all outcomes are equal, resampling would
 * see no variance at all, so the Wilson interval over prompts takes its place.
 *
 * @param clusters [prompts, samples]: 1 for a success, 0 for a failure.
 * @param options Seed and number of resamples.
 * @throws {RangeError} If there are no outcomes, or one is neither 0 nor 1.
 */
export function proportionInterval(
  clusters: readonly (readonly number[])[],
  options: BootstrapOptions = {},
): Interval {
  const outcomes = clusters.flat();
  const odd = outcomes.find((outcome) => outcome !== 0 && outcome !== 1);
  if (odd !== undefined) throw new RangeError(`Cannot estimate a proportion: an outcome is ${odd}`);
  const constant = outcomes.length > 0 && outcomes.every((outcome) => outcome === outcomes[0]);
  if (!constant) return bootstrapInterval(clusters, options);
  const prompts = clusters.filter((cluster) => cluster.length > 0).length;
  return wilsonInterval(prompts * outcomes[0]!, prompts);
}

/**
 * Hierarchical bootstrap: seeds are drawn with replacement, then within each its prompts. A seed's
 * value is the mean over its samples, the estimate is the mean over seeds.
 *
 * @param seeds [seeds, prompts, samples].
 * @param options Seed of the resampling and number of resamples.
 * @throws {RangeError} If a seed has no values, one is not finite, or draws is not positive.
 */
export function hierarchicalBootstrap(
  seeds: readonly (readonly (readonly number[])[])[],
  options: BootstrapOptions = {},
): Interval {
  const { seed = 0, draws = 2000 } = options;
  if (!(Number.isInteger(draws) && draws > 0)) {
    throw new RangeError(`Cannot bootstrap: draws must be a positive integer: ${draws}`);
  }
  const centre = finiteMean(seeds.map((clusters) => finiteMean(clusters.flat())));
  const summed = seeds.map((clusters) =>
    clusters.filter((cluster) => cluster.length > 0).map((cluster) => ({
      sum: cluster.reduce((a, b) => a + b, 0),
      count: cluster.length,
    }))
  );
  const random = new Random(`bootstrap/${seed}`);
  const means = new Float64Array(draws);
  for (let draw = 0; draw < draws; draw++) {
    let outer = 0;
    for (let s = 0; s < summed.length; s++) {
      const clusters = summed[summed.length === 1 ? 0 : random.int(0, summed.length - 1)]!;
      let sum = 0;
      let count = 0;
      for (let c = 0; c < clusters.length; c++) {
        const picked = clusters[random.int(0, clusters.length - 1)]!;
        sum += picked.sum;
        count += picked.count;
      }
      outer += sum / count;
    }
    means[draw] = outer / summed.length;
  }
  means.sort();
  return { mean: centre, low: quantile(means, 0.025), high: quantile(means, 0.975) };
}

/** Linear interpolation between order statistics. */
function quantile(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!);
}

/** The table, then the first terms of the Cornish-Fisher expansion (within 2e-4 beyond 30). */
function tQuantile(freedom: number): number {
  return T[freedom - 1] ??
    Z + (Z ** 3 + Z) / (4 * freedom) +
      (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / (96 * freedom * freedom);
}

function finiteMean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("Cannot estimate a mean of no values");
  const odd = values.find((value) => !Number.isFinite(value));
  if (odd !== undefined) throw new RangeError(`Cannot estimate a mean: a value is ${odd}`);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
