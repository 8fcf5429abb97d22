// Every method as a run: its numbers, its settings, and that it stops and goes on.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import {
  CheckpointError,
  ConfigError,
  Decoder,
  Gpu,
  mentorReward,
  plan,
  Tokenizer,
  train,
} from "../mod.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { readEvents, type RunEvent, type StepEvent } from "../src/run/events.ts";
import { RunFolder } from "../src/run/store.ts";
import { studentFiles } from "../src/run/student.ts";
import { tiny } from "./models.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
let runs = 0;
const freshPath = () => join(folder, `run-${runs++}`);

function settings(method: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    method,
    out: freshPath(),
    steps: 3,
    rollout: { prompts: 4, group: 2, slots: 8 },
    evaluation: { prompts: 0 },
    checkpoint: { everySteps: 0 },
    sft: { batch: 2, learningRate: 1e-3 },
    ...more,
  };
}

function stepsOf(run: string): StepEvent[] {
  return readEvents(join(run, "events.jsonl")).filter((event) => event.type === "step");
}

/** Everything that a run leaves, without what may differ between equal ones. */
async function traces(run: string, files: readonly string[]) {
  const events = readEvents(join(run, "events.jsonl")).map((event) => {
    const { time: _time, timing: _timing, ...rest } = event as RunEvent & { timing?: unknown };
    return rest;
  });
  const last = RunFolder.open(run).checkpoint(3);
  const trained = await Promise.all(files.map((name) => Deno.readFile(join(last, name))));
  return { events, trained, episodes: await Deno.readTextFile(join(run, "episodes.jsonl")) };
}

/** A model that the teacher's way was shown to, to learn from and to judge by. */
const shown = (async () => {
  const imitation = { steps: 24, sft: { batch: 32, learningRate: 1e-3 } };
  return (await train(settings("sft", imitation))).model;
})();

async function episodesOf(run: string) {
  const text = await Deno.readTextFile(join(run, "episodes.jsonl"));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

const finite = (values: readonly (number | undefined)[]) =>
  assert(values.every((value) => Number.isFinite(value)), String(values));

Deno.test("ppo reports its values, its divergence and the episodes' advantages", async () => {
  const { run } = await train(settings("ppo", { ppo: { miniBatches: 2, epochs: 2 } }));
  const steps = stepsOf(run);
  assertEquals(steps.map(({ method }) => method), ["ppo", "ppo", "ppo"]);
  const { metrics } = steps[0]!;
  const names = ["reward", "pass1", "loss", "grad_norm", "entropy", "loss/value_avg"];
  finite([...names, "returns/mean", "approx_kl"].map((name) => metrics[name]));
  assertEquals([metrics.epochs, metrics["values/mean"]], [2, 0]);
  assertNotEquals(steps[1]!.metrics["values/mean"], 0);
  // The policy begins as its reference, and leaves it.
  const [before, after] = steps.map(({ metrics }) => Math.abs(metrics["objective/kl"]!));
  assert(before! < 1e-4 && after! > 1e-3, `${before} ${after}`);
  assertEquals(metrics.frac_reward_zero_std, undefined);
  const episodes = await episodesOf(run);
  assertEquals(episodes.length, 3 * 8);
  assert(episodes.some(({ advantage }) => advantage > 0));
  assert(episodes.some(({ advantage }) => advantage < 0));
});

const head = ["model.safetensors", "optimizer.safetensors", "value_head.safetensors"];
const critic = [...head, "critic.safetensors", "critic_optimizer.safetensors"];
const adapted = critic.map((name) => name.replace(/^model/, "adapter_model"));
const student = head.slice(0, 2);
const adapter = adapted.slice(0, 2);
const teacher = "assets/base-nano";

for (
  const [name, method, files, more] of [
    ["ppo with a value head", "ppo", head, { warmupSft: 1, steps: 2, ppo: { epochs: 2 } }],
    ["ppo with a critic", "ppo", critic, {
      ppo: { critic: "model", criticLearningRate: 1e-3, epochs: 2 },
    }],
    ["ppo with a critic of adapters", "ppo", adapted, {
      ppo: { critic: "model", epochs: 1 },
      lora: { rank: 2, dropout: 0.1 },
    }],
    ["distillation", "distill", student, { warmupSft: 1, steps: 2, distill: { teacher } }],
    ["preference", "dpo", student, {}],
    ["likelihood", "grpo", student, { likelihood: { expert: teacher, entropyWeight: 1 } }],
  ] as const
) {
  Deno.test(`a run of ${name} that was stopped goes on as if it had not been`, async () => {
    const whole = await train(settings(method, more));
    const stop = new AbortController();
    const stopped = await train(settings(method, more), {
      signal: stop.signal,
      onEvent: (event) => event.type === "step" && event.step === 2 && stop.abort(),
    });
    assertEquals(stopped.status, "stopped");
    const resumed = await train({ resume: stopped.run });
    assertEquals([resumed.status, resumed.run], ["done", stopped.run]);
    assertEquals(await traces(resumed.run, files), await traces(whole.run, files));
  });
}

const warm = { warmupSft: 2, sft: { batch: 16, learningRate: 1e-2 } };

for (
  const [name, files, more] of [
    ["weights", student, {}],
    ["adapters", adapter, { lora: { rank: 4 } }],
  ] as const
) {
  Deno.test(`methods stay close to what a warm-up of ${name} left, not to what it began with`, async () => {
    const first = async (method: string, own: Record<string, unknown> = {}) => {
      const { run } = await train(settings(method, { ...warm, ...more, ...own, steps: 1 }));

      const [shown, , step] = stepsOf(run).map(({ metrics }) => metrics);
      assertGreater(shown!.grad_norm!, 0);
      return step!;
    };
    const one = { epochs: 1, miniBatches: 1 };
    assertAlmostEquals((await first("grpo", { grpo: { ...one, klCoef: 0.1 } })).kl!, 0, 1e-5);
    assertAlmostEquals((await first("ppo", { ppo: one }))["objective/kl"]!, 0, 1e-3);
    const { loss, pairs, "rewards/margins": margins } = await first("dpo");
    assertGreater(pairs!, 0);
    assertAlmostEquals(loss!, Math.LN2, 1e-4);
    assertAlmostEquals(margins!, 0, 1e-4);
  });

  Deno.test(`a run with a warm-up of ${name} goes on with the same reference`, async () => {
    const warmed = { ...warm, ...more, warmupSft: 1, steps: 2 };
    const whole = await train(settings("dpo", warmed));
    for (const at of [1, 2]) {
      const stop = new AbortController();
      const stopped = await train(settings("dpo", warmed), {
        signal: stop.signal,
        onEvent: (event) => event.type === "step" && event.step === at && stop.abort(),
      });
      const { reference } = RunFolder.open(stopped.run);
      if (at === 2) {
        await Deno.rename(reference, `${reference}-away`);
        await assertRejects(() => train({ resume: stopped.run }), CheckpointError, reference);
        await Deno.rename(`${reference}-away`, reference);
      }
      const resumed = await train({ resume: stopped.run });
      assertEquals(await traces(resumed.run, files), await traces(whole.run, files));
    }
  });
}

Deno.test("one episode of each prompt is enough for ppo, and settings that clash are named", async () => {
  const { run } = await train(
    settings("ppo", { steps: 1, rollout: { prompts: 4, group: 1, slots: 4 }, ppo: { klCoef: 0 } }),
  );
  finite([stepsOf(run)[0]!.metrics.loss]);
  const cases: [unknown, string][] = [
    [{ rollout: { group: 1 } }, 'rollout.group = 1 with grpo.estimator = "group"'],
    [{ method: "ppo", rollout: { prompts: 1, group: 1 }, ppo: { miniBatches: 2 } }, "only 1 epis"],
    [{ method: "ppo", from: "scratch" }, 'Cannot use ppo.klCoef = 0.05 from "scratch"'],
    [{ method: "ppo", from: "scratch", ppo: { klCoef: 0, critic: "model" } }, "ppo.critic"],
    [{ method: "ppo", ppo: { criticLearningRate: 1e-3 } }, 'Set ppo.critic = "model"'],
  ];
  for (const [file, message] of cases) {
    assertThrows(() => resolveConfig({ file }), ConfigError, message);
  }
  resolveConfig({ file: { rollout: { group: 1 }, grpo: { estimator: "reinforce++" } } });
});

Deno.test("distillation brings the student nearer to its teacher, on episodes of its own", async () => {
  const distill = { teacher: await shown, miniBatches: 2 };
  const rollout = { prompts: 16, group: 4, slots: 64 };
  const optimizer = { learningRate: 1e-3 };
  const { run } = await train(settings("distill", { steps: 5, distill, rollout, optimizer }));
  const steps = stepsOf(run);
  assertEquals(steps[0]!.method, "distill");
  const names = ["reward", "pass1", "loss", "divergence", "teacher_entropy", "grad_norm"];
  finite(names.map((name) => steps[0]!.metrics[name]));
  const divergences = steps.map(({ metrics }) => metrics.divergence!);
  assertLess(divergences.at(-1)!, 0.7 * divergences[0]!, String(divergences));
  assertEquals((await episodesOf(run)).length, 5 * 64);
});

Deno.test("episodes that the context cut short are masked, and not those of too many calls", async () => {
  const preset = mentorReward();
  // What finished has no part in the update.
  const reward = {
    score: (...[episode, ...rest]: Parameters<typeof preset.score>) => ({
      ...preset.score(episode, ...rest),
      total: episode.finished ? NaN : 1,
    }),
  };
  const learns = async (limits: Record<string, number>) => {
    const rollout = { prompts: 8, group: 4, slots: 32, ...limits };
    const grpo = { truncated: "mask", estimator: "none" };
    const masking = settings("grpo", { steps: 1, grpo, rollout });
    const { metrics } = stepsOf((await train(masking, { reward })).run)[0]!;
    assertLess(metrics.finished!, 1);
    return (metrics.grad_norm ?? 0) > 0;
  };
  assertEquals(await learns({ maxCalls: 0 }), true);
  assertEquals(await learns({ maxTokens: 48 }), false);
});

Deno.test("dpo begins at indifference and comes to prefer the teacher's way", async () => {
  const { run } = await train(settings("dpo", { dpo: { beta: 0.5 } }));
  const steps = stepsOf(run);
  const { metrics } = steps[0]!;
  assertGreater(metrics.pairs!, 0);
  assertAlmostEquals(metrics.loss!, Math.LN2, 1e-4);
  assertAlmostEquals(metrics["rewards/margins"]!, 0, 1e-4);
  assertGreater(steps[2]!.metrics["rewards/margins"]!, 0.01);
  assertGreater(steps[2]!.metrics["rewards/accuracies"]!, 0.5);
  finite([metrics.reward, metrics.grad_norm, metrics["logps/chosen"]]);
});

Deno.test("an expert's likelihood is the reward, and no episode gains by not finishing", async () => {
  const presetWeight = 0.5;
  const likelihood = {
    ...{ expert: await shown, base: "assets/base-nano" },
    ...{ weight: 2, entropyWeight: 0.1, presetWeight },
  };
  const rollout = { prompts: 8, group: 4, slots: 32, maxTokens: 64 };
  for (const method of ["grpo", "ppo"]) {
    const { run } = await train(settings(method, { steps: 1, likelihood, rollout, seed: 1 }));
    const episodes = await episodesOf(run);
    const finished = episodes.filter((episode) => episode.finished);
    const others = episodes.filter((episode) => !episode.finished);
    assert(finished.length > 0 && others.length > 0, `${finished.length}, ${others.length}`);
    // What is left without the judge is the preset's, which is from 0 to 1.1.
    const totals = finished.map(({ reward, judged }) => (reward - judged) / presetWeight);
    assert(totals.every((total) => total > -1e-6 && total < 1.1 + 1e-6), String(totals));
    assert(finished.some(({ judged }) => Math.abs(judged) > 0.01));
    const least = Math.min(0, ...finished.map(({ reward }) => reward));
    assert(others.every(({ reward }) => reward === least), String(least));
    const { metrics } = stepsOf(run)[0]!;
    const mean = episodes.reduce((sum, { judged }) => sum + judged, 0) / episodes.length;
    assertAlmostEquals(metrics["rewards/judge"]!, mean, 1e-6);
  }
});

Deno.test("an expert judges at the temperature that episodes are sampled at", async () => {
  const likelihood = { expert: "assets/base-nano" };
  const rollout = { prompts: 1, group: 4, slots: 4, temperature: 0.5 };
  const { run } = await train(settings("grpo", { steps: 1, likelihood, rollout }));
  // The expert is the policy that samples them.
  for (const { judged, tokens } of await episodesOf(run)) {
    const sampled = tokens.logprobs.filter((_: number, t: number) => tokens.mask[t] === "1");
    const mean = sampled.reduce((a: number, b: number) => a + b, 0) / sampled.length;
    assertAlmostEquals(judged, mean, 1e-3);
  }
});

Deno.test("a model that does not share the student's tokens is no teacher, nor a judge", async () => {
  const path = freshPath();
  const tokenizer = Tokenizer.bytes();
  {
    using gpu = await Gpu.open();
    const sizes = { ...tiny, vocabSize: tokenizer.vocabSize + 4, maxPositions: 128 };
    using model = Decoder.create(gpu, sizes);
    await saveFolder(path, await studentFiles({ model, tokenizer, base: null }));
  }
  const refuse = async (more: Record<string, unknown>, method: string, message: string) => {
    const wrong = settings(method, more);
    await assertRejects(() => train(wrong), ConfigError, message);
    await assertRejects(() => Deno.lstat(wrong.out as string), Deno.errors.NotFound);
  };
  const theirs = `it has ${tokenizer.vocabSize + 4} tokens, the student ${tokenizer.vocabSize}`;
  await refuse({ distill: { teacher: path } }, "distill", theirs);
  await refuse({ likelihood: { expert: path } }, "grpo", "Cannot use likelihood.expert");
  const cases: [unknown, string][] = [
    [{ method: "distill" }, "without a teacher"],
    [{ method: "distill", distill: { teacher: "a", miniBatches: 200 } }, "distill.miniBatches"],
    [{ method: "dpo", from: "scratch" }, 'Cannot use method = "dpo" from "scratch"'],
    [{ likelihood: { base: "a" } }, "without an expert"],
    [{ method: "dpo", likelihood: { expert: "a" } }, "does not learn from rewards"],
    [{ grpo: { weighting: "entropy" }, likelihood: { expert: "a" } }, "preset's terms alone"],
  ];
  for (const [file, message] of cases) {
    assertThrows(() => resolveConfig({ file }), ConfigError, message);
  }
});

Deno.test("plans of every method are within 15 % of what the runs then take", async () => {
  const model = await shown;
  const cases: [string, Record<string, unknown>][] = [
    ["ppo", { ppo: { epochs: 2, miniBatches: 2 } }],
    ["ppo", { ppo: { critic: "model", klCoef: 0 } }],
    ["ppo", { ppo: { critic: "model" }, lora: { rank: 4 } }],
    ["distill", { distill: { teacher: model } }],
    ["dpo", {}],
    ["dpo", { warmupSft: 1 }],
    ["grpo", { likelihood: { expert: model, base: "assets/base-nano", entropyWeight: 0.1 } }],
  ];
  for (const [method, more] of cases) {
    const rollout = { prompts: 8, group: 4, slots: 16 };
    const config = settings(method, { ...more, steps: 2, rollout, tokenBudget: 512 });
    const { bytes, stepSeconds } = await plan(config);
    const { peakBytes } = await train(config);
    const share = bytes.total / peakBytes;
    assert(share > 0.85 && share < 1.15, `${method}: ${bytes.total} planned, ${peakBytes} taken`);
    assertGreater(stepSeconds!, 0);
  }
});
