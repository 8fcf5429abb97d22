import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Reference, ReferenceCall } from "../src/tasks/task.ts";
import { alignArguments, ALIGNMENT_OPERATORS, alignTools, CALL_KEYS } from "../src/rl/alignment.ts";
import type { AlignmentOperator } from "../src/rl/alignment.ts";
import { argumentSimilarity, assign, valueSimilarity } from "../src/rl/arguments.ts";
import {
  adaptiveGuidance,
  costSchedule,
  guidanceSchedule,
  mentorReward,
  needsReference,
  REWARD_PRESETS,
} from "../src/rl/reward.ts";
import type { AttemptStatus, Episode, RewardPreset, ToolAttempt } from "../src/rl/reward.ts";

fc.configureGlobal({ seed: 20261, numRuns: 300 });

type Made = Omit<ToolAttempt, "turn">;

function call(name: string, args: Record<string, unknown>, result?: unknown): Made {
  return { name, arguments: args, status: "ok", result };
}

function broken(status: AttemptStatus, name = "look"): Made {
  return { name, arguments: status === "malformed" ? null : { item: "?" }, status };
}

/** An episode of one turn per list of calls, then an answer turn. */
function episodeOf(turns: readonly Made[][], rest: Partial<Episode> = {}): Episode {
  return {
    attempts: turns.flatMap((calls, turn) => calls.map((made) => ({ ...made, turn }))),
    answer: "68",
    correct: true,
    finished: true,
    turns: [
      ...turns.map((calls) => ({ wellFormed: calls.every((c) => c.status !== "malformed") })),
      { wellFormed: true },
    ],
    tokens: 10,
    maxTokens: 100,
    ...rest,
  };
}

function episode(made: readonly Made[], rest: Partial<Episode> = {}): Episode {
  return episodeOf(made.map((one) => [one]), rest);
}

const look = call("look", { item: "pen" }, 17);
const mul = call("mul", { a: 17, b: 4 }, 68);
const add = (a: number, b: number) => call("add", { a, b }, a + b);
const chain: Reference = { calls: [look, mul].map(asReference), answer: "68" };
const noCalls: Reference = { calls: [], answer: "68" };
const wrong = { correct: false, answer: "1" };

function asReference({ name, arguments: args, result }: Made): ReferenceCall {
  return { name, arguments: args ?? {}, result };
}

const flex = mentorReward();
const full = { lambda: 1, kappa: 1 };

// --- The table of test vectors ---------------------------------------------------------------

interface Vector {
  what: string;
  episode: Episode;
  reference?: Reference;
  lambda?: number;
  a_t?: number;
  a_a?: number;
  v?: number;
  p?: number;
  total: number;
}

const lookups = [call("look", { item: "pen" }, 17), call("look", { item: "cup" }, 4)];
const vectors: Vector[] = [
  {
    what: "V1 reference replayed, correct",
    episode: episode([look, mul]),
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 1.1,
  },
  {
    what: "V2 two independent look-ups in the other order, correct",
    episode: episode([lookups[1]!, lookups[0]!]),
    reference: { calls: lookups.map(asReference), answer: "21" },
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 1.1,
  },
  {
    what: "V3 correct with one extra distinct successful call",
    episode: episode([look, add(1, 2), mul]),
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 1.1,
  },
  {
    what: "V4 correct with three extra distinct calls",
    episode: episode([look, add(1, 2), add(2, 3), add(3, 4), mul]),
    a_t: 1 / 1.3,
    a_a: 1,
    v: 1,
    p: 0.01,
    total: 1.0438,
  },
  {
    what: "V5 correct by another route",
    episode: episode([look, add(17, 17), add(34, 17), add(51, 17)]),
    a_t: 1 / 2.3,
    a_a: 0.5,
    v: 1,
    p: 0,
    total: 0.95,
  },
  { what: "V6 correct, no tool", episode: episode([]), a_t: 0, a_a: 0, v: 0, p: 0, total: 0.7 },
  {
    what: "V7 right tools, one wrong argument, wrong answer",
    episode: episode([look, call("mul", { a: 17, b: 5 }, 85)], wrong),
    a_t: 1,
    a_a: 0.75,
    v: 1,
    p: 0,
    total: 0.155,
  },
  {
    what: "V8 wrong answer, perfect alignment",
    episode: episode([look, mul], wrong),
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 0.16,
  },
  { what: "V9 wrong, no call", episode: episode([], wrong), a_t: 0, a_a: 0, v: 0, p: 0, total: 0 },
  {
    what: "V10 wrong, one malformed call",
    episode: episode([broken("malformed")], wrong),
    a_t: 0,
    a_a: 0,
    v: 0,
    p: 0,
    total: 0.025,
  },
  {
    what: "V11 malformed first call, then V1",
    episode: episode([broken("malformed"), look, mul]),
    a_t: 1,
    a_a: 1,
    v: 2 / 3,
    p: 0,
    total: 1.0708,
  },
  {
    what: "V12 same look-up five times, then mul, correct",
    episode: episode([look, look, look, look, look, mul]),
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0.07,
    total: 1.03,
  },
  {
    what: "V13 loops to the turn limit",
    episode: episode([look, look, look], { finished: false, answer: null, correct: false }),
    total: 0,
  },
  {
    what: "V14 reference has no calls, none made, correct",
    episode: episode([]),
    reference: noCalls,
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 1.1,
  },
  {
    what: "V15 reference has no calls, one made, correct",
    episode: episode([look]),
    reference: noCalls,
    a_t: 1 / 1.3,
    a_a: 1 / 1.3,
    v: 1,
    p: 0,
    total: 1.0308,
  },
  {
    what: "V16 reference has no calls, none made, wrong",
    episode: episode([], wrong),
    reference: noCalls,
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 0.16,
  },
  {
    what: "V17 first half of the reference, wrong",
    episode: episode([look], wrong),
    a_t: 1 / 1.7,
    a_a: 0.5,
    v: 1,
    p: 0,
    total: 0.1335,
  },
  {
    what: "V18 reference replayed at lambda 0.2",
    episode: episode([look, mul]),
    lambda: 0.2,
    a_t: 1,
    a_a: 1,
    v: 1,
    p: 0,
    total: 0.86,
  },
  {
    what: "V19 one unknown tool, wrong",
    episode: episode([broken("unknown-tool", "fly")], wrong),
    a_t: 0,
    a_a: 0,
    v: 0,
    p: 0,
    total: 0.05,
  },
];

for (const vector of vectors) {
  Deno.test(`flex scores ${vector.what}`, () => {
    const context = { ...full, lambda: vector.lambda ?? 1 };
    const { total, terms, weighted } = flex.score(
      vector.episode,
      vector.reference ?? chain,
      context,
    );
    assertAlmostEquals(total, vector.total, 5e-5);
    if (vector.a_t !== undefined) assertAlmostEquals(terms.tools, vector.a_t, 1e-12);
    if (vector.a_a !== undefined) assertAlmostEquals(terms.arguments, vector.a_a, 1e-12);
    if (vector.v !== undefined) assertAlmostEquals(terms.validity, vector.v, 1e-12);
    if (vector.p !== undefined) assertAlmostEquals(terms.penalty, vector.p, 1e-12);
    assertAlmostEquals(Object.values(weighted).reduce((a, b) => a + b), total, 1e-12);
  });
}

// --- Invariants --------------------------------------------------------------------------------

const number = fc.integer({ min: 0, max: 4 });
const madeCall = fc.oneof(
  fc.record({ item: fc.constantFrom("pen", "cup", "ink") }).map((args) => ["look", args] as const),
  fc.record({ a: number, b: number }).map((args) => ["mul", args] as const),
  fc.record({ a: number, b: number }).map((args) => ["add", args] as const),
  fc.record({}).map((args) => ["note", args] as const),
);
const good = fc.tuple(madeCall, number).map(([[name, args], result]): Made =>
  call(name, args, result)
);
const bad = fc.tuple(
  madeCall,
  fc.constantFrom<AttemptStatus>("malformed", "unknown-tool", "bad-arguments", "failed"),
).map(([[name, args], status]): Made => ({
  name: status === "unknown-tool" ? "fly" : name,
  arguments: status === "malformed" ? null : args,
  status,
}));
const attempt = fc.oneof({ weight: 3, arbitrary: good }, { weight: 1, arbitrary: bad });
const turnsOf = fc.array(fc.array(attempt, { minLength: 1, maxLength: 2 }), { maxLength: 5 });
const someCalls = fc.uniqueArray(good, {
  minLength: 1,
  maxLength: 4,
  selector: (made) => `${made.name}${JSON.stringify(made.arguments)}`,
});
const referenceOf = someCalls.map((calls): Reference => ({
  calls: calls.map(asReference),
  answer: "68",
}));
const anyReference = fc.oneof({ weight: 4, arbitrary: referenceOf }, fc.constant(noCalls));
const unit = fc.double({ min: 0, max: 1, noNaN: true });
const outcome = fc.boolean().map((correct) => correct ? {} : wrong);

Deno.test("a correct answer always beats a wrong one, under every operator, key and schedule", () => {
  const rewards = ALIGNMENT_OPERATORS.flatMap((operator) =>
    CALL_KEYS.map((key) => mentorReward({ operator, key }))
  );
  fc.assert(fc.property(turnsOf, turnsOf, anyReference, unit, unit, unit, (a, b, ref, l, k, n) => {
    for (const reward of rewards) {
      const tokens = 100 * n;
      const right = reward.score(episodeOf(a, { tokens }), ref, { lambda: l, kappa: k });
      const other = reward.score(episodeOf(b, { ...wrong, tokens }), ref, { lambda: l, kappa: k });
      assert(right.total >= 0.6 - 1e-12 && right.total <= 1.1 + 1e-12, `right ${right.total}`);
      assert(other.total >= 0 && other.total <= 0.16 + 1e-12, `wrong ${other.total}`);
    }
  }));
});

Deno.test("abstaining is worth less than a malformed call, and that less than a valid one", () => {
  fc.assert(fc.property(good, referenceOf, unit, unit, (made, ref, lambda, kappa) => {
    const score = (turns: Made[]) =>
      flex.score(episode(turns, wrong), ref, { lambda, kappa }).total;
    const malformed = score([broken("malformed", made.name)]);
    assertEquals(score([]), 0);
    assert(malformed > 0);
    assert(score([made]) > malformed);
  }));
});

Deno.test("repeating a call never raises the reward, with or without penalties", () => {
  fc.assert(
    fc.property(
      turnsOf.filter((turns) => turns.length > 0),
      anyReference,
      outcome,
      unit,
      fc.constantFrom(0, 1, 0.5),
      fc.nat(),
      fc.nat(),
      fc.boolean(),
      fc.constantFrom<AlignmentOperator>("tversky", "multiset-f1", "set-exact", "lcs", "edit"),
      (turns, ref, result, lambda, kappa, from, to, apart, operator) => {
        const reward = mentorReward({ operator });
        const source = from % turns.length;
        const target = source + to % (turns.length - source);
        const copy = turns[source]![from % turns[source]!.length]!;
        // Under `edit` any filler, so also a second failure, can shift other calls into their places.
        if (operator === "edit" && copy.status !== "ok") return;
        const longer = turns.map((calls) => [...calls]);
        if (apart) longer.splice(target + 1, 0, [copy]);
        else longer[target]!.push(copy);
        const before = reward.score(episodeOf(turns, result), ref, { lambda, kappa }).total;
        const after = reward.score(episodeOf(longer, result), ref, { lambda, kappa }).total;
        assert(after <= before + 1e-12, `${before} -> ${after}`);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("an unfinished episode is worth 0, and nothing finished is worth less", () => {
  fc.assert(fc.property(turnsOf, anyReference, outcome, unit, (turns, ref, result, progress) => {
    const unfinished = episodeOf(turns, { ...result, finished: false });
    assertEquals(flex.score(unfinished, ref, { progress }).total, 0);
    assert(flex.score(episodeOf(turns, result), ref, { progress }).total >= 0);
  }));
});

const orderFree: AlignmentOperator[] = [
  "set-exact",
  "set-any",
  "set-f1",
  "multiset-f1",
  "multiset-jaccard",
  "tversky",
];

Deno.test("order-free operators do not see the order of calls, and none that of arguments", () => {
  fc.assert(fc.property(turnsOf, anyReference, fc.infiniteStream(unit), (turns, ref, keys) => {
    const made = turns.flat();
    const order = [...keys.take(made.length)];
    const shuffled = made.map((_, i) => i).sort((a, b) => order[a]! - order[b]!)
      .map((i) => made[i]!);
    const reversed = made.map((one): Made => ({
      ...one,
      arguments: one.arguments && Object.fromEntries(Object.entries(one.arguments).reverse()),
    }));
    const attempts = (list: Made[]) => list.map((one) => ({ ...one, turn: 0 }));
    for (const key of CALL_KEYS) {
      for (const operator of ALIGNMENT_OPERATORS) {
        const score = (list: Made[]) => alignTools(attempts(list), ref.calls, { operator, key });
        assertEquals(score(reversed), score(made));
        // A call made twice with different results (which only generated calls do) keeps the first.
        if (orderFree.includes(operator) && key !== "result") {
          assertEquals(score(shuffled), score(made));
        }
      }
    }
    const pure = (list: Made[]) =>
      alignArguments(attempts(list).map((one) => ({ ...one, result: undefined })), ref.calls);
    assertAlmostEquals(pure(shuffled), pure(made), 1e-12);
    assertAlmostEquals(pure(reversed), pure(made), 1e-12);
  }));
});

Deno.test("making an invalid call valid never lowers the reward", () => {
  fc.assert(
    fc.property(turnsOf, bad, madeCall, anyReference, outcome, unit, fc.nat(), (
      turns,
      before,
      [name, args],
      ref,
      result,
      lambda,
      at,
    ) => {
      const place = (one: Made) => turns.toSpliced(at % (turns.length + 1), 0, [one]);
      const repaired = call(
        before.arguments === null ? name : before.name,
        before.arguments ?? args,
      );
      const score = (list: Made[][]) =>
        flex.score(episodeOf(list, result), ref, { lambda, kappa: 0 }).total;
      assert(score(place(repaired)) >= score(place(before)) - 1e-12);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("making a wrong argument right never lowers the reward", () => {
  fc.assert(
    fc.property(turnsOf, referenceOf, outcome, unit, fc.nat(), (turns, ref, result, lambda, at) => {
      // The other calls are of a tool that the reference does not use, or copies from it.
      const j = at % ref.calls.length;
      const target = ref.calls[j]!;
      const names = Object.keys(target.arguments);
      if (names.length === 0) return;
      const others = turns.filter((calls) => calls.every((one) => one.name !== target.name));
      const spoiled = { ...target.arguments, [names[at % names.length]!]: "spoiled" };
      const score = (args: Record<string, unknown>) => {
        const list = [...others, [call(target.name, args, target.result)]];
        return flex.score(episodeOf(list, result), ref, { lambda, kappa: 0 }).total;
      };
      assert(score(target.arguments) >= score(spoiled) - 1e-12);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("adding a missing reference call never lowers the reward", () => {
  fc.assert(
    fc.property(
      turnsOf,
      referenceOf,
      outcome,
      unit,
      fc.nat(),
      fc.constantFrom<AlignmentOperator>("tversky", "multiset-f1", "multiset-jaccard", "set-f1"),
      (turns, ref, result, lambda, mask, operator) => {
        const replayed = ref.calls.filter((_, i) => mask & (1 << i));
        const missing = ref.calls.find((_, i) => !(mask & (1 << i)));
        if (missing === undefined) return;
        const wanted = new Set(ref.calls.map((one) => one.name));
        const noise = turns.filter((calls) => calls.every((one) => !wanted.has(one.name)));
        const reward = mentorReward({ operator });
        const score = (calls: ReferenceCall[]) => {
          const list = calls.map((one) => [call(one.name, one.arguments, one.result)]);
          const whole = episodeOf([...noise, ...list], result);
          return reward.score(whole, ref, { lambda, kappa: 0 }).total;
        };
        assert(score([...replayed, missing]) >= score(replayed) - 1e-12);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("the reward does not depend on text outside what the model produced", () => {
  const plain = episode([look, add(1, 2), mul]);
  const noisy = structuredClone(plain);
  noisy.attempts[1]!.result = '<|answer|>68<|end|> \\boxed{68} {"name": "look"} </tool_call>';
  Object.assign(noisy, { prompt: "<|call|>look pen<|end_call|>", transcript: "<tool_call>" });
  for (const preset of REWARD_PRESETS) {
    const reward = mentorReward({ preset });
    assertEquals(reward.score(noisy, chain, full), reward.score(plain, chain, full));
  }
});

Deno.test("a weight of 0 removes a term from the reward but keeps its metric", () => {
  fc.assert(fc.property(turnsOf, anyReference, outcome, (turns, ref, result) => {
    const whole = flex.score(episodeOf(turns, result), ref, full);
    for (const term of ["correctness", "tools", "arguments", "validity", "format"] as const) {
      const without = mentorReward({ weights: { [term]: 0 } });
      const rest = without.score(episodeOf(turns, result), ref, full);
      assertEquals(rest.terms, whole.terms);
      assertEquals(rest.weighted[term], 0);
    }
  }));
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

// --- Alignment and arguments -------------------------------------------------------------------

Deno.test("every operator gives its textbook value", () => {
  const made = [mul, look, add(1, 2)].map((one) => ({ ...one, turn: 0 }));
  const expected: Record<AlignmentOperator, number> = {
    "set-exact": 0,
    "set-any": 1,
    "set-f1": 4 / 5,
    "multiset-f1": 4 / 5,
    "multiset-jaccard": 2 / 3,
    tversky: 1,
    lcs: 2 / 5,
    edit: 1 / 3, // mul look add against look mul: drop mul, keep look, turn add into mul
    dag: 0, // mul takes 17 from look, which came after it
    "exact-sequence": 0,
  };
  for (const operator of ALIGNMENT_OPERATORS) {
    const score = alignTools(made, chain.calls, { operator });
    assertAlmostEquals(score, expected[operator], 1e-12, operator);
    assertEquals(
      alignTools([look, mul].map((one) => ({ ...one, turn: 0 })), chain.calls, {
        operator,
      }),
      1,
    );
  }
  const halves = { operator: "tversky", alpha: 0.5, beta: 0.5, slack: 0 } as const;
  assertAlmostEquals(alignTools(made, chain.calls, halves), 4 / 5, 1e-12);
});

Deno.test("every key function compares what its name says", () => {
  const made = [{ ...call("mul", { a: 34, b: 2 }, 68), turn: 0 }];
  const reference = [asReference(mul)];
  const score = (key: typeof CALL_KEYS[number], result: unknown = 68) =>
    alignTools([{ ...made[0]!, result }], reference, { operator: "multiset-f1", key });
  assertEquals(CALL_KEYS.map((key) => score(key)), [1, 1, 0, 1]);
  assertEquals(score("result", 0), 0);
  const zero = [{ ...call("sub", { a: 1, b: 1 }, 0), turn: 0 }];
  const sameZero = [asReference(call("add", {}, 0))];
  assertEquals(alignTools(zero, sameZero, { operator: "multiset-f1", key: "result" }), 1);
});

Deno.test("a wrong value upstream is not punished again downstream", () => {
  const made = [call("look", { item: "cup" }, 5), call("mul", { a: 5, b: 4 }, 20)];
  const attempts = made.map((one) => ({ ...one, turn: 0 }));
  assertAlmostEquals(alignArguments(attempts, chain.calls), 0.5, 1e-12);
  // 5 that no call returned is just a wrong value
  const guessed = [{ ...made[1]!, turn: 0 }];
  assertAlmostEquals(alignArguments(guessed, chain.calls), 0.25, 1e-12);
  // operands swapped: each value comes from a call, but not from the one it should
  const pen = call("look", { item: "pen" }, 17);
  const cup = call("look", { item: "cup" }, 5);
  const reference = [pen, cup, call("sub", { a: 17, b: 5 }, 12)].map(asReference);
  const swapped = [pen, cup, call("sub", { a: 5, b: 17 }, -12)].map((one) => ({ ...one, turn: 0 }));
  assertAlmostEquals(alignArguments(swapped, reference), 2 / 3, 1e-12);
});

Deno.test("values are compared as their types ask", () => {
  assertEquals(valueSimilarity(3, 3.0000001), 1);
  assertEquals(valueSimilarity(3, 3.0000001, { type: "integer" }), 0);
  assertEquals(valueSimilarity(1000000, 1000001), 0);
  assertEquals(valueSimilarity(3, "3"), 0);
  assertEquals(valueSimilarity(true, 1), 0);
  assertEquals(valueSimilarity(0, false), 0);
  assertEquals(valueSimilarity(" Straße", "STRASSE"), 1);
  assertEquals(valueSimilarity("Pen", "pen", { enum: ["Pen", "pen"] }), 0);
  assertEquals(valueSimilarity("pen", "pin"), 0);
  assertAlmostEquals(valueSimilarity("pen", "pin", {}, { strings: "edit" }), 2 / 3, 1e-12);
  assertEquals(valueSimilarity([1, 2, 3], [3, 2]), 1 / 3);
  assertEquals(valueSimilarity([1, 2, 3], [3, 2], { uniqueItems: true }), 2 / 3);
  assertEquals(valueSimilarity({ a: 1, b: { c: 2 } }, { b: { c: 2 }, a: 0 }), 0.5);
});

Deno.test("a missing key counts against the arguments unless its value is the default", () => {
  const schema = { properties: { unit: { default: "m" } } };
  assertEquals(argumentSimilarity({ x: 1 }, { x: 1, unit: "m" }, schema), 1);
  assertEquals(argumentSimilarity({ x: 1, unit: "m" }, { x: 1 }, schema), 1);
  assertEquals(argumentSimilarity({ x: 1 }, { x: 1, unit: "km" }, schema), 0.5);
  assertEquals(argumentSimilarity({ x: 1 }, { x: 1, unit: "m" }), 0.5);
  assertEquals(argumentSimilarity({}, {}), 1);
});

Deno.test("assignment finds the best of all pairings and pairs as many as it can", () => {
  const weights = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })).chain(
    ([rows, columns]) =>
      fc.array(fc.array(number.map((n) => n / 4), { minLength: columns, maxLength: columns }), {
        minLength: rows,
        maxLength: rows,
      }),
  );
  const best = (w: number[][], used = 0, row = 0): number => {
    if (row === w.length) return 0;
    let top = best(w, used, row + 1);
    for (let c = 0; c < w[0]!.length; c++) {
      if (!(used & (1 << c))) top = Math.max(top, w[row]![c]! + best(w, used | (1 << c), row + 1));
    }
    return top;
  };
  fc.assert(fc.property(weights, (w) => {
    const pairs = assign(w);
    const columns = pairs.filter((column) => column >= 0);
    assertEquals(new Set(columns).size, columns.length);
    assertEquals(columns.length, Math.min(w.length, w[0]!.length));
    assertAlmostEquals(
      pairs.reduce((sum, column, row) => sum + (column < 0 ? 0 : w[row]![column]!), 0),
      best(w),
      1e-12,
    );
  }));
  const identity = (n: number) =>
    Array.from({ length: n }, (_, r) => Array.from({ length: n }, (_, c) => r === c ? 1 : 0));
  assertEquals(assign(identity(12)), Array.from({ length: 12 }, (_, i) => i));
  assertEquals(assign(identity(12).slice(0, 3)), [0, 1, 2]);
});
