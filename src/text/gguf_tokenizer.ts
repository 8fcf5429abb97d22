/**
 * The tokenizer in a GGUF file's metadata, as the `tokenizer.json` and `tokenizer_config.json` that
 * Hugging Face's libraries and {@linkcode Tokenizer} read.
 *
 * @module
 */

import { bpeModel } from "./bpe_model.ts";
import { spmMerges, TokenType } from "./gguf_merges.ts";

type Json = Record<string, unknown>;

/** Contents of the two files of a tokenizer. */
export interface GgufTokenizer {
  /** What `tokenizer.json` holds. */
  readonly tokenizer: Json;
  /** What `tokenizer_config.json` holds, with the chat template if the file has one. */
  readonly config: Json;
}

/** The vocabulary as the file lists it: one element per id. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
}

/** How text is cut before byte-level merges, and whether a whole word of the vocabulary skips them. */
interface Splitting {
  readonly normalizer: Json | null;
  readonly preTokenizer: Json;
  readonly ignoreMerges: boolean;
  /** Whether a beginning-of-text token is put in front where the file doesn't say. */
  readonly addBos: boolean;
}

/** SentencePiece's way to write a space. */
const metaspace = "\u2581";

const byteLevel = (useRegex: boolean): Json => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

const gpt2Split: Splitting = {
  normalizer: null,
  preTokenizer: byteLevel(true),
  ignoreMerges: false,
  addBos: false,
};

/** GPT-2's rule on what is left when every digit stands alone. */
const digitSplit: Splitting = {
  ...gpt2Split,
  preTokenizer: sequence(isolated("\\p{N}"), byteLevel(true)),
};

const llama3Split: Splitting = {
  normalizer: null,
  preTokenizer: wordSplit("\\p{N}{1,3}"),
  ignoreMerges: true,
  addBos: true,
};

const qwen2Split: Splitting = {
  normalizer: { type: "NFC" },
  preTokenizer: wordSplit("\\p{N}"),
  ignoreMerges: false,
  addBos: false,
};

/**
 * By `tokenizer.ggml.pre`. "default" is what old converters wrote, and files without the key mean:
 * nobody knew; GPT-2's rule, which most such vocabularies were made with, is Transformers' choice too.
 */
const splittings: Readonly<Record<string, Splitting>> = {
  "default": gpt2Split,
  "gpt-2": gpt2Split,
  "smollm": digitSplit,
  "starcoder": digitSplit,
  "refact": digitSplit,
  "command-r": digitSplit,
  "llama-bpe": llama3Split,
  "llama3": llama3Split,
  "llama-v3": llama3Split,
  "qwen2": qwen2Split,
  "deepseek-r1-qwen": qwen2Split,
};

/**
 * Reads `tokenizer.*` of a GGUF file: byte-level vocabularies with merges ("gpt2": GPT-2, Llama 3,
 * Qwen, SmolLM) and SentencePiece vocabularies with scores ("llama": Llama 2, Gemma).
 *
 * Control tokens become special tokens, user-defined ones plain added tokens; unused ids have no
 * token. A piece that is listed twice is known by its first id.
 *
 * @param metadata GGUF's keys with their values
 * @throws {SyntaxError} if the metadata has no tokenizer, one of another kind, or one whose parts
 *   contradict each other.
 */
export function ggufTokenizer(metadata: ReadonlyMap<string, unknown>): GgufTokenizer {
  const model = metadata.get("tokenizer.ggml.model");
  const vocabulary = readVocabulary(metadata);
  if (model === "gpt2") return byteLevelTokenizer(metadata, vocabulary);
  if (model === "llama") return spmTokenizer(metadata, vocabulary);
  throw unusable(
    `"tokenizer.ggml.model" is ${JSON.stringify(model)}, supported are "gpt2" and "llama"`,
  );
}

function byteLevelTokenizer(
  metadata: ReadonlyMap<string, unknown>,
  vocabulary: Vocabulary,
): GgufTokenizer {
  const pre = metadata.get("tokenizer.ggml.pre") ?? "default";
  const splitting = typeof pre === "string" && Object.hasOwn(splittings, pre)
    ? splittings[pre]!
    : undefined;
  if (!splitting) {
    throw unusable(
      `"tokenizer.ggml.pre" is ${JSON.stringify(pre)}, known are ` +
        `${Object.keys(splittings).join(", ")}. Give the model's tokenizer.json instead`,
    );
  }
  const lines = strings(metadata, "tokenizer.ggml.merges");
  const merges = lines.map((line) => {
    // Neither part is empty, so that a space at the start is a part of the left one.
    const at = line.indexOf(" ", 1);
    if (at > 0 && at < line.length - 1) return [line.slice(0, at), line.slice(at + 1)];
    throw unusable(`a merge is ${JSON.stringify(line)}, expected two pieces with a space between`);
  });
  const vocab = indexed(vocabulary);
  return assembled(metadata, vocabulary, splitting.addBos, {
    added_tokens: addedTokens(vocabulary),
    normalizer: splitting.normalizer,
    pre_tokenizer: splitting.preTokenizer,
    decoder: byteLevel(true),
    model: bpeModel({ ignore_merges: splitting.ignoreMerges, vocab, merges }),
  });
}

function spmTokenizer(
  metadata: ReadonlyMap<string, unknown>,
  { tokens: written, types }: Vocabulary,
): GgufTokenizer {
  const scores = metadata.get("tokenizer.ggml.scores");
  if (!Array.isArray(scores) || scores.length !== written.length || !scores.every(isNumber)) {
    throw unusable(`"tokenizer.ggml.scores" are not ${written.length} numbers`);
  }
  // llama.cpp's converter writes runs of spaces (Gemma has them as user-defined tokens) as spaces;
  // merges meet them as text does, with every space replaced.
  const isSpaces = (token: string) => token !== "" && token.replaceAll(" ", "") === "";
  const tokens = written.map((token) => isSpaces(token) ? metaspace.repeat(token.length) : token);
  const vocabulary = { tokens, types };
  const vocab = indexed(vocabulary);
  // The merges make these runs; as added tokens they would be looked for in text before its spaces
  // are replaced, where they never are.
  const added = addedTokens(vocabulary).filter(({ content }) =>
    (content as string).replaceAll(metaspace, "") !== ""
  );
  // A space in front of each stretch of text between added tokens, as llama.cpp puts it.
  const prefix = metadata.get("tokenizer.ggml.add_space_prefix") !== false;
  const unknown = optionalToken(metadata, "unknown", vocabulary);
  const spaces = { type: "Replace", pattern: { String: " " }, content: metaspace };
  const decoders = [
    { type: "Replace", pattern: { String: metaspace }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return assembled(metadata, vocabulary, true, {
    added_tokens: added,
    normalizer: prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: metaspace }, spaces] }
      : spaces,
    pre_tokenizer: null,
    decoder: { type: "Sequence", decoders },
    model: bpeModel({
      unk_token: unknown ?? null,
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: spmMerges(vocab, types, scores),
    }),
  });
}

/** Both files, from what the kinds of tokenizer have apart and what they share. */
function assembled(
  metadata: ReadonlyMap<string, unknown>,
  vocabulary: Vocabulary,
  addBosByDefault: boolean,
  parts: Json,
): GgufTokenizer {
  const special: Record<string, string> = {};
  for (const [name, key] of Object.entries(specialKeys)) {
    const token = optionalToken(metadata, key, vocabulary);
    if (token !== undefined) special[`${name}_token`] = token;
  }
  const flag = (name: string, otherwise: boolean) => {
    const value = metadata.get(`tokenizer.ggml.add_${name}_token`);
    return (typeof value === "boolean" ? value : otherwise) && `${name}_token` in special;
  };
  const [addBos, addEos] = [flag("bos", addBosByDefault), flag("eos", false)];
  const template = metadata.get("tokenizer.chat_template");
  const around = {
    before: addBos ? [special["bos_token"]!] : [],
    after: addEos ? [special["eos_token"]!] : [],
  };
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      ...parts,
      post_processor: templateProcessing(around, vocabulary),
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...special,
      add_bos_token: addBos,
      add_eos_token: addEos,
      clean_up_tokenization_spaces: false,
      ...(typeof template === "string" ? { chat_template: template } : {}),
    },
  };
}

const specialKeys = { bos: "bos", eos: "eos", unk: "unknown", pad: "padding" } as const;

/** The token whose id is under `tokenizer.ggml.<key>_token_id`, if the file has such a key. */
function optionalToken(
  metadata: ReadonlyMap<string, unknown>,
  key: string,
  { tokens }: Vocabulary,
): string | undefined {
  const name = `tokenizer.ggml.${key}_token_id`;
  const id = metadata.get(name);
  if (id === undefined) return undefined;
  const token = typeof id === "number" ? tokens[id] : undefined;
  if (token !== undefined) return token;
  throw unusable(`"${name}" is ${String(id)}, there are ${tokens.length} tokens`);
}

/** Puts tokens around each text; null if there are none. */
function templateProcessing(
  { before, after }: { before: string[]; after: string[] },
  { tokens }: Vocabulary,
): Json | null {
  const around = [...before, ...after];
  if (around.length === 0) return null;
  const wrapped = (id: string, type: number) => {
    const token = (content: string) => ({ SpecialToken: { id: content, type_id: type } });
    return [...before.map(token), { Sequence: { id, type_id: type } }, ...after.map(token)];
  };
  const entry = (token: string) => ({ id: token, ids: [tokens.indexOf(token)], tokens: [token] });
  return {
    type: "TemplateProcessing",
    single: wrapped("A", 0),
    pair: [...wrapped("A", 0), ...wrapped("B", 1)],
    special_tokens: Object.fromEntries(around.map((token) => [token, entry(token)])),
  };
}

/** Ids by token, without the unused ones. */
function indexed({ tokens, types }: Vocabulary): Record<string, number> {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    if (types[id] !== TokenType.unused && !ids.has(token)) ids.set(token, id);
  }
  return Object.fromEntries(ids);
}

function addedTokens({ tokens, types }: Vocabulary): Json[] {
  const added: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const special = types[id] === TokenType.control;
    if (!special && types[id] !== TokenType.userDefined) continue;
    const exactly = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    added.push({ id, content, ...exactly, special });
  }
  return added;
}

function readVocabulary(metadata: ReadonlyMap<string, unknown>): Vocabulary {
  const tokens = strings(metadata, "tokenizer.ggml.tokens");
  const types = metadata.get("tokenizer.ggml.token_type") ?? tokens.map(() => TokenType.normal);
  if (!Array.isArray(types) || types.length !== tokens.length || !types.every(isNumber)) {
    throw unusable(`"tokenizer.ggml.token_type" are not ${tokens.length} numbers`);
  }
  return { tokens, types };
}

function strings(metadata: ReadonlyMap<string, unknown>, key: string): string[] {
  const value = metadata.get(key);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw unusable(`it has no list of strings "${key}"`);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

/** The rule of Llama 3 and Qwen 2, which differ in how many digits stand together. */
function wordSplit(digits: string): Json {
  const words = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  return sequence(isolated(words), byteLevel(false));
}

/** Cuts out what a pattern matches. */
function isolated(pattern: string): Json {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

function sequence(...pretokenizers: Json[]): Json {
  return { type: "Sequence", pretokenizers };
}

function unusable(fault: string): SyntaxError {
  return new SyntaxError(`Cannot use the tokenizer of a GGUF file: ${fault}`);
}
