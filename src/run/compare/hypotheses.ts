/**
 * What became of the hypotheses.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";
import type { ComparisonRun, DomainMeasures, Hypothesis } from "../report/comparison.ts";
import { scopeMean, scopesOf } from "../report/comparison_scopes.ts";
import { type Expectation, expectations } from "./arms.ts";
import { paired, seedInterval } from "./statistics.ts";

/** The share of right answers whose arrival is timed. */
const TARGET = 0.6;

/** What was measured of the models that the arms start from. */
export type Bases = readonly {
  readonly seed: number;
  readonly domains: readonly DomainMeasures[];
}[];

/** Whether the domains trained on ever were at 60 %. */
export function reachesTarget({ curve }: ComparisonRun): boolean {
  return curve.some(({ pass1 }) => pass1.train >= TARGET);
}

/**
 * Episodes until the domains trained on are at 60 % for the first time, between points of the curve
 * by a straight line; all that were made if they never are.
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
export function judgeHypotheses(runs: readonly ComparisonRun[], bases: Bases): Hypothesis[] {
  const scopes = scopesOf(runs[0]?.domains ?? []);
  return expectations.filter(({ scope }) => scopes.includes(scope)).flatMap((expectation) => {
    const { id, statement, measure } = expectation;
    const [values, note] = measure === "rollouts"
      ? efforts(expectation, runs)
      : [gains(expectation, runs, bases), undefined];
    if (values.length === 0) return [];
    // Arms that were all cut off before the target do not tell how far from each other they are.
    const estimate = values.every((value) => value === null)
      ? { mean: 0, low: -Infinity, high: Infinity }
      : seedInterval(values.map((value) => value ?? 0));
    return [{
      id,
      statement,
      estimate: measure === "pass1" ? inPoints(estimate) : estimate,
      unit: measure === "rollouts" ? "episodes fewer" : measure === "pass1" ? "points" : measure,
      verdict: verdictOn(estimate, values.length),
      seeds: values.length,
      ...(note === undefined ? {} : { note }),
    }];
  });
}

/** One seed decides nothing. */
function verdictOn({ low, high }: Interval, seeds: number): Hypothesis["verdict"] {
  if (seeds > 1 && low > 0) return "supported";
  return seeds > 1 && high < 0 ? "contradicted" : "undecided";
}

/** By how much the arm is better, seed by seed. */
function gains(
  { arm, against, measure, scope }: Expectation,
  runs: readonly ComparisonRun[],
  bases: Bases,
): number[] {
  if (measure === "rollouts") return [];
  const others = against === "base" ? bases : runs.filter((run) => run.arm === against);
  return runs.filter((run) => run.arm === arm).flatMap((run) => {
    const other = others.find(({ seed }) => seed === run.seed);
    if (!other) return [];
    return [scopeMean(run.domains, scope, measure) - scopeMean(other.domains, scope, measure)];
  });
}

/** How many episodes fewer the arm needs, seed by seed; null where neither got there. */
function efforts(
  { arm, against }: Expectation,
  runs: readonly ComparisonRun[],
): [values: (number | null)[], note: string | undefined] {
  const pairs = paired(runs, arm, against);
  const missed = ([arm, i]: [string, 0 | 1]) => {
    const count = pairs.filter((pair) => !reachesTarget(pair[i])).length;
    return count === 0 ? [] : [`${arm} in ${count} of ${pairs.length} runs`];
  };
  const [own, other] = [missed([arm, 0]), missed([against, 1])];
  const values = pairs.map(([a, b]) =>
    reachesTarget(a) || reachesTarget(b) ? rolloutsToTarget(b) - rolloutsToTarget(a) : null
  );
  if (own.length + other.length === 0) return [values, undefined];
  const note = `${100 * TARGET} % was not reached by ${[...own, ...other].join(" and by ")}; ` +
    "such a run counts with all its episodes, and two of them as no difference" +
    (values.every((value) => value === null) ? ": nothing can be said" : "");
  return [values, note];
}

/**
 * What the verdicts come to, in words: the claim counts as reproduced if H1 holds, and H2 or H3. It
 * takes H1 and one of the others, each over two seeds or more, to say so or to deny it.
 */
export function conclude(hypotheses: readonly Hypothesis[], seeds: number): string {
  const of = (verdict: Hypothesis["verdict"]) =>
    hypotheses.filter((one) => one.verdict === verdict).map(({ id }) => id);
  const list = (ids: readonly string[]) => ids.length === 0 ? "none" : ids.join(", ");
  return `${claim(hypotheses)} Of the hypotheses over ${seeds} seed${seeds === 1 ? "" : "s"}, ` +
    `supported: ${list(of("supported"))}; contradicted: ${list(of("contradicted"))}; ` +
    `undecided (no interval that leaves out 0): ${list(of("undecided"))}.`;
}

function claim(hypotheses: readonly Hypothesis[]): string {
  const judged = hypotheses.filter(({ seeds = 0 }) => seeds > 1).map(({ id }) => id);
  const holds = (id: string) =>
    hypotheses.some((one) => one.id === id && one.verdict === "supported");
  const others = ["H2", "H3"].filter((id) => judged.includes(id));
  if (holds("H1") && others.some(holds)) {
    return "MENTOR's claim is reproduced by the rule set beforehand: H1 holds, and so does H2 or H3.";
  }
  const decided = judged.includes("H1") && others.length > (holds("H1") ? 1 : 0);
  return decided
    ? "MENTOR's claim is not reproduced by the rule set beforehand (H1, and H2 or H3)."
    : "Whether MENTOR's claim is reproduced cannot be said: that takes H1, and H2 or H3, each judged " +
      "over two seeds or more.";
}

function inPoints({ mean, low, high }: Interval): Interval {
  return { mean: 100 * mean, low: 100 * low, high: 100 * high };
}
