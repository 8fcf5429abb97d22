/**
 * From the runs of a comparison to what can be said of the arms.
 *
 * The unit is the seed: arms of one seed share their base, their prompts and the evaluation tasks, so
 * differences are taken within seeds. Intervals of pass@1 come from a bootstrap over seeds and, within
 * each, prompts; all others, and those of the hypotheses, are t intervals over seeds.
 *
 * @module
 */

import { hierarchicalBootstrap, type Interval, tInterval } from "../../rl/statistics.ts";
import {
  type ArmMeasures,
  type ComparisonDifference,
  type ComparisonRun,
  type ComparisonSummary,
  type DomainMeasures,
  type Hypothesis,
  measureNames,
  type Scope,
  scopes,
} from "../report/comparison.ts";
import { type Expectation, expectations } from "./arms.ts";

/** The share of right answers whose arrival is timed. */
const TARGET = 0.6;

/** The domains of a scope. */
export function inScope(domains: readonly DomainMeasures[], scope: Scope): DomainMeasures[] {
  return domains.filter(({ split }) => scope === "held-out" ? split !== "train" : split === scope);
}

/** A measure over a scope: pass@1 over its prompts, the others as the mean of its domains. */
export function measureOver(
  domains: readonly DomainMeasures[],
  scope: Scope,
  measure: keyof ArmMeasures,
): number {
  const own = inScope(domains, scope);
  if (measure === "pass1") return mean(own.flatMap(({ outcomes }) => outcomes.map(mean)));
  return mean(own.map(({ measures }) => measures[measure]));
}

/** The scopes that there are tasks in; those of a task file may all be of one split. */
function scopesOf(runs: readonly ComparisonRun[]): Scope[] {
  return scopes.filter((scope) => inScope(runs[0]?.domains ?? [], scope).length > 0);
}

/** Every arm in every scope. */
export function summarize(runs: readonly ComparisonRun[]): ComparisonSummary[] {
  return [...Map.groupBy(runs, ({ arm }) => arm)].flatMap(([arm, own]) =>
    scopesOf(own).map((scope) => ({
      arm,
      scope,
      measures: Object.fromEntries(measureNames.map((measure) => {
        const seeds = own.map(({ domains }) => measureOver(domains, scope, measure));
        const interval = measure === "pass1"
          ? hierarchicalBootstrap(own.map((run) => promptsOf(run.domains, scope)))
          : seedInterval(seeds);
        return [measure, interval];
      })) as unknown as ComparisonSummary["measures"],
    }))
  );
}

/** pass@1 of each arm minus that of each arm before it, in every scope. */
export function differences(runs: readonly ComparisonRun[]): ComparisonDifference[] {
  const arms = [...new Set(runs.map(({ arm }) => arm))];
  return arms.flatMap((arm, i) =>
    arms.slice(0, i).flatMap((against) =>
      scopesOf(runs).map((scope) => {
        const pairs = paired(runs, arm, against);
        const clusters = pairs.map(([a, b]) => {
          const others = promptsOf(b.domains, scope);
          return promptsOf(a.domains, scope).map((own, p) => [mean(own) - mean(others[p]!)]);
        });
        return {
          arm,
          against,
          scope,
          pass1: hierarchicalBootstrap(clusters),
          seeds: clusters.map((prompts) => mean(prompts.flat())),
        };
      })
    )
  );
}

/**
 * Episodes until the domains trained on are at 60 %, between points of the curve by a straight line;
 * all that were made if they never are.
 */
export function rolloutsToTarget({ curve }: ComparisonRun): number {
  const index = curve.findIndex(({ pass1 }) => pass1.train >= TARGET);
  if (index < 0) return curve.at(-1)?.rollouts ?? 0;
  const [before, after] = [curve[index - 1], curve[index]!];
  if (!before) return after.rollouts;
  const share = (TARGET - before.pass1.train) / (after.pass1.train - before.pass1.train);
  return before.rollouts + share * (after.rollouts - before.rollouts);
}

/** What became of the hypotheses whose arms were both run. */
export function judgeHypotheses(
  runs: readonly ComparisonRun[],
  bases: readonly { readonly seed: number; readonly domains: readonly DomainMeasures[] }[],
): Hypothesis[] {
  return expectations.filter(({ scope }) => scopesOf(runs).includes(scope)).flatMap(
    (expectation) => {
      const values = differencesOf(expectation, runs, bases);
      if (values.length === 0) return [];
      const estimate = seedInterval(values);
      const { id, statement, measure } = expectation;
      return [{
        id,
        statement,
        estimate,
        unit: measure === "rollouts" ? "episodes fewer" : measure === "pass1" ? "points" : measure,
        verdict: verdictOn(estimate, values.length),
      }];
    },
  ).map((one) => one.unit === "points" ? { ...one, estimate: scaled(one.estimate, 100) } : one);
}

/** One seed decides nothing. */
function verdictOn({ low, high }: Interval, seeds: number): Hypothesis["verdict"] {
  if (seeds > 1 && low > 0) return "supported";
  return seeds > 1 && high < 0 ? "contradicted" : "undecided";
}

/** By how much the arm is better, seed by seed. */
function differencesOf(
  { arm, against, measure, scope }: Expectation,
  runs: readonly ComparisonRun[],
  bases: readonly { readonly seed: number; readonly domains: readonly DomainMeasures[] }[],
): number[] {
  if (measure === "rollouts") {
    return paired(runs, arm, against).map(([a, b]) => rolloutsToTarget(b) - rolloutsToTarget(a));
  }
  const others = against === "base" ? bases : runs.filter((run) => run.arm === against);
  return runs.filter((run) => run.arm === arm).flatMap((run) => {
    const other = others.find(({ seed }) => seed === run.seed);
    if (!other) return [];
    const of = (domains: readonly DomainMeasures[]) => measureOver(domains, scope, measure);
    return [of(run.domains) - of(other.domains)];
  });
}

/** What the verdicts come to, in words. */
export function conclude(hypotheses: readonly Hypothesis[], seeds: number): string {
  const of = (verdict: Hypothesis["verdict"]) =>
    hypotheses.filter((one) => one.verdict === verdict).map(({ id }) => id);
  const list = (ids: readonly string[]) => ids.length === 0 ? "none" : ids.join(", ");
  const verdict = (id: string) => hypotheses.find((one) => one.id === id)?.verdict;
  const reproduced = verdict("H1") === "supported" &&
    (verdict("H2") === "supported" || verdict("H3") === "supported");
  const claim = verdict("H1") === undefined
    ? "Whether MENTOR's claim is reproduced cannot be said without sft and flex."
    : reproduced
    ? "MENTOR's claim is reproduced by the rule set beforehand: H1 holds, and so does H2 or H3."
    : "MENTOR's claim is not reproduced by the rule set beforehand (H1, and H2 or H3).";
  return `${claim} Of the hypotheses over ${seeds} seed${seeds === 1 ? "" : "s"}, supported: ` +
    `${list(of("supported"))}; contradicted: ${
      list(of("contradicted"))
    }; undecided (the interval ` +
    `includes 0): ${list(of("undecided"))}.`;
}

/** Runs of two arms with the same seed. */
function paired(
  runs: readonly ComparisonRun[],
  arm: string,
  against: string,
): [ComparisonRun, ComparisonRun][] {
  return runs.filter((run) => run.arm === arm).flatMap((run) => {
    const other = runs.find((one) => one.arm === against && one.seed === run.seed);
    return other ? [[run, other] as [ComparisonRun, ComparisonRun]] : [];
  });
}

/** [prompts, samples] of all domains of a scope. */
function promptsOf(domains: readonly DomainMeasures[], scope: Scope): (readonly number[])[] {
  return inScope(domains, scope).flatMap(({ outcomes }) => outcomes);
}

/** A t interval; with one seed, the value alone. */
function seedInterval(values: readonly number[]): Interval {
  if (values.length > 1) return tInterval(values);
  return { mean: values[0]!, low: values[0]!, high: values[0]! };
}

function scaled({ mean, low, high }: Interval, factor: number): Interval {
  return { mean: factor * mean, low: factor * low, high: factor * high };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
