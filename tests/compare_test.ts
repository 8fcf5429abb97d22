// Comparisons: arms that are refused, and what is kept when one is stopped or goes wrong.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import { CheckpointError, temporaryName } from "../src/io/checkpoint.ts";
import { armNames, armsNamed, imitationRates } from "../src/run/compare/arms.ts";
import { candidates } from "../src/run/compare/bench.ts";
import { ComparisonFolder } from "../src/run/compare/folder.ts";
import { compare } from "../src/run/compare/mod.ts";
import { commandOf, regimeOf, regimeText } from "../src/run/compare/regime.ts";
import { ConfigError, configJson, resolveConfig } from "../src/run/config/mod.ts";
import type { Comparison, FailedRun } from "../src/run/report/comparison.ts";
import { report } from "../src/run/report/mod.ts";
import "../mod.ts";

const root = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(root, { recursive: true }));

/** The path of a new file. */
function fileOf(name: string, text: string): string {
  const path = join(root, name);
  Deno.writeTextFileSync(path, text);
  return path;
}

Deno.test("arms that don't exist, or exist twice, are refused by name", () => {
  const refused = (list: string[], message: string) =>
    assertThrows(() => armsNamed(list), ConfigError, message);
  refused(["flx"], '"flx": there is no such arm (did you mean "flex"');
  refused(["flex", "flex"], "with itself");
  refused(["no/such.yaml"], "no/such.yaml");
  // What the report would take for another arm, or what would lie in the folder of one.
  for (const name of ["flex.yaml", "Base.yaml", "sft-0.001.yaml"]) {
    refused([fileOf(name, "reward: sparse\n")], "Rename the file");
  }
  const [mine, rated] = ["mine.yaml", "mine-3e-4.yaml"].map((name) =>
    fileOf(name, "method: sft\n")
  ) as [string, string];
  assertEquals(armsNamed([mine, "flex"]).map(({ name }) => name), ["mine", "flex"]);
  refused([mine, rated], "Rename the file");
});

Deno.test("an arm sets nothing that all arms share, and a comparison nothing that it decides", () => {
  const settings = {
    ...{ steps: 5, seed: 1, from: "x", warmupSft: 3, out: "x", resume: "x", limit: 4 },
    ...{ tasks: "x", domains: ["arith"], size: "micro", tools: "x" },
    "rollout.group": 4,
    "rollout.prompts": 4,
    "grpo.resampleDead": 1,
    "evaluation.samples": 1,
    "checkpoint.everySteps": 1,
    "teacher.mental": 0,
    "pretrain.steps": 1,
    "chat.system": "x",
  };
  for (const [path, value] of Object.entries(settings)) {
    const [outer, inner] = path.split(".") as [string, string?];
    const config = inner === undefined ? { [outer]: value } : { [outer]: { [inner]: value } };
    const file = fileOf("own.json", JSON.stringify(config));
    assertThrows(() => armsNamed([file]), ConfigError, `it sets ${inner ? outer : path}`);
  }
  const good = { rollout: { temperature: 0.7 }, sft: { batch: 16 }, grpo: { miniBatches: 1 } };
  armsNamed([fileOf("own.json", JSON.stringify(good))]);

  for (
    const [input, message] of [
      [{ resume: "x" }, "resume"],
      [{ warmupSft: 0 }, "warmupSft"],
      [{ evaluation: { everySteps: 5 } }, "evaluation.everySteps"],
      [{ checkpoint: { everySteps: 5 } }, "checkpoint.everySteps"],
      [{ grpo: { resampleDead: 1 } }, "grpo.resampleDead"],
    ] as const
  ) assertThrows(() => regimeOf(input, []), ConfigError, `Cannot compare with ${message} set`);
});

Deno.test("regime and command are those of the settings", () => {
  const text = (input: Record<string, unknown>, ...arms: string[]) =>
    regimeText(regimeOf(input, armsNamed(arms)));
  const usual = text({}, "sft", "flex");
  for (
    const part of [
      "A nano student (3 layers of 64 channels) is pretrained per seed, for 2000 steps",
      "the same 256 prompts of 5 domains (arith, shop, unit, table, none)",
      "Reinforcement: 120 steps of 16 prompts x 8 episodes",
      "Imitation: as many training sequences (480 steps of 32), learning rate (0.0003 or 0.001)",
      "The teacher does 30 % of additions",
      "Evaluation: 64 prompts per domain",
      "of each 4 answers sampled",
    ]
  ) assertStringIncludes(usual, part);

  const other = text({
    ...{ steps: 7, limit: 9, from: "my/model", teacher: { mental: 0 }, sft: { learningRate: 0.1 } },
    evaluation: { prompts: 5, samples: 1 },
  }, "sft");
  for (
    const part of [
      "All arms start from the model my/model.",
      "the same 9 prompts",
      "(28 steps of 32), number of steps chosen",
      "The teacher shows every call.",
      "Evaluation: 5 prompts per domain",
      "1 answer sampled",
    ]
  ) assertStringIncludes(other, part);
  assert(!other.includes("Reinforcement:") && !other.includes("pretrained"));
  assertStringIncludes(
    text({ tasks: "my.jsonl" }, "flex"),
    "the same tasks of my.jsonl, read up to number 256. Reinforcement",
  );

  assertEquals(commandOf({}, armNames, 5), "./mentor compare --seeds 5");
  const input = { out: "x", rollout: { maxTokens: null }, tasks: "it's.jsonl", seed: -1 };
  const command = commandOf(input, ["sft", "a b.yaml"], 2);
  assertEquals(
    command,
    "./mentor compare --seeds 2 --arms 'sft,a b.yaml' --rollout.max-tokens null " +
      "--tasks 'it'\\''s.jsonl' --seed -1",
  );
});

Deno.test("imitation chooses among steps that were due, wherever it was interrupted", () => {
  const path = join(root, "run");
  Deno.mkdirSync(path);
  const config = resolveConfig({ flags: { steps: 5, checkpoint: { everySteps: 2 } } });
  Deno.writeTextFileSync(join(path, "config.json"), configJson(config));
  for (const step of [2, 3, 4, 5]) Deno.mkdirSync(join(path, `checkpoint-${step}`));
  assertEquals(candidates(path, config), [2, 4, 5]);
});

Deno.test("a comparison's folder is no other's, and one process's at a time", () => {
  const path = join(root, "folder");
  const settings = { steps: 1, grpo: { epochs: 1 }, arms: [{ name: "a" }] };
  Deno.mkdirSync(path);
  // Killed while it was begun.
  Deno.writeTextFileSync(temporaryName(join(path, "settings.json")), "{");
  Deno.writeTextFileSync(join(path, "lock"), "");
  {
    using folder = new ComparisonFolder(path, settings);
    folder.keep(0, "a", { x: 1 });
    assertThrows(() => new ComparisonFolder(path, settings), CheckpointError, "another process");
  }
  {
    using again = new ComparisonFolder(path, { ...settings, grpo: { epochs: 1 } });
    assertEquals([again.result(0, "a"), again.result(1, "a")], [{ x: 1 }, null]);
  }
  const changed = { steps: 2, grpo: { epochs: 2 }, arms: [{ name: "a" }] };
  assertThrows(
    () => new ComparisonFolder(path, changed),
    ConfigError,
    "it was begun with other settings (steps, grpo.epochs)",
  );
  new ComparisonFolder(path, settings)[Symbol.dispose]();
  const other = join(root, "other");
  Deno.mkdirSync(other);
  Deno.writeTextFileSync(join(other, "mine.txt"), "");
  assertThrows(() => new ComparisonFolder(other, settings), ConfigError, "not empty");
  assertEquals([...Deno.readDirSync(other)].length, 1);
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
  const own = fileOf("higher.yaml", "reward: sparse\noptimizer: { learningRate: 0.001 }\n");
  const options = { seeds: 2, arms: ["sft", "flex", own] };
  const whole = join(root, "whole");
  // More seeds later are those that there would have been at once.
  await compare({ ...tiny, out: whole }, { ...options, seeds: 1 });
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

  const { arms, runs, base, gates, failed } = timeless(whole) as Comparison;
  assertEquals(arms.map(({ name }) => name), ["sft", "flex", "higher"]);
  assertEquals(runs.length, 6);
  assertEquals(runs.map(({ domains }) => domains.length), Array(6).fill(16));
  assertEquals(failed, []);
  for (const { arm, steps, prompts, learningRate, curve } of runs) {
    const imitates = arm === "sft";
    assertEquals(prompts, steps * (imitates ? 4 : 2));
    assertEquals(imitationRates.includes(learningRate ?? NaN), imitates);
    assertEquals([curve.at(-1)!.step, curve.at(-1)!.rollouts], [steps, imitates ? 0 : 4 * steps]);
  }
  assert(base.flat().every(({ partial }) => partial! >= 0));
  assertEquals(gates!.map(({ seed }) => seed), [0, 1]);

  // Other settings would mix two experiments in one folder, and so would another model.
  const error = await assertRejects(
    () => compare({ ...tiny, steps: 3, out: whole }, options),
    ConfigError,
    "it was begun with other settings (steps)",
  );
  assert(error.message.includes("choose another --out"));
  const { contents } = JSON.parse(Deno.readTextFileSync(join(whole, "settings.json")));
  assertEquals(Object.keys(contents), ["from"]);
  await assertRejects(() => compare({ ...tiny, out: root }, options), ConfigError, "not empty");
  await assertRejects(() => compare(tiny, { seeds: 0 }), ConfigError, "over 0 seeds");
});

Deno.test("what is done is summarised without the runs, as comparisons of before are", async () => {
  // Of the comparison above.
  const [whole, bare] = [join(root, "whole"), join(root, "bare")];
  Deno.mkdirSync(join(bare, "seed-0"), { recursive: true });
  Deno.copyFileSync(join(whole, "settings.json"), join(bare, "settings.json"));
  for (const name of ["base", "sft", "flex", "higher"]) {
    const result = JSON.parse(Deno.readTextFileSync(join(whole, "seed-0", `${name}.json`)));
    // Partial credit, and what was chosen, were not kept at first.
    delete result.learningRate;
    for (const row of name === "base" ? result : result.domains) delete row.partial;
    Deno.writeTextFileSync(join(bare, "seed-0", `${name}.json`), JSON.stringify(result));
  }
  const arms = ["sft", "flex", join(root, "higher.yaml")];
  const onProgress = () => {
    throw new Error("there is nothing to do");
  };
  const { comparison } = await compare({ ...tiny, out: bare }, { seeds: 1, arms, onProgress });
  assertEquals(comparison!.runs.length, 3);
  assertEquals(comparison!.gates!.map(({ partial }) => partial), [NaN]);
  assertEquals(comparison!.summary[0]!.measures.pass1.low, -Infinity);
  assertStringIncludes(comparison!.conclusion, "cannot be said");
  report(bare);
  assertStringIncludes(Deno.readTextFileSync(join(bare, "report.html")), "--seeds 1");
});

Deno.test("an abort ends evaluations and pretraining at once, and leaves nothing half-done", async () => {
  const { from: _from, ...scratch } = { ...tiny, pretrain: { steps: 500, batch: 2 } };
  for (const [input, begun] of [[tiny, "base: evaluate"], [scratch, "base: pretrain"]] as const) {
    const out = join(root, begun.slice(6));
    const stop = new AbortController();
    let after = 0;
    const onProgress = (what: string, done: number) => {
      if (stop.signal.aborted) after++;
      if (what.endsWith(begun) && done === 2) stop.abort();
    };
    const options = { seeds: 1, arms: ["flex"], signal: stop.signal, onProgress };
    assertEquals(await compare({ ...input, out }, options), { folder: out, comparison: null });
    assert(after < 12, `${after} more`); // of the 32 episodes those of the same round
    assertThrows(() => Deno.statSync(join(out, "seed-0")), Deno.errors.NotFound);
  }
});

Deno.test("an arm that diverges is kept as failed, and the others go on", async () => {
  const out = join(root, "diverged");
  const options = { seeds: 1, arms: ["sparse", "flex"] };
  const stop = new AbortController();
  await compare({ ...tiny, out }, {
    ...options,
    signal: stop.signal,
    onProgress: (what) => what === "seed 0 sparse: train" ? stop.abort() : undefined,
  });
  const weights = join(out, "seed-0", "sparse", "checkpoint-1", "model.safetensors");
  const bytes = Deno.readFileSync(weights);
  bytes.fill(0xff, 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true))); // no numbers
  Deno.writeFileSync(weights, bytes);
  for (let twice = 0; twice < 2; twice++) {
    const { comparison } = await compare({ ...tiny, out }, options);
    assertEquals(comparison!.runs.map(({ arm }) => arm), ["flex"]);
    const [{ arm, seed, failed }] = comparison!.failed as [FailedRun];
    assertEquals([arm, seed], ["sparse", 0]);
    assertStringIncludes(failed, "Step 2: ");
    assertStringIncludes(
      comparison!.conclusion,
      "diverged in sparse with seed 0; that is left out",
    );
  }
});
