// From rewards to the advantage of each token: every estimator by numbers worked out by hand.

import { turnAdvantages } from "../src/rl/advantage.ts";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { creditGroups, type CreditOptions, termWeights } from "../src/rl/credit.ts";
import type { Potential, ScoredRollout } from "../src/rl/experience.ts";
import { rolloutOf } from "./rollouts.ts";

const options: CreditOptions = {
  estimator: "group",
  std: "group",
  stdFloor: 0.1,
  normalise: "sum",
  weighting: "fixed",
  truncatedPenalty: 0,
};

function near(actual: readonly number[], expected: readonly number[], tolerance = 1e-7): void {
  assertEquals(actual.length, expected.length, String(actual));
  actual.forEach((value, i) => assertAlmostEquals(value, expected[i]!, tolerance, `number ${i}`));
}

/** The advantages of one group's episodes. */
function credit(
  rollouts: ScoredRollout[],
  more: Partial<CreditOptions> = {},
  rest: Parameters<typeof creditGroups>[2] = {},
): number[] {
  return creditGroups([rollouts], { ...options, ...more }, rest).flat()
    .map(({ advantage }) => advantage);
}

const rewards = (...totals: number[]) => totals.map((total) => rolloutOf(total));
const s = Math.SQRT1_2; // the deviation of 1 and 0

Deno.test("the estimators differ in what is subtracted and what is divided by", () => {
  near(credit(rewards(1, 0)), [0.5 / s, -0.5 / s]);
  near(credit(rewards(1, 0), { std: "none" }), [0.5, -0.5]);
  // The others' mean is 0, and 1/3 seen from each of them.
  near(credit(rewards(1, 0, 0, 0), { estimator: "rloo" }), [1, -1 / 3, -1 / 3, -1 / 3]);
  near(credit(rewards(1, -0.25), { estimator: "none" }), [1, -0.25]);
});

Deno.test("an episode that was cut short, and the divergence of its tokens, cost reward", () => {
  const cut = rolloutOf(1, { mask: [1, 1], episode: { finished: false } });
  const costs = [Float64Array.of(0, 0.125, 0.25), Float64Array.of(0, 0)];
  const all = { estimator: "none", truncatedPenalty: 0.5 } as const;
  near(credit([cut, rolloutOf(1)], all, { costs }), [1 - 0.5 - 0.375, 1]);
  // It was not the context that ended a loop.
  near(credit([{ ...cut, cut: "loop" }, { ...cut, cut: "context" }], all), [1, 0.5]);
  // Turns have no costs of single tokens either, whatever the estimator.
  const more = { costs, potential: () => 0 };
  const floored = { ...all, estimator: "reinforce++", stdFloor: 1 } as const;
  near(credit([cut, rolloutOf(1)], floored, more), [-0.4375, 0.4375]);
});

Deno.test("in REINFORCE++ tokens have returns of their own, whitened over all of them", () => {
  const group = [rolloutOf(1, { mask: [1, 0] }), rolloutOf(0, { mask: [1, 0, 1] })];
  const costs = [Float64Array.of(0, 0.25, 9), Float64Array.of(0, 0.25, 9, 0.25)];
  const [first, second] = creditGroups([group], { ...options, estimator: "reinforce++" }, { costs })
    .flat();
  // Returns 0.75, and -0.5 and -0.25 from the end: their mean is 0, their variance 0.875 / 2.
  const scale = Math.sqrt(0.4375);
  near([...first!.advantages!], [0, 0.75 / scale, 0]);
  near([...second!.advantages!], [0, -0.5 / scale, 0, -0.25 / scale]);
  near([first!.advantage, second!.advantage], [0.75 / scale, -0.375 / scale]);
});

Deno.test("with the group as baseline, the longer episode counts once per token in whitening", () => {
  const group = [rolloutOf(1), rolloutOf(0, { mask: [1, 1, 1] })];
  const credited = creditGroups([group], { ...options, estimator: "reinforce++-baseline" }).flat();
  // Centred: 0.5 once and -0.5 three times; mean -0.25, variance 0.25.
  near([...credited[0]!.advantages!], [0, 1.5]);
  near([...credited[1]!.advantages!], [0, -0.5, -0.5, -0.5]);
});

Deno.test("normalised one by one, a small term counts by its weight and not by its size", () => {
  const group = [
    rolloutOf(0.7, { weighted: { correctness: 0.7 } }),
    rolloutOf(0.01, { weighted: { tools: 0.01 } }),
  ];
  near(credit(group), [0.5 / s, -0.5 / s], 0.01);
  const terms = { normalise: "terms" } as const;
  near(credit(group, terms, { weights: { correctness: 2, tools: 1 } }), [s, -s], 0.01);
  near(credit(group, terms, { weights: { correctness: 1, tools: 2 } }), [-s, s], 0.05);
});

Deno.test("what terms normalised one by one have no place for is refused", () => {
  const terms = { normalise: "terms" } as const;
  const costs = [Float64Array.of(0, 1), Float64Array.of(0, 1)];
  assertThrows(() => credit(rewards(1, 0), terms, { costs }), TypeError, "klIn");
  assertThrows(
    () => credit(rewards(1, 0), { ...terms, truncatedPenalty: 1 }),
    TypeError,
    "truncatedPenalty",
  );
});

Deno.test("a term that is the same for all episodes weighs nothing, a rare one most", () => {
  const group = [
    rolloutOf(9, { terms: { correctness: 1, tools: 1, format: 0.5 } }),
    rolloutOf(9, { terms: { correctness: 0, tools: 1, format: 0.5 } }),
    rolloutOf(9, { terms: { correctness: 0, tools: 0, format: 0.5 } }),
  ];
  // Entropies 0, log 2 / log 3 and 1.
  const tools = 1 - Math.log(2) / Math.log(3);
  const weights = Object.fromEntries(termWeights(group));
  near([weights.correctness!, weights.tools!, weights.format!], [
    1 / (1 + tools),
    tools / (1 + tools),
    0,
  ]);
  assertEquals(Object.keys(weights), ["correctness", "tools", "arguments", "validity", "format"]);
  const entropy = { weighting: "entropy", estimator: "none" } as const;
  near(credit(group, entropy), [1, tools / (1 + tools), 0]);
});

Deno.test("entropy weights leave penalties alone, and unfinished episodes without reward", () => {
  const group = [
    rolloutOf(9, { terms: { correctness: 1, penalty: 1 }, weighted: { penalty: -0.25 } }),
    rolloutOf(9, { terms: { correctness: 1 }, episode: { finished: false } }),
    rolloutOf(9, { terms: { correctness: 0 } }),
    rolloutOf(NaN),
  ];
  const entropy = { weighting: "entropy", estimator: "none" } as const;
  near(credit(group, entropy), [0.75, 0, 0, 0]);
});

Deno.test("a potential credits each turn with what was still to come, on its own tokens", () => {
  const [turns, attempts] = [[{ wellFormed: true }, { wellFormed: true }], []];
  const group = [
    rolloutOf(1, { mask: [1, 1, 0, 1], episode: { turns, attempts, answer: "good" } }),
    rolloutOf(0, { mask: [1, 0, 1], episode: { turns, attempts, answer: "bad" } }),
  ];
  // Prefixes have no answer yet, so the good one is told by its tokens.
  const known = new Map([["good", 1], ["bad", 0]]);
  const seen: (string | null)[] = [];
  const potential: Potential = ({ answer, turns }) => {
    seen.push(answer);
    return answer === null ? (seen.length === 1 ? 0.5 : 0) : known.get(answer)! * turns.length / 2;
  };
  const [good, bad] = creditGroups([group], options, { potential }).flat();
  assertEquals(seen, [null, "good", null, "bad"]);
  // Worth 1 + 1 and 0 + 0, whose deviation is 2 s. Turn 1: 2 and 0, mean 1. Turn 2: 2 - 0.5 and 0,
  // mean 0.75.
  near([...good!.advantages!], [0, 0.5 / s, 0.5 / s, 0, 0.375 / s]);
  near([...bad!.advantages!], [0, -0.5 / s, 0, -0.375 / s]);
});

Deno.test("where all fail, a right first call is worth more than none, and what follows it is not", () => {
  // One came half way with its first turn and no further; the other nowhere.
  const [[first, second]] = turnAdvantages([[0, 0]], [[[0.5, 0.5], [0, 0]]]) as [
    [number[], number[]],
  ];
  near(first, [s, 0]);
  near(second, [-s, 0]);
  // An episode that is over has its reward left, and nothing else.
  near(turnAdvantages([[1, 0]], [[[0], [0, 0]]])[0]![1]!, [-0.5 / s, -0.5 / s]);
});

Deno.test("what nobody can score gets no advantage and takes none from others", () => {
  for (
    const estimator of ["group", "rloo", "none", "reinforce++", "reinforce++-baseline"] as const
  ) {
    const alone = credit(rewards(1, 0), { estimator });
    near(credit(rewards(1, NaN, 0), { estimator }), [alone[0]!, 0, alone[1]!]);
  }
  const potential: Potential = () => 0;
  near(credit(rewards(1, NaN, 0), {}, { potential }), [0.5 / s, 0, -0.5 / s]);
});
