/**
 * From the runs of a comparison to numbers of the arms.
 *
 * The unit is the seed: arms of one seed share their base, their prompts and the evaluation tasks, so
 * differences are taken within seeds. Intervals are t intervals over seeds. They tell what other
 * seeds would have given on these test tasks; how much hangs on the tasks is shown, for differences,
 * by a bootstrap over both.
 *
 * @module
 */

import { type Interval, tInterval } from "../../rl/statistics.ts";
import {
  type ComparisonDifference,
  type ComparisonRun,
  type ComparisonSummary,
  type DomainMeasures,
  measureNames,
  type Scope,
} from "../report/comparison.ts";
import { isIn, scopeMean, scopesOf } from "../report/comparison_scopes.ts";
import { crossedBootstrap } from "./bootstrap.ts";

/** Every arm in every scope. */
export function summarize(runs: readonly ComparisonRun[]): ComparisonSummary[] {
  return [...Map.groupBy(runs, ({ arm }) => arm)].flatMap(([arm, own]) =>
    scopesOf(own[0]!.domains).map((scope) => ({
      arm,
      scope,
      measures: Object.fromEntries(measureNames.map((measure) => [
        measure,
        seedInterval(own.map(({ domains }) => scopeMean(domains, scope, measure))),
      ])) as unknown as ComparisonSummary["measures"],
    }))
  );
}

/** pass@1 of each arm minus that of each arm before it, in every scope. */
export function differences(runs: readonly ComparisonRun[]): ComparisonDifference[] {
  const arms = [...new Set(runs.map(({ arm }) => arm))];
  return arms.flatMap((arm, i) =>
    arms.slice(0, i).flatMap((against) => {
      const pairs = paired(runs, arm, against);
      return scopesOf(pairs[0]?.[0].domains ?? []).map((scope) => {
        const values = pairs.map(([a, b]) => {
          const others = sharesOf(b.domains, scope);
          return sharesOf(a.domains, scope).map((own, prompt) => own - others[prompt]!);
        });
        const seeds = values.map(mean);
        return {
          ...{ arm, against, scope, pass1: seedInterval(seeds) },
          ...(seeds.length > 1 ? { bootstrap: crossedBootstrap(values) } : {}),
          seeds,
        };
      });
    })
  );
}

/** Runs of two arms with the same seed. */
export function paired(
  runs: readonly ComparisonRun[],
  arm: string,
  against: string,
): [ComparisonRun, ComparisonRun][] {
  return runs.filter((run) => run.arm === arm).flatMap((run) => {
    const other = runs.find((one) => one.arm === against && one.seed === run.seed);
    return other ? [[run, other] as [ComparisonRun, ComparisonRun]] : [];
  });
}

/** The t interval of the values that are numbers; one has no ends, and none is no number. */
export function seedInterval(values: readonly number[]): Interval {
  const known = values.filter(Number.isFinite);
  return known.length > 0 ? tInterval(known) : { mean: NaN, low: NaN, high: NaN };
}

/** [prompts] share of right answers, over all domains of a scope. */
function sharesOf(domains: readonly DomainMeasures[], scope: Scope): number[] {
  return domains.filter((domain) => isIn(domain, scope))
    .flatMap(({ outcomes }) => outcomes.map(mean));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
