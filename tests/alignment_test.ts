import { assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { alignArguments, ALIGNMENT_OPERATORS, alignTools, CALL_KEYS } from "../src/rl/alignment.ts";
import type { AlignmentOperator } from "../src/rl/alignment.ts";
import { argumentSimilarity, assign, valueSimilarity } from "../src/rl/arguments.ts";
import { matchCalls } from "../src/rl/call_pairs.ts";
import { add, asReference, broken, call, chain, look, mul } from "./episodes.ts";

fc.configureGlobal({ seed: 20261 });

const number = fc.integer({ min: 0, max: 4 });

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

Deno.test("a match says which calls correspond, argument by argument, and which repeat others", () => {
  const made = [
    broken("bad-arguments"),
    call("look", { item: "cup" }, 5),
    look,
    call("mul", { a: 17, b: 5, c: 1 }, 85),
    look,
    add(1, 2),
  ];
  const wanted = [look, mul, mul, add(17, 4), call("sub", {}, 0)].map(asReference);
  const { pairs, repeatedAttempts, repeatedCalls } = matchCalls(made, wanted);
  const told = pairs.map(({ attempt, call, similarity }) => [attempt, call, [...similarity]]);
  assertEquals(told, [
    [2, 0, [["item", 1]]],
    [3, 1, [["a", 1], ["b", 0], ["c", 0]]],
    [5, 3, [["a", 0], ["b", 0]]],
  ]);
  assertEquals([[...repeatedAttempts], [...repeatedCalls]], [[4], [2]]);
});

Deno.test("a match counts what came out of corresponding calls as the same", () => {
  const made = [call("look", { item: "cup" }, 5), call("mul", { a: 5, b: 3 }, 15)];
  const { pairs } = matchCalls(made, chain.calls);
  assertEquals(pairs.map(({ similarity }) => [...similarity]), [
    [["item", 0]],
    [["a", 1], ["b", 0]],
  ]);
});

Deno.test("arguments are paired as argument alignment scores them", () => {
  const args = fc.record({ a: number, b: number }, { requiredKeys: [] });
  const calls = fc.array(
    fc.record({ name: fc.constantFrom("add", "mul"), arguments: args, result: number }),
    { maxLength: 5 },
  );
  fc.assert(fc.property(calls, calls, (student, reference) => {
    const attempts = student.map((one) => ({ ...one, status: "ok" as const, turn: 0 }));
    const { pairs, repeatedCalls } = matchCalls(attempts, reference);
    const distinct = reference.length - repeatedCalls.size;
    if (distinct === 0) return;
    const sum = pairs.reduce((total, { similarity }) => {
      const parts = [...similarity.values()];
      return total + (parts.length === 0 ? 1 : parts.reduce((a, b) => a + b) / parts.length);
    }, 0);
    assertAlmostEquals(sum / distinct, alignArguments(attempts, reference), 1e-9);
  }));
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
