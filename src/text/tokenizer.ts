/**
 * Text to token ids and back.
 *
 * Reads any Hugging Face `tokenizer.json`. User and tool text is always *plain*: characters that
 * spell a control token are encoded as characters, so that no text can forge a turn or a call.
 * Control tokens enter a sequence by id, through {@linkcode Tokenizer.token}, or in text that a chat
 * template wrote, through {@linkcode Tokenizer.encodeTemplate}.
 *
 * @module
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { byteConfig, byteTokenizer, decodeBytes, isByteTokenizer } from "./byte_tokenizer.ts";
import { type DecodeStream, decodeStream } from "./decode_stream.ts";

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
  /** The same without control tokens: all that plain text encodes to is below. */
  readonly textSize: number;
  readonly #tokenizer: Json;
  readonly #config: Json;
  /** Knows the control tokens: decodes, and reads text that a template wrote. */
  readonly #full: Library;
  /**
   * Does not know them: encodes plain text. Made when it is first needed, as it takes most of a
   * second for a large vocabulary. Null for a byte tokenizer, which needs no rules.
   */
  readonly #plain: (() => Library) | null;
  readonly #control: ReadonlyMap<string, number>;
  readonly #controlIds: ReadonlySet<number>;
  /** Matches the name of any control token, the longest that fits. */
  readonly #controlPattern: RegExp;

  private constructor(tokenizer: Json, config: Json) {
    this.#tokenizer = tokenizer;
    this.#config = config;
    const added = addedTokens(tokenizer);
    this.#full = new Library(tokenizer, config);
    const control = added.filter((token) => isControl(token, chatTemplate(config)));
    const harmless = added.filter((token) => !control.includes(token));
    this.#plain = isByteTokenizer(tokenizer)
      ? null
      : once(() => new Library({ ...tokenizer, added_tokens: harmless }, config));
    this.#control = new Map(control.map(({ content, id }) => [content, id]));
    this.#controlIds = new Set(this.#control.values());
    const names = control.map(({ content }) => content).sort((a, b) => b.length - a.length);
    this.#controlPattern = new RegExp(`(${names.map(RegExp.escape).join("|") || "(?!)"})`, "u");
    // A vocabulary is too long for Math.max to take as arguments.
    this.textSize = this.#full.get_vocab().values()
      .filter((id) => !this.#controlIds.has(id))
      .reduce((a, b) => Math.max(a, b), -1) + 1;
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
    const plain = this.#plain();
    // Half a surrogate pair has no UTF-8; the library would look such text up differently by parts.
    const wellFormed = text.toWellFormed();
    const ids = plain.encode(wellFormed, { add_special_tokens: false }).ids;
    if (!ids.some((id) => this.#controlIds.has(id))) return Uint32Array.from(ids);
    // The model's own vocabulary can contain a control token whole; one character never is one.
    return Uint32Array.from(
      wellFormed.split(this.#controlPattern).flatMap((part, i) =>
        (i % 2 === 0 ? [part] : [...part]).flatMap((piece) =>
          plain.encode(piece, { add_special_tokens: false }).ids
        )
      ),
    );
  }

  /**
   * The ids of text that a chat template wrote: names of control tokens are those tokens, except
   * inside of what went through {@linkcode Tokenizer.escape} before the template got it.
   */
  encodeTemplate(text: string): Uint32Array {
    if (!text.includes(ESCAPE)) {
      const ids = this.#full.encode(text.toWellFormed(), { add_special_tokens: false }).ids;
      return Uint32Array.from(ids);
    }
    const parts = text.split(this.#controlPattern);
    return Uint32Array.from(
      parts.flatMap((part, i) =>
        i % 2 === 0 ? [...this.encode(unescape(part))] : [this.#control.get(part)!]
      ),
    );
  }

  /** Marks control tokens that `text` spells, so that `encodeTemplate` takes them for text. */
  escape(text: string): string {
    const parts = text.replaceAll(ESCAPE, ESCAPE + ESCAPED).split(this.#controlPattern);
    return parts.map((part, i) => {
      if (i % 2 === 0) return part;
      const [first, ...rest] = part;
      return `${first}${ESCAPE}${rest.join("")}`;
    }).join("");
  }

  /**
   * The text of `ids`; total: bytes that are no UTF-8 and ids outside the vocabulary become U+FFFD.
   */
  decode(ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}): string {
    const kept = skipSpecial
      ? Array.from(ids).filter((id) => !this.#controlIds.has(id))
      : Array.from(ids);
    if (this.#plain === null) {
      return decodeBytes(kept, (id) => this.#full.id_to_token(id) ?? UNKNOWN);
    }
    let text = "";
    let run: number[] = [];
    for (const id of kept) {
      if (this.#full.id_to_token(id) !== undefined) {
        run.push(id);
        continue;
      }
      text += this.#decodeKnown(run) + UNKNOWN;
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
          `${listing([...this.#control.keys()])}. Check that the tokenizer belongs to the model`,
      );
    }
    return id;
  }

  /** Whether there is a control token written `name`. */
  hasToken(name: string): boolean {
    return this.#control.has(name);
  }

  /** Whether `id` is a control token. */
  isControl(id: number): boolean {
    return this.#controlIds.has(id);
  }

  /** The model's own Jinja chat template, or null; the one for tool use where it has several. */
  get chatTemplate(): string | null {
    return chatTemplate(this.#config);
  }

  /** The token that a config names as `bos_token` or `eos_token`, or null if it names none. */
  namedToken(role: "bos_token" | "eos_token"): string | null {
    const value = this.#config[role];
    const content = (value as { content?: unknown } | null | undefined)?.content ?? value;
    return typeof content === "string" ? content : null;
  }

  /** Decodes ids as they come, for showing text while a model writes it. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    return decodeStream((ids) => this.decode(ids, options));
  }

  #decodeKnown(ids: number[]): string {
    if (ids.length === 0) return "";
    // Never "cleans up" (" ." to "."), even where the config asks for it, as Llama 3's does: that
    // would change what the model wrote, and code and arguments with it.
    return this.#full.decode(ids, { clean_up_tokenization_spaces: false });
  }
}

/** What stands for an id outside the vocabulary. */
const UNKNOWN = "\ufffd";

/**
 * Starts a mark in escaped text; alone it breaks a token's name. The code point is one that Unicode
 * reserves for inner use like this one; where a text has it all the same, `ESCAPED` follows.
 */
const ESCAPE = "\ufdd0";
const ESCAPED = "\ufdd1";

function unescape(text: string): string {
  return text.replace(/\ufdd0(\ufdd1?)/g, (_, own: string) => own === "" ? "" : ESCAPE);
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

/**
 * Whether an added token steers the model, so that no text may spell it. The others are common
 * strings that got an id of their own (in Gemma: runs of white space, HTML tags); models were
 * trained on text that has them.
 */
function isControl({ content, special }: AddedToken, template: string | null): boolean {
  if (content.trim() === "") return false;
  return special !== false || template === null || template.includes(content) ||
    /^<\|.*\|>$/.test(content);
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

function chatTemplate(config: Json): string | null {
  const value = config["chat_template"];
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  const named = (name: string) =>
    value.find((entry) => (entry as { name?: unknown } | null)?.name === name)?.template;
  return named("tool_use") ?? named("default") ?? null;
}

function listing(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const more = names.length > 12 ? ` and ${names.length - 12} more` : "";
  return names.slice(0, 12).join(" ") + more;
}

function addedTokens(tokenizer: Json): AddedToken[] {
  return (tokenizer["added_tokens"] ?? []) as AddedToken[];
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
