// A toy problem for tests of learning: the answer is one digit, and no tool is called.

import { sizedConfig } from "../src/model/config.ts";
import type { Task } from "../src/tasks/task.ts";
import { compactChat } from "../src/text/chat_template.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";

const tokenizer = Tokenizer.bytes();

export const digitChat = compactChat(tokenizer);

/** A model that learns it in seconds. */
export const digitConfig = {
  ...sizedConfig("nano", tokenizer.vocabSize, 64),
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 1,
  heads: 2,
  kvHeads: 2,
};

/** The task whose answer is this digit. */
export function digitTask(answer: string): Task {
  return {
    id: `digit/${answer}`,
    domain: "digit",
    split: "train",
    prompt: "?",
    tools: [],
    answer,
    check: "exact",
    reference: { calls: [], answer },
  };
}
