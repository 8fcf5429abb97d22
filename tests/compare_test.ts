import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { compare } from "../src/run/compare/mod.ts";
import { armsNamed } from "../src/run/compare/arms.ts";
import {
  differences,
  judgeHypotheses,
  measureOver,
  rolloutsToTarget,
  summarize,
} from "../src/run/compare/statistics.ts";
import { ConfigError } from "../src/run/config.ts";
import type { ComparisonRun, DomainMeasures } from "../src/run/report/comparison.ts";
import "../mod.ts";

/** A domain whose prompts have so many right answers out of two. */
function domain(split: string, right: readonly number[], similarity = 0.5): DomainMeasures {
  const outcomes = right.map((n) => [n > 0 ? 1 : 0, n > 1 ? 1 : 0] as (0 | 1)[]);
  const pass1 = right.reduce((a, b) => a + b, 0) / right.length / 2;
  const measures = { pass1, greedy: 0, validity: 1, similarity, calls: 1, toolF1: 0.5 };
  return { name: `of ${split}`, split, measures, outcomes };
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
  const domains = [domain("train", [2]), domain("depth", [2, 2, 0]), domain("composition", [1])];
  assertEquals(measureOver(domains, "train", "pass1"), 1);
  assertEquals(measureOver(domains, "held-out", "pass1"), (1 + 1 + 0 + 0.5) / 4);
  assertEquals(measureOver(domains, "depth", "pass1"), 2 / 3);
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
  assertEquals(of("train").pass1.mean, 0.75);
  assert(of("train").pass1.low <= 0.75 && of("train").pass1.high >= 0.75);
});

Deno.test("a hypothesis is decided by its interval over seeds, and one seed decides nothing", () => {
  const runs = (seeds: number) =>
    Array.from({ length: seeds }, (_, seed) => [
      run("sft", seed, [domain("train", [0]), domain("depth", [0, 0])]),
      run("flex", seed, [domain("train", [2]), domain("depth", [2, 1 + seed % 2])]),
    ]).flat();
  const bases = [0, 1, 2].map((seed) => ({ seed, domains: [domain("depth", [0], 0.5)] }));
  const verdicts = (seeds: number) =>
    Object.fromEntries(judgeHypotheses(runs(seeds), bases).map((one) => [one.id, one]));
  const [three, one] = [verdicts(3), verdicts(1)];
  assertEquals(Object.keys(three), ["H1", "H4"], "only arms that were run are judged");
  assertEquals(three.H1!.verdict, "supported");
  assertAlmostEquals(three.H1!.estimate.mean, 100 * (0.75 + 1 + 0.75) / 3, 1e-9);
  assertEquals(three.H4!.verdict, "undecided", "no more like the teacher than before");
  assertEquals(one.H1!.verdict, "undecided");
});

Deno.test("every arm is summarized in every scope", () => {
  const all = ["train", "composition", "depth", "domain"].map((split) => domain(split, [1, 2]));
  const rows = summarize([run("flex", 0, all), run("flex", 1, all)]);
  assertEquals(rows.map(({ scope }) => scope), [
    ...["train", "held-out", "composition", "depth", "domain"],
  ]);
  for (const { measures } of rows) assertEquals(measures.pass1.mean, 0.75);
});

Deno.test("arms that don't exist, or exist twice, are refused by name", () => {
  assertThrows(
    () => armsNamed(["flx"]),
    ConfigError,
    '"flx": there is no such arm (did you mean "flex"',
  );
  assertThrows(() => armsNamed(["flex", "flex"]), ConfigError, "with itself");
  assertThrows(() => armsNamed(["no/such.yaml"]), ConfigError, "no/such.yaml");
});

const tiny = {
  from: "assets/base-nano",
  steps: 2,
  limit: 4,
  rollout: { prompts: 2, group: 2, slots: 16 },
  grpo: { miniBatches: 1 },
  sft: { batch: 4 },
  evaluation: { prompts: 1, samples: 1 },
};

/** A result without what the clock says. */
function timeless(folder: string): unknown {
  const comparison = JSON.parse(Deno.readTextFileSync(join(folder, "comparison.json")));
  for (const run of comparison.runs) delete run.seconds;
  return comparison;
}

Deno.test("an interrupted comparison goes on, and no number changes", async () => {
  const root = Deno.makeTempDirSync();
  const own = join(root, "higher.yaml");
  Deno.writeTextFileSync(own, "reward: sparse\noptimizer: { learningRate: 0.001 }\n");
  const options = { seeds: 2, arms: ["sft", "flex", own] };
  const whole = join(root, "whole");
  await compare({ ...tiny, out: whole }, options);

  const parts = join(root, "parts");
  for (let attempt = 0;; attempt++) {
    assert(attempt < 30, "it never ends");
    const stop = new AbortController();
    let ticks = 0;
    // Each attempt is interrupted somewhat later in its work, between steps and within evaluations.
    const onProgress = () => ++ticks > 2 + 9 * attempt ? stop.abort() : undefined;
    const { comparison } = await compare(
      { ...tiny, out: parts },
      { ...options, signal: stop.signal, onProgress },
    );
    if (comparison) break;
  }
  assertEquals(timeless(parts), timeless(whole));

  const { arms, runs } = timeless(whole) as { arms: { name: string }[]; runs: ComparisonRun[] };
  assertEquals(arms.map(({ name }) => name), ["sft", "flex", "higher"]);
  assertEquals(runs.length, 6);
  assertEquals(runs.map(({ domains }) => domains.length), Array(6).fill(16));

  // Other settings would mix two experiments in one folder.
  const error = await assertRejects(
    () => compare({ ...tiny, steps: 3, out: whole }, options),
    ConfigError,
    "it was begun with other settings (steps)",
  );
  assert(error.message.includes("choose another --out"));
  await assertRejects(() => compare({ ...tiny, out: root }, options), ConfigError, "not empty");
  await assertRejects(() => compare(tiny, { seeds: 0 }), ConfigError, "over 0 seeds");
  Deno.removeSync(root, { recursive: true });
});
