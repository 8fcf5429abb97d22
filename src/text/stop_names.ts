/**
 * Which control tokens end a model's turn.
 *
 * @module
 */

import { ChatTemplateError } from "./jinja_template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that end a turn in some model, beside the one that its template writes. */
const otherStops = [
  ...["<start_function_response>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<eos>"],
  "</s>",
];

/**
 * The token with which a template ends an answer, and another that the model may end with.
 *
 * @param behind what the template writes behind an answer
 * @throws {ChatTemplateError} if there is no control token in it
 */
export function stopNames(tokenizer: Tokenizer, behind: string): string[] {
  const id = tokenizer.encodeTemplate(behind).find((id) => tokenizer.isControl(id));
  if (id === undefined) {
    throw new ChatTemplateError(
      `Cannot use the chat template: it ends the model's turn with ${JSON.stringify(behind)}, ` +
        "which has no control token of the tokenizer in it. Check that they belong together",
    );
  }
  const first = tokenizer.decode([id]);
  const named = tokenizer.namedToken("eos_token");
  const second = [...otherStops.slice(0, 2), ...(named ? [named] : []), ...otherStops.slice(2)]
    .find((name) => name !== first && tokenizer.hasToken(name));
  return second === undefined ? [first] : [first, second];
}
