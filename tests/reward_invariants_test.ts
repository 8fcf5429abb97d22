import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Reference, ReferenceCall } from "../src/tasks/task.ts";
import { alignArguments, ALIGNMENT_OPERATORS, alignTools, CALL_KEYS } from "../src/rl/alignment.ts";
import type { AlignmentOperator } from "../src/rl/alignment.ts";
import { mentorReward, REWARD_PRESETS } from "../src/rl/reward.ts";
import type { AttemptStatus } from "../src/rl/reward.ts";
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

fc.configureGlobal({ seed: 20261, numRuns: 300 });

const flex = mentorReward();
const full = { lambda: 1, kappa: 1 };

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
      // Without other calls of the same tool, it is plain which call is paired with the target.
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
