// The examples: short, over the public API alone, and they do what they say.

import { assert, assertAlmostEquals, assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { join } from "@std/path";
import * as customTool from "../examples/custom_tool.ts";
import { trainByEntropyWeights } from "../examples/entropy_weights.ts";
import { againstTeacher, trainOnRegret } from "../examples/regret.ts";
import { agreement, trainByTurns } from "../examples/turn_credit.ts";
import {
  callTool,
  mentorReward,
  openPython,
  parseTasks,
  replay,
  type RunResult,
  type StepEvent,
  train,
  type TrainOptions,
} from "../mod.ts";
import { broken, chain, episode, look, mul, wrong } from "./episodes.ts";

const runs = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(runs, { recursive: true }));

/** Two steps of two prompts. */
const tiny = {
  steps: 2,
  rollout: { prompts: 2, group: 4, slots: 8 },
  evaluation: { prompts: 0 },
};

/** Options that note the steps of a run. */
function watched(): { options: TrainOptions; steps: StepEvent[] } {
  const steps: StepEvent[] = [];
  return {
    steps,
    options: { runs, onEvent: (event) => event.type === "step" && steps.push(event) },
  };
}

/** One line of a run's episodes. */
interface EpisodeLine {
  step: number;
  group: number;
  reward: number;
  advantage: number;
  attempts: { name: string; status: string; result?: unknown }[];
}

const episodesOf = ({ run }: RunResult): EpisodeLine[] =>
  Deno.readTextFileSync(join(run, "episodes.jsonl")).trim().split("\n").map((line) =>
    JSON.parse(line)
  );

const folder = new URL("../examples/", import.meta.url);

for (const { name, isFile } of Deno.readDirSync(folder)) {
  if (!isFile) continue; // tasks and tools without code
  Deno.test(`examples/${name} has less than 60 lines and imports the public API alone`, () => {
    const text = Deno.readTextFileSync(new URL(name, folder));
    assertLess(text.trimEnd().split("\n").length, 60);
    const imports = [...text.matchAll(/(?:from|import|import\()\s*"([^"]+)"/g)];
    assertEquals([...new Set(imports.map((match) => match[1]))], ["../mod.ts"]);
    assert(text.startsWith("/**\n") && text.includes("if (import.meta.main)"));
  });
}

Deno.test("the teacher's replay has no regret, and calls cost more the later it is", () => {
  const regret = (made: Parameters<typeof episode>[0], progress: number, rest = {}) =>
    againstTeacher(episode(made, rest), chain, { progress }).total;
  for (const progress of [0, 0.45, 1]) {
    assertAlmostEquals(againstTeacher(replay(chain), chain, { progress }).total, 0, 1e-12);
  }
  // A wrong answer, aligned well: 0.7 and four fifths of 0.3 are lost.
  assertAlmostEquals(regret([look, mul], 0, wrong), -0.94, 1e-12);
  // A call that fails is 0.025 of validity at first (2 of 3 executed: 0.05 / 3) ...
  const extra = [look, broken("failed"), mul];
  const early = regret(extra, 0);
  assertAlmostEquals(early, -0.05 / 3, 1e-12);
  // ... and 0.02 more once costs are phased in.
  assertAlmostEquals(regret(extra, 0.45), early - 0.01, 1e-12);
  assertAlmostEquals(regret(extra, 1), early - 0.02, 1e-12);
});

Deno.test("regrets of the teacher are the advantages, without a mean of the group", async () => {
  const { options } = watched();
  const result = await trainOnRegret("teacher", tiny, options);
  const episodes = episodesOf(result);
  assertEquals(episodes.length, 16);
  for (const { reward, advantage } of episodes) assertAlmostEquals(advantage, reward, 1e-12);
  assert(episodes.every(({ reward }) => reward < 0.1) && episodes.some(({ reward }) => reward < 0));
});

Deno.test("before it has learned anything, a policy has no regret of itself on any prompt", async () => {
  const { options, steps } = watched();
  const result = await trainOnRegret("base", tiny, options);
  const first = episodesOf(result).filter(({ step }) => step === 1);
  for (const group of [0, 1]) {
    const rewards = first.filter((one) => one.group === group).map(({ reward }) => reward);
    assertAlmostEquals(rewards.reduce((a, b) => a + b, 0), 0, 1e-9);
  }
  assert(first.some(({ reward }) => reward !== 0));
  // The run that measures the base, and the one that learns.
  assertEquals(steps.map(({ step }) => step), [1, 2, 1, 2]);
});

Deno.test("the base of a regret is not trained in a warm-up either, and settings are kept", async () => {
  const own = join(runs, "warm");
  const settings = {
    ...{ ...tiny, warmupSft: 2, sft: { batch: 4, learningRate: 1e-2 } },
    grpo: { miniBatches: 1, clipHigh: 0.3, resampleDead: 1 },
  };
  const { run } = await trainOnRegret("base", settings, { runs: own });
  const { grpo, sft } = JSON.parse(Deno.readTextFileSync(join(run, "config.json")));
  assertEquals(
    [grpo.estimator, grpo.miniBatches, grpo.clipHigh, grpo.resampleDead, sft.batch],
    ["none", 1, 0.3, 0, 4],
  );
  const weights = (folder: string) => Deno.readFileSync(join(folder, "model/model.safetensors"));
  const still = [...Deno.readDirSync(own)].map(({ name }) => join(own, name))
    .find((path) => path !== run)!;
  const untouched = await train({ steps: 0, evaluation: { prompts: 0 } }, { runs });
  assertEquals(weights(still), weights(untouched.run));
  assertNotEquals(weights(run), weights(untouched.run));
});

Deno.test("entropy weights are reported for every step, add up to 1 and change", async () => {
  const { options } = watched();
  const settings = { ...tiny, rollout: { ...tiny.rollout, prompts: 8 } };
  const { history } = await trainByEntropyWeights(settings, options);
  assertEquals(history.length, 2);
  for (const weights of history) {
    assertEquals(Object.keys(weights).sort(), [
      ...["arguments", "correctness", "format", "tools", "validity"],
    ]);
    assertAlmostEquals(Object.values(weights).reduce((a, b) => a + b, 0), 1, 1e-12);
  }
  assertNotEquals(history[0], history[1]);
});

Deno.test("turns are credited by how far their calls agree with the teacher's", async () => {
  const after = (made: Parameters<typeof episode>[0]) => agreement(episode(made), chain, {});
  assertAlmostEquals(after([]), 0, 1e-12);
  assertAlmostEquals(after([look]), 0.3 * 2 / 3 + 0.2 / 2, 1e-12);
  assertAlmostEquals(after([look, mul]), 0.5, 1e-12);
  assertEquals(agreement(episode([look]), null, {}), 0);
  const { options, steps } = watched();
  const result = await trainByTurns(tiny, options);
  assertEquals([result.status, steps.length], ["done", 2]);
  // The answer alone is rewarded: 1, 0.1 or, without an end, nothing.
  assert(episodesOf(result).every(({ reward }) => [0, 0.1, 1].includes(reward)));
  // Equal rewards are no lack of signal here.
  assert(steps.every(({ metrics }) => metrics.advantage_std! > 0));
});

Deno.test("a tool of one's own is called after a few steps, and its reward is the one that counts", async () => {
  const { options, steps } = watched();
  const settings = { ...tiny, steps: 1, warmupSft: 8 };
  const result = await customTool.trainOnStock(settings, options);
  const episodes = episodesOf(result);
  const calls = episodes.flatMap(({ attempts }) => attempts);
  assert(calls.some(({ name, status }) => name === "stock" && status === "ok"));
  for (const { reward, attempts } of episodes) {
    const fee = 0.1 * Math.max(0, attempts.length - 1);
    assert([1 - fee, -fee].some((expected) => Math.abs(reward - expected) < 1e-12));
  }
  assertEquals(steps.map(({ method }) => method), [...Array(8).fill("sft"), "grpo"]);
});

Deno.test("scores of the example's own are those of the sparse reward but for the fee", () => {
  for (const one of [episode([look]), episode([look], { ...wrong })]) {
    const sparse = mentorReward({ preset: "sparse" }).score(one, null).weighted.correctness;
    assertEquals(customTool.score(one).total, sparse);
  }
  assertAlmostEquals(customTool.score(episode([look, mul])).total, 0.9, 1e-12);
});

Deno.test("the calculations of the example for Python come to their answers in Python", async () => {
  await using python = await openPython();
  const text = Deno.readTextFileSync(new URL("python/calculations.jsonl", folder));
  const tasks = parseTasks(text, { source: "calculations.jsonl", tools: [python] });
  for (const { answer, reference } of tasks) {
    const [call] = reference!.calls;
    assertEquals((await callTool(python, call!.arguments, {})).text, answer);
  }
});

Deno.test("the README has a line for every example", () => {
  const readme = Deno.readTextFileSync(new URL("../README.md", import.meta.url));
  for (const { name } of Deno.readDirSync(folder)) {
    assert(readme.includes(`examples/${name}`), name);
  }
});
