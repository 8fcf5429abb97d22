// What a model wrote as calls becomes an answer that says no less: 5.0 is a float.

import { assertEquals, assertThrows } from "@std/assert";
import { parsedAnswer } from "../src/tasks/call_match.ts";
import { toolFormats } from "../src/text/calls/mod.ts";
import { formatTypedJson, parseTypedJson } from "../src/text/typed_json.ts";

Deno.test("typed JSON keeps integers and floats apart, and reads back as it was", () => {
  const text = '{"i":5,"f":5.0,"e":1e21,"list":[-0.0,12345678901234567890,true,null,"5.0"]}';
  const value = parseTypedJson(text);
  assertEquals(value, {
    ...{ i: 5n, f: 5, e: 1e21 },
    list: [-0, 12345678901234567890n, true, null, "5.0"],
  });
  assertEquals(formatTypedJson(value), text.replace("1e21", "1e+21"));
  assertThrows(() => parseTypedJson("[1e999]"), SyntaxError, "number too large");
  assertThrows(() => parseTypedJson(`[${"9".repeat(400)}]`), SyntaxError, "number too large");
});

Deno.test("floats stay floats from what a model writes to what the benchmark compares", () => {
  const parameters = {
    type: "object",
    properties: { n: { type: "number" }, list: { type: "array", items: { type: "number" } } },
  };
  const tools = [{ name: "f", description: "", parameters }];
  const texts: [format: keyof typeof toolFormats, text: string][] = [
    [
      "hermes",
      '<tool_call>\n{"name": "f", "arguments": {"n": 5.0, "list": [1.0, 2]}}\n</tool_call>',
    ],
    [
      "hermes",
      '<tool_call>{"name":"f","arguments":"{\\"n\\":5.0,\\"list\\":[1.0,2]}"}</tool_call>',
    ],
    ["llama3", '{"name": "f", "parameters": {"n": 5.0, "list": [1.0, 2]}}'],
    ["python", "[f(n=5.0, list=[1.0, 2])]"],
    ["gemma", "```tool_code\nf(n=5., list=[1.0, 2])\n```"],
    [
      "function-gemma",
      "<start_function_call>call:f{n:5.0,list:[1.0,2]}<end_function_call>",
    ],
    ["compact", "<|call|>f 5.0 [1.0,2]<|end_call|>"],
  ];
  for (const [format, text] of texts) {
    const { calls } = toolFormats[format].parse(text, tools);
    assertEquals(calls.map(({ status }) => status), ["ok"], text);
    assertEquals(calls[0]!.arguments, { n: 5, list: [1, 2] }, text);
    assertEquals(
      parsedAnswer(calls),
      '[{"name":"f","arguments":{"n":5.0,"list":[1.0,2]}}]',
      text,
    );
  }
});

Deno.test("a call that cannot be read is a wrong call beside others, and none by itself", () => {
  const tools = [{ name: "f", description: "", parameters: { type: "object", properties: {} } }];
  const parse = (text: string) => parsedAnswer(toolFormats.hermes.parse(text, tools).calls);
  const good = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
  assertEquals(parse(good), '[{"name":"f","arguments":{}}]');
  assertEquals(parse("<tool_call>f()</tool_call>"), "[]");
  assertEquals(
    parse(`${good}<tool_call>f()</tool_call>`),
    '[{"name":"f","arguments":{}},{"name":"","arguments":{}}]',
  );
});
