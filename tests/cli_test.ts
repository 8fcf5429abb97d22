// The command line as a user meets it: in a process of its own.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { Gpu, train } from "../mod.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { Decoder } from "../src/model/decoder.ts";
import { studentFiles } from "../src/run/student.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tiny } from "./models.ts";

const root = fromFileUrl(new URL("..", import.meta.url));
const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

async function mentor(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", join(root, "cli.ts"), ...args],
    cwd: folder,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A student of random weights, as a folder. */
const student = (async () => {
  const tokenizer = Tokenizer.bytes();
  using gpu = await Gpu.open();
  using model = Decoder.create(gpu, { ...tiny, vocabSize: tokenizer.vocabSize, maxPositions: 128 });
  const whole = { model, tokenizer, base: null };
  const path = join(folder, "student");
  await saveFolder(path, await studentFiles(whole));
  return path;
})();

/** Settings that make a run as small as can be. */
const small = [
  ...["--steps", "1", "--rollout.prompts", "2", "--rollout.group", "2", "--slots", "4"],
  ...["--evaluation.prompts", "1", "--evaluation.samples", "1"],
];

Deno.test("help explains every command and its settings", async () => {
  const { code, stdout } = await mentor(["help"]);
  assertEquals(code, 0);
  const names = [...stdout.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name!);
  assert(names.length >= 7, stdout);
  for (const name of names) {
    const help = await mentor([name, "--help"]);
    assertEquals([help.code, help.stderr], [0, ""], name);
    assertStringIncludes(help.stdout, `./mentor ${name}`);
  }
  assertStringIncludes((await mentor(["train", "--help"])).stdout, "--rollout.max-tokens");
});

Deno.test("help explains --profile where it can be used, elsewhere it exits with 2", async () => {
  for (const args of [["train", "--profile"], ["train", "--profile=submits"], ["eval"]]) {
    const { code, stdout } = await mentor([...args, "--help"]);
    assertEquals(code, 0);
    assertMatch(stdout, /--profile +.*by kernel.*submits/);
  }
  assertEquals((await mentor(["generate", "--help"])).stdout.includes("--profile"), false);
  const generate = await mentor(["generate", "--profile", "--seed", "1"]);
  assertEquals(generate.code, 2);
  assertStringIncludes(generate.stderr, "a flag of train and eval");
  const value = await mentor(["train", "--profile", "frames"]);
  assertEquals(value.code, 2);
  assertStringIncludes(value.stderr, "allowed is kernels");
});

Deno.test("a command or flag that does not exist exits with 2 and names the nearest", async () => {
  const command = await mentor(["trian"]);
  assertEquals([command.code, command.stdout], [2, ""]);
  assertStringIncludes(command.stderr, 'did you mean "train"');
  const flag = await mentor(["train", "--stpes", "3"]);
  assertEquals(flag.code, 2);
  assertStringIncludes(flag.stderr, 'did you mean "--steps"');
  const value = await mentor(["train", "--steps", "many"]);
  assertEquals(value.code, 2);
  assertStringIncludes(value.stderr, "many");
});

Deno.test("generate and chat tell of a tool that is none before they look for the model", async () => {
  for (const command of [["generate", "2 plus 3"], ["chat"]]) {
    const { code, stderr } = await mentor([...command, "--model", "nowhere", "--tools", "nosuch"]);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, 'tools = "nosuch"');
  }
});

Deno.test("a malformed task file exits with 2, names file and line, and makes no run", async () => {
  const tasks = join(folder, "bad.jsonl");
  await Deno.writeTextFile(tasks, '{"prompt":"1 plus 1","answer":2}\n{"prompt":\n');
  const out = join(folder, "bad-run");
  const args = ["--from", await student, "--tasks", tasks, "--out", out];
  const { code, stderr } = await mentor(["train", ...small, ...args]);
  assertEquals(code, 2);
  assertMatch(stderr, /bad\.jsonl.*2/);
  assertEquals(await exists(out), false);
});

Deno.test("a task without reference under a teacher's reward exits with 2", async () => {
  const tasks = join(folder, "bare.jsonl");
  await Deno.writeTextFile(tasks, '{"id":"lonely","prompt":"1 plus 1","answer":2}\n');
  const args = ["--from", await student, "--tasks", tasks, "--out", join(folder, "bare-run")];
  const { code, stderr } = await mentor(["train", ...small, ...args]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "lonely");
});

Deno.test("a model that is cut short exits with 1 and says what is missing", async () => {
  const cut = join(folder, "cut");
  await Deno.mkdir(cut);
  for await (const { name } of Deno.readDir(await student)) {
    const bytes = await Deno.readFile(join(await student, name));
    const end = name === "model.safetensors" ? bytes.length - 100 : bytes.length;
    await Deno.writeFile(join(cut, name), bytes.subarray(0, end));
  }
  const { code, stderr } = await mentor([
    "train",
    ...small,
    "--from",
    cut,
    "--out",
    join(folder, "x"),
  ]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "model.safetensors");
  assertEquals(await exists(join(folder, "x")), false);
});

Deno.test("an output folder that can't be written exits with 1 and names it", async () => {
  const { code, stderr } = await mentor(
    ["train", ...small, "--from", await student, "--out", "/proc/run"],
  );
  assertEquals(code, 1);
  assertStringIncludes(stderr, "/proc/run");
});

Deno.test({
  name: "without an adapter every command that needs one exits with 1 and says what to install",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const none = "/nowhere/icd.json";
    const env = {
      DENO_WEBGPU_BACKEND: "vulkan",
      VK_DRIVER_FILES: none,
      VK_ICD_FILENAMES: none,
    };
    const { code, stderr } = await mentor(["doctor"], env);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "mesa-vulkan-drivers");
  },
});

Deno.test("weights that are not finite end the run with 1 and leave no model", async () => {
  const poisoned = join(folder, "poisoned");
  const tokenizer = Tokenizer.bytes();
  using gpu = await Gpu.open();
  using model = Decoder.create(gpu, {
    ...tiny,
    vocabSize: tokenizer.vocabSize,
    maxPositions: 128,
  });
  const norm = model.parameters.get("model.norm.weight")!;
  gpu.write(norm, new Float32Array(norm.size).fill(NaN));
  const whole = { model, tokenizer, base: null };
  await saveFolder(poisoned, await studentFiles(whole));
  const out = join(folder, "poisoned-run");
  const { code, stderr } = await mentor(["train", ...small, "--from", poisoned, "--out", out]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "not finite");
  assertEquals(await exists(join(out, "model")), false);
});

Deno.test("--json prints one document, and the trained model answers prompts", async () => {
  const out = join(folder, "run");
  const trained = await mentor(
    ["train", ...small, "--from", await student, "--out", out, "--json", "--quiet"],
  );
  assertEquals(trained.code, 0, trained.stderr);
  const result = JSON.parse(trained.stdout);
  assertEquals([result.run, result.status, result.domains.length], [out, "done", 16]);
  assertEquals(result.domains[0].before.ci95.length, 2);

  const model = join(out, "model");
  const args = ["--from", model, "--rollout.max-tokens", "48", "--json", "3 plus 4"];
  const generated = await mentor(["generate", ...args]);
  assertEquals(generated.code, 0, generated.stderr);
  assertEquals(JSON.parse(generated.stdout)[0].prompt, "3 plus 4");

  const evaluated = await mentor([
    ...["eval", "--from", model, "--json", "--profile", "submits"],
    ...["--evaluation.prompts", "1", "--evaluation.samples", "1"],
  ]);
  assertEquals(evaluated.code, 0, evaluated.stderr);
  const { domains, profile } = JSON.parse(evaluated.stdout);
  assertEquals([domains.length, profile.detail, profile.trace], [16, "submits", null]);

  const runs = await mentor(["runs", folder, "--json"]);
  assert(JSON.parse(runs.stdout).some(({ id }: { id: string }) => id === "run"));
});

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a run that goes on counts the steps of its warm-up, also where nobody named them", async () => {
  const tasks = join(folder, "sums.jsonl");
  const reference = { calls: [], answer: "5" };
  Deno.writeTextFileSync(
    tasks,
    [1, 2, 3, 4].map((n) =>
      `${JSON.stringify({ prompt: `${n} plus ${5 - n}`, answer: "5", reference })}\n`
    ).join(""),
  );
  const stop = new AbortController();
  const { run } = await train({
    ...{ from: await student, out: join(folder, "counted"), tasks, steps: 2, sft: { batch: 2 } },
    rollout: { prompts: 2, group: 2, slots: 4 },
    evaluation: { prompts: 0 },
  }, {
    signal: stop.signal,
    onEvent: (event) => event.type === "step" && event.step === 3 && stop.abort(),
  });
  const { code, stderr } = await mentor(["train", "--resume", run]);
  assertEquals(code, 0);
  assertStringIncludes(stderr, "4/4");
});

Deno.test("a run and a comparison become pages, and what is neither is named", async () => {
  const out = join(folder, "compared");
  const compared = await mentor([
    ...["compare", "--seeds", "1", "--arms=flex", "--from", await student, "--out", out, "--quiet"],
    ...["--limit", "2", ...small],
  ]);
  assertEquals(compared.code, 0, compared.stderr);
  assertMatch(compared.stdout, /flex +held out/);
  assertStringIncludes(compared.stdout, "Report: ");
  const page = await Deno.readTextFile(join(out, "report.html"));
  assertStringIncludes(page, "flex");
  assert((await Deno.stat(join(out, "comparison.csv"))).size > 0);

  const run = await mentor(["report", join(out, "seed-0", "flex"), "--json"]);
  assertEquals(run.code, 0, run.stderr);
  assert((await Deno.stat(JSON.parse(run.stdout).page)).size < 2e6);

  for (
    const [args, code, message] of [
      [["report"], 2, "name the folder of a run or of a comparison"],
      [["report", "no-such-folder"], 1, "there is no such folder"],
      [["compare", "--arms", "flx"], 2, 'there is no such arm (did you mean "flex"?)'],
      [["compare", "--seeds"], 2, "--seeds without a value"],
      [["compare", "--seeds", "none"], 2, "over NaN seeds"],
      [["train", "--seeds", "3"], 2, '"--seeds"'],
    ] as const
  ) {
    const refused = await mentor(args);
    assertEquals(refused.code, code, refused.stderr);
    assertStringIncludes(refused.stderr, message);
  }
});
