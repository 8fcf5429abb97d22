/**
 * Log-probabilities of tokens in OpenAI's two shapes.
 *
 * @module
 */

import type { TokenLogprob } from "../../model/decode_slots.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { DrawnToken } from "./choice.ts";

/** `logprobs` of a chat completion; null where nobody asked. */
export function chatLogprobs(
  tokenizer: Tokenizer,
  drawn: readonly DrawnToken[],
  wanted: boolean,
): Record<string, unknown> | null {
  if (!wanted) return null;
  const shown = ({ token, logprob }: TokenLogprob) => {
    const text = tokenizer.decode([token]);
    // A token that is half a character has no text of its own; which bytes it is, nobody says.
    const bytes = text.includes("\ufffd") ? null : [...new TextEncoder().encode(text)];
    return { token: text, logprob, bytes };
  };
  const content = drawn.map((each) => ({
    ...shown(each),
    top_logprobs: each.likeliest.map(shown),
  }));
  return { content, refusal: null };
}

/**
 * `logprobs` of a text completion; null where nobody asked.
 *
 * @param offset characters of the completion before these tokens
 */
export function textLogprobs(
  tokenizer: Tokenizer,
  drawn: readonly DrawnToken[],
  wanted: boolean,
  offset: number,
): Record<string, unknown> | null {
  if (!wanted) return null;
  const texts = drawn.map(({ token }) => tokenizer.decode([token]));
  let at = offset;
  return {
    tokens: texts,
    token_logprobs: drawn.map(({ logprob }) => logprob),
    top_logprobs: drawn.map(({ likeliest }) =>
      Object.fromEntries(
        likeliest.map(({ token, logprob }) => [tokenizer.decode([token]), logprob]),
      )
    ),
    text_offset: texts.map((text) => (at += text.length) - text.length),
  };
}
