// Every method as a run: its numbers, its settings, and that it stops and goes on.

import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { ConfigError, train } from "../mod.ts";
import { resolveConfig } from "../src/run/config.ts";
import { readEvents, type RunEvent, type StepEvent } from "../src/run/events.ts";
import { RunFolder } from "../src/run/store.ts";

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
  const episodes = (await Deno.readTextFile(join(run, "episodes.jsonl"))).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assertEquals(episodes.length, 3 * 8);
  assert(episodes.some(({ advantage }) => advantage > 0));
  assert(episodes.some(({ advantage }) => advantage < 0));
});

const head = ["model.safetensors", "optimizer.safetensors", "value_head.safetensors"];
const critic = [...head, "critic.safetensors", "critic_optimizer.safetensors"];
const adapted = critic.map((name) => name.replace(/^model/, "adapter_model"));

for (
  const [name, files, more] of [
    ["with a value head", head, { warmupSft: 1, steps: 2, ppo: { epochs: 2 } }],
    ["with a critic", critic, { ppo: { critic: "model", criticLearningRate: 1e-3, epochs: 2 } }],
    ["with a critic of adapters", adapted, {
      ppo: { critic: "model", epochs: 1 },
      lora: { rank: 2, dropout: 0.1 },
    }],
  ] as const
) {
  Deno.test(`a ppo run ${name} that was stopped goes on as if it had not been`, async () => {
    const whole = await train(settings("ppo", more));
    const stop = new AbortController();
    const stopped = await train(settings("ppo", more), {
      signal: stop.signal,
      onEvent: (event) => event.type === "step" && event.step === 2 && stop.abort(),
    });
    assertEquals(stopped.status, "stopped");
    const resumed = await train({ resume: stopped.run });
    assertEquals([resumed.status, resumed.run], ["done", stopped.run]);
    assertEquals(await traces(resumed.run, files), await traces(whole.run, files));
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
