/**
 * What tables and charts of a comparison are made of.
 *
 * @module
 */

import { tInterval } from "../../rl/statistics.ts";
import {
  type Comparison,
  type ComparisonRun,
  type ComparisonSummary,
  type DomainMeasures,
  measureNames,
  type Scope,
  scopes,
} from "./comparison.ts";
import { BASE } from "./comparison_csv.ts";
import { scopeMean, scopesOf } from "./comparison_scopes.ts";
import { isNumber, mean } from "./format.ts";
import type { Mark } from "./interval_table.ts";

/** A comparison with what can be looked up in it. */
export class ComparisonView {
  readonly comparison: Comparison;
  /** Names of the arms in the order in which they are shown, the base first. */
  readonly arms: readonly string[];
  /** The scopes to show: those of every comparison, measured or not, and others that were. */
  readonly scopes: readonly Scope[];
  readonly #summary: ReadonlyMap<string, ComparisonSummary>;

  constructor(comparison: Comparison) {
    this.comparison = comparison;
    const named = comparison.arms.map(({ name }) => name);
    const hasBase = comparison.summary.some(({ arm }) => arm === BASE);
    const summary = hasBase
      ? comparison.summary
      : [...summarizeBase(comparison.base), ...comparison.summary];
    const found = summary.map(({ arm }) => arm);
    this.arms = [...new Set([...found.filter((arm) => arm === BASE), ...named, ...found])];
    this.#summary = new Map(summary.map((row) => [`${row.scope} ${row.arm}`, row]));
    this.scopes = scopes.filter((scope) =>
      scope !== "train-tools" || summary.some((row) => row.scope === scope)
    );
  }

  /** What an arm came to in a scope, if that is known. */
  summary(arm: string, scope: Scope): ComparisonSummary["measures"] | undefined {
    return this.#summary.get(`${scope} ${arm}`)?.measures;
  }

  /** The runs of an arm, or for the base what was measured of it, in the order of seeds. */
  domainsOf(arm: string): readonly (readonly DomainMeasures[])[] {
    return arm === BASE ? this.comparison.base : this.runsOf(arm).map(({ domains }) => domains);
  }

  /** The runs of an arm; none for the base. */
  runsOf(arm: string): ComparisonRun[] {
    return this.comparison.runs.filter((run) => run.arm === arm);
  }

  /** Arms and seeds that should have a run, and have none. */
  missing(): { arm: string; seed: number }[] {
    const { arms, seeds } = this.comparison;
    return arms.filter(({ name }) => name !== BASE).flatMap(({ name: arm }) =>
      seeds.filter((seed) => !this.runsOf(arm).some((run) => run.seed === seed))
        .map((seed) => ({ arm, seed }))
    );
  }
}

/** The base over seeds, with t intervals; a scope that was not measured is left out. */
function summarizeBase(base: Comparison["base"]): ComparisonSummary[] {
  return scopesOf(base.flat()).flatMap((scope) => {
    const measures = measureNames.map((name) => {
      const values = base.map((domains) => scopeMean(domains, scope, name)).filter(isNumber);
      return [name, values.length === 0 ? null : tInterval(values)] as const;
    });
    if (measures.some(([, value]) => value === null)) return [];
    return [{
      ...{ arm: BASE, scope },
      measures: Object.fromEntries(measures) as unknown as ComparisonSummary["measures"],
    }];
  });
}

/** One arm's learning curve over seeds. */
export interface MeanCurve {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/**
 * The mean over runs, at the points that all of them have: elsewhere it would jump as runs come and
 * go.
 */
export function meanCurve(
  runs: readonly ComparisonRun[],
  x: "step" | "rollouts",
  scope: "train" | "held-out",
): MeanCurve {
  const values = Map.groupBy(
    runs.flatMap(({ curve }) =>
      curve.map((point) => ({ at: point[x], value: point.pass1[scope] }))
    ),
    ({ at }) => at,
  );
  const shared = [...values].filter(([, found]) => found.length === runs.length)
    .map(([at, found]) => [at, mean(found.map(({ value }) => value))] as const)
    .sort(([a], [b]) => a - b);
  return { x: shared.map(([at]) => at), y: shared.map(([, value]) => value) };
}

/** The two scopes of most charts; the first is drawn full, the second hollow. */
export const both = ["held-out", "train"] as const;

/** The estimates of an arm in both scopes, times `factor`. */
export function marksOf(
  view: ComparisonView,
  arm: string,
  measure: "pass1" | "validity" | "calls" | "greedy" | "toolF1",
  factor: number,
): Mark[] {
  return both.flatMap((scope, series) => {
    const found = view.summary(arm, scope)?.[measure];
    if (!found) return [];
    const times = (value: number) => factor * value;
    return [{
      series,
      interval: { mean: times(found.mean), low: times(found.low), high: times(found.high) },
    }];
  });
}
