// Task files in the formats that exist: what becomes of their rows, and what is said of bad ones.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fromFileUrl, join } from "@std/path";
import { CheckpointError } from "../src/io/checkpoint.ts";
import { ConfigError } from "../src/run/config/mod.ts";
import { readTaskFile, type TaskFile, type TaskFileOptions } from "../src/run/tasks/file.ts";
import { callsAnswer } from "../src/tasks/call_match.ts";
import type { Row } from "../src/tasks/formats/format.ts";
import { taskFormatNames, taskFormats } from "../src/tasks/formats/mod.ts";
import { TaskReader } from "../src/tasks/formats/reader.ts";
import { jsonSchemaOf } from "../src/tasks/formats/schema_dialect.ts";
import { bfclCategories } from "../src/tasks/bfcl/read.ts";
import { formatTasks, parseTasks } from "../src/tasks/jsonl.ts";
import schema from "../src/tasks/task.schema.json" with { type: "json" };
import { checkAnswer, checks, type Task, TaskFormatError } from "../src/tasks/task.ts";
import { validateArguments } from "../src/text/json_schema.ts";
import { calculator } from "../src/tools/calculator.ts";
import { isDeclared, tool } from "../src/tools/tool.ts";

const data = fromFileUrl(new URL("data", import.meta.url));
const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const { all } = calculator();

function read(path: string, options: Partial<TaskFileOptions> = {}): Promise<TaskFile> {
  return readTaskFile(path, {
    ...{ format: "auto", tools: all, chosen: false, limit: null, skipInvalid: false },
    ...options,
  });
}

/** A file of the temporary folder. */
function file(name: string, content: string): string {
  const path = join(folder, name);
  Deno.writeTextFileSync(path, content);
  return path;
}

/** Tasks without where they were read, and without the functions of their tools. */
const bare = (tasks: readonly Task[]) =>
  tasks.map(({ origin: _, tools, ...task }) => ({
    ...task,
    tools: tools.map((each) => [each.name, each.description, each.parameters, isDeclared(each)]),
  }));

const fixtures: readonly [file: string, format: string, tasks: number, leftOut: string[]][] = [
  ["formats/own.jsonl", "own", 3, []],
  ["formats/own.json", "own", 3, []],
  ["formats/own.csv", "own", 3, []],
  ["formats/own.parquet", "own", 3, []],
  ["gsm8k_sample.jsonl", "gsm8k", 17, [
    "no calculation",
    "nothing to calculate",
    "unsupported syntax",
  ]],
  ["formats/mentor_data.jsonl", "mentor-data", 2, ["several right answers"]],
  ["formats/mentor_data.parquet", "mentor-data", 2, ["several right answers"]],
  ["formats/toolrl.jsonl", "toolrl", 2, ["several user turns"]],
  ["formats/toolrl.parquet", "toolrl", 2, ["several user turns"]],
  ["formats/xlam.json", "xlam", 3, []],
  ["formats/toolace.json", "toolace", 3, ["several user turns"]],
  ["formats/trl.jsonl", "trl", 5, ["several user turns"]],
  ["formats/trl.parquet", "trl", 3, ["several user turns"]],
];

Deno.test("every format is recognised, and its tasks are the same after a way through our own", async () => {
  for (const [name, format, count, leftOut] of fixtures) {
    const found = await read(join(data, name));
    assertEquals([found.format, found.tasks.length], [format, count], name);
    assertEquals([Object.keys(found.leftOut), found.invalid], [leftOut, {}], name);
    assertEquals(
      found.rows,
      count + Object.values(found.leftOut).reduce((sum, { count }) => sum + count, 0),
      name,
    );
    // Tools that can be run are named, the others are declared: none may stand in for these.
    const declares = found.tasks.every(({ tools }) => tools.every(isDeclared));
    const options = { source: name, tools: declares ? [] : all };
    const again = parseTasks(formatTasks(found.tasks), options);
    assertEquals(bare(again), bare(found.tasks), name);
    for (const task of found.tasks) assert(checkAnswer(task, task.answer), `${name}: ${task.id}`);
  }
  const named = new Set(fixtures.map(([, format]) => format));
  assertEquals([...named].sort(), taskFormats.map(({ name }) => name).sort());
});

Deno.test("the kind of file makes no difference", async () => {
  for (
    const [one, ...others] of [
      ["own.jsonl", "own.json", "own.csv", "own.parquet"],
      ["mentor_data.jsonl", "mentor_data.parquet"],
      ["toolrl.jsonl", "toolrl.parquet"],
    ]
  ) {
    const { tasks } = await read(join(data, "formats", one!));
    for (const other of others) {
      assertEquals(bare((await read(join(data, "formats", other))).tasks), bare(tasks), other);
    }
  }
  // Lists of messages only, as a column has one type; the ids count rows.
  const tasksOf = async (name: string) =>
    bare((await read(join(data, "formats", name))).tasks).map(({ id: _, ...task }) => task);
  const [turnOn, both, , , chat] = await tasksOf("trl.jsonl");
  assertEquals(await tasksOf("trl.parquet"), [turnOn!, both!, chat!]);
});

const only = async (name: string) => (await read(join(data, "formats", name))).tasks;

Deno.test("single-turn function calling is checked by its calls, in any order", async () => {
  const [giveaways, distance, nothing] = await only("xlam.json");
  const calls = [
    { name: "live_giveaways", arguments: { type: "beta" } },
    { name: "live_giveaways", arguments: { type: "game" } },
  ];
  assertEquals(giveaways!.reference?.calls, calls);
  assertEquals([giveaways!.check, giveaways!.tools.every(isDeclared)], ["calls", true]);
  assert(checkAnswer(giveaways!, callsAnswer(calls.toReversed())));
  assert(!checkAnswer(giveaways!, callsAnswer(calls.slice(1))));
  assertEquals(distance!.reference?.calls[0]?.arguments, { a: [0, 0], b: [3, 4] });
  // What is said instead of a call is not in the data, and not made up.
  assertEquals([nothing!.answer, nothing!.reference], ["[]", null]);
  assert(checkAnswer(nothing!, "[]") && !checkAnswer(nothing!, callsAnswer(calls)));

  const [news, thanks] = await only("toolrl.jsonl");
  assertEquals(news!.prompt, "What is new about trains, and whose is example.org?");
  assertEquals(news!.tools.map(({ name, description }) => [name, description]), [
    ["GetNews", "Finds news\non a subject."],
    ["Domain_WHOIS_Lookup_API", "Says whose a domain is."],
  ]);
  assertEquals(news!.reference?.calls, [
    { name: "GetNews", arguments: { subject: "trains", page: 1 } },
    { name: "Domain_WHOIS_Lookup_API", arguments: { domain_name: "example.org" } },
  ]);
  assertEquals([thanks!.answer, thanks!.reference?.answer], ["[]", "You are welcome."]);
});

Deno.test("where a conversation's tools can't be run, the first turn is what is asked", async () => {
  const [market, filings, weather] = await only("toolace.json");
  assertEquals(market!.reference?.calls, [
    { name: "Market_Trends_API", arguments: { trend_type: "MARKET_INDEXES", country: "us" } },
    { name: "SEC_Filings", arguments: { identifier: "AAPL", limits: { most: 3 } } },
  ]);
  assertEquals([market!.check, market!.system], ["calls", undefined]);
  assertEquals([filings!.answer, filings!.reference?.answer], ["[]", "Of which company?"]);
  assertEquals(weather!.reference?.calls, [{ name: "get_weather", arguments: { city: "Oslo" } }]);

  const [light, both, sky, product, chat] = await only("trl.jsonl");
  assertEquals([light!.system, light!.check], ["You keep a house.", "calls"]);
  assertEquals(both!.reference?.calls.map((call) => call.arguments.room), ["kitchen", "hall"]);
  assertEquals([sky!.prompt, sky!.answer, sky!.check, sky!.tools], [
    "The sky is",
    "blue.",
    "exact",
    [],
  ]);
  assertEquals([product!.prompt, product!.answer, product!.check], [
    "What is 6 times 7?",
    "42",
    "number",
  ]);
  assertEquals([chat!.check, chat!.answer, chat!.reference?.answer], ["calls", "[]", "Fine."]);
});

Deno.test("where all tools can be run, the answer is asked, and the results are the reference's", async () => {
  const parameters = {
    type: "object",
    properties: { room: { type: "string" }, state: { type: "string" } },
    required: ["room", "state"],
  };
  const lights = tool({
    ...{ name: "control_light", description: "", parameters },
    execute: ({ room, state }) => `${room}: ${state}`,
  });
  const path = join(data, "formats/trl.jsonl");
  const { tasks } = await read(path, { tools: [lights], chosen: true });
  assertEquals(tasks[0]!.tools, [lights]);
  assertEquals([tasks[0]!.check, tasks[0]!.answer], ["exact", "Done!"]);
  // Results are told by the ids of their calls, whatever their order.
  assertEquals(tasks[1]!.reference, {
    calls: [
      {
        name: "control_light",
        arguments: { room: "kitchen", state: "off" },
        result: "kitchen: off",
      },
      { name: "control_light", arguments: { room: "hall", state: "off" }, result: "hall: off" },
    ],
    answer: "Both are off.",
  });
  // One text with the results of all calls of a turn is taken apart.
  const tools = ["Market_Trends_API", "SEC_Filings"].map((name) =>
    tool({ name, description: "", parameters: { type: "object" }, execute: () => 1 })
  );
  const [market] = (await read(join(data, "formats/toolace.json"), { tools, chosen: true })).tasks;
  assertEquals(market!.reference?.calls.map(({ result }) => result), [
    { name: "Market Trends API", results: { up: ["S&P"] } },
    { name: "SEC Filings", results: [] },
  ]);
  assertEquals(market!.answer, "The S&P is up, and Apple has filed nothing.");
});

Deno.test("the calculator stands in for nothing that a row declares, unless it was asked for", async () => {
  const path = join(data, "formats/mentor_data.jsonl");
  assertEquals((await read(path)).tasks[0]!.tools.map(isDeclared), [true, true]);
  const chosen = await read(path, { chosen: true });
  assertEquals(chosen.tasks[0]!.tools.map(isDeclared), [false, true]);
});

Deno.test("of the MENTOR data's teacher the names of the tools are known, each once", async () => {
  const [root, half] = await only("mentor_data.jsonl");
  assertEquals(root!.reference, {
    calls: [{ name: "add", arguments: {} }, { name: "sqrt", arguments: {} }],
    answer: "5",
    namesOnly: true,
  });
  assertEquals([root!.check, root!.domain], ["number", "nvidia/AceReason-Math"]);
  assertEquals([half!.check, half!.answer], ["exact", "\\frac{1}{2}"]);
  assertEquals(half!.reference, { calls: [], answer: "\\frac{1}{2}" });
});

Deno.test("arguments are described in JSON Schema, whatever a data set calls its types", () => {
  const flat = (type: string) =>
    (jsonSchemaOf({ x: { type } }).properties as Record<string, unknown>).x;
  const types: [string, unknown][] = [
    ["str", { type: "string" }],
    ["int, optional", { type: "integer" }],
    ["float", { type: "number" }],
    ["bool", { type: "boolean" }],
    ["List[int]", { type: "array", items: { type: "integer" } }],
    ["List[List[str]]", {
      type: "array",
      items: { type: "array", items: { type: "string" } },
    }],
    ["Tuple[float, float]", { type: "array" }],
    ["Dict[str, int]", { type: "object" }],
    ["Optional[str]", { type: "string" }],
    ["Union[int, float]", { type: ["integer", "number"] }],
    ["Callable[[float], float]", {}],
    ["whatever", {}],
  ];
  for (const [type, expected] of types) assertEquals(flat(type), expected, type);
  assertEquals(
    jsonSchemaOf({
      a: { type: "str" },
      b: { type: "str", default: "" },
      c: { type: "int, optional" },
      type: { type: "str" },
    }).required,
    ["a", "type"],
  );
  assertEquals(
    jsonSchemaOf({
      type: "dict",
      properties: {
        a: { type: "tuple", items: { type: "float" }, required: true },
        b: { type: "dict", properties: { c: { type: "any" } }, required: null },
      },
      required: ["a", "z"],
    }),
    {
      type: "object",
      properties: {
        a: { type: "array", items: { type: "number" } },
        b: { type: "object", properties: { c: {} } },
      },
      required: ["a"],
    },
  );
  const proper = {
    type: "object",
    properties: { a: { anyOf: [{ type: "string" }, { type: "null" }], description: "A" } },
    required: ["a"],
    additionalProperties: false,
  };
  assertEquals(JSON.stringify(jsonSchemaOf(proper)), JSON.stringify(proper));
  assertEquals(jsonSchemaOf(undefined), { type: "object", properties: {} });
  const odd = jsonSchemaOf(JSON.parse('{"__proto__":{"type":"str"},"constructor":{"type":"int"}}'));
  assertEquals(odd.required, ["__proto__", "constructor"]);
  assertEquals(Object.keys(odd.properties!), odd.required);
});

/** Reads one row. */
function readRow(format: string, row: Row, skipInvalid = false): TaskReader {
  const found = taskFormats.find(({ name }) => name === format)!;
  const reader = new TaskReader(found, { source: "f", tools: all, skipInvalid });
  reader.add({ line: 7, value: row });
  return reader;
}

const declared = [{ name: "f", parameters: { x: { type: "int" } } }];
const reading = (value: string) => ({ from: "assistant", value });
const asked = { from: "user", value: "q" };
const malformed: readonly [format: string, row: Row, message: string, reason?: string][] = [
  ["own", { prompt: "p" }, '"answer" is missing'],
  [
    "own",
    { prompt: "p", answer: "x", reference: { calls: [{ name: "add", arguments: { a: "1" } }] } },
    '"reference.calls[0].arguments" of add: ',
    "a call breaks its tool's schema",
  ],
  [
    "own",
    { prompt: "p", answer: "x", reference: { calls: [], namesOnly: 1 } },
    '"reference.namesOnly" must be true',
  ],
  [
    "own",
    {
      prompt: "p",
      answer: "x",
      reference: { calls: [{ name: "add", arguments: { a: 1 } }], namesOnly: true },
    },
    "must be empty where only names are known",
  ],
  ["gsm8k", { question: "", answer: "#### 1" }, '"question" and "answer" must be strings'],
  ["mentor-data", { question: "q", reward_model: "{" }, '"reward_model" is not valid JSON'],
  ["mentor-data", { question: "q", reward_model: {} }, '"reward_model.ground_truth" is missing'],
  [
    "mentor-data",
    { question: "q", reward_model: { ground_truth: "1" }, tool_calls_used: ["add"] },
    '"add" is called, which is not among the tools',
  ],
  ["toolrl", { prompt: [], reward_model: {} }, '"prompt" has no system message'],
  [
    "toolrl",
    {
      prompt: [{ role: "system", content: "s" }, { role: "user", content: "<user> q </user>" }],
      reward_model: { ground_truth: "<response> x </response>" },
    },
    "the system message declares no tool",
  ],
  ["xlam", { query: "q", tools: "[", answers: "[]" }, '"tools" is not valid JSON'],
  ["xlam", { query: "q", tools: declared, answers: {} }, '"answers" must be a list of calls'],
  [
    "xlam",
    { query: "q", tools: declared, answers: [{ name: "g", arguments: {} }] },
    '"g" is called, which is not among the tools',
    "a tool is called that is not among the tools",
  ],
  [
    "xlam",
    { query: "q", tools: declared, answers: [{ name: "f", arguments: { x: "1" } }] },
    "the call of f: x: ",
    "a call breaks its tool's schema",
  ],
  [
    "xlam",
    { query: "q", tools: [{ name: "a b" }, { name: "a_b", description: "x" }], answers: [] },
    '"tools" has two different tools named "a_b"',
  ],
  [
    "xlam",
    {
      query: "q",
      tools: declared,
      answers: '[{"name": "f", "arguments": {"x": 12345678901234567890}}]',
    },
    "the call of f: an integer is too large for its digits to be kept",
    "an integer is too large for its digits to be kept",
  ],
  ["xlam", { query: "q", tools: [{}], answers: [] }, "a declaration without a name"],
  [
    "toolace",
    { conversations: [{ from: "who", value: "x" }] },
    '"conversations[].from" is nobody known: "who"; known are system, user',
    '"conversations[].from" is nobody known',
  ],
  ["toolace", { conversations: [asked, { from: "constructor", value: "x" }] }, '"constructor"'],
  [
    "own",
    { prompt: "p", answer: "twelve", check: "number" },
    '"answer" must be a number where "check" is "number", got "twelve"',
    '"answer" must be a number where "check" is "number"',
  ],
  [
    "own",
    { prompt: "p", answer: "add(1, 2)", check: "calls" },
    '"answer" must be a JSON list of calls where "check" is "calls"',
  ],
  ["own", { prompt: "p", answer: "x", tools: ["add", "add"] }, '"tools" has "add" twice'],
  [
    "toolace",
    { tools: declared, conversations: [asked, reading("[f(x=1]")] },
    "calls cannot be read: expected )",
    "calls cannot be read",
  ],
  [
    "toolace",
    { system: 'Functions: [{"name": }]', conversations: [asked, reading("x")] },
    "the list of tools in the system text is not JSON",
  ],
  [
    "trl",
    { messages: [{ role: "critic", content: "x" }] },
    'system, user, assistant, tool: "critic"',
  ],
  ["trl", { messages: [{ role: "user", content: [{ type: "image" }] }] }, 'no text but "image"'],
  ["trl", { messages: [{ role: "assistant", content: "x" }] }, "the user says nothing"],
  [
    "trl",
    { messages: [{ role: "user", content: "q" }, { role: "assistant", content: "" }] },
    "the assistant says nothing",
  ],
  [
    "trl",
    {
      messages: [
        { role: "user", content: "q" },
        { role: "assistant", tool_calls: [{ function: { name: "f", arguments: "{" } }] },
      ],
    },
    '"tool_calls.arguments" is not valid JSON',
  ],
];

Deno.test("a malformed row of any format is named with its place and what is wrong", () => {
  for (const [format, row, message, reason] of malformed) {
    const error = assertThrows(() => readRow(format, row), TaskFormatError, message);
    assertEquals([error.source, error.line], ["f", 7], message);
    assert(error.message.startsWith("f:7: "), error.message);
    // Where it is to be skipped, it is counted instead.
    const { tasks, invalid } = readRow(format, row, true);
    const [[key, { count, firstLine, example = key }]] = Object.entries(invalid) as [
      [string, TaskFile["invalid"][string]],
    ];
    assertEquals([tasks, count, firstLine], [[], 1, 7]);
    assert(example.includes(message), example);
    if (reason !== undefined) assertEquals(key, reason);
  }
  assertEquals(
    new Set(malformed.map(([format]) => format)),
    new Set(taskFormats.map(({ name }) => name)),
  );
});

Deno.test("large numbers of few digits are arguments like others", () => {
  for (const x of [9.46e15, 6.02e23, 2 ** 53 - 1, -1e20]) {
    const row = { query: "q", tools: declared, answers: [{ name: "f", arguments: { x } }] };
    assertEquals(readRow("xlam", row).tasks.length, 1, String(x));
  }
});

Deno.test("conversations that cannot become a task are left out for a reason", () => {
  const say = (role: string, content: string) => ({ role, content });
  const rows: [Row, string][] = [
    [
      { messages: [say("user", "a"), say("assistant", "b"), say("user", "c")] },
      "several user turns",
    ],
    [{ messages: [say("assistant", "a"), say("user", "b")] }, "the assistant speaks first"],
    [{ messages: [say("user", "a")] }, "nobody answers the user"],
    [
      {
        tools: declared,
        messages: [
          say("user", "a"),
          say("assistant", "Let me see."),
          {
            ...say("assistant", ""),
            tool_calls: [{ function: { name: "f", arguments: { x: 1 } } }],
          },
        ],
      },
      "the assistant goes on after an answer",
    ],
  ];
  for (const [row, reason] of rows) {
    const { tasks, leftOut, invalid } = readRow("trl", row);
    assertEquals([tasks, leftOut, invalid], [[], { [reason]: { count: 1, firstLine: 7 } }, {}]);
  }
  const prompt = (
    said: string,
  ) => [say("system", "1. Name: f\nDescription: d\nParameters: {}"), say("user", said)];
  const begun = {
    prompt: prompt("<user> q </user>"),
    reward_model: { ground_truth: "<response>x" },
  };
  assertThrows(() => readRow("toolrl", begun), TaskFormatError, "neither calls nor a response");
});

Deno.test("malformed rows are counted by reason with the first line, and the others are read", async () => {
  const good = (i: number) => JSON.stringify({ id: i, prompt: `p${i}`, answer: i });
  const lines = [good(1), "{", good(2), '{"prompt":"p"}', "[]", good(1), "", "{", good(3)];
  const path = file("some.jsonl", lines.join("\n"));
  const { tasks, rows, invalid } = await read(path, { skipInvalid: true });
  assertEquals([tasks.map(({ id }) => id), rows], [["1", "2", "3"], 8]);
  assertEquals(
    Object.entries(invalid).map(([reason, { count, firstLine }]) => [reason, count, firstLine]),
    [
      ["not valid JSON", 2, 2],
      ['"answer" is missing', 1, 4],
      ["expected a JSON object", 1, 5],
      ["an id was used before", 1, 6],
    ],
  );
  const error = await assertRejects(() => read(path), TaskFormatError, "not valid JSON");
  assertEquals(error.line, 2);
  assertEquals((await read(path, { limit: 1 })).rows, 1);
});

Deno.test("cells of CSV may hold line breaks, and lines are counted all the same", async () => {
  for (const end of ["\n", "\r\n"]) {
    const text = [
      "\ufeffprompt,answer,check",
      `"a${end}""b""",1,number`,
      "",
      "c,2,number",
      "d,3",
      `"e${end}${end}f",4,exact`,
    ].join(end);
    const { tasks, invalid } = await read(file("cells.csv", text), { skipInvalid: true });
    assertEquals(tasks.map(({ prompt, answer, origin }) => [prompt, answer, origin?.line]), [
      [`a${end}"b"`, "1", 2],
      ["c", "2", 5],
      [`e${end}${end}f`, "4", 7],
    ]);
    const [[, { firstLine, example }]] = Object.entries(invalid) as [
      [string, TaskFile["invalid"][string]],
    ];
    assertEquals([firstLine, example], [6, "the row has 2 cells, the header 3"]);
  }
  const tabs = await read(file("tabs.tsv", "prompt\tanswer\na, b\tc"));
  assertEquals([tabs.tasks[0]!.prompt, tabs.tasks[0]!.check], ["a, b", "exact"]);
  const quoted = file("open.csv", 'prompt,answer\na,b\n"c,d\n');
  const error = await assertRejects(() => read(quoted), TaskFormatError, "not valid CSV: Quote");
  assertEquals(error.line, 3);
  const twice = file("twice.csv", "prompt,answer,prompt\na,1,b\n");
  await assertRejects(
    () => read(twice),
    TaskFormatError,
    'twice.csv:1: two columns are named "pro',
  );
  const cell = file("cell.csv", 'prompt,answer,tools\na,b,"[""add"""\n');
  await assertRejects(() => read(cell), TaskFormatError, 'cell.csv:2: "tools" is not valid JSON');
});

Deno.test("files that cannot be read are told apart", async () => {
  await assertRejects(() => read(join(folder, "none.jsonl")), CheckpointError, "Check the path");
  const list = file("list.json", '[\n{"prompt":"p","answer":"x"},\n{"prompt":}\n]');
  const error = await assertRejects(() => read(list), TaskFormatError, "not valid JSON");
  assertEquals(error.line, 3);
  const faults: [text: string, line: number][] = [
    ['[\n{"prompt":"p"},\nfoo,\n{"prompt":"p"}\n]', 3],
    ['[{"prompt":"p"}\n{"prompt":"p"},\n{"prompt":"p"}\n]', 2],
    ['[5,\n{"prompt":"p"},\n"x", null,\n{"prompt":tru}, 5\n]', 4],
    ['[\n{"prompt":"p"},\n', 3],
  ];
  for (const [text, line] of faults) {
    const path = file("fault.json", text);
    const { message } = await assertRejects(() => read(path), TaskFormatError);
    assert(message.includes(`fault.json:${line}: not valid JSON`), message);
  }
  const line = file("line.jsonl", '{"prompt":"p","answer":"x"}\n{"prompt":"p" "answer":"x"}');
  const { message } = await assertRejects(() => read(line), TaskFormatError, "line.jsonl:2: not");
  assert(!message.includes("(line 1"), message);
  const rows = file("rows.json", '[{"prompt":"p","answer":"x"}, 5, {"prompt":""}]');
  await assertRejects(
    () => read(rows),
    TaskFormatError,
    "rows.json, row 2: expected a JSON object",
  );
  const { invalid, unit } = await read(rows, { skipInvalid: true });
  assertEquals([Object.keys(invalid), unit], [
    ["expected a JSON object", '"prompt" is empty'],
    "row",
  ]);
  const parquet = file("not.parquet", "nothing of the kind");
  await assertRejects(() => read(parquet), CheckpointError, 'not.parquet": it is not Parquet');
  const latin = join(folder, "latin.csv");
  Deno.writeFileSync(latin, Uint8Array.from("prompt,answer\ncafé,1\n", (c) => c.charCodeAt(0)));
  await assertRejects(() => read(latin), CheckpointError, 'latin.csv": it is not text in UTF-8');
  assertEquals((await read(file("empty.jsonl", "\n"))).tasks, []);
});

Deno.test("rows of no known format name what they have, and which formats there are", async () => {
  const path = file("other.jsonl", '{"input":"q","output":"a"}\n');
  const error = await assertRejects(() => read(path), ConfigError, '"input", "output"');
  for (const name of taskFormatNames) assert(error.message.includes(`${name} (`), name);
  // A format that is named is taken at its word.
  await assertRejects(
    () => read(path, { format: "xlam" }),
    TaskFormatError,
    'other.jsonl:1: "answers" must be a list of calls, got nothing',
  );
  // Some data sets repeat beside a conversation what it begins with.
  const messages = [{ role: "user", content: "q" }, { role: "assistant", content: "a" }];
  const repeated = file("repeated.jsonl", JSON.stringify({ prompt: "q", messages }));
  assertEquals((await read(repeated)).format, "trl");
  const gsm8k = await read(join(data, "gsm8k_sample.jsonl"), { format: "gsm8k", limit: 5 });
  assertEquals([gsm8k.rows, gsm8k.tasks.length], [5, 5]);
});

Deno.test("a file of BFCL is read with its answers, which lie beside it", async () => {
  const simple = await read(join(data, "bfcl/BFCL_v4_simple_python.json"), { limit: 3 });
  assertEquals([simple.format, simple.rows, simple.tasks.length], ["bfcl", 3, 3]);
  for (const task of simple.tasks) {
    assertEquals([task.domain, task.rules], ["bfcl:simple_python", "bfcl"]);
    assert(checkAnswer(task, task.answer) && !checkAnswer(task, "[]"));
  }
  for (const category of bfclCategories) {
    const { tasks } = await read(join(data, `bfcl/BFCL_v4_${category}.json`));
    const again = parseTasks(formatTasks(tasks), { source: "again", tools: [] });
    const plain = tasks.map(({ origin: _, ...task }) => task);
    assertEquals(again.map(({ origin: _, ...task }) => task), plain, category);
  }
  const [line] = formatTasks(simple.tasks).split("\n");
  const list = file("list.json", `[${line}]`);
  await assertRejects(() => read(list), TaskFormatError, "which only a line of JSON can");
  const live = await read(join(data, "bfcl/BFCL_v4_live_irrelevance.json"));
  assertEquals(live.rows, live.tasks.length + (live.leftOut["several user turns"]?.count ?? 0));
  const questions = Deno.readTextFileSync(join(data, "bfcl/BFCL_v4_irrelevance.json"));
  const torn = file("BFCL_v4_irrelevance.json", `{"id": "a"}\n${questions}not JSON\n`);
  await assertRejects(() => read(torn), TaskFormatError, 'json:1: "function" must be a list');
  const counted = await read(torn, { skipInvalid: true });
  assertEquals(counted.tasks.length, counted.rows - 2);
  assertEquals(Object.entries(counted.invalid).map(([why, { count }]) => [why, count]), [
    ['"function" must be a list', 1],
    ["not valid JSON", 1],
  ]);
  const alone = file("BFCL_v4_multiple.json", "{}");
  await assertRejects(() => read(alone), CheckpointError, "possible_answer/BFCL_v4_multiple.json");
  const unnamed = file("questions.json", "{}");
  await assertRejects(() => read(unnamed, { format: "bfcl" }), ConfigError, "is not named BFCL_v4");
});

Deno.test("the schema of our own format accepts what the reader does, and nothing else", () => {
  const add = { name: "add", arguments: { a: 1, b: 2 } };
  const junk = fc.constantFrom<unknown>(null, 5, "", true, [], {}, [1]);
  const or = (...values: unknown[]) =>
    fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...values) }, junk);
  const declaration = fc.record({
    name: or("f", "my.tool-1", "two words", "1st"),
    description: or("Does it"),
    parameters: or(
      { type: "object" },
      { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
      { type: "object", properties: { a: { type: ["string", "null"] } } },
      { type: "object", properties: { a: { type: "str" } } },
      { type: "object", properties: { a: 5 } },
      { type: "dict", properties: {} },
      { properties: {} },
    ),
  }, { requiredKeys: [] });
  const call = fc.record({ name: or("add"), arguments: or(add.arguments), result: or(3) }, {
    requiredKeys: [],
  });
  const expected = fc.record({
    name: or("g"),
    arguments: or({}, { a: [1, ""] }, { a: 1 }),
  }, { requiredKeys: [] });
  const named = { calls: [{ name: "add", arguments: {} }], namesOnly: true };
  const reference = fc.oneof(
    fc.constantFrom<unknown>({ calls: [add] }, { calls: [] }, named, {
      ...named,
      alternatives: [[add]],
    }),
    fc.record({
      calls: fc.oneof({ weight: 3, arbitrary: fc.array(call, { maxLength: 2 }) }, junk),
      answer: or("3"),
      alternatives: fc.oneof(fc.array(fc.array(call, { maxLength: 1 }), { maxLength: 2 }), junk),
    }, { requiredKeys: [] }),
    junk,
  );
  const fields = {
    id: or("a", 7),
    prompt: or("p"),
    system: or("s"),
    tools: fc.oneof(
      fc.array(declaration, { maxLength: 1 }).map((some) => ["add", ...some]),
      fc.constantFrom<unknown>(null, 5, "add", {}, ["add", 5]),
    ),
    answer: or("x", 3),
    check: or(...checks),
    expected: fc.oneof(fc.array(expected, { maxLength: 2 }), junk),
    rules: or("bfcl", "toolrl"),
    world: or({ a: 1 }),
    domain: or("d"),
    split: or("train", "depth", "test"),
    reference,
    more: junk,
  };
  const names = Object.keys(fields) as (keyof typeof fields)[];
  const parameters = { type: "object", properties: { a: 5 } };
  // Rows, the first ones right, of which a few fields are set otherwise or taken away.
  const row = fc.tuple(
    fc.constantFrom<Row>(
      { prompt: "p", answer: 3, reference: { calls: [add] } },
      { prompt: "p", answer: "x", reference: named },
      { prompt: "p", check: "calls", reference: { calls: [add] } },
      { prompt: "p", check: "calls", expected: [{ name: "g", arguments: { a: [1] } }] },
      { prompt: "p", check: "calls", expected: [{ name: "g", arguments: { a: 1 } }] },
      { prompt: "p", answer: 3, tools: ["add", { name: "f", parameters }] },
    ),
    fc.record(fields),
    fc.subarray(names, { maxLength: 3 }),
    fc.subarray(names, { maxLength: 1 }),
  ).map(([base, values, set, without]) => {
    const changed = { ...base, ...Object.fromEntries(set.map((name) => [name, values[name]])) };
    return Object.fromEntries(
      Object.entries(changed).filter(([name]) => !without.some((each) => each === name)),
    );
  });
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(row, (value) => {
      const problem = validateArguments(schema, value);
      let fault: string | null = null;
      try {
        parseTasks(JSON.stringify(value), { source: "f", tools: all });
        read++;
      } catch (error) {
        assert(error instanceof TaskFormatError, String(error));
        fault = error.message;
        refused++;
      }
      // Said beyond the schema: arguments have to fit their tools, and answers how they are checked.
      if (fault?.includes("of add: ") || fault?.includes(' where "check" is ')) return;
      assertEquals(problem === null, fault === null, `${fault} / ${problem}`);
    }),
    { numRuns: 2000, seed: 1 },
  );
  assert(read > 500 && refused > 500, `${read} ${refused}`);
});
