/**
 * Pieces of a page: everything put between `${` and `}` is text, unless it is a piece itself.
 *
 * @module
 */

import { html, raw } from "hono/html";

/** A piece of a page, already escaped. */
export type Html = ReturnType<typeof raw>;

/** Text that is HTML already: only for what this program wrote itself. */
export const trusted = (text: string): Html => raw(text);

/**
 * A template literal as a piece of a page. Strings and numbers are escaped, pieces and arrays of
 * them are put in, and null, undefined, true and false leave nothing. (Not named `html`: `deno fmt`
 * would lay such a template out anew, and space counts in some of them.)
 */
export function markup(strings: TemplateStringsArray, ...values: readonly unknown[]): Html {
  // Hono's result is a promise only where a value is one.
  return html(strings, ...values.map(readable)) as Html;
}

/**
 * Text with everything in it to be seen: what HTML cannot hold and what would reorder the text
 * around it gets a visible stand-in.
 */
export function visible(text: string): string {
  return text.toWellFormed().replace(UNSEEN, (character) => {
    if (character === "\n" || character === "\t") return character;
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return BIDI.test(character)
      ? `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`
      : "\ufffd";
  });
}

/** The first `limit` characters, with a note of how many more there were. */
export function clip(text: string, limit: number): string {
  return text.length <= limit
    ? text
    : `${text.slice(0, limit)}\u2026 (${text.length - limit} more characters)`;
}

/** As many of the pieces, from the first on, as together take at most `bytes` of UTF-8. */
export function within(pieces: readonly Html[], bytes: number): Html[] {
  let left = bytes;
  const end = pieces.findIndex((piece) => (left -= encoder.encode(String(piece)).length) < 0);
  return pieces.slice(0, end < 0 ? pieces.length : end);
}

const encoder = new TextEncoder();
/** Control characters, directions of writing, and what no text may have. */
const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]/gu;
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

function readable(value: unknown): unknown {
  if (typeof value === "string") return visible(value);
  return Array.isArray(value) ? value.map(readable) : value;
}
