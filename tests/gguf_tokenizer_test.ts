import { assert, assertEquals, assertThrows } from "@std/assert";
import { spmMerges } from "../src/text/gguf_merges.ts";
import { ggufTokenizer } from "../src/text/gguf_tokenizer.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";

/** GGUF's metadata of a tokenizer, from names without `tokenizer.ggml.`. */
function metadata(values: Record<string, unknown>): Map<string, unknown> {
  return new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}

function load(values: Map<string, unknown>): Tokenizer {
  const { tokenizer, config } = ggufTokenizer(values);
  return Tokenizer.fromJSON(JSON.stringify(tokenizer), JSON.stringify(config));
}

/** Which tokens a text becomes. */
function pieces(values: Map<string, unknown>, text: string): string[] {
  const tokens = values.get("tokenizer.ggml.tokens") as string[];
  return [...load(values).encode(text)].map((id) => tokens[id]!);
}

/** The 256 characters by which byte-level vocabularies spell bytes, as GPT-2 defined them. */
function byteAlphabet(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let other = 256;
  return Array.from(
    { length: 256 },
    (_, byte) => String.fromCodePoint(printable(byte) ? byte : other++),
  );
}

const bytes = byteAlphabet();
const controls = ["<|end|>", "<tool>"];

function byteLevel(more: Record<string, unknown> = {}): Map<string, unknown> {
  const merges = ["Ġ t", "h e", "Ġt he", "1 2"];
  const tokens = [...bytes, "Ġt", "he", "Ġthe", "12", "the", ...controls, "[PAD263]"];
  const types = tokens.map(() => 1);
  types.splice(-3, 3, 3, 4, 5);
  return metadata({
    model: "gpt2",
    pre: "gpt-2",
    tokens,
    token_type: types,
    merges,
    eos_token_id: 261,
    ...more,
  });
}

Deno.test("a byte-level tokenizer of a GGUF file encodes and decodes", () => {
  const tokenizer = load(byteLevel());
  assertEquals(pieces(byteLevel(), "he the 12"), ["he", "Ġthe", "Ġ", "12"]);
  for (const text of ["he the 12", "grüße 😀\n\t", "", "  the"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
  }
  assertEquals(tokenizer.token("<|end|>"), 261);
  assertEquals(tokenizer.token("<tool>"), 262);
  assert(!tokenizer.encode("<|end|><tool>").some((id) => tokenizer.isControl(id)));
  // The unused id has no token.
  assertEquals(tokenizer.decode([263]), "\ufffd");
});

Deno.test("each known rule of splitting is the one that its vocabulary was made with", () => {
  const split = (pre: string, text: string) => pieces(byteLevel({ pre }), text);
  assertEquals(split("default", "12 the"), ["12", "Ġthe"]);
  assertEquals(split("smollm", "12 the"), ["1", "2", "Ġthe"]);
  assertEquals(split("qwen2", "12 the"), ["1", "2", "Ġthe"]);
  assertEquals(split("llama-bpe", "12 the"), ["12", "Ġthe"]);
  // "the" has no merges: only Llama 3 takes a word of the vocabulary whole.
  assertEquals(split("llama-bpe", "the"), ["the"]);
  assertEquals(split("qwen2", "the"), ["t", "he"]);
  // Qwen composes characters first.
  assertEquals(split("qwen2", "e\u0301"), [..."é"].flatMap(() => [bytes[0xc3]!, bytes[0xa9]!]));
  assertEquals(split("gpt-2", "e\u0301"), ["e", bytes[0xcc]!, bytes[0x81]!]);
  const without = byteLevel();
  without.delete("tokenizer.ggml.pre");
  assertEquals(pieces(without, "12 the"), ["12", "Ġthe"]);
});

Deno.test("the config names the special tokens, their use and the chat template", () => {
  const values = byteLevel({ bos_token_id: 262, add_bos_token: true, padding_token_id: 261 });
  values.set("tokenizer.chat_template", "{{ messages }}");
  const { tokenizer, config } = ggufTokenizer(values);
  assertEquals(config, {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<tool>",
    eos_token: "<|end|>",
    pad_token: "<|end|>",
    add_bos_token: true,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    chat_template: "{{ messages }}",
  });
  const bos = { SpecialToken: { id: "<tool>", type_id: 0 } };
  assertEquals((tokenizer["post_processor"] as { single: unknown }).single, [
    bos,
    { Sequence: { id: "A", type_id: 0 } },
  ]);
  assertEquals(ggufTokenizer(byteLevel()).tokenizer["post_processor"], null);
  // Llama 3 starts with one even where the file doesn't say; a tokenizer without one can't.
  const llama3 = byteLevel({ pre: "llama-bpe", bos_token_id: 261 });
  assertEquals(ggufTokenizer(llama3).config["add_bos_token"], true);
  assertEquals(ggufTokenizer(byteLevel({ add_bos_token: true })).config["add_bos_token"], false);
});

/** As a SentencePiece vocabulary is stored: control, bytes, user-defined, then pieces by score. */
function sentencePiece(more: Record<string, unknown> = {}): Map<string, unknown> {
  const hex = (byte: number) => byte.toString(16).toUpperCase().padStart(2, "0");
  const special = ["<unk>", "<s>", "</s>"];
  const fallbacks = Array.from({ length: 256 }, (_, byte) => `<0x${hex(byte)}>`);
  const user = ["  ", "   ", "\n\n", "<turn>"];
  const normal = ["▁a", "ab", "▁ab", "▁", "a", "b", "\n", "😀"];
  return metadata({
    model: "llama",
    tokens: [...special, ...fallbacks, ...user, ...normal],
    token_type: [
      ...[2, 3, 3],
      ...fallbacks.map(() => 6),
      ...user.map(() => 4),
      ...normal.map(() => 1),
    ],
    scores: [
      ...special.map(() => -1000),
      ...fallbacks.map(() => 0),
      ...user.map(() => -1000),
      ...normal.map((_, i) => -i),
    ],
    unknown_token_id: 0,
    bos_token_id: 1,
    eos_token_id: 2,
    ...more,
  });
}

Deno.test("a SentencePiece tokenizer puts a space in front, and falls back to bytes", () => {
  const values = sentencePiece();
  assertEquals(pieces(values, "ab"), ["▁ab"]);
  assertEquals(pieces(values, "bab é"), ["▁", "b", "ab", "▁", "<0xC3>", "<0xA9>"]);
  const tokenizer = load(values);
  for (const text of ["ab", " ab", "é😀\na", "a    b"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
  }
  assertEquals(ggufTokenizer(values).config["add_bos_token"], true);
  assertEquals(tokenizer.token("<turn>"), 262);
  assertEquals(tokenizer.token("<s>"), 1);
});

Deno.test("Gemma's tokenizer has no space in front, and runs of spaces are user-defined", () => {
  const values = sentencePiece({ add_space_prefix: false });
  assertEquals(pieces(values, "ab"), ["ab"]);
  assertEquals(pieces(values, " ab"), ["▁ab"]);
  // The longest run from the left, whatever score the converter gave it; then the words.
  assertEquals(pieces(values, "     a\n\n\n"), ["   ", "  ", "a", "\n\n", "\n"]);
  const tokenizer = load(values);
  for (const text of ["ab", " ab", "  a   b", "\n\n"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
  }
  const { tokenizer: json } = ggufTokenizer(values);
  const added = (json["added_tokens"] as { content: string }[]).map(({ content }) => content);
  assertEquals(added, ["<s>", "</s>", "\n\n", "<turn>"]);
});

Deno.test("merges follow the scores, and never build a control token or half a character", () => {
  const vocab = { a: 0, b: 1, ab: 2, "<": 3, ">": 4, "<>": 5, "😀": 6, "😀😀": 7, ba: 8, aab: 9 };
  const types = [1, 1, 1, 1, 1, 3, 1, 4, 1, 1];
  const scores = [-9, -9, -2, -9, -9, 0, -9, -1000, -1, -3];
  assertEquals(spmMerges(vocab, types, scores), [
    ["😀", "😀"],
    ["b", "a"],
    ["a", "b"],
    ["a", "ab"],
  ]);
});

Deno.test("a vocabulary longer than an argument list may be is read", () => {
  const extra = Array.from({ length: 150_000 }, (_, i) => `w${i}`);
  const values = sentencePiece();
  for (const [key, fill] of [["tokens", extra], ["token_type", extra.map(() => 1)]] as const) {
    values.set(`tokenizer.ggml.${key}`, [
      ...values.get(`tokenizer.ggml.${key}`) as unknown[],
      ...fill,
    ]);
  }
  const count = (values.get("tokenizer.ggml.tokens") as string[]).length;
  values.set("tokenizer.ggml.scores", Array.from({ length: count }, (_, i) => -i));
  assertEquals(load(values).vocabSize, count);
});

Deno.test("a tokenizer that can't be used is refused with the reason", () => {
  const faults: [Map<string, unknown>, string][] = [
    [new Map(), 'it has no list of strings "tokenizer.ggml.tokens"'],
    [byteLevel({ tokens: ["a", 3] }), 'no list of strings "tokenizer.ggml.tokens"'],
    [byteLevel({ model: "bert" }), '"tokenizer.ggml.model" is "bert", supported are'],
    [byteLevel({ pre: "tekken" }), '"tokenizer.ggml.pre" is "tekken", known are default, gpt-2'],
    [byteLevel({ pre: "toString" }), '"tokenizer.ggml.pre" is "toString"'],
    [byteLevel({ merges: undefined }), 'no list of strings "tokenizer.ggml.merges"'],
    [byteLevel({ merges: ["ab"] }), 'a merge is "ab", expected two pieces'],
    [byteLevel({ merges: ["a "] }), 'a merge is "a "'],
    [byteLevel({ token_type: [1] }), '"tokenizer.ggml.token_type" are not 264 numbers'],
    [byteLevel({ eos_token_id: 264 }), '"tokenizer.ggml.eos_token_id" is 264, there are 264'],
    [byteLevel({ eos_token_id: "x" }), '"tokenizer.ggml.eos_token_id" is x'],
    [sentencePiece({ scores: [] }), '"tokenizer.ggml.scores" are not 271 numbers'],
  ];
  for (const [values, message] of faults) {
    const error = assertThrows(() => ggufTokenizer(values), SyntaxError);
    assert(error.message.startsWith("Cannot use the tokenizer of a GGUF file: "), error.message);
    assert(error.message.includes(message), error.message);
  }
});
