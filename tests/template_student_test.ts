// A model with a chat template, from a folder to a conversation.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { ChatTemplateError, Decoder, Gpu, Tokenizer } from "../mod.ts";
import { sizedConfig } from "../src/model/config.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { converse } from "../src/run/converse.ts";
import { loadStudent, saveStudent } from "../src/run/student.ts";
import { calculator } from "../src/tools/calculator.ts";
import { openTasks } from "../src/run/tasks/source.ts";
import { compactChat } from "../src/text/chat_template.ts";
import { chatMl } from "./chat_ml.ts";
import { textGolden } from "./families.ts";

Deno.test("a model with a template of its own is loaded, talks, and keeps its template", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using gpu = await Gpu.open();
    const tokenizer = chatMl();
    const config = { ...sizedConfig("nano", 264), maxPositions: 4096 };
    const model = Decoder.create(gpu, config, { seed: 1 });
    using made = {
      model,
      tokenizer,
      chat: compactChat(Tokenizer.bytes()),
      base: null,
      [Symbol.dispose]: () => model[Symbol.dispose](),
    };
    await saveStudent(made, folder);
    await assertRejects(() => loadStudent(gpu, folder), ChatTemplateError, "no chat template");

    await Deno.writeTextFile(
      join(folder, "chat_template.jinja"),
      textGolden("templates/qwen2_5.jinja"),
    );
    using student = await loadStudent(gpu, folder);
    const { add } = calculator();
    const options = { maxTokens: 1200, maxCalls: 2, temperature: 0, topK: 0, topP: 1, seed: 0 };
    const { text } = await converse(student, "What is 34 plus 8?", [add], options);
    assert(text.startsWith("<|im_start|>system\nYou are Qwen"), text);
    assert(text.includes('{"type": "function", "function": {"name": "add"'), text);
    assert(text.includes("What is 34 plus 8?<|im_end|>\n<|im_start|>assistant\n"), text);

    // The built-in domains get room for their tools in the prompt.
    const settings = resolveConfig({ flags: { evaluation: { prompts: 0 } } });
    const { maxTokens } = await openTasks(
      settings,
      calculator().all,
      student.chat,
      config.maxPositions,
    );
    assert(maxTokens > 1000 && maxTokens < 4096, String(maxTokens));
    assertEquals((await openTasks(settings, calculator().all, made.chat, 4096)).maxTokens, 128);
    // A micro-batch has to hold the longest episode, or it would take more than was planned.
    const tight = { ...settings, tokenBudget: maxTokens - 64 };
    assertEquals(
      (await openTasks(tight, calculator().all, student.chat, config.maxPositions)).maxTokens,
      maxTokens - 64,
    );

    const copy = join(folder, "copy");
    await saveStudent(student, copy);
    using again = await loadStudent(gpu, copy);
    assertEquals(again.tokenizer.chatTemplate, textGolden("templates/qwen2_5.jinja"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
