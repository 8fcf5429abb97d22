// Public benchmarks end to end: their files, a model's answers to them, and what became of these.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { evaluateBenchmark } from "../mod.ts";
import { main } from "../cli.ts";
import { readBenchmark } from "../src/run/benchmark/files.ts";
import { ConfigError } from "../src/run/config/mod.ts";
import { renderBenchmark } from "../src/run/table.ts";
import { bfclCategories } from "../src/tasks/bfcl/read.ts";
import { checkAnswer } from "../src/tasks/task.ts";

const DATA = join(import.meta.dirname!, "data");

Deno.test("a benchmark is found in the folder given, or in its own folder there", async () => {
  const [above] = await readBenchmark("bfcl:parallel", DATA, null);
  const [inside] = await readBenchmark("bfcl:parallel", join(DATA, "bfcl"), 2);
  assertEquals([above!.name, inside!.tasks.length], ["bfcl:parallel", 2]);
  assertEquals(above!.tasks[0]!.prompt, inside!.tasks[0]!.prompt);
  const all = await readBenchmark("bfcl", DATA, 1);
  assertEquals(all.map(({ name }) => name), bfclCategories.map((name) => `bfcl:${name}`));
});

Deno.test("a missing file is named with where to get it, a wrong name with what there is", async () => {
  const refuse = async (name: string, folder: string, message: string) => {
    await assertRejects(() => readBenchmark(name, folder, null), ConfigError, message);
  };
  const nowhere = join(DATA, "nowhere");
  await refuse("bfcl:multiple", nowhere, `no BFCL_v4_multiple.json in "${nowhere}"`);
  await refuse("bfcl", nowhere, "Python package bfcl-eval");
  await refuse("gsm8k", DATA, "no test.jsonl");
  const folder = await Deno.makeTempDir();
  const questions = "BFCL_v4_multiple.json";
  await Deno.copyFile(join(DATA, "bfcl", questions), join(folder, questions));
  await refuse("bfcl:multiple", folder, `no ${join("possible_answer", questions)} in`);
  await Deno.remove(folder, { recursive: true });
  await refuse("gsm8k", join(DATA, "README.md"), "https://github.com/openai/grade-school-math");
  await refuse("bfcl:simple_pyton", DATA, '(did you mean "bfcl:simple_python"?)');
  await refuse("mmlu", DATA, "There are gsm8k, gsm8k:no-tools, bfcl, bfcl:simple_python");
});

Deno.test("GSM8K is asked with the calculator or without, and the last number counts", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.copyFile(join(DATA, "gsm8k_sample.jsonl"), join(folder, "test.jsonl"));
    const [withTools] = await readBenchmark("gsm8k", folder, null);
    const [without] = await readBenchmark("gsm8k:no-tools", folder, null);
    assertEquals(without!.leftOut, 0);
    assertEquals([withTools!.tasks.length, without!.tasks.length], [20, 20]);
    assertEquals(withTools!.tasks[0]!.tools.map(({ name }) => name), ["add", "sub", "mul", "div"]);
    const [task] = without!.tasks;
    assertEquals([task!.tools, task!.answer], [[], "72"]);
    const right = [
      "72",
      "48 and 24: together 72.",
      "So $72.00",
      "That makes **72** clips",
      "#### 72",
    ];
    for (const answer of right) assert(checkAnswer(task!, answer), answer);
    for (const answer of ["", "72 of 73", "seventy-two", "-72", "7 2"]) {
      assert(!checkAnswer(task!, answer), answer);
    }
    const unanswered = JSON.stringify({ question: "q", answer: "It cannot be said" });
    await Deno.writeTextFile(join(folder, "test.jsonl"), `${unanswered}\n`, { append: true });
    const [more] = await readBenchmark("gsm8k", folder, null);
    assertEquals([more!.tasks.length, more!.leftOut], [20, 1]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the embedded student answers each question once, and is told what is wrong", async () => {
  const progress: string[] = [];
  const ask = async (name: string) => {
    const { domains: [row] } = await evaluateBenchmark(
      { name, data: DATA },
      { limit: 3, rollout: { maxTokens: 320 } },
      { onProgress: (what, done, total) => progress.push(`${what} ${done}/${total}`) },
    );
    return row!;
  };
  // It knows none of these tools, and calls others by their place.
  const simple = await ask("bfcl:simple_python");
  assertEquals([simple.name, simple.tasks, simple.greedy], ["bfcl:simple_python", 3, 0]);
  assertEquals(Object.values(simple.errors).reduce((sum, times) => sum + times), 3);
  assert(progress.includes("bfcl:simple_python 3/3"), String(progress));
  const text = renderBenchmark([simple]);
  assert(/^bfcl:simple_python +3 +0\.0 +\[0\.0, 56\.1\]/m.test(text), text);

  const spoken = await ask("bfcl:live_irrelevance");
  assertEquals(spoken.tasks + spoken.leftOut, 3);
  assert(spoken.leftOut > 0);
  assert(
    renderBenchmark([spoken]).includes(`${spoken.leftOut} questions of the file are not asked`),
  );
});

Deno.test("a question that does not fit the context is a wrong answer; where none fits, that is said", async () => {
  const [set] = await readBenchmark("bfcl:irrelevance", DATA, 4);
  // The student's prompts are their bytes and two control tokens.
  const lengths = set!.tasks.map(({ prompt }) => new TextEncoder().encode(prompt).length + 2);
  const maxTokens = Math.min(...lengths) + 4;
  const fitting = lengths.filter((length) => length + 1 < maxTokens).length;
  assert(fitting < 4);
  const benchmark = { name: "bfcl:irrelevance", data: DATA };
  const { domains: [row] } = await evaluateBenchmark(benchmark, {
    limit: 4,
    rollout: { maxTokens },
  });
  assertEquals(row!.errors.prompt_too_long, 4 - fitting);
  assertEquals(row!.tasks, 4);
  await assertRejects(
    () => evaluateBenchmark(benchmark, { limit: 4, rollout: { maxTokens: 8 } }),
    ConfigError,
    "and the context is 8; raise rollout.maxTokens",
  );
});

Deno.test("--benchmark and --data go together, and without tools of the user's", async () => {
  const said: string[] = [];
  const { error } = console;
  console.error = (text: string) => said.push(text);
  try {
    assertEquals(await main(["eval", "--benchmark", "bfcl"]), 2);
    assertEquals(await main(["eval", "--data", DATA]), 2);
    const own = ["eval", "--benchmark", "bfcl", "--data", DATA, "--tools", "python"];
    assertEquals(await main(own), 2);
    assertEquals(await main(["eval", "--benchmark", "bfcl", "--data", join(DATA, "none")]), 2);
  } finally {
    console.error = error;
  }
  assert(said[0]!.includes("--data FOLDER"), said[0]);
  assertEquals(said[0], said[1]);
  assert(said[2]!.includes("--tools python: a benchmark has its own"), said[2]);
  assert(said[3]!.includes("BFCL_v4_simple_python.json"), said[3]);
});
