// The numbers of a step, worked out by hand.

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { describeGroups, describeWeights, meanMetrics } from "../src/rl/diagnostics.ts";
import type { CreditedRollout } from "../src/rl/experience.ts";
import type { UpdateMetrics } from "../src/rl/learner.ts";
import { tool } from "../src/tools/tool.ts";
import { broken, chain, episode, look, mul } from "./episodes.ts";
import { question, rolloutOf } from "./rollouts.ts";

function assertMetrics(actual: Record<string, number>, expected: Record<string, number>): void {
  for (const [name, value] of Object.entries(expected)) {
    assertAlmostEquals(actual[name]!, value, 1e-12, `${name} is ${actual[name]}`);
  }
}

const tools = ["look", "mul"].map((name) =>
  tool({ name, description: name, parameters: { type: "object" }, execute: () => 0 })
);
const task = { ...question, tools, reference: chain };
const credited = (rollout: ReturnType<typeof rolloutOf>, advantage: number): CreditedRollout => ({
  ...rollout,
  advantage,
  advantages: null,
});
const groups = [
  [
    credited(
      rolloutOf(1, {
        task,
        mask: [1, 0, 1],
        weighted: { correctness: 0.75, tools: 0.25 },
        // Right, with a call more than the teacher that repeats the first.
        episode: episode([look, mul, look], { tokens: 30 }),
      }),
      1,
    ),
    credited(
      rolloutOf(0, {
        task,
        episode: episode([broken("unknown-tool", "sell")], {
          ...{ correct: false, finished: false, tokens: 50 },
        }),
      }),
      -1,
    ),
  ],
  [0, 1].map(() =>
    credited(
      rolloutOf(0.5, { task, weighted: { format: 0.5 }, episode: { tokens: 5, correct: false } }),
      0,
    )
  ),
];
const described = describeGroups(groups);

Deno.test("rewards are described by mean, spread and terms, and groups by whether they differ", () => {
  assertMetrics(described, {
    reward: 0.5,
    reward_std: Math.sqrt(0.125),
    "rewards/correctness": 0.1875,
    "rewards/tools": 0.0625,
    "rewards/format": 0.25,
    "rewards/penalty": 0,
    pass1: 0.25,
    finished: 0.75,
    frac_reward_zero_std: 0.5,
    advantage_std: Math.sqrt(0.5),
  });
});

Deno.test("completions are described by the lengths of all and of those that ended", () => {
  assertMetrics(described, {
    num_tokens: 4 + 2 + 2 + 2,
    "completions/mean_length": 22.5,
    "completions/min_length": 5,
    "completions/max_length": 50,
    "completions/mean_terminated_length": 40 / 3,
    "completions/clipped_ratio": 0.25,
  });
});

Deno.test("calls are described by what became of them, and by tool for the tools there are", () => {
  assertMetrics(described, {
    "tools/call_frequency": 1,
    "tools/failure_frequency": 0.25,
    "tools/validity": 0.75,
    "tools/over_call_frequency": 0.25,
    "tools/repeat_frequency": 0.25,
    "tools/no_call_frequency": 0.5,
    "tools/look/call_frequency": 0.5,
    "tools/look/failure_frequency": 0,
    "tools/mul/call_frequency": 0.25,
  });
  assertEquals(Object.keys(described).filter((name) => name.includes("sell")), []);
});

Deno.test("what cannot be scored is left out of means", () => {
  const one = credited(rolloutOf(NaN, { task }), 0);
  assertMetrics(describeGroups([[...groups[0]!, one]]), { reward: 0.5, "rewards/tools": 0.125 });
});

Deno.test("the weights of terms go by the names of these", () => {
  const rollouts = [1, 0].map((correctness) => rolloutOf(0, { terms: { correctness } }));
  const { "term_weights/correctness": most, ...rest } = describeWeights(rollouts);
  assertEquals(most, 1);
  assertEquals(Object.keys(rest).length, 4);
});

/** What an update says, its sums with tokens that weigh 0.5 together. */
const update = (more: Record<string, number>): UpdateMetrics => ({
  ...{ loss: 0.25, grad_norm: 2, weight: 0.5, entropy: 0.5, approx_kl: 0.25, kl: 0.125 },
  ...{ clip_low: 0, clip_high: 0.25, clip_dual: 0.125, logprob_difference: 0.5 },
  ...{ ratio: 0.5, ratio_squared: 0.5, log_ratio_squared: 1 },
  ...more,
});

Deno.test("sums become means over tokens, losses and norms stay, updates are averaged", () => {
  const metrics = meanMetrics([
    update({}),
    update({ loss: 0.75, entropy: 0.25, ratio_squared: 1 }),
  ]);
  assertMetrics(metrics, {
    loss: 0.5,
    grad_norm: 2,
    entropy: 0.75,
    approx_kl: 0.5,
    "clip_ratio/low_mean": 0,
    "clip_ratio/high_mean": 0.5,
    "clip_ratio/dual_mean": 0.25,
    "clip_ratio/region_mean": 0.75,
    "sampling/sampling_logp_difference/mean": 1,
    ratio: 1,
    ratio_std: Math.sqrt(0.5), // the mean of ratio^2 is (1 + 2) / 2
    "policy/approxkl_avg": 1,
  });
  assertEquals(["kl", "weight", "ratio_squared"].filter((name) => name in metrics), []);
});

Deno.test("a divergence from the reference is told only where there is one", () => {
  assertEquals(meanMetrics([update({})], { reference: true }).kl, 0.25);
  assertEquals(meanMetrics([]), {});
});
