/**
 * Advantages and the control of entropy against TRL and verl: what `tests/golden/make_rl_goldens.py`
 * got out of the libraries' own code.
 */

import { assertAlmostEquals, assertEquals } from "@std/assert";
import {
  type AdvantageOptions,
  groupAdvantages,
  returnAdvantages,
  termAdvantages,
  whiten,
} from "../src/rl/advantage.ts";
import { EntropyController } from "../src/rl/entropy.ts";
import { assertClose, F64_TOLERANCE, readJson, type Rows, sampled, total } from "./rl_goldens.ts";

const advantages = readJson("advantages.json");

/** Values of completions, `size` of them per prompt. */
function grouped<T>(values: T[], size: number): T[][] {
  return Array.from(
    { length: values.length / size },
    (_, g) => values.slice(g * size, (g + 1) * size),
  );
}

for (const { name, options, rewards, advantages: expected } of advantages.trl) {
  Deno.test(`advantages are those of TRL: ${name}`, () => {
    const terms: Rows = rewards.map((row: (number | null)[]) => row.map((r) => r ?? NaN));
    const weights: number[] = options.reward_weights;
    if (options.multi_objective_aggregation === "normalize_then_sum") {
      const actual = termAdvantages(grouped(terms, options.num_generations), weights).flat();
      return assertClose(actual, expected, "advantages");
    }
    const totals = terms.map((row) =>
      row.every(Number.isNaN)
        ? NaN
        : row.reduce((sum, r, k) => sum + (Number.isNaN(r) ? 0 : r * weights[k]!), 0)
    );
    const actual = groupAdvantages(grouped(totals, options.num_generations), {
      std: options.scale_rewards,
      stdFloor: 0,
      epsilon: 1e-4,
    });
    assertClose(actual.flat(), expected, "advantages");
  });
}

/** Rewards of completions by the group that each is in, advantages in the order of the completions. */
function byGroup(groups: number[], rewards: number[], options: AdvantageOptions): number[] {
  const of = (group: number) => rewards.filter((_, i) => groups[i] === group);
  return groupAdvantages([...new Set(groups)].map(of), options).flat();
}

/** A value per sequence on each of its sampled tokens. */
function spread(values: number[], mask: Rows): number[][] {
  return mask.map((row, i) => row.filter((bit) => bit === 1).map(() => values[i]!));
}

for (const { estimator, options, groups, rewards, mask, advantages: expected } of advantages.verl) {
  const totals = (rewards as Rows).map(total);
  const relative: AdvantageOptions | undefined = ({
    grpo: {
      std: options.norm_adv_by_std_in_grpo ? "group" : "none",
      stdFloor: 0,
      epsilon: 1e-6,
    },
    rloo: { baseline: "others" },
    reinforce_plus_plus_baseline: { std: "none" },
  } as const)[estimator as string];
  const single = groups.at(-1) !== groups.at(-2);
  const label = `advantages are those of verl: ${estimator} ${JSON.stringify(options)}`;
  if (relative) {
    Deno.test(`${label}${single ? ", but for a group of one" : ""}`, () => {
      const known = byGroup(groups, totals, relative);
      // Without companion there is nothing to compare with; verl takes the reward itself.
      if (single) {
        assertEquals(known.at(-1), 0);
        known[known.length - 1] = totals.at(-1)! / (relative.std === "group" ? 1 + 1e-6 : 1);
      }
      const tokens = spread(known, mask);
      const whitened = estimator === "reinforce_plus_plus_baseline" ? whiten(tokens) : tokens;
      assertClose(whitened.flatMap((row) => [...row]), sampled(expected, mask), "advantages");
    });
  }
  if (estimator === "reinforce_plus_plus" && options.gamma === 1) {
    Deno.test(`${label}, ${rewards[0][0] === 0 ? "no" : "with"} costs`, () => {
      const last = (rewards as Rows).map((row) => row.at(-1)!);
      const costs = (rewards as Rows).map((row, i) =>
        row.flatMap((r, t) => mask[i][t] === 0 ? [] : [t === row.length - 1 ? 0 : -r])
      );
      const actual = returnAdvantages(last, costs).flatMap((row) => [...row]);
      assertClose(actual, sampled(expected, mask), "advantages");
    });
  }
}

Deno.test("whitening is verl's", () => {
  for (const { options, values, mask, whitened } of advantages.whitening) {
    if (!options.shift_mean) continue; // adds the mean again
    const rows = (values as Rows).map((row, i) => row.filter((_, t) => mask[i][t] === 1));
    assertClose(whiten(rows).flatMap((row) => [...row]), sampled(whitened, mask), "whitened");
  }
});

Deno.test("the weight of the entropy bonus follows TRL's controller from step to step", () => {
  for (const { options, steps } of readJson("entropy_coefficient.json")) {
    const controller = new EntropyController({
      coefficient: options.entropy_coef,
      target: options.entropy_target,
      delta: options.entropy_coef_delta,
    });
    steps.forEach(({ entropies, applied }: { entropies: Rows; applied: number }, i: number) => {
      assertAlmostEquals(controller.coefficient, applied, F64_TOLERANCE, `step ${i}`);
      controller.observe(total(entropies.flat()) / entropies.flat().length);
    });
  }
});
