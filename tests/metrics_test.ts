import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  argumentAccuracy,
  callsPerTask,
  distributionSimilarity,
  NO_TOOL,
  noToolRate,
  overCallRate,
  passAtK,
  referenceCounts,
  summarizeEpisodes,
  toolAgreement,
  toolCounts,
  toolValidity,
} from "../src/rl/metrics.ts";
import {
  bootstrapInterval,
  hierarchicalBootstrap,
  meanInterval,
  proportionInterval,
  tInterval,
  wilsonInterval,
} from "../src/rl/statistics.ts";
import type { AttemptStatus, Episode } from "../src/rl/reward.ts";
import type { Reference } from "../src/tasks/task.ts";

function episode(calls: [string, AttemptStatus][], rest: Partial<Episode> = {}): Episode {
  return {
    attempts: calls.map(([name, status], turn) => ({ name, arguments: { n: turn }, turn, status })),
    answer: "1",
    correct: true,
    finished: true,
    turns: [...calls, null].map(() => ({ wellFormed: true })),
    tokens: 5,
    maxTokens: 50,
    ...rest,
  };
}

function reference(...names: string[]): Reference {
  return { calls: names.map((name, n) => ({ name, arguments: { n } })), answer: "1" };
}

const twoOk = episode([["add", "ok"], ["mul", "ok"]]);
const mixed = episode([["add", "ok"], ["add", "failed"], ["fly", "unknown-tool"]]);
const none = episode([]);

Deno.test("pass@k is the chance that one of k samples is correct", () => {
  assertEquals(passAtK(4, 0, 1), 0);
  assertEquals(passAtK(4, 1, 1), 0.25);
  assertEquals(passAtK(4, 4, 2), 1);
  assertAlmostEquals(passAtK(5, 2, 2), 1 - 3 / 10, 1e-12); // C(3,2) / C(5,2)
  assertEquals(passAtK(4, 2, 3), 1);
  assertAlmostEquals(passAtK(2000, 1, 1000), 0.5, 1e-9);
  assertThrows(() => passAtK(4, 1, 5), RangeError, "k=5");
  assertThrows(() => passAtK(4, 5, 1), RangeError, "c=5");
});

Deno.test("validity, calls per task and abstention count attempts", () => {
  assertEquals(toolValidity([twoOk, mixed, none]), 3 / 5);
  assertEquals(toolValidity([none]), 0);
  assertEquals(callsPerTask([twoOk, mixed, none]), 5 / 3);
  assertEquals(noToolRate([twoOk, mixed, none]), 1 / 3);
  const evaluated = [twoOk, mixed, none].map((e) => ({ episode: e, reference: reference("add") }));
  assertEquals(overCallRate(evaluated), 5 / 3);
  assertEquals(overCallRate([{ episode: twoOk, reference: null }]), 0);
});

Deno.test("tool precision and recall compare multisets of executed calls", () => {
  const repeated = episode([["add", "ok"], ["add", "ok"], ["mul", "ok"], ["sub", "failed"]]);
  const { precision, recall, f1 } = toolAgreement(repeated, reference("add", "sub"));
  assertEquals([precision, recall, f1], [1 / 3, 1 / 2, 2 / 5]);
  assertEquals(toolAgreement(none, reference()), { precision: 1, recall: 1, f1: 1 });
  assertEquals(toolAgreement(none, reference("add")), { precision: 0, recall: 0, f1: 0 });
  assertEquals(toolAgreement(twoOk, reference()), { precision: 0, recall: 1, f1: 0 });
});

Deno.test("argument accuracy is the mean over the reference's calls", () => {
  assertEquals(argumentAccuracy(twoOk, reference("add", "mul")), 1);
  assertEquals(argumentAccuracy(twoOk, reference("mul", "add")), 0);
  assertEquals(argumentAccuracy(twoOk, reference("add", "add")), 0.5);
});

Deno.test("distributions count known tools and abstention", () => {
  assertEquals(toolCounts([twoOk, mixed, none]), new Map([["add", 3], ["mul", 1], [NO_TOOL, 1]]));
  assertEquals(
    referenceCounts([reference("add"), reference()]),
    new Map([["add", 1], [NO_TOOL, 1]]),
  );
});

Deno.test("similarity is 1 for equal distributions, 0 for disjoint ones", () => {
  const p = new Map([["add", 2], ["mul", 2]]);
  assertAlmostEquals(distributionSimilarity(p, new Map([["add", 7], ["mul", 7]])), 1, 1e-12);
  assertEquals(distributionSimilarity(p, new Map([["sub", 1]])), 0);
  assertEquals(distributionSimilarity(new Map(), p), 0);
  // p = (1/2, 1/2), q = (1, 0): JSD = H(3/4, 1/4) - 1/2
  const entropy = -(0.75 * Math.log2(0.75) + 0.25 * Math.log2(0.25));
  assertAlmostEquals(distributionSimilarity(p, new Map([["add", 3]])), 1.5 - entropy, 1e-12);
  assertAlmostEquals(distributionSimilarity(new Map([["add", 3]]), p), 1.5 - entropy, 1e-12);
});

Deno.test("a summary leaves unscorable episodes out and counts the rest", () => {
  const summary = summarizeEpisodes([
    { episode: twoOk, reference: reference("add", "mul") },
    { episode: { ...none, correct: false, finished: false }, reference: reference("add") },
    { episode: { ...mixed, unscorable: true }, reference: reference("add") },
    { episode: twoOk, reference: null },
  ]);
  assertEquals(summary.episodes, 3);
  assertEquals(summary.pass1, 2 / 3);
  assertEquals(summary.finished, 2 / 3);
  assertEquals(summary.validity, 1);
  assertEquals(summary.toolF1, 0.5);
  assertEquals(summary.arguments, 0.5);
  assertEquals(summary.calls, 4 / 3);
  assertEquals(summary.overCall, 2 / 3);
  assertEquals(summary.noTool, 1 / 3);
  assert(Object.values(summarizeEpisodes([])).every((value) => value === 0));
});

Deno.test("the interval of a mean adds up the halves of its parts side by side", () => {
  const found = meanInterval([
    { mean: 0.5, low: 0.2, high: 0.6 },
    { mean: 0.1, low: -0.3, high: 0.1 },
  ]);
  assertAlmostEquals(found.mean, 0.3, 1e-12);
  assertAlmostEquals(found.low, 0.3 - 0.5 / 2, 1e-12); // 3-4-5
  assertAlmostEquals(found.high, 0.3 + 0.1 / 2, 1e-12);
  const one = meanInterval([{ mean: 0.4, low: 0.3, high: 0.45 }]);
  assertAlmostEquals(one.low, 0.3, 1e-12);
  assert(Number.isNaN(meanInterval([{ mean: 1, low: NaN, high: NaN }]).low));
});

Deno.test("the Wilson interval agrees with published values and never collapses", () => {
  const half = wilsonInterval(5, 10);
  assertAlmostEquals(half.low, 0.2366, 5e-5);
  assertAlmostEquals(half.high, 0.7634, 5e-5);
  const zero = wilsonInterval(0, 10);
  assertEquals(zero.low, 0);
  assertAlmostEquals(zero.high, 0.2775, 5e-5);
  assertEquals(wilsonInterval(10, 10).high, 1);
  assertEquals(wilsonInterval(0, 0), { mean: 0, low: 0, high: 1 });
  assertThrows(() => wilsonInterval(3, 2), RangeError);
});

Deno.test("the t interval of five seeds uses 2.776", () => {
  const { mean, low, high } = tInterval([1, 2, 3, 4, 5]);
  assertEquals(mean, 3);
  const half = 2.776 * Math.sqrt(2.5 / 5);
  assertAlmostEquals(low, 3 - half, 1e-12);
  assertAlmostEquals(high, 3 + half, 1e-12);
  assertEquals(tInterval([4]), { mean: 4, low: -Infinity, high: Infinity });
  // 40 degrees of freedom: 2.0211
  const many = Array.from({ length: 41 }, (_, i) => i % 2);
  const spread = tInterval(many);
  const p = 20 / 41;
  const error = Math.sqrt(p * (1 - p) / 40);
  assertAlmostEquals((spread.high - spread.mean) / error, 2.0211, 3e-4);
  assertThrows(() => tInterval([]), RangeError);
});

Deno.test("the bootstrap is seeded, and about as wide as theory says", () => {
  const independent = Array.from({ length: 400 }, (_, i) => [i % 4 === 0 ? 1 : 0]);
  const first = bootstrapInterval(independent, { seed: 3 });
  assertEquals(first, bootstrapInterval(independent, { seed: 3 }));
  assert(first.low !== bootstrapInterval(independent, { seed: 4 }).low);
  assertEquals(first.mean, 0.25);
  const half = 1.96 * Math.sqrt(0.25 * 0.75 / 400);
  assertAlmostEquals(first.low, 0.25 - half, 0.008);
  assertAlmostEquals(first.high, 0.25 + half, 0.008);
});

Deno.test("samples that all agree within a prompt do not narrow the interval", () => {
  const prompts = Array.from({ length: 100 }, (_, i) => i % 2);
  const width = (clusters: number[][]) => {
    const { low, high } = proportionInterval(clusters);
    return high - low;
  };
  const clustered = width(prompts.map((outcome) => [outcome, outcome, outcome, outcome]));
  const single = width(prompts.map((outcome) => [outcome]));
  const mixedWithin = width(prompts.map(() => [0, 1, 0, 1]));
  assertAlmostEquals(clustered, single, 1e-12);
  assertEquals(mixedWithin, 0);
});

Deno.test("a proportion without a single success keeps an interval of the prompts' width", () => {
  const { mean, low, high } = proportionInterval(Array.from({ length: 10 }, () => [0, 0, 0, 0]));
  assertEquals([mean, low], [0, 0]);
  assertAlmostEquals(high, 0.2775, 5e-5);
  assertThrows(() => proportionInterval([[0.5]]), RangeError, "0.5");
  assertThrows(() => proportionInterval([]), RangeError);
});

Deno.test("the hierarchical bootstrap sees the spread between seeds", () => {
  const prompts = (p: number) => Array.from({ length: 100 }, (_, i) => [i < 100 * p ? 1 : 0]);
  const alike = hierarchicalBootstrap([prompts(0.5), prompts(0.5), prompts(0.5)]);
  const apart = hierarchicalBootstrap([prompts(0.2), prompts(0.5), prompts(0.8)]);
  assertAlmostEquals(apart.mean, 0.5, 1e-12);
  assert(apart.high - apart.low > 2 * (alike.high - alike.low));
  assertThrows(() => hierarchicalBootstrap([]), RangeError);
  assertThrows(() => hierarchicalBootstrap([[[1]]], { draws: 0 }), RangeError, "draws");
});
