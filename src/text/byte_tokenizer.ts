/**
 * The definition of the built-in byte tokenizer as a standard `tokenizer.json`: byte-level BPE with
 * no merges, so that any reader of that format loads it.
 *
 * @module
 */

import { bpeModel } from "./bpe_model.ts";

/** The control tokens of the compact chat format; the first has id 256. */
export const compactTokens = [
  "<|user|>",
  "<|assistant|>",
  "<|call|>",
  "<|end_call|>",
  "<|result|>",
  "<|end_result|>",
  "<|answer|>",
  "<|end|>",
] as const;

/** The contents of `tokenizer.json`. */
export function byteTokenizer(): Record<string, unknown> {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: compactTokens.map((content, i) => ({
      id: 256 + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: false,
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpeModel({
      vocab: Object.fromEntries(byteCharacters().map((character, byte) => [character, byte])),
      merges: [],
    }),
  };
}

/** The contents of `tokenizer_config.json`. */
export function byteConfig(): Record<string, unknown> {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    eos_token: "<|end|>",
    additional_special_tokens: compactTokens.filter((token) => token !== "<|end|>"),
  };
}

/**
 * Whether a `tokenizer.json` encodes plain text to exactly its bytes, and bytes back to text: no
 * merges, no normalisation, and ids 0 to 255 in byte order with none but added tokens behind them.
 */
export function isByteTokenizer(tokenizer: Record<string, unknown>): boolean {
  const { model, pre_tokenizer: pre, normalizer, post_processor: post, decoder } = tokenizer;
  const { type, vocab, merges } = (model ?? {}) as Record<string, unknown>;
  const { type: preType, add_prefix_space: prefix } = (pre ?? {}) as Record<string, unknown>;
  return type === "BPE" && Array.isArray(merges) && merges.length === 0 &&
    preType === "ByteLevel" && prefix === false && !normalizer && !post &&
    (decoder as { type?: unknown } | null)?.type === "ByteLevel" &&
    Object.keys(vocab ?? {}).length === 256 &&
    byteCharacters().every((character, byte) =>
      (vocab as Record<string, number>)?.[character] === byte
    );
}

function isByte(id: number | undefined): boolean {
  return Number.isInteger(id) && id! >= 0 && id! <= 255;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The text of a byte tokenizer's ids: runs of bytes are UTF-8, U+FFFD where they are not.
 *
 * @param name the text of an added token
 */
export function decodeBytes(ids: readonly number[], name: (id: number) => string): string {
  let text = "";
  for (let first = 0; first < ids.length;) {
    if (!isByte(ids[first])) {
      text += name(ids[first++]!);
      continue;
    }
    let end = first + 1;
    while (isByte(ids[end])) end++; // behind the last one there is undefined
    text += utf8.decode(Uint8Array.from(ids.slice(first, end)));
    first = end;
  }
  return text;
}

/**
 * The character that stands for each byte in a byte-level vocabulary: printable Latin-1 stands for
 * itself, the other 68 bytes take the characters from U+0100 on, in order.
 */
function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
      byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}
