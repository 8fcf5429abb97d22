/**
 * The text of a tool call in the compact format: `add 34 8`, `get "palm tree" height`.
 *
 * Grammar: a tool name, then its arguments by position, in the order of the schema's `properties`,
 * each after one space:
 *
 * - numbers, `true`, `false` and `null` as in JSON;
 * - a string bare when it looks like an identifier, otherwise quoted as in JSON;
 * - arrays and objects as JSON;
 * - `-` for an argument that is left out before one that is not (those at the end are just absent).
 *
 * {@linkcode parseCall} reads back what {@linkcode formatCall} writes, and is total: whatever a model
 * produces becomes a status, never an exception.
 *
 * @module
 */

import { type JsonSchema, validateArguments } from "./json_schema.ts";
import { formatTypedJson, parseTypedJson, untyped } from "./typed_json.ts";

export type { JsonSchema };

/** What a model is told about a tool. */
export interface ToolSpec {
  /** Letters, digits, `_`, `.`, `-`; starts with a letter or `_`. */
  readonly name: string;
  /** What it does. */
  readonly description: string;
  /** JSON Schema of type `object`. */
  readonly parameters: JsonSchema;
}

/** How a call ended: the parser decides all but `failed`, which is the tool's own. */
export type CallStatus = "ok" | "malformed" | "unknown-tool" | "bad-arguments" | "failed";

/** A call as the model wrote it. */
export interface ParsedCall {
  /** The tool's name as written; empty if there is none. */
  readonly name: string;
  /** By name; null if the text could not be read that far. */
  readonly arguments: Record<string, unknown> | null;
  /**
   * The arguments as JSON, where that tells more: a float that is written `5.0` or an integer that is
   * too large are not what they were once they are numbers of JavaScript.
   */
  readonly json?: string;
  /** What the text is worth. */
  readonly status: Exclude<CallStatus, "failed">;
  /** Why `status` is not "ok", in words for the model. */
  readonly error?: string;
}

/** A string that may stand without quotes; also the form of a tool's name. */
const bareString = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const literals = new Set(["true", "false", "null"]);
const omitted = "-";

/**
 * Writes a call.
 *
 * @throws {RangeError} if an argument is not in the schema or is not a JSON value
 */
export function formatCall(spec: ToolSpec, args: Readonly<Record<string, unknown>>): string {
  const names = parameterNames(spec);
  const unknown = Object.keys(args).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot write a call of "${spec.name}": it has no argument "${unknown}", ` +
        `only ${names.join(", ") || "none at all"}`,
    );
  }
  const given = names.map((name) => Object.hasOwn(args, name) ? args[name] : undefined);
  const count = given.findLastIndex((value) => value !== undefined) + 1;
  const words = given.slice(0, count).map((value, i) => {
    if (value === undefined) return omitted;
    const word = formatValue(value);
    if (word !== undefined) return word;
    throw new RangeError(
      `Cannot write a call of "${spec.name}": argument "${names[i]}" is ${String(value)}, ` +
        "which is not a JSON value",
    );
  });
  return [spec.name, ...words].join(" ");
}

/** Reads a call; never throws. */
export function parseCall(text: string, specs: readonly ToolSpec[]): ParsedCall {
  const name = /^[^ ]*/.exec(text)![0];
  if (!bareString.test(name)) {
    return { name: "", arguments: null, status: "malformed", error: "no tool name" };
  }
  const spec = specs.find((each) => each.name === name);
  if (spec === undefined) {
    return { name, arguments: null, status: "unknown-tool", error: `no tool ${name}` };
  }
  let words: string[];
  try {
    words = splitWords(text.slice(name.length));
  } catch (error) {
    return { name, arguments: null, status: "malformed", error: (error as Error).message };
  }
  return readArguments(spec, words);
}

function readArguments(spec: ToolSpec, words: readonly string[]): ParsedCall {
  const { name } = spec;
  const names = parameterNames(spec);
  const entries: [string, unknown][] = [];
  for (const [i, word] of words.entries()) {
    const parameter = names[i];
    if (parameter === undefined) {
      const error = `${name} takes ${names.length} arguments, not ${words.length}`;
      return { name, arguments: null, status: "bad-arguments", error };
    }
    if (word === omitted) continue;
    try {
      entries.push([parameter, parseValue(word, spec.parameters.properties?.[parameter])]);
    } catch {
      return { name, arguments: null, status: "malformed", error: `cannot read ${clip(word)}` };
    }
  }
  return checkedCall(name, Object.fromEntries(entries), [spec]);
}

/**
 * A call whose name and arguments could be read.
 *
 * @param written the arguments as `parseTypedJson` reads them
 */
export function checkedCall(
  name: string,
  written: Readonly<Record<string, unknown>>,
  specs: readonly ToolSpec[],
): ParsedCall {
  const args = untyped(written) as Record<string, unknown>;
  const json = formatTypedJson(written);
  const call = { name, arguments: args, ...(json === JSON.stringify(args) ? {} : { json }) };
  const spec = specs.find((each) => each.name === name);
  if (!spec) return { ...call, status: "unknown-tool", error: `no tool ${name}` };
  const error = validateArguments(spec.parameters, args);
  return error === null ? { ...call, status: "ok" } : { ...call, status: "bad-arguments", error };
}

/** The names of the arguments, in the order of positional calls. */
export function parameterNames(spec: ToolSpec): string[] {
  return Object.keys(spec.parameters.properties ?? {});
}

/** Undefined if the value has no JSON form, or one that would read back as another value. */
function formatValue(value: unknown): string | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) return undefined;
  const bare = typeof value === "string" && bareString.test(value) && !literals.has(value);
  return bare ? value : JSON.stringify(value);
}

function parseValue(word: string, schema: JsonSchema | undefined): unknown {
  // A string argument may be the bare word `true`; we write it quoted, a model may not.
  const bare = bareString.test(word) && (!literals.has(word) || schema?.type === "string");
  return bare ? word : parseTypedJson(word);
}

/** Splits " a b c" at the spaces that are not inside a JSON value. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  for (let at = 0; at < text.length;) {
    if (text[at] !== " ") throw new SyntaxError(`expected a space before ${clip(text.slice(at))}`);
    const end = endOfWord(text, at + 1);
    if (end === at + 1) throw new SyntaxError("two spaces, or a space at the end");
    words.push(text.slice(at + 1, end));
    at = end;
  }
  return words;
}

function endOfWord(text: string, start: number): number {
  const quoted = text[start] === '"';
  if (!quoted && text[start] !== "[" && text[start] !== "{") {
    const space = text.indexOf(" ", start);
    return space < 0 ? text.length : space;
  }
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    if (text[i] === '"') {
      i = endOfString(text, i);
      if (quoted) return i + 1;
    } else if (text[i] === "[" || text[i] === "{") depth++;
    else if ((text[i] === "]" || text[i] === "}") && --depth === 0) return i + 1;
  }
  throw new SyntaxError(`no end of ${clip(text.slice(start))}`);
}

/** The position of the quote that closes the one at `start`. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i;
  }
  throw new SyntaxError(`no closing quote in ${clip(text.slice(start))}`);
}

function clip(text: string): string {
  return text.length <= 24 ? text : `${text.slice(0, 21)}...`;
}
