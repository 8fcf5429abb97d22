// Comparisons and runs that never were, for the tests of reports.

import { Random } from "../src/random.ts";
import type { RunEvent } from "../src/run/events.ts";
import type { EpisodeRecord } from "../src/run/episode_record.ts";
import type {
  ArmMeasures,
  Comparison,
  ComparisonRun,
  DomainMeasures,
} from "../src/run/report/comparison.ts";
import { tInterval } from "../src/rl/statistics.ts";

const sets = [["arith", "train"], ["shop", "train"], ["arith", "depth"], ["date", "domain"]];

/** A comparison of `arms` over `seeds` seeds with `points` points on each curve. */
export function comparisonOf(
  arms: readonly string[],
  { seeds = 3, points = 4 }: { seeds?: number; points?: number } = {},
): Comparison {
  const random = new Random("comparison");
  const domains = (): DomainMeasures[] =>
    sets.map(([name, split]) => {
      const outcomes = Array.from(
        { length: 5 },
        () => Array.from({ length: 2 }, () => random.float() < 0.5 ? 1 as const : 0 as const),
      );
      const share = random.float();
      return { name: name!, split: split!, outcomes, measures: measuresOf(share) };
    });
  const numbers = Array.from({ length: seeds }, (_, seed) => seed);
  const runs = arms.flatMap((arm) =>
    numbers.map((seed): ComparisonRun => ({
      ...{ arm, seed, seconds: 80, steps: 60, prompts: 960, optimizerTokens: 30_000 },
      curve: Array.from({ length: points }, (_, i) => ({
        step: i,
        rollouts: 128 * i,
        pass1: { train: random.float(), "held-out": random.float() },
        reward: random.float(),
      })),
      domains: domains(),
    }))
  );
  const spread = () => tInterval([random.float(), random.float(), random.float()]);
  return {
    regime: "a small model",
    command: `./mentor compare --seeds ${seeds} --arms ${arms.join(",")}`,
    adapter: "an adapter",
    seeds: numbers,
    arms: arms.map((name) => ({
      name,
      description: `Trains by ${name}.`,
      settings: { reward: name, optimizer: { learningRate: 1e-3 } },
    })),
    runs,
    base: numbers.map(domains),
    gates: numbers.map((seed) => ({
      ...{ seed, validity: 0.95, pass1: 0.02, partial: seed % 2 === 0 ? 0.4 : 0.1 },
      passed: seed % 2 === 0,
    })),
    summary: arms.flatMap((arm) =>
      (["train", "held-out"] as const).map((scope) => ({
        ...{ arm, scope },
        measures: Object.fromEntries(
          Object.keys(measuresOf(0)).map((name) => [name, spread()]),
        ) as unknown as Comparison["summary"][number]["measures"],
      }))
    ),
    differences: [{
      ...{ arm: arms[0]!, against: arms.at(-1)!, scope: "held-out" },
      ...{ pass1: { mean: 0.05, low: -0.01, high: 0.11 }, seeds: [0.03, 0.05, 0.07] },
      bootstrap: { mean: 0.05, low: 0.02, high: 0.08 },
    }],
    hypotheses: [{
      ...{ id: "H1", statement: "The first is better.", unit: "points" },
      ...{ estimate: { mean: 5, low: -1, high: 11 }, verdict: "undecided" },
      ...{ seeds: 3, note: "One run counts as two." },
    }],
    conclusion: "It is open which is better.",
  };
}

function measuresOf(share: number): ArmMeasures {
  return { pass1: share, greedy: share, validity: 1, similarity: share, calls: 2, toolF1: share };
}

/** Events of a run of `steps` steps with these metrics, an evaluation before and one after. */
export function eventsOf(
  steps: number,
  metrics: (step: number) => Record<string, number>,
): RunEvent[] {
  const time = "2026-11-24T23:18:36.382Z";
  const score = { pass1: 0.5, ci95: [0.4, 0.6], greedy: 0.6, validity: 1, calls: 2 };
  const domains = sets.map(([name, split]) => ({
    ...score,
    name: name!,
    split: split as "train",
  }));
  return [
    { time, type: "run-start", method: "grpo", seed: 7, steps, adapter: "an adapter" },
    { time, type: "eval", step: 0, phase: "before", domains },
    ...Array.from({ length: steps }, (_, i): RunEvent => ({
      ...{ time, type: "step", step: i + 1, method: "grpo", metrics: metrics(i + 1) },
      timing: { seconds: 1, rollout: 0.5 },
    })),
    { time, type: "eval", step: steps, phase: "after", domains },
    { time, type: "run-end", step: steps, status: "done", timing: { seconds: 75 } },
  ];
}

/** A line of `episodes.jsonl`; the first group has tokens, `tokens` of them. */
export function episodeLine(
  place: { step: number; group: number; sample: number },
  { text = "34 plus 8", tokens = 6 }: { text?: string; tokens?: number } = {},
): EpisodeRecord {
  const terms = { correctness: 1, tools: 0.5, arguments: 0, validity: 1, format: 1, penalty: 0 };
  const line: EpisodeRecord = {
    ...place,
    ...{ task: text, text, answer: text, correct: true, finished: true },
    attempts: [
      { name: text, arguments: { [text]: text }, turn: 0, status: "ok", result: text },
      { name: "", arguments: null, turn: 1, status: "malformed" },
    ],
    ...{ reward: 0.8, terms, advantage: -1.25 },
  };
  if (place.group > 0) return line;
  return {
    ...line,
    weighted: { ...terms, penalty: -0.1 },
    reference: { calls: [{ name: text, arguments: { a: text }, result: text }], answer: text },
    tokens: {
      text: Array.from({ length: tokens }, () => text),
      mask: "01".repeat(tokens).slice(0, tokens),
      logprobs: Array.from({ length: tokens }, (_, i) => -0.5 * i),
      advantages: -1.25,
    },
  };
}
