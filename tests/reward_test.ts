import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { Reference } from "../src/tasks/task.ts";
import type { AlignmentOperator } from "../src/rl/alignment.ts";
import {
  adaptiveGuidance,
  costSchedule,
  guidanceSchedule,
  mentorReward,
  needsReference,
  replay,
  REWARD_PRESETS,
  rewardOf,
} from "../src/rl/reward.ts";
import type { Episode, RewardPreset } from "../src/rl/reward.ts";
import {
  add,
  asReference,
  broken,
  call,
  chain,
  episode,
  episodeOf,
  look,
  type Made,
  mul,
  noCalls,
  wrong,
} from "./episodes.ts";

const flex = mentorReward();
const full = { lambda: 1, kappa: 1 };

// --- The table of test vectors ---------------------------------------------------------------

const lookups = [call("look", { item: "pen" }, 17), call("look", { item: "cup" }, 4)];
const otherRoute = [look, add(17, 17), add(34, 17), add(51, 17)];
const oneArgumentWrong = [look, call("mul", { a: 17, b: 5 }, 85)];
const independent: Reference = { calls: lookups.map(asReference), answer: "21" };
const looping = episode([look, look, look], { finished: false, answer: null, correct: false });

/** What happens, the episode, a_t, a_a, v, p, R, and the reference if it is not the chain. */
type Vector = [string, Episode, number, number, number, number, number, Reference?];

// deno-fmt-ignore
const vectors: Vector[] = [
  ["V1 reference replayed, correct", episode([look, mul]), 1, 1, 1, 0, 1.10],
  ["V2 independent look-ups in the other order", episode(lookups.toReversed()), 1, 1, 1, 0, 1.10, independent],
  ["V3 correct with one extra call", episode([look, add(1, 2), mul]), 1, 1, 1, 0, 1.10],
  ["V4 correct with three extra calls", episode([look, add(1, 2), add(2, 3), add(3, 4), mul]), 1 / 1.3, 1, 1, 0.01, 1.0438],
  ["V5 correct by another route", episode(otherRoute), 1 / 2.3, 0.5, 1, 0, 0.95],
  ["V6 correct, no tool", episode([]), 0, 0, 0, 0, 0.70],
  ["V7 right tools, one wrong argument, wrong", episode(oneArgumentWrong, wrong), 1, 0.75, 1, 0, 0.155],
  ["V8 wrong answer, perfect alignment", episode([look, mul], wrong), 1, 1, 1, 0, 0.16],
  ["V9 wrong, no call", episode([], wrong), 0, 0, 0, 0, 0],
  ["V10 wrong, one malformed call", episode([broken("malformed")], wrong), 0, 0, 0, 0, 0.025],
  ["V11 malformed first call, then V1", episode([broken("malformed"), look, mul]), 1, 1, 2 / 3, 0, 1.0708],
  ["V12 same look-up five times, then mul, correct", episode([look, look, look, look, look, mul]), 1, 1, 1, 0.07, 1.03],
  ["V13 loops to the turn limit", looping, 1 / 1.7, 0.5, 1, 0.05, 0],
  ["V14 no calls due, none made, correct", episode([]), 1, 1, 1, 0, 1.10, noCalls],
  ["V15 no calls due, one made, correct", episode([look]), 1 / 1.3, 1 / 1.3, 1, 0, 1.0308, noCalls],
  ["V16 no calls due, none made, wrong", episode([], wrong), 1, 1, 1, 0, 0.16, noCalls],
  ["V17 first half of the reference, wrong", episode([look], wrong), 1 / 1.7, 0.5, 1, 0, 0.1335],
  ["V19 one unknown tool, wrong", episode([broken("unknown-tool", "fly")], wrong), 0, 0, 0, 0, 0.05],
];

for (const [what, made, tools, args, validity, penalty, expected, reference = chain] of vectors) {
  Deno.test(`flex scores ${what}`, () => {
    const { total, terms, weighted } = flex.score(made, reference, full);
    assertAlmostEquals(total, expected, 5e-5);
    assertAlmostEquals(terms.tools, tools, 1e-12);
    assertAlmostEquals(terms.arguments, args, 1e-12);
    assertAlmostEquals(terms.validity, validity, 1e-12);
    assertAlmostEquals(terms.penalty, penalty, 1e-12);
    assertAlmostEquals(Object.values(weighted).reduce((a, b) => a + b), total, 1e-12);
  });
}

Deno.test("flex scores V18 reference replayed at lambda 0.2", () => {
  assertAlmostEquals(flex.score(episode([look, mul]), chain, { lambda: 0.2 }).total, 0.86, 1e-12);
});

// --- Presets -----------------------------------------------------------------------------------

Deno.test("the five MENTOR presets give the published values on a fixed table", () => {
  const unknown = broken("unknown-tool", "fly");
  const rows: [string, Episode, Reference, number[]][] = [
    // reward of: sparse, mentor-partial, mentor-nohall, mentor-exact, mentor-f1
    ["unfinished", episode([look, mul], { finished: false }), chain, [0, 0, 0, 0, 0]],
    ["no answer", episode([look, mul], { answer: null, correct: false }), chain, same(0.1)],
    ["empty answer", episode([look, mul], { answer: " ", correct: false }), chain, same(0.1)],
    ["teacher without tools", episode([look, mul]), noCalls, [1, 0.1, 0.1, 0.1, 0.1]],
    ["right, same tools", episode([mul, look, mul]), chain, [1, 1, 0.8, 1.1, 1.1]],
    ["right, one of two tools", episode([look]), chain, [1, 1, 0.8, 0.8, 1]],
    ["right, one tool too many", episode([look, mul, add(1, 1)]), chain, [1, 1, 0.8, 0.8, 1.04]],
    ["right, no tool", episode([]), chain, [1, 0.7, 0.8, 0.8, 0.8]],
    ["right, hallucinated", episode([look, unknown, mul]), chain, [1, 1, 0.7, 1, 1]],
    ["right, failed calls", episode([broken("failed"), mul]), chain, [1, 1, 0.8, 1.1, 1.1]],
    ["right, malformed", episode([broken("malformed")]), chain, [1, 0.7, 0.8, 0.8, 0.8]],
    ["wrong, same tools", episode([look, mul], wrong), chain, [0.1, 0.06, 0.1, 0.16, 0.16]],
    ["wrong, one tool", episode([mul], wrong), chain, [0.1, 0.06, 0.1, 0.1, 0.14]],
    ["wrong, no tool", episode([], wrong), chain, [0.1, 0, 0.1, 0.1, 0.1]],
    ["wrong, hallucinated", episode([unknown], wrong), chain, [0.1, 0, 0, 0, 0]],
    [
      "wrong, same tools and hallucinated",
      episode([look, mul, unknown], wrong),
      chain,
      [0.1, 0.06, 0, 0.06, 0.06],
    ],
  ];
  const presets: RewardPreset[] = [
    "sparse",
    "mentor-partial",
    "mentor-nohall",
    "mentor-exact",
    "mentor-f1",
  ];
  for (const [what, made, reference, expected] of rows) {
    for (const [i, preset] of presets.entries()) {
      const { total, weighted } = mentorReward({ preset }).score(made, reference);
      assertAlmostEquals(total, expected[i]!, 1e-12, `${preset}: ${what}`);
      assertAlmostEquals(Object.values(weighted).reduce((a, b) => a + b), total, 1e-12);
    }
  }
});

function same(value: number): number[] {
  return new Array(5).fill(value);
}

Deno.test("toolrl adds the format to 6 s / s_max - 3", () => {
  // s_max of the chain: 1 + (1 + 1) + (1 + 2) = 6, so correctness is s - 3.
  const toolrl = mentorReward({ preset: "toolrl" });
  const score = (made: Episode, reference = chain) => toolrl.score(made, reference).total;
  assertEquals(score(episode([look, mul])), 4);
  assertAlmostEquals(score(episode([mul, look])), 1 + 6 - 3, 1e-12);
  // one value of mul wrong: s = 1 + (1 + 1) + (1 + 1)
  assertAlmostEquals(score(episode([look, call("mul", { a: 17, b: 5 })])), 1 + 5 - 3, 1e-12);
  // mul left out: s = 1/2 + (1 + 1)
  assertAlmostEquals(score(episode([look])), 1 + 2.5 - 3, 1e-12);
  // one call too many: s = 2/3 + 2 + 3
  assertAlmostEquals(score(episode([look, add(1, 2), mul])), 1 + 17 / 3 - 3, 1e-12);
  // one of two keys: s = 1 + 2 + (1/2 + 1)
  assertAlmostEquals(score(episode([look, call("mul", { a: 17 })])), 1 + 4.5 - 3, 1e-12);
  // another tool only: s = 0
  assertAlmostEquals(score(episode([add(1, 2)])), 1 - 3, 1e-12);
  assertEquals(score(episode([])), 1 - 3);
  assertEquals(score(episode([broken("malformed"), look, mul])), 0 - 3);
  assertEquals(score(episode([look, mul], { finished: false })), -3);
  assertEquals(score(episode([]), noCalls), 1);
  assertEquals(score(episode([look]), noCalls), 1);
});

Deno.test("recall is the F1 of the answer's words, 0.1 for none in common, 0 for bad format", () => {
  const recall = mentorReward({ preset: "recall" });
  const score = (answer: string | null, gold: string, rest: Partial<Episode> = {}) =>
    recall.score(episode([look], { answer, ...rest }), { calls: [], answer: gold }).total;
  assertEquals(score("68", "68"), 1);
  assertEquals(score("67", "68"), 0.1);
  assertEquals(score("-68", "68"), 0.1);
  assertEquals(score("The blue, small pen.", "blue pen"), 0.8); // precision 2/3, recall 1
  assertEquals(score("1,000.0", "1000"), 1);
  assertEquals(score(null, "68"), 0);
  assertEquals(score("68", "68", { finished: false }), 0);
  assertEquals(score("68", "68", { turns: [{ wellFormed: false }, { wellFormed: true }] }), 0);
});

Deno.test("strict pays alignment only for the reference's calls in order, nothing else", () => {
  const strict = mentorReward({ preset: "strict" });
  const score = (made: Made[], rest = {}) => strict.score(episode(made, rest), chain).total;
  assertAlmostEquals(score([look, mul]), 1.1, 1e-12);
  assertAlmostEquals(score([look, mul], wrong), 0.16, 1e-12);
  for (
    const other of [
      [mul, look],
      [look, look, mul],
      [look, add(1, 2), mul],
      [look, call("mul", { a: 4, b: 17 }, 68)],
    ]
  ) {
    assertAlmostEquals(score(other), 0.8, 1e-12);
  }
});

Deno.test("a preset that needs a reference says so, and refuses to score without", () => {
  const free: RewardPreset[] = ["sparse", "mentor-nohall"];
  for (const preset of REWARD_PRESETS) {
    const reward = mentorReward({ preset });
    assertEquals(reward.needsReference, !free.includes(preset));
    assertEquals(needsReference(preset), !free.includes(preset));
    if (needsReference(preset)) {
      assertThrows(() => reward.score(episode([look]), null), TypeError, "no reference");
    } else {
      const { total, terms } = reward.score(episode([look]), null);
      assertAlmostEquals(total, preset === "sparse" ? 1 : 0.8, 1e-12);
      for (const term of Object.values(terms)) assert(term >= 0 && term <= 1);
    }
  }
});

Deno.test("options that make no sense are refused by name", () => {
  assertThrows(() => mentorReward({ preset: "dense" as RewardPreset }), TypeError, "dense");
  assertThrows(() => mentorReward({ preset: "mentor-f1", phi: 1 }), TypeError, "phi");
  assertThrows(() => mentorReward({ operator: "cosine" as AlignmentOperator }), TypeError);
  assertThrows(() => mentorReward({ phy: 1 } as never), TypeError, "phy");
  assertThrows(() => mentorReward({ weights: { tool: 1 } as never }), TypeError, "tool");
  assertThrows(() => mentorReward({ weights: { tools: -1 } }), RangeError, "weights.tools");
  assertThrows(() => mentorReward({ gamma: NaN }), RangeError, "gamma");
  assertThrows(() => mentorReward({ references: 5 }), RangeError, "references");
  assertThrows(() => flex.score(episode([]), chain, { progress: 1.1 }), RangeError, "progress");
});

// --- Edge cases --------------------------------------------------------------------------------

Deno.test("an unscorable episode is NaN under every preset", () => {
  for (const preset of REWARD_PRESETS) {
    const made = episode([look, mul], { unscorable: true });
    assert(Number.isNaN(mentorReward({ preset }).score(made, chain).total));
  }
});

Deno.test("lambda and kappa follow training progress and yield to constants", () => {
  assertEquals([0, 0.3, 1].map(guidanceSchedule), [1, 1, 0.2]);
  assertAlmostEquals(guidanceSchedule(0.55), 0.6, 1e-12);
  assertAlmostEquals(guidanceSchedule(0.8), 0.2, 1e-12);
  assertEquals([0, 0.3, 0.6, 1].map(costSchedule), [0, 0, 1, 1]);
  assertAlmostEquals(costSchedule(0.45), 0.5, 1e-12);
  assertEquals([0, 0.4, 0.8, 1].map((p) => adaptiveGuidance(p)), [1, 0.5, 0.1, 0.1]);
  const loop = episode([look, look, look, look, look, mul]);
  assertAlmostEquals(flex.score(loop, chain, { progress: 0 }).total, 1.1, 1e-12);
  assertAlmostEquals(flex.score(loop, chain, { progress: 1 }).total, 1.1 - 0.24 - 0.07, 1e-12);
  const fixed = mentorReward({ lambda: 0, kappa: () => 0 });
  assertAlmostEquals(fixed.score(loop, chain, { progress: 1 }).total, 0.8, 1e-12);
});

Deno.test("the early format weight doubles the format term for a fifth of training", () => {
  const reward = mentorReward({ earlyFormat: true });
  const made = episode([look, mul]);
  assertAlmostEquals(reward.score(made, chain, { progress: 0.1 }).weighted.format, 0.1, 1e-12);
  assertAlmostEquals(reward.score(made, chain, { progress: 0.2 }).weighted.format, 0.05, 1e-12);
});

Deno.test("the best of at most four references counts", () => {
  const other = [add(17, 17), add(34, 34)].map(asReference);
  const filler = (n: number) => [call("note", { n })].map(asReference);
  const route = episode([add(17, 17), add(34, 34)]);
  const near = { ...chain, alternatives: [filler(1), filler(2), other] };
  const far = { ...chain, alternatives: [filler(1), filler(2), filler(3), other] };
  assertAlmostEquals(flex.score(route, near).total, 1.1, 1e-12);
  assert(flex.score(route, far).total < 1.1);
});

Deno.test("a correct answer with fewer calls than the teacher's keeps the flexibility floor", () => {
  const long = { calls: [look, mul, add(1, 2), add(3, 4)].map(asReference), answer: "68" };
  const { total, terms } = flex.score(episode([look]), long, full);
  assert(terms.tools < 0.5 && terms.arguments < 0.5);
  assertAlmostEquals(total, 0.95, 1e-12);
});

Deno.test("however many calls are made, the reward is not negative and the penalty is capped", () => {
  const many = Array.from({ length: 40 }, (_, i) => add(i % 20, 0));
  const made = episode(many, { ...wrong, answer: null, tokens: 100 });
  const { total, terms } = flex.score(made, chain, full);
  assertEquals(terms.penalty, 0.1);
  assert(total >= 0);
});

Deno.test("calling every tool once gains nothing over calling the right one", () => {
  const one = { calls: [asReference(look)], answer: "17" };
  const every = [look, mul, ...[1, 2, 3, 4, 5].map((n) => call(`tool${n}`, {}))];
  assert(
    flex.score(episode(every, wrong), one).total < flex.score(episode([look], wrong), one).total,
  );
});

Deno.test("a long episode is penalised in the last fifth of its budget only", () => {
  const penalty = (tokens: number) =>
    flex.score(episode([look, mul], { tokens }), chain, full).terms.penalty;
  assertEquals(penalty(80), 0);
  assertAlmostEquals(penalty(90), 0.025, 1e-12);
  assertAlmostEquals(penalty(100), 0.05, 1e-12);
});

Deno.test("a turn with one bad call among good ones is malformed, its good calls count", () => {
  const { terms } = flex.score(episodeOf([[look, broken("malformed")], [mul]]), chain, full);
  assertEquals(terms.tools, 1);
  assertAlmostEquals(terms.validity, 2 / 3, 1e-12);
  assertAlmostEquals(terms.format, 2 / 3, 1e-12);
});

Deno.test("a retry that succeeds is no repeat, and repeats of a stateful tool are none either", () => {
  const retried = episode([{ ...look, status: "failed" }, look, mul]);
  assertEquals(flex.score(retried, chain, full).terms.penalty, 0);
  assertEquals(flex.score(retried, chain, full).terms.tools, 1);
  const step = call("step", {}, "moved");
  const thrice = { calls: [step, step, step].map(asReference), answer: "68" };
  const tools = [{ name: "step", stateful: true }];
  const walked = flex.score(episode([step, step, step]), thrice, { ...full, tools });
  assertAlmostEquals(walked.total, 1.1, 1e-12);
  assertEquals(flex.score(episode([step]), thrice, { ...full, tools }).terms.tools, 1 / 2.4);
});

Deno.test("a replayed reference is worth the most there is, unless its answer is wrong", () => {
  const again = replay(chain);
  assertEquals(again.attempts.map(({ name, turn, result }) => [name, turn, result]), [
    ["look", 0, 17],
    ["mul", 1, 68],
  ]);
  assertAlmostEquals(flex.score(again, chain, full).total, 1.1, 1e-12);
  assertAlmostEquals(flex.score(replay(noCalls), noCalls, full).total, 1.1, 1e-12);
  const task = { answer: "69", check: "number" } as const;
  assertEquals(replay(chain, task).correct, false);
  assertEquals(replay(chain, { ...task, answer: "$68.00" }).correct, true);
  // 0.2 of the alignment's 0.3, and what is valid and well-formed.
  assertAlmostEquals(flex.score(replay(chain, task), chain, full).total, 0.16, 1e-12);
});

Deno.test("a reward of one's own is the sum of the parts that it names", () => {
  const { total, terms, weighted } = rewardOf({ correctness: 1, penalty: -0.25 });
  assertEquals([total, weighted.penalty, weighted.tools, terms.correctness], [0.75, -0.25, 0, 1]);
  const measured = flex.score(episode([look]), chain).terms;
  assertEquals(rewardOf({ tools: 2 }, measured).terms, measured);
});
