// Searching texts: what is found, how it is shown, and the files that it is read from.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { ConfigError } from "../src/run/config/mod.ts";
import { readCorpus } from "../src/run/tools/corpus.ts";
import { openTools } from "../src/run/tools/mod.ts";
import { parseTasks } from "../src/tasks/jsonl.ts";
import { TaskFormatError } from "../src/tasks/task.ts";
import { type RetrievalOptions, retrievalTool } from "../src/tools/retrieval.ts";
import { callTool, type Tool } from "../src/tools/tool.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

const passages = [
  { title: "Oslo", text: "The capital of Norway." },
  { title: "Norway", text: "A country with a long coast." },
  { text: "The coast of Chile is long, too." },
  { title: "Rye", text: "A crop. ".repeat(100) },
];
const ask = async (tool: Tool, query: string) => (await callTool(tool, { query }, {})).text;

Deno.test("the passages that fit best come first, titles count more, and long ones are cut", async () => {
  const search = (options?: RetrievalOptions) => retrievalTool(passages, options);
  assertEquals(
    await ask(search(), "norway"),
    "Norway: A country with a long coast.\nOslo: The capital of Norway.",
  );
  assertEquals(await ask(search({ top: 1 }), "Chile's COAST"), "The coast of Chile is long, too.");
  assertEquals(await ask(search(), "crop"), `${`Rye: ${passages[3]!.text}`.slice(0, 400)}...`);
  assertEquals(await ask(search({ maxCharacters: 12 }), "crop"), "Rye: A crop....");
  assertEquals(await ask(search(), "penguins"), "nothing found");
  assertEquals(await ask(search(), "  "), "nothing found");
  assertEquals(search({ name: "wiki", description: "Knows." }).name, "wiki");
});

Deno.test("equal passages are in the order of the collection, and equal queries have equal results", async () => {
  const same = Array.from({ length: 20 }, (_, i) => ({ text: `the same words ${i}` }));
  const found = await ask(retrievalTool(same, { top: 4 }), "same words");
  assertEquals(found.split("\n"), [0, 1, 2, 3].map((i) => `the same words ${i}`));
  const wide = retrievalTool(Array(5).fill({ text: "\u4e2d".repeat(500) }), { top: 5 });
  assertEquals((await ask(wide, "\u4e2d".repeat(500))).split("\n").length, 5);
});

Deno.test("a search of nothing, or for nothing, is refused", () => {
  assertThrows(() => retrievalTool([]), RangeError, "no passages");
  assertThrows(() => retrievalTool(passages, { top: 0 }), RangeError, "top must be");
  assertThrows(() => retrievalTool(passages, { maxCharacters: 1.5 }), RangeError, "maxCharacters");
});

Deno.test("texts are read from JSONL of two kinds, and what is no text is named by its line", async () => {
  const path = join(folder, "texts.jsonl");
  const read = async (...lines: unknown[]) => {
    await Deno.writeTextFile(path, lines.map((line) => JSON.stringify(line)).join("\n"));
    return await readCorpus(path);
  };
  assertEquals(
    await read(
      { id: 1, title: "Oslo", text: "A city." },
      { text: "No title." },
      { id: "2", contents: '"Bergen"\nAnother city.' },
      { contents: "one line" },
      { title: null, text: "No title either." },
    ),
    [
      { title: "Oslo", text: "A city." },
      { text: "No title." },
      { title: "Bergen", text: "Another city." },
      { text: "one line" },
      { text: "No title either." },
    ],
  );
  for (const wrong of [{ title: "x" }, { text: " " }, { text: 1 }, { title: 1, text: "a" }, []]) {
    await assertRejects(() => read({ text: "a" }, wrong), TaskFormatError, "texts.jsonl:2: ");
  }
  await assertRejects(() => read(), ConfigError, "holds no text");
  await assertRejects(() => readCorpus(join(folder, "none.jsonl")), ConfigError, "none.jsonl");
});

Deno.test("ten thousand texts are at hand in seconds", async () => {
  const path = join(folder, "many.jsonl");
  const lines = Array.from({ length: 10_000 }, (_, i) =>
    JSON.stringify({
      title: `Place ${i}`,
      text: `Place ${i} lies ${i % 97} km from place ${i % 31}.`.repeat(4),
    }));
  await Deno.writeTextFile(path, lines.join("\n"));
  const before = performance.now();
  await using box = await openTools([`search:${path}`]);
  const found = await ask(box.tools[0]!, "place 4711");
  assert(found.startsWith("Place 4711: "), found);
  assert(performance.now() - before < 60_000);
});

Deno.test("the questions of the example are answered by what their references look up", async () => {
  const path = (name: string) =>
    fromFileUrl(new URL(`../examples/search/${name}.jsonl`, import.meta.url));
  await using box = await openTools([`search:${path("passages")}`]);
  const source = path("questions");
  const tasks = parseTasks(await Deno.readTextFile(source), { source, tools: box.tools });
  assert(tasks.length >= 12);
  for (const { prompt, answer, reference } of tasks) {
    const [first, second] = reference!.calls.map((call) => String(call.arguments.query));
    const [bridge, found] = [await ask(box.tools[0]!, first!), await ask(box.tools[0]!, second!)];
    assert(found.split("\n")[0]!.includes(answer.replace(/^(the|a) /, "")), `${prompt}: ${found}`);
    // What the second search looks for was found by the first one, or was asked about.
    const subject = second!.split(" ").filter((word) => /^[A-Z]/.test(word)).join(" ");
    assert(bridge.includes(subject), `${prompt}: ${subject}`);
  }
});
