// `./mentor tasks`: what is said of a file, and its conversion; and what a run makes of such files.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { main } from "../cli.ts";
import { caught } from "./caught.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { parseFlags } from "../src/run/config/flags.ts";
import { chatOf } from "../src/run/student.ts";
import { duplicates, overlap } from "../src/run/tasks/overlap.ts";
import { inspectTaskFile } from "../src/run/tasks/command.ts";
import { renderInspection } from "../src/run/tasks/report.ts";
import { openTasks } from "../src/run/tasks/source.ts";
import { openTools } from "../src/run/tools/mod.ts";
import { parseTasks } from "../src/tasks/jsonl.ts";
import { SimilarTexts } from "../src/tasks/similarity.ts";
import { MissingReferenceError, type Task, TaskFormatError } from "../src/tasks/task.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { FakeHub } from "./fake_hub.ts";

const data = fromFileUrl(new URL("data", import.meta.url));
const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const chat = chatOf(Tokenizer.bytes());

/** A task file of the temporary folder. */
function file(name: string, rows: readonly unknown[]): string {
  const path = join(folder, name);
  Deno.writeTextFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

const mentor = (...args: string[]) => caught(() => main(args));

const sum = (a: number, b: number, more: Record<string, unknown> = {}) => ({
  prompt: `What is ${a} plus ${b}?`,
  answer: a + b,
  reference: { calls: [{ name: "add", arguments: { a, b } }], answer: String(a + b) },
  ...more,
});

Deno.test("texts are alike by the runs of three words that they share", () => {
  const texts = new SimilarTexts(0.8);
  const long = "Anna has twelve apples and gives three of them to her brother who eats one at once";
  texts.add("Something else altogether, which has nothing to do with it.");
  texts.add(long);
  assertEquals(texts.find(`${long.toUpperCase()}!`), { index: 1, similarity: 1 });
  const near = texts.find(long.replace("Anna", "Berta"))!;
  // Of 15 runs of the one and 15 of the other all but the first are the same: 14 of 16.
  assertEquals(near, { index: 1, similarity: 14 / 16 });
  assertEquals(texts.find(long.replace("three", "four").replace("one", "two")), null);
  assertEquals(new SimilarTexts(0.8).find(""), null);
});

Deno.test("tasks are the same by prompt and world, and nearly so by words", () => {
  const words = "Please say how many of these articles are in stock today in store";
  const rows = [
    { prompt: `${words} 1`, answer: "x" },
    { prompt: ` ${words} 1`, answer: "x" },
    { prompt: `${words} 2`, answer: "x" },
    { prompt: "short", answer: "x", world: { a: 1 } },
    { prompt: "short", answer: "x", world: { a: 2 } },
  ];
  const text = rows.map((row) => JSON.stringify(row)).join("\n");
  const tasks = parseTasks(text, { source: "f", tools: [] });
  const found = duplicates(tasks);
  assertEquals([found.exact, found.near], [1, 1]);
  assertEquals(found.pairs.map(({ first, second }) => [first, second]), [
    ["f:1", "f:2"],
    ["f:1", "f:3"],
  ]);
  const held = overlap(tasks.slice(2), tasks.slice(0, 2));
  assertEquals([held.exact, held.near], [0, 1]);
});

Deno.test("an inspection counts what there is, and finds what is wrong with it", async () => {
  const tool = {
    name: "look",
    description: "",
    parameters: { type: "object", properties: { a: { type: "string" } } },
  };
  const train = file("train.jsonl", [
    sum(1, 2),
    sum(3, 4, { domain: "d", split: "depth" }),
    sum(1, 2),
    { ...sum(5, 5), reference: { calls: [{ name: "div", arguments: { a: 1, b: 0 } }] } },
    {
      ...sum(6, 6),
      reference: { calls: [{ name: "add", arguments: { a: 6, b: 6 }, result: 13 }], answer: "13" },
    },
    { prompt: "p", answer: "a", check: "fuzzy" },
    {
      prompt: "look it up",
      tools: [tool],
      check: "calls",
      reference: { calls: [{ name: "look", arguments: { a: "x", b: 1 } }] },
    },
    { prompt: "say hi", tools: [], answer: "hi" },
  ]);
  const test = file("test.jsonl", [sum(3, 4), sum(8, 9)]);
  const options = { evaluation: test, countTokens: true };
  const found = await inspectTaskFile(train, resolveConfig(), options);
  assertEquals([found.rows, found.tasks, found.format], [8, 6, "own"]);
  assertEquals(
    Object.entries(found.invalid).map(([reason, { firstLine }]) => [reason, firstLine]),
    [
      ['"check" must be one of exact, number, last-number, calls', 6],
      ["a call of the reference does not work", 4],
    ],
  );
  assertEquals(
    found.groups.map(({ domain, split, check, tasks, references }) =>
      [domain, split, check, tasks, references].join(" ")
    ),
    [
      "custom train number 3 3",
      "d depth number 1 1",
      "custom train calls 1 1",
      "custom train exact 1 0",
    ],
  );
  assertEquals(found.calls, [{ calls: 1, tasks: 5 }]);
  assertEquals(found.tools.slice(0, 2), [
    { name: "add", runs: true, offered: 4, called: 4 },
    { name: "look", runs: false, offered: 1, called: 1 },
  ]);
  assertEquals(found.characters, { least: 6, median: 17, p95: 17, most: 17 });
  assert(found.tokens!.prompt.most < found.tokens!.episode.most);
  assertEquals([found.duplicates.exact, found.evaluation?.exact], [1, 1]);
  assertEquals(
    Object.entries(found.references.problems).map(([reason, { firstLine }]) => [reason, firstLine]),
    [
      ["the reference does not solve its task", 5],
      ["a call of the reference has another result", 5],
      ["the chat format cannot write the reference's calls", 7],
    ],
  );
  assertEquals(found.references.run, 4);
  // As the embedded student sees it, with the result that the file leaves out.
  assertEquals(found.samples[0], {
    id: `1 (${train}:1)`,
    prompt: "<|user|>What is 1 plus 2?<|assistant|>",
    demonstration: "<|call|>add 1 2<|end_call|><|result|>3<|end_result|><|answer|>3<|end|>",
  });
  const text = renderInspection(found);
  for (
    const part of [
      "8 rows in the format own, 6 tasks, 2 malformed",
      "a call of the reference does not work",
      "  | <|user|>What is 1 plus 2?<|assistant|>",
      `${train}:3 like ${train}:1 (1.00): What is 1 plus 2?`,
    ]
  ) assertStringIncludes(text, part);
});

Deno.test("the command exits with 1 where rows are malformed, and prints JSON for machines", async () => {
  const bad = file("bad.jsonl", [sum(1, 2), { prompt: "p" }]);
  const { code, out } = await mentor("tasks", bad, "--json");
  const document = JSON.parse(out);
  assertEquals([code, document.tasks, document.unit], [1, 1, undefined]);
  assertEquals(Object.keys(document.invalid), ['"answer" is missing']);
  assertEquals((await mentor("tasks", bad, "--skip-invalid")).code, 0);
  // Those of the file for evaluation count as well.
  const good = file("good.jsonl", [sum(1, 2)]);
  const compared = await mentor("tasks", good, "--eval", bad);
  assertEquals(compared.code, 1);
  assertStringIncludes(compared.out, `${bad}: 2 rows in the format own, 1 tasks, 1 malformed`);
  assertStringIncludes(compared.out, "like one of this: 1 the same, 0 nearly");
  const both = await mentor("tasks", good, "--eval", bad, "--out", join(folder, "both.jsonl"));
  assertEquals(both.code, 2);
  assertStringIncludes(both.err, "give --out or --eval");
  assertEquals((await mentor("tasks")).code, 2);
  const other = await mentor("tasks", file("other.jsonl", [{ text: "x" }]));
  assertEquals(other.code, 2);
  assertStringIncludes(other.err, '"text", which is no format');
});

Deno.test("a data set is converted to our own format, whole or not at all", async () => {
  const target = join(folder, "out.jsonl");
  const { code, out, err } = await mentor(
    ...["tasks", join(data, "formats/toolrl.parquet"), "--out", target],
  );
  assertEquals([code, out], [0, `Wrote 2 tasks to ${target}\n`]);
  assertStringIncludes(err, "left out: 1 several user turns (first row 3)");
  const tasks = parseTasks(Deno.readTextFileSync(target), { source: target, tools: [] });
  assertEquals(tasks.map(({ id, check }) => [id, check]), [
    ["toolrl-1", "calls"],
    ["toolrl-2", "calls"],
  ]);
  const bad = file("half.jsonl", [sum(1, 2), { prompt: "p" }]);
  const refused = await mentor("tasks", bad, "--out", target);
  assertEquals(refused.code, 2);
  assertStringIncludes(refused.err, 'half.jsonl:2: "answer" is missing');
  assertEquals(parseTasks(Deno.readTextFileSync(target), { source: "", tools: [] }).length, 2);
  assertEquals((await mentor("tasks", bad, "--out", target, "--skip-invalid")).code, 0);
  const nowhere = await mentor(
    "tasks",
    file("one.jsonl", [sum(1, 2)]),
    "--out",
    join(folder, "none", "out.jsonl"),
  );
  assertStringIncludes(nowhere.err, "The folder is not there");
});

/** What a run makes of a task file. */
async function open(settings: Record<string, unknown>) {
  const config = resolveConfig({ flags: { evaluation: { prompts: 0 }, ...settings } });
  await using box = await openTools(config.tools);
  return await openTasks(config, box.tools, chat, 4096);
}

Deno.test("a run says which rows it left out, and stops at malformed ones unless told not to", async () => {
  const rows = Array.from({ length: 40 }, (_, i) => sum(i, 1));
  const broken = {
    ...sum(5, 5),
    reference: { calls: [{ name: "div", arguments: { a: 1, b: 0 } }] },
  };
  const tasks = file("mixed.jsonl", [...rows, { prompt: "p" }, broken]);
  await assertRejects(
    () => open({ tasks }),
    TaskFormatError,
    'mixed.jsonl:41: "answer" is missing',
  );
  const { notes } = await open({ tasks, skipInvalid: true });
  assertEquals(notes, [
    `40 of 42 rows of "${tasks}" (own) are tasks; malformed: 1 "answer" is missing (first on line ` +
    "41), 1 a call of the reference does not work (first on line 42)",
  ]);
  const gsm8k = await open({ tasks: join(data, "gsm8k_sample.jsonl"), format: "gsm8k" });
  assertEquals(gsm8k.notes.length, 1);
  assertStringIncludes(
    gsm8k.notes[0]!,
    "(gsm8k) are tasks; left out: 1 no calculation (first on line 18)",
  );
});

Deno.test("a teacher of whom only names are known guides rewards of names, and nothing else", async () => {
  const tasks = join(data, "formats/mentor_data.parquet");
  const names = { tasks, warmupSft: 0, reward: "mentor-exact" };
  const { notes, draw } = await open(names);
  assertStringIncludes(notes[1]!, "2 tasks have tools that are only declared");
  assertEquals(draw(0, 0, 2).map(({ reference }: Task) => reference?.calls.length).sort(), [0, 2]);
  await open({ ...names, reward: "sparse" });
  for (const settings of [{ reward: "flex" }, { warmupSft: null }, { method: "sft" }]) {
    await assertRejects(
      () => open({ ...names, ...settings }),
      MissingReferenceError,
      "has only the names of tools; choose the reward",
    );
  }
});

Deno.test("tasks come from the Hub as from a file", async () => {
  const before = ["HF_HOME", "HF_ENDPOINT"].map((name) => [name, Deno.env.get(name)] as const);
  const bytes = await Deno.readFile(join(data, "formats/toolrl.parquet"));
  await using hub = new FakeHub({ "data/train.parquet": bytes });
  try {
    Deno.env.set("HF_HOME", join(folder, "hub"));
    Deno.env.set("HF_ENDPOINT", hub.endpoint);
    const address = "hf://datasets/org/data/data/train.parquet";
    const { notes, draw } = await open({ tasks: address });
    assertStringIncludes(notes[0]!, `2 of 3 rows of "${address}" (toolrl) are tasks`);
    assertEquals(draw(0, 0, 1)[0]!.origin?.source, address);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});

Deno.test("a switch needs no value, and takes one", () => {
  const flagsOf = (...args: string[]) => parseFlags(args);
  assertEquals(flagsOf("--skip-invalid", "file").flags, { skipInvalid: true });
  assertEquals(flagsOf("--skip-invalid", "file").positional, ["file"]);
  assertEquals(flagsOf("--skipInvalid=false").flags, { skipInvalid: false });
  const error = (() => {
    try {
      return flagsOf("--skip-invalid=maybe");
    } catch (error) {
      return (error as Error).message;
    }
  })();
  assertStringIncludes(String(error), "allowed is true or false");
});
