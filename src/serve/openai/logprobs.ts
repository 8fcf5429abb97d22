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
    const { text, bytes } = written(tokenizer, token);
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
  const texts = drawn.map(({ token }) => written(tokenizer, token).text);
  let at = offset;
  return {
    tokens: texts,
    token_logprobs: drawn.map(({ logprob }) => logprob),
    top_logprobs: drawn.map(({ likeliest }) =>
      Object.fromEntries(
        likeliest.map(({ token, logprob }) => [written(tokenizer, token).text, logprob]),
      )
    ),
    text_offset: texts.map((text) => (at += text.length) - text.length),
  };
}

/** A token by itself. */
interface WrittenToken {
  readonly text: string;
  /** Null where it is half a character: which bytes these are, nobody says. */
  readonly bytes: readonly number[] | null;
}

/** To decode one takes some microseconds, and 20 may be asked for with each that is drawn. */
const known = new WeakMap<Tokenizer, Map<number, WrittenToken>>();

function written(tokenizer: Tokenizer, token: number): WrittenToken {
  const tokens = known.getOrInsertComputed(tokenizer, () => new Map());
  return tokens.getOrInsertComputed(token, () => {
    const text = tokenizer.decode([token]);
    return { text, bytes: text.includes("\ufffd") ? null : [...new TextEncoder().encode(text)] };
  });
}
