// Models at the command line: adapters trained and taken further, plans, exports, conversations.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { main } from "../cli.ts";
import { caught } from "./caught.ts";
import { Gpu } from "../src/gpu/device.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { Decoder } from "../src/model/decoder.ts";
import { evaluate } from "../src/run/evaluate.ts";
import { linesOf } from "../src/run/chat.ts";
import { plan } from "../src/run/plan/mod.ts";
import { studentFiles } from "../src/run/student.ts";
import { train } from "../src/run/train.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tiny } from "./models.ts";

const folder = await Deno.makeTempDir();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const cli = new URL("../cli.ts", import.meta.url).pathname;

async function mentor(args: string[], input = "") {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", cli, ...args],
    cwd: folder,
    ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
  } as Deno.CommandOptions).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const tokenizer = Tokenizer.bytes();
const base = join(folder, "base");
{
  using gpu = await Gpu.open();
  const sizes = { ...tiny, vocabSize: tokenizer.vocabSize, maxPositions: 128 };
  using model = Decoder.create(gpu, sizes);
  await saveFolder(base, await studentFiles({ model, tokenizer, base: null }));
}

/** A run as small as can be, that trains adapters. */
const small = {
  from: base,
  steps: 2,
  seed: 3,
  lora: { rank: 4, targets: ["q_proj", "v_proj", "down_proj"], dropout: 0.2 },
  rollout: { prompts: 2, group: 2, slots: 4 },
  grpo: { klCoef: 0.1, miniBatches: 1 },
  warmupSft: 1,
  sft: { batch: 4 },
  evaluation: { prompts: 0 },
  checkpoint: { everySteps: 1 },
  tokenBudget: 512,
};
const run = join(folder, "run");
const trained = await train({ ...small, out: run });

Deno.test("training adapters leaves them in PEFT's format, and the base as it was", async () => {
  const names = [...Deno.readDirSync(trained.model)].map(({ name }) => name).sort();
  assertEquals(names, [
    ...["adapter_config.json", "adapter_model.safetensors"],
    ...["tokenizer.json", "tokenizer_config.json"],
  ]);
  const json = JSON.parse(await Deno.readTextFile(join(trained.model, "adapter_config.json")));
  assertEquals([json.r, json.base_model_name_or_path], [4, base]);
});

Deno.test("a plan of adapters is within 15 % of what the run then takes", async () => {
  // A model that was trained: random weights ramble to the end of the context.
  const nano = { ...small, from: "assets/base-nano" };
  const { bytes, parameters } = await plan(nano);
  const { peakBytes } = await train({ ...nano, out: join(folder, "nano") });
  const share = bytes.total / peakBytes;
  assert(share > 0.85 && share < 1.15, `${bytes.total} planned, ${peakBytes} taken`);
  assert(parameters.trained < parameters.total / 5);
});

Deno.test("more slots than a pass has rows can be planned", async () => {
  const { bytes } = await plan({ ...small, rollout: { slots: 520, prompts: 65, group: 8 } });
  assert(bytes.total > 0);
});

Deno.test("an interrupted run of adapters goes on to the same bits, dropout and all", async () => {
  const out = join(folder, "stopped");
  const stop = new AbortController();
  const onEvent = ({ type }: { type: string }) => type === "step" && stop.abort();
  const first = await train({ ...small, out }, { signal: stop.signal, onEvent });
  assertEquals(first.status, "stopped");
  const second = await train({ resume: out });
  const weights = (path: string) => Deno.readFile(join(path, "adapter_model.safetensors"));
  assertEquals(await weights(second.model), await weights(trained.model));
});

Deno.test("an adapter is evaluated, trained further, and refused with another shape", async () => {
  const { rows } = await evaluate({ from: trained.model, evaluation: { prompts: 1, samples: 1 } });
  assert(rows.length > 0);
  const { lora: _lora, ...rest } = small;
  const more = await train({ ...rest, from: trained.model, out: join(folder, "more") });
  assertEquals(more.status, "done");
  const planned = await plan({ ...rest, from: trained.model });
  assert(planned.parameters.trained < planned.parameters.total / 5);
  const other = await mentor(["train", "--model", trained.model, "--lora.rank", "8"]);
  assertEquals(other.code, 2);
  assertStringIncludes(other.stderr, "Cannot train an adapter of rank 4");
});

Deno.test("an exported model computes what base and adapter do", async () => {
  const out = join(folder, "exported");
  const args = ["export", "--model", trained.model, "--out", out, "--dtype", "f32", "--json"];
  const { code, stdout } = await mentor(args);
  assertEquals([code, JSON.parse(stdout)], [0, { folder: out, dtype: "F32", merged: true }]);
  const prompts = ["34 plus 8", "12 times 3"];
  const generated = (model: string) => mentor(["generate", "--model", model, "--json", ...prompts]);
  const answers = (text: string) => JSON.parse(text).map((one: { text: string }) => one.text);
  const [merged, beside] = await Promise.all([generated(out), generated(trained.model)]);
  assertEquals(answers(merged.stdout), answers(beside.stdout));
});

Deno.test("a config file that says nothing of sampling leaves generation greedy", async () => {
  const file = join(folder, "seed.yaml");
  await Deno.writeTextFile(file, "seed: 3\n");
  const generate = ["generate", "--model", base, "--json", "34 plus 8"];
  const [plain, configured] = [
    await mentor(generate),
    await mentor([...generate, "--config", file]),
  ];
  assertEquals(configured.stdout, plain.stdout);
});

Deno.test("a conversation goes on over several turns, and says what it can do", async () => {
  const input = "34 plus 8\nand 2 more\n/what\n/clear\n12 times 3\n/exit\nnever read\n";
  const { code, stderr } = await mentor(["chat", "--model", base], input);
  assertEquals(code, 0);
  assertStringIncludes(stderr, "/clear forgets");
  assertStringIncludes(stderr, 'no command "/what"');
});

Deno.test("lines come whole, however their bytes arrive", async () => {
  const chunks = ["a", "b\nc\r", "\n\u00e9".slice(0, 2), "\nd"];
  const bytes = ReadableStream.from(chunks.map((text) => new TextEncoder().encode(text)));
  assertEquals(await Array.fromAsync(linesOf(bytes)), ["ab", "c", "\u00e9", "d"]);
});

Deno.test("plan prints a table or JSON, reads a config file, and fails where a run won't fit", async () => {
  const file = join(folder, "run.yaml");
  await Deno.writeTextFile(file, `from: ${base}\nsteps: 3\n`);
  const table = await mentor(["plan", file]);
  assertEquals(table.code, 0);
  for (const row of ["weights", "KV cache", "total", "Fits"]) {
    assertStringIncludes(table.stdout, row);
  }
  const { bytes, stepSeconds } = JSON.parse((await mentor(["plan", file, "--json"])).stdout);
  const { total, ...parts } = bytes;
  assertEquals(Object.values(parts as number[]).reduce((a, b) => a + b, 0), total);
  assert(stepSeconds > 0);
  const tight = ["--memory-limit", "30"];
  const { code, stdout } = await mentor(["plan", file, ...tight]);
  assertEquals(code, 1);
  assertMatch(stdout, /Does not fit.*It would with --/);
  const refused = await mentor(["train", "--config", file, ...tight, "--out", join(folder, "no")]);
  assertEquals(refused.code, 2);
  assertMatch(
    refused.stderr,
    /Cannot run: it takes \d+ MiB and may take 30 MiB.*It would with --/s,
  );
  assertEquals([...Deno.readDirSync(folder)].some(({ name }) => name === "no"), false);
});

Deno.test("what can't be meant is refused with a remedy", async () => {
  const loop = join(folder, "loop");
  await Deno.mkdir(loop);
  await Deno.copyFile(
    join(trained.model, "adapter_model.safetensors"),
    join(loop, "adapter_model.safetensors"),
  );
  const config = JSON.parse(await Deno.readTextFile(join(trained.model, "adapter_config.json")));
  const itself = { ...config, base_model_name_or_path: loop };
  await Deno.writeTextFile(join(loop, "adapter_config.json"), JSON.stringify(itself));
  const cases: [string[], number, string][] = [
    [["export", base, "--out", "x"], 2, "Did you mean --model"],
    [["export", "--out", "x"], 2, "say which model with --model"],
    [["export", "--model", base], 2, "say where the model goes with --out"],
    [["train", "--from", "scratch", "--lora.rank", "8"], 2, 'from "scratch"'],
    [["plan", "--model", base, "--rollout.max-tokens", "4000"], 2, "the model's context is 128"],
    [["generate", "--model", loop, "x"], 1, "is an adapter itself"],
    [["generate", "--model", join(folder, "nowhere"), "x"], 1, "nowhere"],
  ];
  for (const [args, code, message] of cases) {
    const result = await mentor(args);
    assertEquals(result.code, code, result.stderr);
    assertStringIncludes(result.stderr, message);
  }
});

Deno.test("the launcher looks for an adapter before every command that opens one", async () => {
  const launcher = await Deno.readTextFile(new URL("../mentor", import.meta.url));
  const [, listed] = /^ {2}(train \|.*)\) needs_adapter=yes/m.exec(launcher)!;
  const { out } = await caught(() => main(["help"]));
  const commands = [...out.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name!);
  const opening = commands.filter((name) => !["report", "runs", "tasks", "help"].includes(name));
  assertEquals(listed!.split(" | ").filter((name) => name !== "test").sort(), opening.sort());
});
