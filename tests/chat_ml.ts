// A small tokenizer for models that bring a chat template.

import { Tokenizer } from "../src/text/tokenizer.ts";

/** Bytes, with the control tokens of ChatML in place of our own. */
export function chatMl(): Tokenizer {
  const { tokenizer, config } = Tokenizer.bytes().toJSON();
  const definition = JSON.parse(tokenizer);
  const names = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>"];
  definition.added_tokens = names.map((content, i) => ({ id: 256 + i, content, special: true }));
  const changed = { ...JSON.parse(config), eos_token: "<|im_end|>" };
  return Tokenizer.fromJSON(JSON.stringify(definition), JSON.stringify(changed));
}
