// Whole runs: they repeat, they stop and go on, and what goes wrong leaves nothing half-done.

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import {
  CheckpointError,
  ConfigError,
  Gpu,
  mentorReward,
  TaskFormatError,
  train,
  type TrainOptions,
} from "../mod.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { Decoder } from "../src/model/decoder.ts";
import { DivergedError } from "../src/rl/learner.ts";
import { readEvents } from "../src/run/events.ts";
import { studentFiles } from "../src/run/student.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { folder, freshPath, settings, studentFolder, traces } from "./runs.ts";

Deno.test("two runs with one seed leave the same model, episodes and events", async () => {
  const first = await train(await settings({ seed: 5 }));
  const second = await train(await settings({ seed: 5 }));
  assertEquals(await traces(first.run), await traces(second.run));
  const other = await train(await settings({ seed: 6 }));
  assertNotEquals((await traces(other.run)).episodes, (await traces(first.run)).episodes);
  assertEquals(first.domains.length, 16);
});

for (const method of ["grpo", "sft"]) {
  const evaluated = () =>
    settings({
      ...{ method, warmupSft: 1 },
      evaluation: { prompts: 1, samples: 1, everySteps: 2 },
    });

  Deno.test(`a ${method} run that was stopped goes on as if it had not been`, async () => {
    const whole = await train(await evaluated());
    for (const at of [1, 2]) {
      const stop = new AbortController();
      const stopped = await train(await evaluated(), {
        signal: stop.signal,
        onEvent: (event) => event.type === "step" && event.step === at && stop.abort(),
      });
      assertEquals([stopped.status, stopped.domains.length], ["stopped", 0]);
      const resumed = await train({ resume: stopped.run });
      assertEquals([resumed.status, resumed.run], ["done", stopped.run]);
      assertEquals(await traces(resumed.run), await traces(whole.run));
      assertEquals(resumed.domains, whole.domains);
    }
  });

  Deno.test(`a ${method} run that was killed in an evaluation goes on with that`, async () => {
    const killed = new Map<string, string>();
    const config = await evaluated();
    const whole = await train(config, {
      onProgress(what) {
        if (!/^evaluate (during|after)$/.test(what) || killed.has(what)) return;
        killed.set(what, freshPath());
        copyFolder(config.out as string, killed.get(what)!);
      },
    });
    assertEquals([...killed.keys()], ["evaluate during", "evaluate after"]);
    for (const resume of killed.values()) {
      const resumed = await train({ resume });
      assertEquals(await traces(resumed.run), await traces(whole.run));
      assertEquals(resumed.domains, whole.domains);
    }
  });
}

Deno.test("a run without a step is resumed without beginning again", async () => {
  const config = await settings({ steps: 0 });
  const whole = await train(config);
  const before = await traces(whole.run);
  const resumed = await train({ resume: whole.run });
  assertEquals(await traces(resumed.run), before);
});

Deno.test("imitation lowers its loss on real problems, and reports what it could not use", async () => {
  const tasks = fromFileUrl(new URL("data/gsm8k_sample.jsonl", import.meta.url));
  const losses: number[] = [];
  const notes: string[] = [];
  const result = await train(
    await settings({
      tasks,
      limit: 8,
      warmupSft: 4,
      steps: 1,
      rollout: { prompts: 1, group: 2, slots: 2 },
      sft: { batch: 4, learningRate: 1e-2 },
    }),
    {
      onEvent(event) {
        if (event.type === "warning") notes.push(event.message);
        if (event.type === "step" && event.method === "sft") losses.push(event.metrics.loss!);
      },
    },
  );
  assertEquals(result.status, "done");
  assert(losses.every(Number.isFinite) && losses.at(-1)! < losses[0]!, String(losses));
  assert(notes.some((note) => /of 8 rows of .*\(gsm8k\) are tasks/.test(note)), String(notes));
});

Deno.test("tools of the user's own are called, also to fill in a reference's results", async () => {
  const tools = join(folder, "tools.ts");
  const mod = new URL("../mod.ts", import.meta.url).href;
  await Deno.writeTextFile(
    tools,
    `import { tool } from "${mod}";
    export const price = tool({ name: "price", description: "Price.", parameters: { type: "object",
      properties: { article: { type: "string" } }, required: ["article"] },
      execute: ({ article }, { world }) => {
        if (!(article in world)) throw new Error("no " + article);
        return world[article];
      } });`,
  );
  const line = (article: string) =>
    JSON.stringify({
      prompt: "price of pen",
      world: { pen: 12 },
      answer: "12",
      reference: { calls: [{ name: "price", arguments: { article } }], answer: "12" },
    });
  const good = join(folder, "priced.jsonl");
  await Deno.writeTextFile(good, `${line("pen")}\n`);
  const result = await train(await settings({ tasks: good, tools, steps: 1, warmupSft: 1 }));
  assertEquals(result.status, "done");

  const bad = join(folder, "unpriced.jsonl");
  await Deno.writeTextFile(bad, `${line("pen")}\n${line("cup")}\n`);
  const broken = await settings({ tasks: bad, tools });
  await assertRejects(() => train(broken), TaskFormatError, "no cup");
  await assertMissing(broken.out as string);
});

Deno.test("a run with a reward of its own says so, and goes on with that alone", async () => {
  const preset = mentorReward({ preset: "sparse" });
  const [reward, potential] = [{ score: preset.score }, () => 0];
  const whole = await train(await settings(), { reward, potential });
  const stopped = async (options: TrainOptions) => {
    const stop = new AbortController();
    const { run } = await train(await settings(), {
      ...options,
      signal: stop.signal,
      onEvent: (event) => event.type === "step" && stop.abort(),
    });
    return run;
  };
  const resume = await stopped({ reward, potential });
  const startOf = (run: string) => readEvents(join(run, "events.jsonl"))[0] as { own?: unknown };
  assertEquals(startOf(whole.run).own, ["reward", "potential"]);
  await assertRejects(() => train({ resume }), ConfigError, "begun with a reward of its own");
  await assertRejects(() => train({ resume }, { reward }), ConfigError, "potential of its own");
  const resumed = await train({ resume }, { reward, potential });
  assertEquals(await traces(resumed.run), await traces(whole.run));

  const plain = await stopped({});
  await assertRejects(() => train({ resume: plain }, { reward }), ConfigError, 'reward = "flex"');
  assertEquals("own" in startOf(plain), false);
});

Deno.test("a loss that is not a number stops the run at a named step and leaves no model", async () => {
  const poisoned = await settings({
    method: "sft",
    from: await withNaN(),
    evaluation: { prompts: 0 },
  });
  await assertRejects(() => train(poisoned), DivergedError, "Step 1");
  await assertMissing(join(poisoned.out as string, "model"));
  const sampled = await settings({ from: await withNaN(), evaluation: { prompts: 0 } });
  await assertRejects(() => train(sampled), DivergedError, "Step 1");
  const last = readEvents(join(poisoned.out as string, "events.jsonl")).at(-1)!;
  assertEquals([last.type, last.type === "run-end" && last.status], ["run-end", "failed"]);
});

Deno.test("a checkpoint that is cut short is refused and stays as it is", async () => {
  const stop = new AbortController();
  const stopped = await train(await settings(), {
    signal: stop.signal,
    onEvent: (event) => event.type === "step" && stop.abort(),
  });
  const file = join(stopped.model, "optimizer.safetensors");
  const bytes = await Deno.readFile(file);
  await Deno.writeFile(file, bytes.subarray(0, bytes.length - 8));
  const events = await Deno.readTextFile(join(stopped.run, "events.jsonl"));
  await assertRejects(() => train({ resume: stopped.run }), CheckpointError, stopped.model);
  assert((await Deno.readTextFile(join(stopped.run, "events.jsonl"))).startsWith(events));
  await assertMissing(join(stopped.run, "model"));
});

Deno.test("a run is not started over other files or without tasks to train on", async () => {
  const full = await settings();
  await Deno.mkdir(full.out as string);
  await Deno.writeTextFile(join(full.out as string, "mine.txt"), "keep");
  await assertRejects(() => train(full), CheckpointError, "not empty");
  assertEquals(await Deno.readTextFile(join(full.out as string, "mine.txt")), "keep");

  const long = join(folder, "long.jsonl");
  const task = {
    prompt: "x".repeat(60),
    answer: "1",
    reference: { calls: [], answer: "1" },
  };
  await Deno.writeTextFile(long, `${JSON.stringify(task)}\n`);
  const tooLong = await settings({ tasks: long });
  await assertRejects(() => train(tooLong), ConfigError, "rollout.maxTokens");
  await assertMissing(tooLong.out as string);
});

/** A copy of the student with a weight that is not a number. */
async function withNaN(): Promise<string> {
  const tokenizer = Tokenizer.bytes();
  using gpu = await Gpu.open();
  using model = await Decoder.load(gpu, await studentFolder());
  const norm = model.parameters.get("model.norm.weight")!;
  gpu.write(norm, new Float32Array(norm.size).fill(NaN));
  const path = freshPath();
  const whole = { model, tokenizer, base: null };
  await saveFolder(path, await studentFiles(whole));
  return path;
}

/** What a process that is killed leaves behind. */
function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to);
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copyFolder(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}

async function assertMissing(path: string): Promise<void> {
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
}
