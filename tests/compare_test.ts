// Comparisons: arms that are refused, and what is kept when one is stopped or goes wrong.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { armsNamed } from "../src/run/compare/arms.ts";
import { compare } from "../src/run/compare/mod.ts";
import { ConfigError } from "../src/run/config.ts";
import type { ComparisonRun } from "../src/run/report/comparison.ts";
import "../mod.ts";

Deno.test("arms that don't exist, or exist twice, are refused by name", () => {
  assertThrows(
    () => armsNamed(["flx"]),
    ConfigError,
    '"flx": there is no such arm (did you mean "flex"',
  );
  assertThrows(() => armsNamed(["flex", "flex"]), ConfigError, "with itself");
  assertThrows(() => armsNamed(["no/such.yaml"]), ConfigError, "no/such.yaml");
});

const tiny = {
  from: "assets/base-nano",
  steps: 2,
  limit: 4,
  rollout: { prompts: 2, group: 2, slots: 16 },
  grpo: { miniBatches: 1 },
  sft: { batch: 4 },
  evaluation: { prompts: 1, samples: 1 },
};

/** A result without what the clock says. */
function timeless(folder: string): unknown {
  const comparison = JSON.parse(Deno.readTextFileSync(join(folder, "comparison.json")));
  for (const run of comparison.runs) delete run.seconds;
  return comparison;
}

Deno.test("an interrupted comparison goes on, and no number changes", async () => {
  const root = Deno.makeTempDirSync();
  const own = join(root, "higher.yaml");
  Deno.writeTextFileSync(own, "reward: sparse\noptimizer: { learningRate: 0.001 }\n");
  const options = { seeds: 2, arms: ["sft", "flex", own] };
  const whole = join(root, "whole");
  await compare({ ...tiny, out: whole }, options);

  const parts = join(root, "parts");
  for (let attempt = 0;; attempt++) {
    assert(attempt < 30, "it never ends");
    const stop = new AbortController();
    let ticks = 0;
    // Each attempt is interrupted somewhat later in its work, between steps and within evaluations.
    const onProgress = () => ++ticks > 2 + 9 * attempt ? stop.abort() : undefined;
    const { comparison } = await compare(
      { ...tiny, out: parts },
      { ...options, signal: stop.signal, onProgress },
    );
    if (comparison) break;
  }
  assertEquals(timeless(parts), timeless(whole));

  const { arms, runs } = timeless(whole) as { arms: { name: string }[]; runs: ComparisonRun[] };
  assertEquals(arms.map(({ name }) => name), ["sft", "flex", "higher"]);
  assertEquals(runs.length, 6);
  assertEquals(runs.map(({ domains }) => domains.length), Array(6).fill(16));

  // Other settings would mix two experiments in one folder.
  const error = await assertRejects(
    () => compare({ ...tiny, steps: 3, out: whole }, options),
    ConfigError,
    "it was begun with other settings (steps)",
  );
  assert(error.message.includes("choose another --out"));
  await assertRejects(() => compare({ ...tiny, out: root }, options), ConfigError, "not empty");
  await assertRejects(() => compare(tiny, { seeds: 0 }), ConfigError, "over 0 seeds");
  Deno.removeSync(root, { recursive: true });
});
