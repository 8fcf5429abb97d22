/**
 * Reads the literals and calls of Python that models write: no names, no operators.
 *
 * @module
 */

import { MAX_DEPTH, skipSpace } from "./format.ts";

/** A call with its arguments as written. */
export interface PythonCall {
  /** May have dots and dashes in it. */
  readonly name: string;
  /** Arguments without a name. */
  readonly positional: unknown[];
  /** `name=value`, and the entries of `**{...}`. */
  readonly named: [string, unknown][];
}

const constants: Readonly<Record<string, unknown>> = {
  ...{ True: true, False: false, None: null },
  // What models mix up with JSON.
  ...{ true: true, false: false, null: null },
};

const escapes: Readonly<Record<string, string>> = {
  ...{ n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" },
  ...{ "\\": "\\", "'": "'", '"': '"', "/": "/", "\n": "" },
};

/** A position in a text; every method throws `SyntaxError` where the text is something else. */
export class PythonReader {
  readonly #text: string;
  #depth = 0;
  /** The next character to read. */
  at: number;

  /** Starts at a position. */
  constructor(text: string, at: number) {
    this.#text = text;
    this.at = at;
  }

  /** Reads `token` after white space, if it is there. */
  take(token: string): boolean {
    const at = skipSpace(this.#text, this.at);
    if (!this.#text.startsWith(token, at)) return false;
    this.at = at + token.length;
    return true;
  }

  /** Reads `token`. */
  expect(token: string): void {
    if (!this.take(token)) throw new SyntaxError(`expected ${token} ${this.#here()}`);
  }

  /** Reads items separated by commas, the last perhaps with one behind it, up to `close`. */
  list(close: string, item: () => void): void {
    if (++this.#depth > MAX_DEPTH) throw new SyntaxError("nested too deeply");
    while (!this.take(close)) {
      item();
      if (!this.take(",")) {
        this.expect(close);
        break;
      }
    }
    this.#depth--;
  }

  /** Reads `name(...)`. @param names what a name looks like; sticky */
  call(names: RegExp = /[A-Za-z_][\w.-]*/y): PythonCall {
    const name = this.#match(names) ?? this.#fail("expected a call");
    const positional: unknown[] = [];
    const named: [string, unknown][] = [];
    this.expect("(");
    this.list(")", () => {
      const key = this.#match(/[\p{L}_][\p{L}\p{N}_]*(?=\s*=(?!=))/uy);
      if (key !== null) {
        this.expect("=");
        named.push([key, this.value()]);
      } else if (this.take("**")) {
        const value = this.value();
        if (typeof value !== "object" || value === null) this.#fail("expected a dict after **");
        named.push(...Object.entries(value as object));
      } else positional.push(this.value());
    });
    return { name, positional, named };
  }

  /** Reads a literal, an integer as a bigint. */
  value(): unknown {
    if (this.take("[")) return this.#sequence("]");
    if (this.take("(")) return this.#sequence(")");
    if (this.take("{")) {
      const entries: [string, unknown][] = [];
      this.list("}", () => {
        const key = this.value();
        this.expect(":");
        entries.push([String(key), this.value()]);
      });
      return Object.fromEntries(entries);
    }
    const quote = this.#match(/'''|"""|'|"/y);
    if (quote !== null) return this.#string(quote);
    const number = this.#match(/[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])/y);
    if (number !== null) {
      const digits = number.replaceAll("_", "");
      const value = Number(digits);
      if (!Number.isFinite(value)) this.#fail("number too large");
      return /^[-+]?\d+$/.test(digits) ? BigInt(digits.replace("+", "")) : value;
    }
    const word = this.#match(/[A-Za-z]+(?!\w)/y);
    if (word !== null && Object.hasOwn(constants, word)) return constants[word];
    return this.#fail("expected a value");
  }

  #sequence(close: string): unknown[] {
    const values: unknown[] = [];
    this.list(close, () => values.push(this.value()));
    return values;
  }

  #string(quote: string): string {
    const text = this.#text;
    let value = "";
    for (let i = this.at; i < text.length;) {
      if (text.startsWith(quote, i)) {
        this.at = i + quote.length;
        return value;
      }
      if (text[i] !== "\\") {
        value += text[i++];
        continue;
      }
      const code = /x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})/y;
      code.lastIndex = i + 1;
      const found = code.exec(text);
      if (found) {
        const [whole, two, four, eight, octal] = found;
        const point = octal ? parseInt(octal, 8) : parseInt(two ?? four ?? eight!, 16);
        if (point > 0x10ffff) this.#fail("no such character");
        value += String.fromCodePoint(point);
        i += 1 + whole.length;
      } else {
        const next = text[i + 1] ?? "";
        // Python keeps the backslash of an escape that it does not know.
        value += escapes[next] ?? `\\${next}`;
        i += 2;
      }
    }
    return this.#fail("no closing quote");
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = skipSpace(this.#text, this.at);
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) return null;
    this.at = pattern.lastIndex;
    return found;
  }

  #fail(problem: string): never {
    throw new SyntaxError(`${problem} ${this.#here()}`);
  }

  #here(): string {
    const rest = this.#text.slice(skipSpace(this.#text, this.at));
    return rest === ""
      ? "at the end"
      : `at ${rest.length <= 24 ? rest : `${rest.slice(0, 21)}...`}`;
  }
}
