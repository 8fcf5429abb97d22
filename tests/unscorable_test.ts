// Episodes that nobody can score, since a tool could not be had: they change nothing and count for
// nothing, whatever the method, and a run that has no others ends.

import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { ToolUnavailableError, train } from "../mod.ts";
import { Gpu } from "../src/gpu/device.ts";
import { Decoder } from "../src/model/decoder.ts";
import type { Generator, Sequence } from "../src/model/generator.ts";
import { ValueHead } from "../src/model/value_head.ts";
import { distillStep } from "../src/rl/distill.ts";
import { dpoStep } from "../src/rl/dpo.ts";
import { evaluateModel } from "../src/rl/evaluate.ts";
import type { CreditedRollout, LearningContext, StepResult } from "../src/rl/experience.ts";
import { grpoStep } from "../src/rl/grpo.ts";
import { Learner } from "../src/rl/learner.ts";
import { Outages } from "../src/rl/outages.ts";
import { ppoStep } from "../src/rl/ppo_step.ts";
import { rewardOf } from "../src/rl/reward.ts";
import type { RolloutOptions } from "../src/rl/rollout.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { readEvents } from "../src/run/events.ts";
import { distillOptions, dpoOptions, grpoOptions, ppoOptions } from "../src/run/options.ts";
import { RunFolder } from "../src/run/store.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tool } from "../src/tools/tool.ts";
import { digitChat as chat, digitConfig, digitTask } from "./digits.ts";
import { weightBytes } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());
const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const tokenizer = Tokenizer.bytes();

const gone = tool({
  name: "gone",
  description: "Has no server any more.",
  parameters: { type: "object", properties: {} },
  execute() {
    throw new ToolUnavailableError("the server is gone");
  },
});
const task = { ...digitTask("7"), tools: [gone] };

/** A model that says a digit, or calls the tool that is gone ("g"), by script: one per episode. */
function scripted(episodes: readonly string[]): Generator {
  let next = 0;
  return {
    async run(sequences: readonly Sequence[]) {
      for (const { onTurn } of sequences) {
        const said = episodes[next++ % episodes.length]!;
        const [open, text, close] = said === "g"
          ? ["<|call|>", "gone", "<|end_call|>"]
          : ["<|answer|>", said, "<|end|>"];
        const tokens = [tokenizer.token(open), ...tokenizer.encode(text), tokenizer.token(close)];
        await onTurn({ tokens, logprobs: tokens.map(() => -1), reason: "stop" });
      }
    },
  } as unknown as Generator;
}

const sampling: RolloutOptions = {
  ...{ temperature: 1, topK: 0, topP: 1, seed: 0, maxTokens: 32, maxCalls: 2, stream: "test" },
};
const config = resolveConfig({
  flags: { grpo: { klCoef: 0.1, entropyCoef: 0.01, topEntropy: 0.5, loss: "dr_grpo" } },
});

/** One step of a method on two prompts; what it said, and the weights that it left. */
async function stepOf(method: string, episodes: readonly string[], group: number) {
  using model = Decoder.create(gpu, digitConfig, { seed: 1 });
  using reference = Decoder.create(gpu, digitConfig, { seed: 2 });
  using head = new ValueHead(gpu, digitConfig.hiddenSize);
  const adamw = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0, gradClip: 1 } as const;
  const extra = method === "ppo" ? { extra: head.parameters } : {};
  using learner = new Learner(model, { ...adamw, ...extra });
  const told: [episode: CreditedRollout, place: string][] = [];
  const context: LearningContext = {
    ...{ learner, chat, reference, generator: scripted(episodes) },
    draw: (count) => Array(count).fill(task),
    // One that knows nothing of episodes that can't be scored.
    reward: { score: ({ correct }) => rewardOf({ correctness: Number(correct) }) },
    onEpisode: (episode, group, sample) => told.push([episode, `${group}/${sample}`]),
  };
  const step: Record<string, () => Promise<StepResult>> = {
    grpo: () =>
      grpoStep(context, 2, sampling, {
        ...grpoOptions(config, { learningRate: 1e-2, entropyCoefficient: 0.01 }),
        group,
      }, 0),
    ppo: () =>
      ppoStep(
        { ...context, head, critic: null },
        2,
        sampling,
        { ...ppoOptions(config, 0), group },
        0,
      ),
    distill: () =>
      distillStep(
        { ...context, teacher: reference },
        2,
        sampling,
        { ...distillOptions(config, 0), group },
        0,
      ),
    dpo: () =>
      dpoStep({ ...context, reference }, 2, sampling, { ...dpoOptions(config, 0), group }, 0),
  };
  const { metrics, groups } = await step[method]!();
  return { metrics, groups, told, weights: await weightBytes(model) };
}

for (const method of ["grpo", "ppo", "distill", "dpo"]) {
  Deno.test(`${method} learns from the others as if unscorable episodes had not been`, async () => {
    const without = await stepOf(method, ["7", "1", "2", "7"], 2);
    const among = await stepOf(method, ["7", "g", "1", "2", "7", "g"], 3);
    assertEquals(among.weights, without.weights);
    assertEquals(among.metrics, { ...without.metrics, unscorable: 2 / 6 });
    assertEquals(without.metrics.unscorable, 0);
    assert(Object.values(among.metrics).every(Number.isFinite), JSON.stringify(among.metrics));
    assertEquals(among.told.map(([, place]) => place), ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]);
    const lost = among.told.filter(([{ episode }]) => episode.unscorable);
    assertEquals(
      lost.map(([{ advantage, unavailable }, place]) => [place, advantage, unavailable]),
      [["0/1", 0, "the server is gone"], ["1/2", 0, "the server is gone"]],
    );
  });

  Deno.test(`${method} leaves the model as it is where no episode can be scored`, async () => {
    const { metrics, groups, told, weights } = await stepOf(method, ["g"], 2);
    assertEquals([metrics, groups, told.length], [{ unscorable: 1 }, [], 4]);
    using fresh = Decoder.create(gpu, digitConfig, { seed: 1 });
    assertEquals(weights, await weightBytes(fresh));
    assertNotEquals(weights, (await stepOf(method, ["7", "1"], 2)).weights);
  });
}

Deno.test("an evaluation is of the episodes that can be scored, and fails where there are none", async () => {
  const evaluate = (episodes: readonly string[]) =>
    evaluateModel(
      scripted(episodes),
      chat,
      [{ domain: "digit", split: "train", tasks: [task, { ...task, id: "other" }] }],
      { samples: 2, seed: 0, maxTokens: 32, maxCalls: 2 },
    );
  // Two samples of each prompt, then a greedy one of each.
  const { rows: [row], splits, outcomes, outage } = await evaluate(["7", "g", "1", "7", "g", "7"]);
  assertEquals(outcomes, [[[1], [0, 1]]]);
  assertEquals([row!.pass1, row!.greedy, row!.unscorable], [2 / 3, 1, 2]);
  assertEquals(splits[0]!.pass1, 2 / 3);
  assertMatch(outage!, /^2 of 6 episodes could not be scored.*the server is gone$/);
  assertEquals((await evaluate(["7"])).outage, null);
  // A prompt of which nothing is left, and a set of which nothing is.
  assertEquals((await evaluate(["g", "g", "1", "7", "7", "7"])).rows[0]!.pass1, 1 / 2);
  for (const lost of [["g"], ["g", "g", "g", "g", "7", "7"], ["7", "7", "7", "7", "g", "g"]]) {
    await assertRejects(() => evaluate(lost), ToolUnavailableError, 'Cannot evaluate "digit"');
  }
});

Deno.test("an outage is spoken of once, until it has been over, and three dark steps are the end", () => {
  const outages = new Outages();
  const step = (script: string) => {
    for (const said of script) {
      const episode = { ...({} as CreditedRollout["episode"]), unscorable: said !== "7" };
      outages.observe(said === "7" ? { episode } : { episode, unavailable: `no ${said}` });
    }
    return outages.endStep();
  };
  assertEquals(step(""), null); // imitation has no episodes
  assertEquals(step("77"), null);
  assertMatch(step("7ggh")!, /^3 of 4 episodes .*: no g; no h$/);
  assertEquals(step("7g"), null);
  assertEquals(step("77"), null);
  assertMatch(step("abcde")!, /no a; no b; no c \(and 2 other reasons\)$/);
  assertEquals(step("gg"), null);
  try {
    step("gh");
    throw new Error("nothing was thrown");
  } catch (error) {
    assert(error instanceof ToolUnavailableError);
    assertMatch(error.message, /last 3 steps.*2 of 2 episodes .*no g; no h/);
  }
});

/** A run on sums whose tool fails by `rule`, an expression over the number of the call, from 1. */
async function run(name: string, rule: string, more: Record<string, unknown> = {}) {
  const tools = join(folder, `${name}.ts`);
  const source = new URL("../src/tools/tool.ts", import.meta.url);
  await Deno.writeTextFile(
    tools,
    `import { tool, ToolUnavailableError } from "${source}";
    let call = 0;
    export const add = tool({ name: "add", description: "", parameters: { type: "object",
      properties: { a: { type: "number" }, b: { type: "number" } }, required: ["a", "b"] },
      execute({ a, b }) {
        call++;
        const [lost, permanent] = [${rule}].flat();
        if (lost) throw new ToolUnavailableError("the server is gone", { permanent });
        return a + b;
      } });`,
  );
  const tasks = join(folder, `${name}.jsonl`);
  const lines = Array.from({ length: 24 }, (_, i) => {
    const [a, b] = [i + 10, 2 * i + 11];
    const calls = [{ name: "add", arguments: { a, b }, result: a + b }];
    return JSON.stringify({ prompt: `${a} plus ${b}`, answer: a + b, reference: { calls } });
  });
  await Deno.writeTextFile(tasks, lines.join("\n"));
  const out = join(folder, name);
  const settings = {
    ...{ tasks, tools, out, steps: 4, warmupSft: 0, evaluation: { prompts: 0 } },
    ...{ rollout: { prompts: 4, group: 4, slots: 16 }, checkpoint: { everySteps: 0 }, ...more },
  };
  return { out, train: () => train(settings), events: () => readEvents(join(out, "events.jsonl")) };
}

Deno.test("a run says how many episodes could not be scored and why, and goes on", async () => {
  const { train, events, out } = await run("flaky", "call % 3 === 0");
  assertEquals((await train()).status, "done");
  const steps = events().filter((event) => event.type === "step");
  assertEquals(steps.length, 4);
  for (const { metrics } of steps) {
    assert(metrics.unscorable! > 0 && metrics.unscorable! < 1);
    assert(Object.values(metrics).every(Number.isFinite), JSON.stringify(metrics));
  }
  const [warning] = events().filter((event) => event.type === "warning");
  assertMatch(warning!.message, /^\d+ of 16 episodes could not be scored.*the server is gone/);
  const lines = (await Deno.readTextFile(join(out, "episodes.jsonl"))).trimEnd().split("\n");
  const lost = lines.map((line) => JSON.parse(line)).filter(({ unavailable }) => unavailable);
  assert(lost.length > 0);
  assertEquals(lost.find((one) => one.reward !== null || one.advantage !== 0), undefined);
});

Deno.test("a tool that is gone for good ends the run, which goes on from there later", async () => {
  const server = globalThis as { serverIsGone?: boolean };
  const { train: begin, events, out } = await run("lost", "[globalThis.serverIsGone, true]", {
    warmupSft: 2,
  });
  server.serverIsGone = true;
  await assertRejects(begin, ToolUnavailableError, `go on with --resume ${out}`);
  // The warm-up needs no tool.
  assertEquals(RunFolder.open(out).checkpoints(), [2]);
  const end = events().at(-1)!;
  assert(end.type === "run-end" && end.status === "failed");
  assertMatch(end.message!, /^the server is gone\. Once/);
  server.serverIsGone = false;
  assertEquals((await train({ resume: out })).status, "done");
  const steps = events().flatMap((event) => event.type === "step" ? [event.step] : []);
  assertEquals(steps, [1, 2, 3, 4, 5, 6]);
});

Deno.test("a run that could learn from nothing for three steps ends with an error", async () => {
  // The student calls add in most episodes, and other tools are not known to the tasks.
  const { train, events } = await run("dark", "true", { warmupSft: 30, steps: 30 });
  await assertRejects(train, ToolUnavailableError, "no episode of the last 3 steps");
  const steps = events().filter((event) => event.type === "step");
  assertEquals(steps.slice(-3).map(({ metrics }) => metrics), Array(3).fill({ unscorable: 1 }));
});
