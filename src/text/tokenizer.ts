/**
 * Text to token ids and back.
 *
 * Reads any Hugging Face `tokenizer.json`. User and tool text is always *plain*: characters that
 * spell a control token are encoded as characters, so that no text can forge a turn or a call.
 * Control tokens enter a sequence by id only, through {@linkcode Tokenizer.token}.
 *
 * @module
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { byteConfig, byteTokenizer, isByteTokenizer } from "./byte_tokenizer.ts";

type Json = Record<string, unknown>;

/** How {@linkcode Tokenizer.decode} treats control tokens. */
export interface DecodeOptions {
  /** Leave control tokens out; by default they are written as their names. */
  readonly skipSpecial?: boolean;
}

/** A tokenizer: a vocabulary with its rules. */
export class Tokenizer {
  /** Ids run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number;
  readonly #tokenizer: Json;
  readonly #config: Json;
  /** Knows the control tokens: decodes, and reads text that a template wrote. */
  readonly #full: Library;
  /** Does not know them: encodes plain text. Null for the byte tokenizer, which needs no rules. */
  readonly #plain: Library | null;
  readonly #control: ReadonlyMap<string, number>;
  readonly #controlIds: ReadonlySet<number>;

  private constructor(tokenizer: Json, config: Json) {
    this.#tokenizer = tokenizer;
    this.#config = config;
    const added = addedTokens(tokenizer);
    this.#full = new Library(tokenizer, config);
    // Runs of white space are added tokens of some vocabularies; they carry no meaning to forge.
    const harmless = added.filter(({ content }) => content.trim() === "");
    this.#plain = isByteTokenizer(tokenizer)
      ? null
      : new Library({ ...tokenizer, added_tokens: harmless }, config);
    const control = added.filter(({ content }) => content.trim() !== "");
    this.#control = new Map(control.map(({ content, id }) => [content, id]));
    this.#controlIds = new Set(this.#control.values());
    // A vocabulary is too long for Math.max to take as arguments.
    this.vocabSize = this.#full.get_vocab().values().reduce((a, b) => Math.max(a, b), -1) + 1;
  }

  /**
   * The built-in tokenizer of the embedded student: ids 0 to 255 are the bytes of UTF-8, 256 to 263
   * the control tokens of the compact chat format.
   */
  static bytes(): Tokenizer {
    return new Tokenizer(byteTokenizer(), byteConfig());
  }

  /**
   * A tokenizer from the contents of `tokenizer.json` and `tokenizer_config.json`.
   *
   * @throws {SyntaxError} if a text is not JSON or not a tokenizer that is supported
   */
  static fromJSON(tokenizerJson: string, configJson = "{}"): Tokenizer {
    const tokenizer = parseObject(tokenizerJson, "tokenizer.json");
    const config = parseObject(configJson, "tokenizer_config.json");
    try {
      // The library writes some defaults into what it is given; toJSON must return the original.
      return new Tokenizer(tokenizer, config);
    } catch (error) {
      throw new SyntaxError(`Cannot use tokenizer.json: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** The contents of `tokenizer.json` and `tokenizer_config.json`, as other readers expect them. */
  toJSON(): { tokenizer: string; config: string } {
    return {
      tokenizer: `${JSON.stringify(this.#tokenizer, null, 2)}\n`,
      config: `${JSON.stringify(this.#config, null, 2)}\n`,
    };
  }

  /** The ids of plain text: never a control token, whatever the text spells. */
  encode(text: string): Uint32Array {
    if (this.#plain === null) return Uint32Array.from(new TextEncoder().encode(text));
    const ids = this.#plain.encode(text, { add_special_tokens: false }).ids;
    if (!ids.some((id) => this.#controlIds.has(id))) return Uint32Array.from(ids);
    // The model's own vocabulary can contain a control token whole; one character never is one.
    const plain = this.#plain;
    return Uint32Array.from(
      [...text].flatMap((character) => plain.encode(character, { add_special_tokens: false }).ids),
    );
  }

  /**
   * The text of `ids`; total: bytes that are no UTF-8 and ids outside the vocabulary become U+FFFD.
   */
  decode(ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}): string {
    const kept = skipSpecial
      ? Array.from(ids).filter((id) => !this.#controlIds.has(id))
      : Array.from(ids);
    let text = "";
    let run: number[] = [];
    for (const id of kept) {
      if (this.#full.id_to_token(id) !== undefined) {
        run.push(id);
        continue;
      }
      text += this.#decodeKnown(run) + "\ufffd";
      run = [];
    }
    return text + this.#decodeKnown(run);
  }

  /**
   * The id of the control token written `name`.
   *
   * @throws {RangeError} if the vocabulary has no such control token
   */
  token(name: string): number {
    const id = this.#control.get(name);
    if (id === undefined) {
      throw new RangeError(
        `Cannot find control token "${name}"; the tokenizer has ` +
          `${[...this.#control.keys()].join(" ") || "none"}`,
      );
    }
    return id;
  }

  /** Whether `id` is a control token. */
  isControl(id: number): boolean {
    return this.#controlIds.has(id);
  }

  #decodeKnown(ids: number[]): string {
    if (ids.length === 0) return "";
    return this.#full.decode(ids, {
      clean_up_tokenization_spaces: this.#config["clean_up_tokenization_spaces"] === true,
    });
  }
}

function addedTokens(tokenizer: Json): { id: number; content: string }[] {
  return (tokenizer["added_tokens"] ?? []) as { id: number; content: string }[];
}

function parseObject(text: string, label: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`Cannot parse ${label}: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SyntaxError(`Cannot parse ${label}: expected a JSON object`);
  }
  return value as Json;
}
