// The Berkeley Function Calling Leaderboard: what is read, and what counts as right. The goldens are
// verdicts of the benchmark's own checker (tests/golden/make_bfcl_goldens.py says how to get them,
// also those of all its data).

import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { bfclError, errorType } from "../src/tasks/bfcl/matching.ts";
import {
  bfclCategories,
  type BfclCategory,
  hasAnswers,
  parseBfcl,
} from "../src/tasks/bfcl/read.ts";
import { toJsonSchema } from "../src/tasks/bfcl/schema.ts";
import { parsedAnswer } from "../src/tasks/call_match.ts";
import { checkAnswer, type Task, TaskFormatError } from "../src/tasks/task.ts";
import { hermes } from "../src/text/calls/json.ts";
import { formatTypedJson, parseTypedJson } from "../src/text/typed_json.ts";
import { testData } from "./data.ts";

const EXCERPT = join(import.meta.dirname!, "data/bfcl");
const GOLDENS = join(import.meta.dirname!, "golden/bfcl");

function read(folder: string, category: BfclCategory, limit?: number) {
  const file = (path: string) => ({
    source: path,
    text: Deno.readTextFileSync(join(folder, path)),
  });
  const name = `BFCL_v4_${category}.json`;
  return parseBfcl(category, {
    questions: file(name),
    ...(hasAnswers(category) ? { answers: file(join("possible_answer", name)) } : {}),
    ...(limit === undefined ? {} : { limit }),
  });
}

type Case = [id: string, change: string, calls: unknown[], error: string | null];

/** Compares verdicts: how many answers were wrong, and where ours are not the benchmark's. */
function compare(data: string, goldens: string, category: BfclCategory) {
  const tasks = new Map(read(data, category).tasks.map((task) => [task.id, task]));
  const text = Deno.readTextFileSync(join(goldens, `${category}.json`));
  const { cases } = parseTypedJson(text) as { cases: Case[] };
  // What stands behind a conversation of several turns is no task.
  const known = cases.filter(([id]) => tasks.has(id));
  const differences = known.flatMap(([id, change, calls, error]) => {
    const { expected, tools } = tasks.get(id)!;
    const answer = formatTypedJson(calls);
    const found = bfclError(answer, expected, tools);
    const type = found && errorType(found, category);
    return type === error ? [] : [`${id}: ${change}: ${answer}: ${type} in place of ${error}`];
  });
  const wrong = known.filter(([, , , error]) => error !== null).length;
  return { answers: known.length, wrong, differences };
}

for (const category of bfclCategories) {
  Deno.test(`answers to ${category} are judged as the benchmark's own checker judges them`, () => {
    const { wrong, differences } = compare(EXCERPT, GOLDENS, category);
    assertEquals(differences, []);
    // Of the last category only an answer without a call is wrong.
    assert(wrong >= (category === "live_relevance" ? 2 : 40), `only ${wrong} wrong answers`);
  });

  Deno.test(`the reference answers to ${category} are right, also as a model writes them`, () => {
    for (const task of read(EXCERPT, category).tasks) {
      assert(checkAnswer(task, task.answer), `${task.id}: ${task.answer}`);
      const calls = parseTypedJson(task.answer) as unknown[];
      const text = calls.map((call) => `<tool_call>\n${formatTypedJson(call)}\n</tool_call>`);
      const written = parsedAnswer(hermes.parse(text.join("\n"), task.tools).calls);
      assertEquals(written, task.answer);
    }
  });
}

/** Questions that no answer is right for: see docs/benchmarks.md. */
const UNANSWERABLE = [
  ...["live_simple_106-63-0", "live_simple_112-68-0"],
  ...["live_multiple_862-181-3", "live_multiple_964-207-0"],
];

const bfcl = testData("bfcl", "BFCL_v4_simple_python.json");

Deno.test({
  name: `all reference answers of the whole benchmark are right${bfcl.hint}`,
  ignore: bfcl.folder === null,
  fn() {
    for (const category of bfclCategories) {
      if (!exists(join(bfcl.folder!, `BFCL_v4_${category}.json`))) continue;
      const wrong = read(bfcl.folder!, category).tasks
        .filter((task) => !checkAnswer(task, task.answer)).map(({ id }) => id);
      assertEquals(wrong, UNANSWERABLE.filter((id) => id.startsWith(`${category}_`)), category);
    }
  },
});

const goldens = Deno.env.get("MENTOR_BFCL_GOLDENS");

Deno.test({
  name: "answers to the whole benchmark are judged as its own checker judges them" +
    (goldens === undefined ? " (set MENTOR_BFCL_GOLDENS; see make_bfcl_goldens.py)" : bfcl.hint),
  ignore: goldens === undefined || bfcl.folder === null,
  fn() {
    for (const category of bfclCategories) {
      const { answers, wrong, differences } = compare(bfcl.folder!, goldens!, category);
      console.log(`${category}: ${answers} answers, ${wrong} wrong, ${differences.length} differ`);
      assertEquals(differences.slice(0, 10), []);
    }
  },
});

function exists(path: string): boolean {
  return Array.from(Deno.readDirSync(join(path, ".."))).some(({ name }) => path.endsWith(name));
}

Deno.test("a category becomes tasks with the benchmark's functions, dots and hints included", () => {
  const [task] = read(EXCERPT, "multiple", 1).tasks as [Task];
  assertEquals([task.domain, task.check, task.rules], ["bfcl:multiple", "calls", "bfcl"]);
  assertEquals(task.origin, { source: "BFCL_v4_multiple.json", line: 1 });
  assert(task.tools.some(({ name }) => name.includes(".")));
  for (const { description, parameters } of task.tools) {
    assert(description.endsWith(" Note that the provided function is in Python 3 syntax."));
    assertEquals(parameters.type, "object");
  }
});

Deno.test("what a system message says is kept, and longer conversations are counted", () => {
  const spoken = read(EXCERPT, "live_simple").tasks.filter(({ system }) => system !== undefined);
  assert(spoken.length > 0);
  const { tasks, leftOut } = read(EXCERPT, "live_irrelevance");
  assert(leftOut["several user turns"]!.count > 0);
  assert(tasks.every(({ expected }) => expected!.length === 0));
  assert(read(EXCERPT, "live_relevance").tasks.every(({ expected }) => expected === undefined));
});

Deno.test("the benchmark's types become JSON Schema's", () => {
  const dialect = {
    type: "dict",
    required: ["point", "mode"],
    properties: {
      point: { type: "tuple", items: { type: "float" }, description: "x, y" },
      mode: { type: "string", enum: ["a", "b"], optional: true, default: "a" },
      rows: { type: "array", items: { type: "dict", properties: { n: { type: "integer" } } } },
      flag: { type: "boolean" },
      other: { type: "any", description: "whatever" },
    },
  };
  assertEquals(toJsonSchema(dialect), {
    type: "object",
    required: ["point", "mode"],
    properties: {
      point: {
        type: "array",
        items: { type: "number", format: "float" },
        description: "x, y",
      },
      mode: { type: "string", enum: ["a", "b"], default: "a" },
      rows: {
        type: "array",
        items: { type: "object", properties: { n: { type: "integer" } } },
      },
      flag: { type: "boolean" },
      other: { description: "whatever" },
    },
  });
});

Deno.test("a malformed question or answer is named with file, line and what is wrong", () => {
  const row = {
    id: "q",
    question: [[{ role: "user", content: "?" }]],
    function: [{ name: "f", description: "F.", parameters: { type: "dict", properties: {} } }],
  };
  const parse = (question: object, answer: object = { id: "q", ground_truth: [{ f: {} }] }) =>
    parseBfcl("simple_python", {
      questions: { source: "q.json", text: `\n${JSON.stringify(question)}` },
      answers: { source: "a.json", text: JSON.stringify(answer) },
    });
  assertEquals(parse(row).tasks.length, 1);
  const double = { ...row.function[0], parameters: { type: "double" } };
  const cases: [question: object, answer: object | undefined, message: string][] = [
    [{ ...row, id: 1 }, undefined, 'q.json:2: "id" must be a string'],
    [{ ...row, question: [] }, undefined, 'q.json:2: "question" must be a list of one list'],
    [{ ...row, function: {} }, undefined, 'q.json:2: "function" must be a list'],
    [{ ...row, function: [double] }, undefined, 'function 1: "parameters" has type "double"'],
    [{ ...row, function: [null] }, undefined, "q.json:2: function 1: "],
    [row, { id: "p", ground_truth: [] }, 'q.json:2: there is no answer to "q" in a.json'],
    [row, { id: "q", ground_truth: [{ f: { a: 1 } }] }, 'a.json:1: "ground_truth" must be'],
    [row, { id: "q" }, 'a.json:1: "id" and "ground_truth" must be'],
  ];
  for (const [question, answer, message] of cases) {
    assertThrows(() => parse(question, answer), TaskFormatError, message);
  }
  const questions = { source: "q.json", text: JSON.stringify(row) };
  assertThrows(() => parseBfcl("multiple", { questions }), TypeError, "pass it as `answers`");
});

Deno.test("an answer that is no list of calls calls nothing", () => {
  const [task] = read(EXCERPT, "irrelevance", 1).tasks as [Task];
  assert(checkAnswer(task, "I can't help with that."));
  assert(checkAnswer(task, '{"name": "f"}'));
  assert(!checkAnswer(task, null));
});

Deno.test("of calls in any order, each wanted one takes the first that fits, as in the benchmark", () => {
  const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  const tools = [{ name: "f", description: "", parameters }];
  const wanted = [[1n, 2n], [1n]].map((a) => ({ name: "f", arguments: { a } }));
  const call = (a: number) => `{"name":"f","arguments":{"a":${a}}}`;
  assertEquals(bfclError(`[${call(2)},${call(1)}]`, wanted, tools), null);
  // The first wanted takes the 1 that the second needs.
  assertEquals(bfclError(`[${call(1)},${call(2)}]`, wanted, tools), "cannot_find_match");
});
