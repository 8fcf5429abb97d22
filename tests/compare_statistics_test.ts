// What is said of the arms of a comparison: intervals, differences, verdicts and the conclusion.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { tInterval } from "../src/rl/statistics.ts";
import { accountOf } from "../src/run/compare/account.ts";
import { crossedBootstrap } from "../src/run/compare/bootstrap.ts";
import { judgeBases, warnOfBases } from "../src/run/compare/gate.ts";
import { conclude, judgeHypotheses, rolloutsToTarget } from "../src/run/compare/hypotheses.ts";
import { differences, summarize } from "../src/run/compare/statistics.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import type {
  ComparisonRun,
  DomainMeasures,
  Hypothesis,
  Scope,
} from "../src/run/report/comparison.ts";
import { scopeMean } from "../src/run/report/comparison_scopes.ts";
import { eventsOf } from "./comparisons.ts";

/** A domain whose prompts have so many right answers out of two. */
function domain(
  split: string,
  right: readonly number[],
  { similarity = 0.5, name = `of ${split}` } = {},
): DomainMeasures {
  const outcomes = right.map((n) => [n > 0 ? 1 : 0, n > 1 ? 1 : 0] as (0 | 1)[]);
  const pass1 = right.reduce((a, b) => a + b, 0) / right.length / 2;
  const measures = { pass1, greedy: 0, validity: 1, similarity, calls: 1, toolF1: 0.5 };
  return { name, split, measures, outcomes };
}

function run(
  arm: string,
  seed: number,
  domains: readonly DomainMeasures[],
  curve: [number, number][] = [],
): ComparisonRun {
  return {
    ...{ arm, seed, seconds: 1, steps: 1, prompts: 1, optimizerTokens: 1, domains },
    curve: curve.map(([rollouts, train], step) => ({
      ...{ step, rollouts, reward: null },
      pass1: { train, "held-out": 0 },
    })),
  };
}

Deno.test("held out is everything but what was trained on, averaged over prompts", () => {
  const domains = [
    domain("train", [2]),
    domain("train", [0], { name: "none" }),
    domain("depth", [2, 2, 0]),
    domain("composition", [1]),
  ];
  const mean = (scope: Scope) => scopeMean(domains, scope, "pass1");
  assertEquals([mean("train"), mean("train-tools"), mean("depth")], [0.5, 1, 2 / 3]);
  assertEquals(mean("held-out"), (1 + 1 + 0 + 0.5) / 4);
});

Deno.test("episodes to the target are read off the curve, and all of them if it is not reached", () => {
  const curve: [number, number][] = [[0, 0.1], [100, 0.5], [200, 0.7]];
  assertAlmostEquals(rolloutsToTarget(run("a", 0, [], curve)), 150, 1e-9);
  assertEquals(rolloutsToTarget(run("a", 0, [], [[0, 0.7]])), 0);
  assertEquals(rolloutsToTarget(run("a", 0, [], [[0, 0], [100, 0.2]])), 100);
});

Deno.test("differences are taken seed by seed and prompt by prompt", () => {
  const runs = [0, 1].flatMap((seed) => [
    run("sft", seed, [domain("train", [1, 0]), domain("depth", [0, seed])]),
    run("flex", seed, [domain("train", [2, 2]), domain("depth", [1, seed])]),
  ]);
  const found = differences(runs);
  assertEquals(found.length, 3, "flex against sft, in the scopes that there are");
  const of = (scope: string) => found.find((one) => one.scope === scope)!;
  assertEquals(of("train").seeds, [0.75, 0.75]);
  assertEquals(of("held-out").seeds, [0.25, 0.25]);
  assertEquals(of("train").pass1, tInterval([0.75, 0.75]));
  // On one prompt both are 0.5 apart, on the other 1.
  assertEquals(of("train").bootstrap, { mean: 0.75, low: 0.5, high: 1 });
});

Deno.test("the bootstrap draws one set of prompts for all seeds", () => {
  // Seeds that agree tell nothing new: the interval is that of one of them.
  const prompts = Array.from({ length: 20 }, (_, i) => i % 2);
  const [one, many] = [1, 8].map((n) => crossedBootstrap(Array(n).fill(prompts)));
  assertEquals(one!.mean, 0.5);
  assertAlmostEquals(many!.high - many!.low, one!.high - one!.low, 0.06);
  assert(many!.high - many!.low > 0.35, "2 * 1.96 * 0.5 / sqrt(20) = 0.44");
  // Prompts that agree: what is left is the seeds' own spread.
  const seeds = crossedBootstrap([Array(50).fill(0), Array(50).fill(1)]);
  assertEquals(seeds, { mean: 0.5, low: 0, high: 1 });
  assertThrows(() => crossedBootstrap([[1, 2], [1]]), RangeError, "the same prompts");
});

Deno.test("a hypothesis is decided by its interval over seeds, and one seed decides nothing", () => {
  const runs = (seeds: number) =>
    Array.from({ length: seeds }, (_, seed) => [
      run("sft", seed, [domain("train", [0]), domain("depth", [0, 0])]),
      run("flex", seed, [domain("train", [2]), domain("depth", [2, 1 + seed % 2])]),
    ]).flat();
  const bases = [0, 1, 2].map((seed) => ({ seed, domains: [domain("depth", [0])] }));
  const verdicts = (seeds: number) =>
    Object.fromEntries(judgeHypotheses(runs(seeds), bases).map((one) => [one.id, one]));
  const [three, one] = [verdicts(3), verdicts(1)];
  assertEquals(Object.keys(three), ["H1", "H4"], "only arms that were run are judged");
  assertEquals(three.H1!.verdict, "supported");
  assertAlmostEquals(three.H1!.estimate.mean, 100 * (0.75 + 1 + 0.75) / 3, 1e-9);
  assertEquals(three.H4!.verdict, "undecided", "no more like the teacher than before");
  assertEquals(one.H1!.verdict, "undecided");
  assertEquals(one.H1!.estimate, { mean: 75, low: -Infinity, high: Infinity });
});

Deno.test("runs that never reach the target count with all their episodes, and are counted", () => {
  const of = (curves: readonly (readonly [sparse: number, flex: number])[]) => {
    const runs = curves.flatMap(([sparse, flex], seed) => [
      run("sparse", seed, [domain("train", [0])], [[0, 0], [100, sparse]]),
      run("flex", seed, [domain("train", [0])], [[0, 0], [100, flex]]),
    ]);
    return judgeHypotheses(runs, []).find(({ id }) => id === "H3")!;
  };
  const mixed = of([[0.3, 0.6], [0.8, 0.6], [0.3, 0.3]]);
  assertAlmostEquals(mixed.estimate.mean, (0 - 25 + 0) / 3, 1e-9);
  assertStringIncludes(mixed.note!, "by flex in 1 of 3 runs and by sparse in 2 of 3 runs");
  const none = of([[0.3, 0.5], [0.2, 0.5]]);
  assertEquals(none.estimate, { mean: 0, low: -Infinity, high: Infinity });
  assertEquals(none.verdict, "undecided");
  assertStringIncludes(none.note!, "nothing can be said");
  assertEquals(of([[0.7, 0.7], [0.9, 0.6]]).note, undefined);
});

Deno.test("the claim is judged only by what was judged over several seeds", () => {
  const told = (verdicts: Record<string, Hypothesis["verdict"]>, seeds = 5) => {
    const estimate = { mean: 0, low: -1, high: 1 };
    const hypotheses = Object.entries(verdicts).map(([id, verdict]) => ({
      ...{ id, verdict, seeds, estimate, statement: "", unit: "points" },
    }));
    return /cannot be said|is not reproduced|is reproduced by/.exec(
      conclude(hypotheses, seeds),
    )![0];
  };
  assertEquals(told({ H1: "supported", H2: "supported" }), "is reproduced by");
  assertEquals(told({ H1: "supported", H3: "supported", H2: "undecided" }), "is reproduced by");
  assertEquals(told({ H1: "undecided", H2: "supported" }), "is not reproduced");
  assertEquals(told({ H1: "supported", H2: "undecided", H3: "undecided" }), "is not reproduced");
  assertEquals(told({ H1: "supported", H2: "undecided" }), "cannot be said"); // H3 may hold
  assertEquals(told({ H1: "supported" }), "cannot be said");
  assertEquals(told({ H2: "supported", H3: "supported" }), "cannot be said");
  assertEquals(told({ H1: "undecided", H2: "undecided" }, 1), "cannot be said");
});

Deno.test("every arm is summarized in every scope", () => {
  const all = (...right: number[]) =>
    ["train", "composition", "depth", "domain"].map((split) => domain(split, right));
  const rows = summarize([run("flex", 0, all(1, 2)), run("flex", 1, all(1, 1))]);
  assertEquals(rows.map(({ scope }) => scope), [
    ...["train", "held-out", "composition", "depth", "domain"],
  ]);
  for (const { measures } of rows) assertEquals(measures.pass1, tInterval([0.75, 0.5]));
  const [one] = summarize([run("flex", 0, all(1, 2))]);
  assertEquals(one!.measures.pass1, { mean: 0.75, low: -Infinity, high: Infinity });
  assertEquals(JSON.parse(JSON.stringify(one!.measures.pass1)), {
    mean: 0.75,
    low: null,
    high: null,
  });
});

Deno.test("a base is judged where tools are needed, and warned of by seed", () => {
  const base = (right: number, partial?: number) => {
    const one = domain("train", [...Array(90).fill(0), ...Array(10).fill(right)]);
    const measures = { ...one.measures, validity: 0.95 };
    // That the domain without tools is mostly right says nothing.
    const none = domain("train", [2, 2], { name: "none" });
    return [{ ...one, measures, ...(partial === undefined ? {} : { partial }) }, none];
  };
  const gates = judgeBases([
    { seed: 0, domains: base(1, 0.5) },
    { seed: 1, domains: base(1, 0.4) },
    { seed: 2, domains: base(1) },
    { seed: 3, domains: base(0, 0.5) },
  ]);
  assertEquals(gates.map(({ pass1 }) => pass1), [0.05, 0.05, 0.05, 0]);
  assertEquals(gates.map(({ partial }) => partial), [0.5, 0.4, NaN, 0.5]);
  assertEquals(gates.map(({ passed }) => passed), [true, false, true, false]);
  assertStringIncludes(warnOfBases(gates), "The base of seed 1, 3 is not what");
  assertEquals(warnOfBases(gates.slice(0, 1)), "");
});

Deno.test("an account ends with the model that counts, and counts what was learnt from", () => {
  const events = eventsOf(4, () => ({ num_tokens: 10, reward: 0.5 }));
  const account = (flags: Record<string, unknown>, until?: number) => {
    const { steps, prompts, optimizerTokens, seconds, curve } = accountOf(
      resolveConfig({ flags: { steps: 4, ...flags } }),
      events,
      until,
    );
    return { steps, prompts, optimizerTokens, seconds, last: curve.at(-1)!.rollouts };
  };
  const rollout = { prompts: 3, group: 2 };
  assertEquals(account({ rollout, grpo: { epochs: 2, miniBatches: 1 } }), {
    ...{ steps: 4, prompts: 12, optimizerTokens: 80, seconds: 4, last: 24 },
  });
  assertEquals(account({ method: "sft", sft: { batch: 5 } }, 2), {
    ...{ steps: 2, prompts: 10, optimizerTokens: 20, seconds: 2, last: 0 },
  });
});
