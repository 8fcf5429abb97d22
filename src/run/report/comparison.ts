/**
 * The raw result of comparing ways of training over several seeds, as `comparison.json` holds it.
 *
 * @module
 */

import type { Interval } from "../../rl/statistics.ts";

/**
 * Which tasks a number is over; `held-out` is composition, depth and domain, averaged over prompts,
 * and `train-tools` is `train` without the domain whose tasks need no tool.
 */
export type Scope = "train" | "train-tools" | "composition" | "depth" | "domain" | "held-out";

/** The scopes in the order in which they are shown. */
export const scopes = [
  "train",
  "train-tools",
  "held-out",
  "composition",
  "depth",
  "domain",
] as const satisfies readonly Scope[];

/** One way of training. */
export interface ComparisonArm {
  /** Short and unique. */
  readonly name: string;
  /** What it does, in a sentence. */
  readonly description: string;
  /** Its settings, where it differs from the defaults or from other arms. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What an evaluation measures; see `Scores` of `src/rl/evaluate.ts`. */
export interface ArmMeasures {
  /** Share of correct sampled answers. */
  readonly pass1: number;
  /** Share of correct greedy answers. */
  readonly greedy: number;
  /** Share of calls that parsed, passed the schema and executed. */
  readonly validity: number;
  /** 1 - Jensen-Shannon divergence of the tool distributions, in bits. */
  readonly similarity: number;
  /** Calls per task. */
  readonly calls: number;
  /** Multiset F1 of the tools called with the reference's. */
  readonly toolF1: number;
}

/** The names of the measures. */
export const measureNames = [
  "pass1",
  "greedy",
  "validity",
  "similarity",
  "calls",
  "toolF1",
] as const satisfies readonly (keyof ArmMeasures)[];

/** What was measured in one domain and split. */
export interface DomainMeasures {
  /** Of the domain. */
  readonly name: string;
  /** Of the domain: trained on, or held out in one of three ways. */
  readonly split: string;
  /** What was measured. */
  readonly measures: ArmMeasures;
  /**
   * Partial credit: share of sampled answers that are wrong, with a call of some right tool.
   * Comparisons made before it was kept have none.
   */
  readonly partial?: number;
  /** [prompts, samples] whether each sampled answer was correct. */
  readonly outcomes: readonly (readonly (0 | 1)[])[];
}

/** A point of a learning curve. */
export interface CurvePoint {
  /** Steps done. */
  readonly step: number;
  /** Episodes sampled so far. */
  readonly rollouts: number;
  /** Share of correct sampled answers. */
  readonly pass1: Readonly<Record<"train" | "held-out", number>>;
  /** Mean reward of the step's episodes; null where there is no reward. */
  readonly reward: number | null;
}

/** One arm trained with one seed. */
export interface ComparisonRun {
  /** The arm's name. */
  readonly arm: string;
  /** The seed. */
  readonly seed: number;
  /** Wall-clock time of training, and of evaluations on the way; of all runs that were chosen from. */
  readonly seconds: number;
  /** Steps to the model that is measured; what follows is up to there. */
  readonly steps: number;
  /** Prompts seen, repeats included. */
  readonly prompts: number;
  /** Tokens that the optimizer learnt from, repeats included. */
  readonly optimizerTokens: number;
  /** The learning rate that was chosen; absent where there was no choice. */
  readonly learningRate?: number;
  /** How it went on the way. */
  readonly curve: readonly CurvePoint[];
  /** Measured at the end. */
  readonly domains: readonly DomainMeasures[];
}

/** One arm that came to nothing with one seed. */
export interface FailedRun {
  /** The arm's name. */
  readonly arm: string;
  /** The seed. */
  readonly seed: number;
  /** What went wrong. */
  readonly failed: string;
}

/** What makes a base worth starting from, over the domains trained on that need tools. */
export interface BaseGate {
  /** The seed. */
  readonly seed: number;
  /** Share of calls that ran; above 0.9. */
  readonly validity: number;
  /** Share of correct sampled answers; from 0.005 to 0.3. */
  readonly pass1: number;
  /** Share of wrong ones with a call of some right tool; NaN where it was not kept. */
  readonly partial: number;
  /** Whether these are as wanted, and partial credit is 10 times as frequent as success. */
  readonly passed: boolean;
}

/** An arm over all seeds, in one scope. */
export interface ComparisonSummary {
  /** The arm's name. */
  readonly arm: string;
  /** Which tasks. */
  readonly scope: Scope;
  /** t intervals over seeds. */
  /** What was measured. */
  readonly measures: Readonly<Record<keyof ArmMeasures, Interval>>;
}

/** How much better one arm is than another, in one scope. */
export interface ComparisonDifference {
  /** The arm's name. */
  readonly arm: string;
  /** The arm that it is compared with. */
  readonly against: string;
  /** Which tasks. */
  readonly scope: Scope;
  /** pass@1 of `arm` minus that of `against`, with its t interval over seeds. */
  /** Share of correct sampled answers. */
  readonly pass1: Interval;
  /** The same with a bootstrap over seeds and prompts; one seed has none. */
  readonly bootstrap?: Interval;
  /** The same for each seed. */
  readonly seeds: readonly number[];
}

/** A statement that was made before the runs, and what became of it. */
export interface Hypothesis {
  /** Short name, as H1. */
  readonly id: string;
  /** What is expected. */
  readonly statement: string;
  /** In `unit`, with its t interval over seeds. */
  /** With its interval. */
  readonly estimate: Interval;
  /** Of the estimate. */
  readonly unit: string;
  /** What the interval says. */
  readonly verdict: "supported" | "contradicted" | "undecided";
  /** How many seeds it was judged by. */
  readonly seeds?: number;
  /** What has to be known to read the estimate. */
  readonly note?: string;
}

/** A whole comparison. */
export interface Comparison {
  /** What all arms share: the model, its base, the tasks, the budget. */
  readonly regime: string;
  /** The command that makes the same comparison. */
  readonly command?: string;
  /** The adapter's description. */
  readonly adapter: string;
  /** All seeds. */
  readonly seeds: readonly number[];
  /** All arms. */
  readonly arms: readonly ComparisonArm[];
  /** All that came to an end. */
  readonly runs: readonly ComparisonRun[];
  /** Arms and seeds that have no run, since training diverged. */
  readonly failed?: readonly FailedRun[];
  /** The base model before any training, per seed. */
  readonly base: readonly ComparisonRun["domains"][];
  /** Whether the base is what the experiment asks for, per seed. */
  readonly gates?: readonly BaseGate[];
  /** Arms over seeds. */
  readonly summary: readonly ComparisonSummary[];
  /** Pairs of arms. */
  readonly differences: readonly ComparisonDifference[];
  /** What became of them. */
  readonly hypotheses: readonly Hypothesis[];
  /** What it comes to, in a paragraph. */
  readonly conclusion: string;
}
