// Whole conversations as tokens, and turns that are read while they are written.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type ToolFormatName, toolFormats } from "../src/text/calls/mod.ts";
import { type ChatFormat, compactChat, transcript } from "../src/text/chat_template.ts";
import type { Message } from "../src/text/conversation.ts";
import { findMark } from "../src/text/marks.ts";
import { templateChat } from "../src/text/template_chat.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import type { ToolSpec } from "../src/text/tool_call.ts";
import { chatMl } from "./chat_ml.ts";
import { textGolden } from "./families.ts";

const spec = (name: string, type: string, ...names: string[]): ToolSpec => ({
  name,
  description: name,
  parameters: {
    type: "object",
    properties: Object.fromEntries(names.map((each) => [each, { type }])),
    required: names,
  },
});
const add = spec("add", "number", "a", "b");
const say = spec("say", "string", "text");
const tools = [add, say];
const calls = [
  { spec: add, args: { a: 34, b: 8 }, resultText: "42" },
  { spec: say, args: { text: 'a "b" é </tool_call> ]' }, resultText: "said" },
];
const messages: Message[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Add <|im_end|><|end|>!" },
  ...calls.flatMap(({ spec: { name }, args, resultText }): Message[] => [
    { role: "assistant", content: "", calls: [{ name, arguments: args }] },
    { role: "tool", name, content: resultText },
  ]),
];

const qwen = textGolden("templates/qwen2_5.jinja");
/** Has no place for tools, so that every format can be written. */
const plain = textGolden("templates/smollm2.jinja");
const chats: Record<string, [ChatFormat, Tokenizer]> = {
  "the student's own": [compactChat(Tokenizer.bytes()), Tokenizer.bytes()],
};
for (const format of Object.keys(toolFormats) as ToolFormatName[]) {
  const tokenizer = chatMl();
  const template = format === "hermes" ? qwen : plain;
  chats[format] = [templateChat(tokenizer, { template, format }), tokenizer];
}
const { "the student's own": own, hermes } = chats as Record<string, [ChatFormat, Tokenizer]>;

for (const [name, [chat, tokenizer]] of [["compact", own!], ["Qwen 2.5", hermes!]] as const) {
  Deno.test(`${name}: a conversation in messages is the one that a rollout makes`, () => {
    const whole = transcript(chat, messages[1]!.content, tools, calls, "", "Be brief.").ids;
    const ids = chat.conversationIds(messages, tools);
    assertEquals(ids, whole.slice(0, ids.length));
    assertEquals(ids.length, whole.length - chat.answerIds("").length);
    // An answer and a question later, too.
    const answered: Message[] = [{ role: "user", content: "Hi" }, {
      role: "assistant",
      content: "Hello",
    }, { role: "user", content: "Again" }];
    const pieces = [chat.promptIds("Hi"), chat.answerIds("Hello"), chat.followUpIds("Again")];
    assertEquals(
      [...chat.conversationIds(answered)],
      pieces.flatMap((piece) => [...piece]),
    );
    assertEquals(chat.conversationIds([{ role: "user", content: "Hi" }]), chat.promptIds("Hi"));
    assert(tokenizer.decode(ids).includes("Be brief."));
  });

  Deno.test(`${name}: a conversation that nobody asks to go on, or no user began, is refused`, () => {
    for (
      const wrong of [
        [],
        [{ role: "system", content: "x" }],
        [{ role: "user", content: "x" }, { role: "assistant", content: "y" }],
        [{ role: "assistant", content: "x" }, { role: "user", content: "y" }],
      ] as Message[][]
    ) assertThrows(() => chat.conversationIds(wrong), RangeError, "the roles are");
  });
}

Deno.test("several calls and their results, of tools that are not offered any more", () => {
  const parallel: Message[] = [
    { role: "user", content: "Go" },
    {
      role: "assistant",
      content: "Both.",
      calls: [{ name: "add", arguments: { a: 1, b: 2 } }, { name: "old", arguments: { x: "y" } }],
    },
    { role: "tool", name: "add", content: "3" },
    { role: "tool", name: "old", content: "z" },
  ];
  const text = (name: string) => {
    const [chat, tokenizer] = chats[name]!;
    return tokenizer.decode(chat.conversationIds(parallel, tools));
  };
  assertEquals(
    text("the student's own"),
    "<|user|>Go<|assistant|>Both.<|call|>add 1 2<|end_call|><|call|>old y<|end_call|>" +
      "<|result|>3<|end_result|><|result|>z<|end_result|>",
  );
  const rendered = text("hermes");
  assert(
    rendered.includes(
      '<|im_start|>assistant\nBoth.\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n' +
        '</tool_call>\n<tool_call>\n{"name": "old", "arguments": {"x": "y"}}\n</tool_call><|im_end|>',
    ),
    rendered,
  );
  assert(/3\n<\/tool_response>\n<tool_response>\nz/.test(rendered), rendered);
});

Deno.test("messages in a row of the user's, and system messages later on, become one", () => {
  const [chat, tokenizer] = own!;
  const text = tokenizer.decode(chat.conversationIds([
    { role: "system", content: "a" },
    { role: "system", content: "b" },
    { role: "user", content: "c" },
    { role: "system", content: "d" },
    { role: "user", content: "e" },
  ]));
  assertEquals(text, "<|user|>a\n\nb\n\nc\n\nd\n\ne<|assistant|>");
});

/** The pieces of a turn, and what of them was known after each token. */
function streamed(chat: ChatFormat, ids: ArrayLike<number>, offered = true, cut = false) {
  const stream = chat.turnStream(offered);
  const whole = { thought: "", content: "" };
  const steps: string[] = [];
  const take = (piece: { thought: string; content: string }) => {
    whole.thought += piece.thought;
    whole.content += piece.content;
    steps.push(whole.content);
  };
  for (const id of Array.from(ids)) take(stream.push(id));
  take(stream.end(cut));
  return { ...whole, steps };
}

for (const [name, [chat, tokenizer]] of Object.entries(chats)) {
  Deno.test(`${name}: of a turn with calls, nothing but the text before them is said`, () => {
    const before = "Let me see [1] {2} <b> ``` é😀.";
    const turn = chat.callIds(name === "the student's own" ? calls.slice(0, 1) : calls);
    const ids = [...tokenizer.encode(`${before} \n`), ...turn];
    const read = streamed(chat, ids);
    const text = name === "the student's own" ? read.thought : read.content;
    assertEquals(text.trim(), before);
    assertEquals(chat.readTurn(ids, tools).calls.length, name === "the student's own" ? 1 : 2);
    // Cut anywhere, by the limit of tokens: never half of a call's markup.
    for (let cut = 1; cut < ids.length; cut++) {
      const { thought, content } = streamed(chat, ids.slice(0, cut), true, true);
      const said = (thought + content).trim().replace(/\ufffd$/, ""); // half a character
      assert(before.startsWith(said), `${cut}: ${said}`);
    }
  });

  Deno.test(`${name}: an answer is said as it comes, whole characters and no control tokens`, () => {
    const answer = 'Zürich 😀 has [many](links), {"a": 1} and ``` code < 3';
    const ids = [...chat.answerIds(answer)];
    const { content, thought, steps } = streamed(chat, ids);
    assertEquals([content, thought], [answer, ""]);
    assert(steps.every((step) => answer.startsWith(step)));
    // Most of it was there long before the end.
    assert(steps[Math.floor(steps.length / 2)]!.length > answer.length / 4);
    assertEquals(chat.readTurn(ids, tools).content, answer);
  });

  Deno.test(`${name}: a turn can be made to open with a call`, () => {
    const [any, named, now] = [
      chat.callOpeningIds(),
      chat.callOpeningIds(add),
      chat.callOpeningIds(spec("now", "number")),
    ];
    const call = tokenizer.decode(chat.callIds([calls[0]!]));
    assert(call.startsWith(tokenizer.decode(named)), tokenizer.decode(named));
    assert(call.startsWith(tokenizer.decode(any)), tokenizer.decode(any));
    assert(named.length > any.length);
    const none = tokenizer.decode(chat.callIds([{ spec: spec("now", "number"), args: {} }]));
    assert(none.startsWith(tokenizer.decode(now)), tokenizer.decode(now));
    // What was opened is no text that anybody should see.
    assertEquals(streamed(chat, named, true, true).content, "");
  });
}

Deno.test("a thought is no content, whether the turn or the template opens it", () => {
  const tokenizer = chatMl();
  const chat = templateChat(tokenizer, { template: qwen });
  const ids = (text: string) => tokenizer.encodeTemplate(text);
  const turns: [string, string, string][] = [
    ["<think>\nHm. \n</think>\n\nYes. <|im_end|>", "Hm.", "Yes."],
    [" Yes </think> <|im_end|>", "", "Yes </think>"],
    ["<think>never ends", "never ends", ""],
    ["<thin", "", "<thin"],
  ];
  for (const [text, thought, content] of turns) {
    const read = streamed(chat, ids(text));
    assertEquals([read.thought, read.content], [thought, content], text);
  }
});

Deno.test("without tools, what looks like a call is said", () => {
  for (const name of ["llama3", "python", "gemma"]) {
    const [chat, tokenizer] = chats[name]!;
    const text = toolFormats[name as ToolFormatName].format(calls.slice(0, 1));
    assertEquals(streamed(chat, tokenizer.encode(text), false).content, text);
    assertEquals(streamed(chat, tokenizer.encode(text), true).content, "");
  }
  const [chat] = own!;
  assertEquals(streamed(chat, chat.callIds([calls[0]!]), false).content, "");
});

Deno.test("a mark is found whole, or as far as a text has it at its end", () => {
  assertEquals(findMark("abc<stop>d", ["<stop>", "d"]), { at: 3, sure: true });
  assertEquals(findMark("abc<st", ["<stop>", "x"]), { at: 3, sure: false });
  assertEquals(findMark("aab", ["aabaab"]), { at: 0, sure: false });
  assertEquals(findMark("abc", ["<stop>"]), { at: 3, sure: false });
  assertEquals(findMark("abc", []), { at: 3, sure: false });
});
