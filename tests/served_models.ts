// What the tests of the inference routes serve: a scripted model, and the base model of training.

import { fromFileUrl } from "@std/path";
import { disk } from "../src/io/disk.ts";
import { useFolder } from "../src/io/folder.ts";
import { InferenceEngine, loadServed } from "../src/serve/openai/mod.ts";
import { templateChat } from "../src/text/template_chat.ts";
import { chatMl } from "./chat_ml.ts";
import { textGolden } from "./families.ts";
import { scriptedModel } from "./scripted_model.ts";

useFolder(disk);

const baseNano = fromFileUrl(new URL("../assets/base-nano", import.meta.url));
const tokenizer = chatMl();
const chat = templateChat(tokenizer, { template: textGolden("templates/qwen2_5.jinja") });

const two = [["add", { a: 34, b: 8 }], ["multiply", { a: 2, b: 3 }]] as const;
const calls = two.map(([name, args]) =>
  `<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>`
);

const settings = {
  ...{ context: 256, tuning: null, dtype: "auto" as const },
  chat: { format: "auto" as const, system: null },
};

/** What the scripted model answers, by the end of what it is asked. */
const answers: [RegExp, string][] = [
  [/<tool_response>\n42\n.*<tool_response>\n6\n/s, "42 and 6.<|im_end|>"],
  [/Call both/, `Let me see.\n${calls.join("\n")}<|im_end|>`],
  [/Say hello/, "Hello, Zürich 😀!<|im_end|>"],
  [/Talk for ever/, "On and "],
  [/"arguments":$/, ' {"a": 6, "b": 7}}\n</tool_call><|im_end|>'],
  [
    /<tool_call>\n\{"name":$/,
    ' "multiply", "arguments": {"a": 6, "b": 7}}\n</tool_call><|im_end|>',
  ],
  [
    /Call with much/,
    `<tool_call>\n{"name": "add", "arguments": {"a": "${"x".repeat(60)}"}}\n</tool_call><|im_end|>`,
  ],
  [/Call badly/, '<tool_call>\n{"name": "add", \n</tool_call><|im_end|>'],
  [/Think/, "<think>\nHm.\n</think>\n\nSo.<|im_end|>"],
];

/** An engine with the models `scripted` and `nano`, busy as long as there is a reason. */
export function offered({ capacity = 64, slots = 4 } = {}) {
  const scripted = scriptedModel({ tokenizer, chat, length: 4000 }, (prompt) => {
    const [, answer] = answers.find(([asked]) => asked.test(prompt)) ?? [, "What?<|im_end|>"];
    return tokenizer.encodeTemplate(answer!);
  });
  const reason: { now: string | null } = { now: null };
  const engine = new InferenceEngine({
    models: { scripted: "scripted", nano: baseNano },
    capacity,
    load: (path) =>
      path === "scripted" ? Promise.resolve(scripted) : loadServed(path, { ...settings, slots }),
    busy: () => reason.now,
  });
  return { engine, scripted, reason };
}
