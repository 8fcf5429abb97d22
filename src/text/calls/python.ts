/**
 * Calls as Python: a list of them, or a block of code as Gemma writes it.
 *
 * @module
 */

import { findMark, findPattern } from "../marks.ts";
import { checkedCall, parameterNames, type ParsedCall, type ToolSpec } from "../tool_call.ts";
import {
  malformedCall,
  noCalls,
  pythonJson,
  skipSpace,
  type ToolCallFormat,
  toolJson,
} from "./format.ts";
import { PythonReader } from "./python_reader.ts";

const LIST = /\[\s*[A-Za-z_][\w.-]*\s*\(/;

/** `[add(a=1, b=2), now()]`. */
export const python: ToolCallFormat = {
  name: "python",
  format: (calls) => `[${calls.map(({ spec, args }) => formatPython(spec.name, args)).join(", ")}]`,
  opening: (name) => name === undefined ? "[" : `[${name}(`,
  begins: (text) => findPattern(text, LIST, /\[\s*(?:[A-Za-z_][\w.-]*\s*)?$/),
  parse(text, specs) {
    const list = LIST.exec(text);
    if (!list) return noCalls(text);
    const { calls, end, clean } = readPythonCalls(text, list.index, specs);
    return {
      text: text.slice(0, list.index),
      calls,
      clean: clean && text.slice(end).trim() === "",
    };
  },
  instructions: (specs) =>
    "You have access to functions. If you decide to invoke any of the functions, you must put it " +
    "in the format of [func_name1(params_name1=params_value1, params_name2=params_value2...), " +
    "func_name2(params)]. You should not include any other text in the response if you call a " +
    `function.\n\n${JSON.stringify(specs.map(toolJson), null, 4)}`,
  results: (results) =>
    results.map(({ text }) => `<tool_response>\n${text}\n</tool_response>`).join("\n"),
};

const FENCE = "```";
const CODE = "```tool_code";

/** A fenced block `tool_code` with one call per line, perhaps inside of `print()`. */
export const gemma: ToolCallFormat = {
  name: "gemma",
  format: (calls) =>
    `${CODE}\n${calls.map(({ spec, args }) => formatPython(spec.name, args)).join("\n")}\n${FENCE}`,
  opening: (name) => `${CODE}\n${name === undefined ? "" : `${name}(`}`,
  begins: (text) => findMark(text, [CODE]),
  parse(text, specs) {
    const first = text.indexOf(CODE);
    if (first < 0) return noCalls(text);
    const calls: ParsedCall[] = [];
    let clean = true;
    let at = first + CODE.length;
    for (;;) {
      at = skipSpace(text, at);
      if (at === text.length || text.startsWith(FENCE, at)) break;
      const read = readPythonCalls(text, at, specs);
      calls.push(...read.calls);
      at = read.end;
      if (!read.clean) {
        clean = false;
        break;
      }
    }
    if (calls.length === 0) calls.push(malformedCall("no call in the block"));
    const closed = text.startsWith(FENCE, at) && text.slice(at + FENCE.length).trim() === "";
    return {
      text: text.slice(0, first),
      calls,
      clean: clean && closed && calls.every(({ status }) => status !== "malformed"),
    };
  },
  instructions: (specs) =>
    "At each turn, if you decide to invoke any of the function(s), it should be wrapped with " +
    `${CODE}${FENCE}, as Python calls with named arguments. The results will be wrapped with ` +
    `${FENCE}tool_output${FENCE}. The following functions are available, in JSON:\n\n` +
    specs.map((spec) => pythonJson(toolJson(spec))).join("\n"),
  results: (results) =>
    results.map(({ text }) => `${FENCE}tool_output\n${text}\n${FENCE}`).join("\n"),
};

/** A call in Python; names that Python can't write as keywords go through `**{...}`. */
function formatPython(name: string, args: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(args);
  const plain = entries.filter(([key]) => /^[A-Za-z_]\w*$/.test(key));
  const rest = entries.filter(([key]) => !/^[A-Za-z_]\w*$/.test(key));
  const words = plain.map(([key, value]) => `${key}=${pythonLiteral(value)}`);
  if (rest.length > 0) words.push(`**${pythonLiteral(Object.fromEntries(rest))}`);
  return `${name}(${words.join(", ")})`;
}

function pythonLiteral(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value);
  return `{${
    entries.map(([key, each]) => `${JSON.stringify(key)}: ${pythonLiteral(each)}`).join(", ")
  }}`;
}

/**
 * Reads one call, a call inside of `print()`, or a list of calls at `start`; never throws.
 *
 * @param rename what to make of a name, before tools are looked up by it
 */
export function readPythonCalls(
  text: string,
  start: number,
  specs: readonly ToolSpec[],
  rename: (name: string) => string = (name) => name,
): { calls: ParsedCall[]; end: number; clean: boolean } {
  const calls: ParsedCall[] = [];
  const reader = new PythonReader(text, start);
  const one = () => {
    const { name, positional, named } = reader.call();
    calls.push(bound(rename(name), positional, named, specs));
  };
  try {
    const printed = specs.some(({ name }) => name === "print") ? false : reader.take("print(");
    if (reader.take("[")) reader.list("]", one);
    else one();
    if (printed) reader.expect(")");
  } catch (error) {
    calls.push(malformedCall((error as Error).message));
    return { calls, end: reader.at, clean: false };
  }
  return { calls, end: reader.at, clean: true };
}

/** Gives positional arguments the names that the schema has at their places. */
function bound(
  name: string,
  positional: readonly unknown[],
  named: readonly (readonly [string, unknown])[],
  specs: readonly ToolSpec[],
): ParsedCall {
  const spec = specs.find((each) => each.name === name);
  const names = spec ? parameterNames(spec) : [];
  if (spec && positional.length > names.length) {
    const error = `${name} takes ${names.length} arguments, not ${positional.length}`;
    return { name, arguments: null, status: "bad-arguments", error };
  }
  const placed = positional.map((value, i) => [names[i] ?? String(i), value] as const);
  return checkedCall(name, Object.fromEntries([...placed, ...named]), specs);
}
