// What a dead run looks like, and how often it is spoken of.

import { assertEquals, assertMatch } from "@std/assert";
import { Watchdog } from "../src/rl/watchdog.ts";

type Metrics = Record<string, number>;

/** A step in which nothing is wrong. */
const healthy: Metrics = {
  reward: 0.5,
  pass1: 0.5,
  loss: 0.01,
  grad_norm: 0.3,
  entropy: 0.4,
  approx_kl: 0.01,
  frac_reward_zero_std: 0.2,
  advantage_std: 0.8,
  "completions/clipped_ratio": 0.1,
  "tools/no_call_frequency": 0.2,
};

/** The healthy step with something else in it; undefined takes away. */
function step(other: Record<string, number | undefined> = {}): Metrics {
  const all = Object.entries({ ...healthy, ...other });
  return Object.fromEntries(
    all.filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** The numbers of the steps, from 1, that the watchdog speaks of, and what it says last. */
function watch(steps: readonly Metrics[]): { at: number[]; said: string } {
  const watchdog = new Watchdog();
  const words = steps.map((metrics) => watchdog.observe(metrics));
  return {
    at: words.flatMap((said, i) => said.map(() => i + 1)),
    said: words.flat().at(-1) ?? "",
  };
}

const times = (n: number, metrics: Metrics) => Array<Metrics>(n).fill(metrics);

Deno.test("a healthy run and an imitation are left in peace", () => {
  assertEquals(watch(times(10, step())).at, []);
  assertEquals(watch(times(10, { loss: 1, entropy: 0.001, grad_norm: 1 })).at, []);
});

const nothing = { loss: undefined, grad_norm: undefined, entropy: undefined, approx_kl: undefined };
const dead = step({ frac_reward_zero_std: 1, advantage_std: 0, ...nothing });

for (
  const [what, first, sick, after, remedy] of [
    ["groups without a difference", [], dead, 3, /--reward flex/],
    ["no token to train on", [], step(nothing), 3, /--rollout.max-tokens/],
    ["collapsed entropy", [step()], step({ entropy: 0.005 }), 3, /0\.0050 nats.*entropy-coef/],
    ["too large an update", [], step({ approx_kl: 0.75 }), 1, /0\.75 nats.*learning-rate/],
    ["a policy that ran away", [], step({ kl: 11 }), 1, /11 nats.*--grpo.kl-coef/],
    ["no calls", [], step({ "tools/no_call_frequency": 1 }), 5, /--warmup-sft/],
    ["no end", [], step({ "completions/clipped_ratio": 0.95 }), 3, /95 %.*--rollout.max-tokens/],
  ] as const
) {
  Deno.test(`${what} is told after ${after} in a row, with a remedy, once until it has been away`, () => {
    const ill = times(after, sick);
    const { at, said } = watch([...first, ...ill, sick, sick, step(), ...ill]);
    const told = first.length + after;
    assertEquals(at, [told, told + 3 + after]);
    assertMatch(said, remedy);
    assertEquals(watch([...first, ...ill.slice(1), step(), ...ill.slice(1)]).at, []);
  });
}

Deno.test("equal rewards in groups are no trouble where advantages are not relative to them", () => {
  assertEquals(watch(times(5, step({ frac_reward_zero_std: 1, advantage_std: 0.7 }))).at, []);
});

Deno.test("little entropy is right for a model that began with little, or that answers well", () => {
  assertEquals(watch(times(5, step({ entropy: 0.005 }))).at, []);
  assertEquals(watch([step(), ...times(5, step({ entropy: 0.005, pass1: 0.95 }))]).at, []);
});
