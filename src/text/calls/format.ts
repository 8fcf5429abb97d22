/**
 * What a tool-call format is: one way in which models write calls inside their text.
 *
 * Reading is total: whatever a model produces becomes calls with a status, never an exception.
 *
 * @module
 */

import type { Beginning } from "../marks.ts";
import type { ParsedCall, ToolSpec } from "../tool_call.ts";
import { parseTypedJson } from "../typed_json.ts";

/** A call that is to be written. */
export interface PlannedCall {
  /** The tool. */
  readonly spec: ToolSpec;
  /** Its arguments, by name: JSON values. */
  readonly args: Readonly<Record<string, unknown>>;
}

/** What a tool answered. */
export interface ToolResult {
  /** The tool's name, as the model wrote it. */
  readonly name: string;
  /** What the model sees. */
  readonly text: string;
}

/** A model's text, read. */
export interface CallText {
  /** What comes before the first call; the whole text where there is none. */
  readonly text: string;
  /** The calls in order; empty if the text is none. */
  readonly calls: readonly ParsedCall[];
  /** Whether there is nothing besides: every call is readable and closed, and nothing follows. */
  readonly clean: boolean;
}

/** One way to write calls. */
export interface ToolCallFormat {
  /** What configs call it. */
  readonly name: string;
  /** The text of calls made in one turn. */
  format(calls: readonly PlannedCall[]): string;
  /** Reads a turn, control tokens shown and its stop token left out; never throws. */
  parse(text: string, specs: readonly ToolSpec[]): CallText;
  /** What a turn begins with that calls a tool, of that name or of any. */
  opening(name?: string): string;
  /** Where a call begins in a text that goes on, or may begin at its end. */
  begins(text: string): Beginning;
  /** For the system message, where a model's template has no place for tools. */
  instructions(specs: readonly ToolSpec[]): string;
  /** For a user message, where a model's template has no place for results. */
  results(results: readonly ToolResult[]): string;
}

/** Nesting that no honest call needs, and that recursion over values survives. */
export const MAX_DEPTH = 64;

/** A tool as templates and instructions show it. */
export function toolJson({ name, description, parameters }: ToolSpec): Record<string, unknown> {
  return { type: "function", function: { name, description, parameters } };
}

/** JSON with the spaces of Python's `json.dumps`, which is what models were trained on. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${
    entries.map(([key, each]) => `${JSON.stringify(key)}: ${pythonJson(each)}`).join(", ")
  }}`;
}

/** A call that could not be read. */
export function malformedCall(error: string, name = ""): ParsedCall {
  return { name, arguments: null, status: "malformed", error };
}

/** The text where there is no call in it. */
export function noCalls(text: string): CallText {
  return { text, calls: [], clean: true };
}

/** Position of the first character from `at` on that is no white space. */
export function skipSpace(text: string, at: number): number {
  while (at < text.length && text[at]!.trim() === "") at++;
  return at;
}

/**
 * JSON that a model wrote, integers as bigints.
 *
 * @throws {SyntaxError} on anything else, infinite numbers and deep nesting included
 */
export function parseJson(text: string): unknown {
  const value = parseTypedJson(text);
  if (!within(value, MAX_DEPTH)) throw new SyntaxError("nested too deeply");
  return value;
}

function within(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((each) => within(each, depth - 1));
}
