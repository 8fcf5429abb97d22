import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { deadGroupFraction, groupAdvantages, isDead } from "../src/rl/advantage.ts";

Deno.test("advantages are centred rewards over the unbiased standard deviation of the group", () => {
  // mean 0.5, squared deviations sum to 1, so s = sqrt(1 / 3)
  const [group] = groupAdvantages([[1, 0, 1, 0]]);
  const expected = 0.5 * Math.sqrt(3);
  for (const [i, advantage] of group!.entries()) {
    assertAlmostEquals(advantage, i % 2 === 0 ? expected : -expected, 1e-12);
  }
});

Deno.test("the floor keeps small differences small", () => {
  const [group] = groupAdvantages([[0.16, 0.1, 0.1, 0.1]]);
  assertAlmostEquals(group![0]!, 0.045 / 0.1, 1e-12);
  const [unfloored] = groupAdvantages([[0.16, 0.1, 0.1, 0.1]], { stdFloor: 0 });
  assertAlmostEquals(unfloored![0]!, 1.5, 1e-9);
});

Deno.test("the batch scale divides every group by the deviation over the whole batch", () => {
  // all rewards: mean 0.75, squared deviations sum to 2.75
  const batch = [[0, 1], [2, 0]];
  const s = Math.sqrt(2.75 / 3);
  const [first, second] = groupAdvantages(batch, { std: "batch" });
  assertAlmostEquals(first![1]!, 0.5 / s, 1e-12);
  assertAlmostEquals(second![0]!, 1 / s, 1e-12);
});

Deno.test("the scale none leaves centred rewards", () => {
  assertEquals(groupAdvantages([[1, 0], [0.5, 0.25]], { std: "none" }), [
    [0.5, -0.5],
    [0.125, -0.125],
  ]);
});

Deno.test("unscorable rollouts get no advantage and do not shift the others", () => {
  const [withNaN] = groupAdvantages([[1, NaN, 0]]);
  const [without] = groupAdvantages([[1, 0]]);
  assertEquals(withNaN, [without![0]!, 0, without![1]!]);
  assertEquals(groupAdvantages([[NaN, 1], [NaN], []]), [[0, 0], [0], []]);
  const batch = groupAdvantages([[1, NaN, 0], [1, 0]], { std: "batch" });
  assert(batch.flat().every(Number.isFinite));
});

Deno.test("a dead group has advantage exactly 0 under every scale", () => {
  for (const std of ["group", "batch", "none"] as const) {
    assertEquals(groupAdvantages([[0.1 + 0.2, 0.3, 0.3], [7]], { std, stdFloor: 0 }), [
      [0, 0, 0],
      [0],
    ]);
  }
});

Deno.test("groups without differences or companions are dead", () => {
  assert(isDead([]));
  assert(isDead([1]));
  assert(isDead([1, NaN]));
  assert(isDead([0.1 + 0.2, 0.3]));
  assert(!isDead([0, 0.001]));
  assertEquals(deadGroupFraction([[0, 0], [0, 1], [1, 1], [1, 0]]), 0.5);
  assertEquals(deadGroupFraction([]), 0);
});

Deno.test("advantages refuse infinite rewards and bad options", () => {
  assertThrows(() => groupAdvantages([[1, Infinity]]), RangeError, "Infinity");
  assertThrows(() => groupAdvantages([[1, 0]], { stdFloor: -1 }), RangeError, "stdFloor");
  assertThrows(() => groupAdvantages([[1, 0]], { std: "all" as never }), TypeError, "all");
});
