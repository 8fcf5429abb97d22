// The formats in which models write tool calls: what is written reads back, and nothing throws.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  detectToolFormat,
  type PlannedCall,
  type ToolFormatName,
  toolFormats,
} from "../src/text/calls/mod.ts";
import type { JsonSchema, ToolSpec } from "../src/text/tool_call.ts";
import { textGolden } from "./families.ts";

const names = Object.keys(toolFormats) as ToolFormatName[];

function spec(name: string, properties: Record<string, JsonSchema>, required?: string[]): ToolSpec {
  return {
    name,
    description: "Does it.",
    parameters: { type: "object", properties, required: required ?? Object.keys(properties) },
  };
}

const number: JsonSchema = { type: "number" };
const add = spec("add", { a: number, b: number });
const look = spec("look-up.it", { what: { type: "string" }, how: {} }, ["what"]);
const now = spec("now", {});
const specs = [add, look, now];

const two: PlannedCall[] = [
  { spec: add, args: { a: 34, b: -0.5 } },
  { spec: look, args: { what: 'a "b"\n</tool_call>', how: { x: [true, null, "é"] } } },
];

Deno.test("each format writes calls as its models do", () => {
  const text = (name: ToolFormatName) => toolFormats[name].format(two);
  assertEquals(
    text("hermes"),
    '<tool_call>\n{"name": "add", "arguments": {"a": 34, "b": -0.5}}\n</tool_call>\n<tool_call>\n' +
      '{"name": "look-up.it", "arguments": {"what": "a \\"b\\"\\n</tool_call>", ' +
      '"how": {"x": [true, null, "é"]}}}\n</tool_call>',
  );
  assertEquals(
    text("llama3").split("; ")[0],
    '{"name": "add", "parameters": {"a": 34, "b": -0.5}}',
  );
  assertEquals(
    text("python"),
    '[add(a=34, b=-0.5), look-up.it(what="a \\"b\\"\\n</tool_call>", ' +
      'how={"x": [True, None, "é"]})]',
  );
  assert(text("gemma").startsWith("```tool_code\nadd(a=34, b=-0.5)\nlook-up.it("));
  assertEquals(
    text("function-gemma"),
    "<start_function_call>call:add{a:34,b:-0.5}<end_function_call><start_function_call>" +
      'call:look-up.it{what:<escape>a "b"\n</tool_call><escape>,' +
      "how:{x:[true,null,<escape>é<escape>]}}<end_function_call>",
  );
  assert(text("compact").startsWith("<|call|>add 34 -0.5<|end_call|><|call|>look-up.it "));
});

Deno.test("what was written is read back, with the thought before it", () => {
  for (const name of names) {
    const { text, calls, clean } = toolFormats[name].parse(
      `Let me see.\n${toolFormats[name].format(two)}`,
      specs,
    );
    assertEquals(text.trim(), "Let me see.", name);
    assertEquals(
      calls,
      two.map(({ spec, args }) => ({ name: spec.name, arguments: args, status: "ok" })),
      name,
    );
    assertEquals(clean, true, name);
  }
});

Deno.test("a text without a call is none", () => {
  for (const name of names) {
    for (const text of ["", "42", "The answer is {x: 1} or [1, 2].", "```python\nadd(1, 2)\n```"]) {
      assertEquals(toolFormats[name].parse(text, specs), { text, calls: [], clean: true }, name);
    }
  }
});

Deno.test("what models write besides is understood, and what is wrong is told", () => {
  const ok = ["ok"];
  const rows: [ToolFormatName, string, string[], boolean][] = [
    ["hermes", '<tool_call>{"name":"add","arguments":{"a":1,"b":2}}</tool_call>', ok, true],
    ["hermes", '<tool_call>[{"name":"now"},{"name":"now","arguments":{}}]</tool_call>', [
      "ok",
      "ok",
    ], true],
    [
      "hermes",
      '<tool_call>{"name":"add","arguments":"{\\"a\\":1,\\"b\\":2}"}</tool_call>',
      ok,
      true,
    ],
    ["hermes", '<tool_call>{"type":"function","function":{"name":"now"}}</tool_call>', ok, true],
    ["hermes", '<tool_call>{"name":"now","arguments":{}}', ok, false],
    ["hermes", '<tool_call>{"name":"now"}</tool_call> and so on', ok, false],
    ["hermes", '<tool_call>{"name":"add","arguments":{"a":1}</tool_call>', ["malformed"], false],
    ["hermes", "<tool_call>add(1, 2)</tool_call>", ["malformed"], false],
    ["hermes", "<tool_call>\n</tool_call>", ["malformed"], false],
    ["hermes", "<tool_call>[]</tool_call>", ["malformed"], false],
    ["hermes", '<tool_call>{"name":"add","arguments":[1,2]}</tool_call>', ["malformed"], false],
    [
      "hermes",
      '<tool_call>{"name":"add","arguments":{"a":1e999,"b":2}}</tool_call>',
      ["malformed"],
      false,
    ],
    ["hermes", '<tool_call>{"name":"fly"}</tool_call>', ["unknown-tool"], true],
    [
      "hermes",
      '<tool_call>{"name":"add","arguments":{"a":1}}</tool_call>',
      ["bad-arguments"],
      true,
    ],
    [
      "hermes",
      '<tool_call>x</tool_call><tool_call>{"name":"now"}</tool_call>',
      ["malformed", "ok"],
      false,
    ],
    ["llama3", '{"name": "add", "parameters": {"a": 1, "b": 2}}', ok, true],
    ["llama3", '<|python_tag|>{"name": "now", "parameters": {}}', ok, true],
    ["llama3", '{"type": "function", "name": "now", "parameters": {}}', ok, true],
    ["llama3", '{"type": "function", "function": "now", "parameters": {}}', ok, true],
    ["llama3", '{"name": "now"}; {"name": "now"}\n{"name": "now"}', ["ok", "ok", "ok"], true],
    ["llama3", "<|python_tag|>add.call(a=1, b=2)", ok, true],
    ["llama3", "<|python_tag|>add(1, 2)", ok, true],
    ["llama3", "<|python_tag|>import os", ["malformed"], false],
    ["llama3", '{"name": "add", "parameters": {"a": 1', ["malformed"], false],
    ["llama3", '{"name": "now"} is what I would call', ok, false],
    ["python", "[add(1, 2)]", ok, true],
    ["python", "[add(1, b=2,), now()]", ["ok", "ok"], true],
    ["python", "[look-up.it(what='it\\'s \\x41\\u00e9\\101', how=(1, {'k': True}))]", ok, true],
    ["python", "[add(1, 2, 3)]", ["bad-arguments"], true],
    ["python", "[add(a=x, b=2)]", ["malformed"], false],
    ["python", "[now(), add(1", ["ok", "malformed"], false],
    ["python", "[now()] done", ok, false],
    ["gemma", "```tool_code\nprint(add(1, 2))\n```", ok, true],
    ["gemma", "```tool_code\n[now(), now()]\n```\n", ["ok", "ok"], true],
    ["gemma", "```tool_code\nnow()", ok, false],
    ["gemma", "```tool_code\n```", ["malformed"], false],
    ["gemma", "```tool_code\nx = 1\n```", ["malformed"], false],
    ["function-gemma", "<start_function_call>call:add{a:1,b:2}<end_function_call>", ok, true],
    [
      "function-gemma",
      "<start_function_call>call:add{a:<escape>1<escape>,b:<escape>2<escape>}<end_function_call>",
      ok,
      true,
    ],
    [
      "function-gemma",
      "<start_function_call>call:look-up.it{what:Paris}<end_function_call>",
      ok,
      true,
    ],
    ["function-gemma", "<start_function_call>call:now{}", ok, false],
    ["function-gemma", "<start_function_call>call:now{<end_function_call>", ["malformed"], false],
    ["function-gemma", "<start_function_call>now()<end_function_call>", ["malformed"], false],
    ["compact", "<|call|>add 1 2<|end_call|>", ok, true],
    ["compact", "<|call|>add 1 2", ok, false],
  ];
  for (const [name, text, statuses, clean] of rows) {
    const read = toolFormats[name].parse(text, specs);
    assertEquals(read.calls.map(({ status }) => status), statuses, text);
    assertEquals(read.clean, clean, text);
    for (const { status, error } of read.calls) assertEquals(error !== undefined, status !== "ok");
  }
  const [escaped] = toolFormats.python.parse(rows[27]![1], specs).calls;
  assertEquals(escaped!.arguments, { what: "it's AéA", how: [1, { k: true }] });
});

/** Any JSON object; V8 puts keys that look like numbers first, which no format can undo. */
const anything = fc.dictionary(
  fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("a b", "__proto__", "é", "x-y", "7")),
  fc.oneof(
    fc.jsonValue({ maxDepth: 4 }),
    fc.string({ unit: "binary" }),
    fc.constantFrom(...[
      "<escape>",
      "</tool_call>",
      "<|end_call|>",
      "```",
      "'",
      "\\",
      "<tool_call>",
    ]),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  ),
);

Deno.test("any arguments survive being written and read, in every format", () => {
  const thought = fc.constantFrom("", "So: ", "Let me see.\n");
  const call = fc.record({ name: fc.constantFrom("f", "get_it", "a.b-c"), args: anything });
  fc.assert(
    fc.property(fc.array(call, { minLength: 1, maxLength: 3 }), thought, (made, before) => {
      // -0 has no JSON of its own.
      const calls = made.map(({ name, args }) => ({
        name,
        args: JSON.parse(JSON.stringify(args)),
      }));
      for (const format of names) {
        const keys = new Set(calls.flatMap(({ args }) => Object.keys(args)));
        const free = Object.fromEntries([...keys].map((key) => [key, {}]));
        const known = ["f", "get_it", "a.b-c"].map((name) => spec(name, free, []));
        const planned = calls.map(({ name, args }) => ({
          spec: known.find((each) => each.name === name)!,
          args,
        }));
        const read = toolFormats[format].parse(before + toolFormats[format].format(planned), known);
        assertEquals(
          read.calls,
          calls.map(({ name, args }) => ({ name, arguments: args, status: "ok" as const })),
          format,
        );
        assertEquals(read.clean, true, format);
        assertEquals(read.text.trim(), before.trim(), format);
      }
    }),
    { numRuns: 500, seed: 1 },
  );
});

const pieces = [
  ..."{}[]()\"'`,:=*\\<>|;+-. \n0aé",
  ...[
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "```tool_code\n",
    "```",
    "<escape>",
    "1e999",
  ],
  ...[
    "<start_function_call>",
    "<end_function_call>",
    "call:add",
    "<|call|>",
    "<|end_call|>",
    "add",
  ],
  ...[
    '{"name": "add", "parameters": {',
    '"arguments": ',
    "[add(",
    "a=1",
    "print(",
    "**{",
    "\\u",
    "\ud83d",
  ],
];

Deno.test("reading never throws, on whatever text", () => {
  const noise = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: "binary" })), {
    maxLength: 30,
  });
  const check = (text: string) => {
    for (const name of names) {
      for (const { status, error } of toolFormats[name].parse(text, specs).calls) {
        assert(status === "ok" || error !== undefined);
      }
    }
  };
  fc.assert(fc.property(noise, (parts) => check(parts.join(""))), { numRuns: 3000, seed: 2 });
  // Valid calls with a piece cut out and another put in.
  const mutation = fc.tuple(
    fc.constantFrom(...names),
    fc.nat(),
    fc.nat(12),
    fc.constantFrom("", ...pieces),
  );
  fc.assert(
    fc.property(mutation, ([name, where, cut, piece]) => {
      const text = toolFormats[name].format(two);
      const at = where % (text.length + 1);
      check(text.slice(0, at) + piece + text.slice(at + cut));
    }),
    { numRuns: 3000, seed: 3 },
  );
});

Deno.test("deep nesting and long texts are refused, neither crashing nor crawling", () => {
  const deep = "[".repeat(100_000);
  const shut = "]".repeat(100_000);
  const objects = '{"a":'.repeat(50_000);
  for (
    const text of [
      `<tool_call>{"name":"look-up.it","arguments":{"what":"x","how":${deep}${shut}}}</tool_call>`,
      `{"name": "look-up.it", "parameters": {"what": "x", "how": ${deep}${shut}}}`,
      `<tool_call>${objects}`,
      `[add(${deep}${shut})]`,
      `[add(${"{'a':".repeat(50_000)}`,
      `\`\`\`tool_code\n${"print(".repeat(50_000)}`,
      `<start_function_call>call:add{a:${deep}${shut}}<end_function_call>`,
      `<start_function_call>call:add{a:${"{a:".repeat(50_000)}`,
      "<tool_call>".repeat(20_000),
      "<start_function_call>".repeat(20_000),
      `{"name": ${'{"name": '.repeat(20_000)}`,
    ]
  ) {
    const start = performance.now();
    for (const name of names) {
      const { calls } = toolFormats[name].parse(text, specs);
      assert(calls.every(({ status }) => status !== "ok"), name);
    }
    assert(performance.now() - start < 2000, text.slice(0, 40));
  }
});

Deno.test("a model's format is told by its template and control tokens", () => {
  const none = () => false;
  const detect = (template: string) =>
    detectToolFormat(textGolden(`templates/${template}.jinja`), none);
  assertEquals(
    ["qwen2_5", "qwen3", "hermes", "smollm2", "llama3", "llama3_json", "gemma3"].map(detect),
    ["hermes", "hermes", "hermes", "hermes", "llama3", "llama3", "gemma"],
  );
  assertEquals(
    ["gemma3_pythonic", "llama3_pythonic", "functiongemma"].map(detect),
    ["python", "python", "function-gemma"],
  );
  assertEquals(detectToolFormat("", (name) => name === "<|python_tag|>"), "llama3");
  assertEquals(detectToolFormat("", (name) => name.endsWith("call|>")), "compact");
});
