/**
 * Calls of FunctionGemma, which writes neither JSON nor Python.
 *
 * @module
 */

import { findMark } from "../marks.ts";
import { checkedCall, type ParsedCall, type ToolSpec } from "../tool_call.ts";
import {
  malformedCall,
  MAX_DEPTH,
  noCalls,
  parseJson,
  skipSpace,
  type ToolCallFormat,
  toolJson,
} from "./format.ts";

const OPEN = "<start_function_call>";
const CLOSE = "<end_function_call>";
const ESCAPE = "<escape>";

/** `<start_function_call>call:add{a:1,b:<escape>text<escape>}<end_function_call>`. */
export const functionGemma: ToolCallFormat = {
  name: "function-gemma",
  format: (calls) =>
    calls.map(({ spec, args }) => `${OPEN}call:${spec.name}${formatValue(args)}${CLOSE}`).join(""),
  opening: (name) => `${OPEN}call:${name === undefined ? "" : `${name}{`}`,
  begins: (text) => findMark(text, [OPEN]),
  parse(text, specs) {
    const first = text.indexOf(OPEN);
    if (first < 0) return noCalls(text);
    const calls: ParsedCall[] = [];
    let clean = true;
    for (let open = first; open >= 0;) {
      let at = open + OPEN.length;
      const head = /\s*call:([^\s{}:<>]+)\s*(?=\{)/y;
      head.lastIndex = at;
      const name = head.exec(text)?.[1];
      try {
        if (name === undefined) throw new SyntaxError(`expected call:name{...} after ${OPEN}`);
        const { value, end } = readValue(text, head.lastIndex, 0);
        at = skipSpace(text, end);
        calls.push(checkedCall(name, asTyped(value as Json, name, specs), specs));
        if (text.startsWith(CLOSE, at)) at += CLOSE.length;
        else clean = false;
      } catch (error) {
        calls.push(malformedCall((error as Error).message, name));
        clean = false;
      }
      open = text.indexOf(OPEN, at);
      if (text.slice(at, open < 0 ? undefined : open).trim() !== "") clean = false;
    }
    return { text: text.slice(0, first), calls, clean };
  },
  instructions: (specs) =>
    "You are a model that can do function calling with the following functions" +
    specs.map((spec) => {
      const { name, ...declaration } = toolJson(spec).function as Json;
      return `<start_function_declaration>declaration:${name}${
        formatValue(declaration)
      }<end_function_declaration>`;
    }).join(""),
  results: (results) =>
    results.map(({ name, text }) =>
      `<start_function_response>response:${name}{value:${formatValue(text)}}<end_function_response>`
    ).join(""),
};

type Json = Record<string, unknown>;

function formatValue(value: unknown): string {
  if (typeof value === "string") {
    // The delimiter has no escape of its own, so that a text with one in it is written as JSON.
    return value.includes(ESCAPE)
      ? JSON.stringify(value).replaceAll("<", "\\u003c")
      : `${ESCAPE}${value}${ESCAPE}`;
  }
  if (Array.isArray(value)) return `[${value.map(formatValue).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const key = (name: string) => /^[\w.-]+$/.test(name) ? name : formatValue(name);
  return `{${
    Object.entries(value).map(([name, each]) => `${key(name)}:${formatValue(each)}`).join(",")
  }}`;
}

function readValue(text: string, start: number, depth: number): { value: unknown; end: number } {
  if (depth > MAX_DEPTH) throw new SyntaxError("nested too deeply");
  const at = skipSpace(text, start);
  if (text[at] === "[") {
    const values: unknown[] = [];
    const end = readList(text, at + 1, "]", (from) => {
      const item = readValue(text, from, depth + 1);
      values.push(item.value);
      return item.end;
    });
    return { value: values, end };
  }
  if (text[at] === "{") {
    const entries: [string, unknown][] = [];
    const end = readList(text, at + 1, "}", (from) => {
      const key = readScalar(text, from);
      const colon = skipSpace(text, key.end);
      if (text[colon] !== ":") throw new SyntaxError(`expected : after ${String(key.value)}`);
      const item = readValue(text, colon + 1, depth + 1);
      entries.push([key.raw, item.value]);
      return item.end;
    });
    return { value: Object.fromEntries(entries), end };
  }
  return readScalar(text, at);
}

function readScalar(text: string, at: number): { value: unknown; end: number; raw: string } {
  if (text.startsWith(ESCAPE, at)) {
    const close = text.indexOf(ESCAPE, at + ESCAPE.length);
    if (close < 0) throw new SyntaxError(`no closing ${ESCAPE}`);
    const raw = text.slice(at + ESCAPE.length, close);
    return { value: raw, end: close + ESCAPE.length, raw };
  }
  const quoted = /"(?:[^"\\]|\\.)*"/ys;
  quoted.lastIndex = at;
  const json = quoted.exec(text)?.[0];
  if (json !== undefined) {
    const value = JSON.parse(json);
    return { value, end: at + json.length, raw: value };
  }
  const bare = /[^,:{}[\]<>]+/y;
  bare.lastIndex = at;
  const raw = bare.exec(text)?.[0];
  if (raw === undefined) throw new SyntaxError("expected a value");
  const word = raw.trim();
  const end = at + raw.length;
  if (/^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)$/.test(word)) {
    return { value: parseJson(word), end, raw: word };
  }
  return { value: word, end, raw: word };
}

/** Reads items up to `close`; returns the position behind it. */
function readList(
  text: string,
  start: number,
  close: string,
  item: (from: number) => number,
): number {
  let at = skipSpace(text, start);
  while (text[at] !== close) {
    at = skipSpace(text, item(at));
    if (text[at] === ",") at = skipSpace(text, at + 1);
    else if (text[at] !== close) throw new SyntaxError(`expected , or ${close}`);
  }
  return at + 1;
}

/** Some templates put every value between escapes: then the schema tells numbers from texts. */
function asTyped(args: Json, name: string, specs: readonly ToolSpec[]): Json {
  const properties = specs.find((spec) => spec.name === name)?.parameters.properties ?? {};
  return Object.fromEntries(
    Object.entries(args).map(([key, value]) => {
      const type = Object.hasOwn(properties, key) ? properties[key]!.type : undefined;
      if (typeof value !== "string" || type === undefined || [type].flat().includes("string")) {
        return [key, value];
      }
      try {
        return [key, parseJson(value)];
      } catch {
        return [key, value];
      }
    }),
  );
}
