/**
 * Calls as JSON: Hermes (Qwen, SmolLM2 and many others) and Llama 3.
 *
 * @module
 */

import { isRecord } from "../json_value.ts";
import { earlier, findMark, findPattern } from "../marks.ts";
import { checkedCall, type ParsedCall, type ToolSpec } from "../tool_call.ts";
import {
  malformedCall,
  noCalls,
  parseJson,
  pythonJson,
  skipSpace,
  type ToolCallFormat,
  toolJson,
} from "./format.ts";
import { readPythonCalls } from "./python.ts";

const OPEN = "<tool_call>";
const CLOSE = "</tool_call>";

/** `<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>`, once per call. */
export const hermes: ToolCallFormat = {
  name: "hermes",
  format: (calls) =>
    calls.map(({ spec, args }) =>
      `${OPEN}\n${pythonJson({ name: spec.name, arguments: args })}\n${CLOSE}`
    ).join("\n"),
  opening: (name) => `${OPEN}\n${openingJson(name, "arguments")}`,
  begins: (text) => findMark(text, [OPEN]),
  parse(text, specs) {
    const first = text.indexOf(OPEN);
    if (first < 0) return noCalls(text);
    const calls: ParsedCall[] = [];
    let clean = true;
    for (let open = first; open >= 0;) {
      let at = skipSpace(text, open + OPEN.length);
      const end = jsonEnd(text, at);
      calls.push(...readJson(text.slice(at, end < 0 ? undefined : end), specs, OPEN));
      if (end >= 0) {
        // The end of the JSON, not the next closing tag: a string may spell one.
        at = skipSpace(text, end);
        if (text.startsWith(CLOSE, at)) at += CLOSE.length;
        else clean = false;
      }
      open = text.indexOf(OPEN, at);
      if (text.slice(at, open < 0 ? undefined : open).trim() !== "") clean = false;
    }
    return { text: text.slice(0, first), calls, clean: clean && calls.every(readable) };
  },
  instructions: (specs) =>
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n" +
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n" +
    specs.map((spec) => pythonJson(toolJson(spec))).join("\n") +
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments " +
    `within ${OPEN}${CLOSE} XML tags:\n${OPEN}\n` +
    `{"name": <function-name>, "arguments": <args-json-object>}\n${CLOSE}`,
  results: (results) =>
    results.map(({ text }) => `<tool_response>\n${text}\n</tool_response>`).join("\n"),
};

const PYTHON_TAG = "<|python_tag|>";
/** How a call begins that has no tag. */
const BARE = /\{\s*"(?:name|type|function)"\s*:/;

/**
 * `{"name": "add", "parameters": {"a": 1}}`, several with `; ` between them; after
 * `<|python_tag|>` also `tool.call(a=1)`.
 */
export const llama3: ToolCallFormat = {
  name: "llama3",
  format: (calls) =>
    calls.map(({ spec, args }) => pythonJson({ name: spec.name, parameters: args })).join("; "),
  opening: (name) => openingJson(name, "parameters"),
  begins: (text) =>
    earlier(findMark(text, [PYTHON_TAG]), findPattern(text, BARE, /\{\s*(?:"[a-z]*(?:"\s*)?)?$/)),
  parse(text, specs) {
    const tag = text.indexOf(PYTHON_TAG);
    const bare = text.search(BARE);
    if (tag < 0 && bare < 0) return noCalls(text);
    const start = Math.min(...[tag, bare].filter((at) => at >= 0));
    const body = text.slice(start).replaceAll(PYTHON_TAG, "").trim();
    const before = text.slice(0, start);
    if (!body.startsWith("{") && !body.startsWith("[")) {
      const read = readPythonCalls(body, 0, specs, builtInName);
      const clean = read.clean && body.slice(read.end).trim() === "";
      return { text: before, calls: read.calls, clean };
    }
    const calls: ParsedCall[] = [];
    let at = 0;
    do {
      const end = jsonEnd(body, at);
      calls.push(...readJson(body.slice(at, end < 0 ? undefined : end), specs, "the call"));
      at = end < 0 ? body.length : skipSpace(body, end);
      while (body[at] === ";" || body[at] === ",") at = skipSpace(body, at + 1);
    } while (body[at] === "{");
    return { text: before, calls, clean: at === body.length && calls.every(readable) };
  },
  instructions: (specs) =>
    "Given the following functions, please respond with a JSON for a function call with its proper " +
    "arguments that best answers the given prompt.\n\nRespond in the format " +
    '{"name": function name, "parameters": dictionary of argument name and its value}. ' +
    "Do not use variables.\n\n" +
    specs.map((spec) => JSON.stringify(toolJson(spec), null, 4)).join("\n\n"),
  results: (results) => results.map(({ text }) => text).join("\n"),
};

/** A call up to its name, or up to its arguments: where tokens of JSON end, too. */
function openingJson(name: string | undefined, args: string): string {
  return name === undefined ? '{"name":' : `{"name": ${JSON.stringify(name)}, "${args}":`;
}

/** Llama 3's built-in tools are called as methods: `brave_search.call(query="...")`. */
function builtInName(name: string): string {
  return name.replace(/\.call$/, "");
}

function readable({ status }: ParsedCall): boolean {
  return status !== "malformed";
}

/** The call or the list of calls that a JSON text holds. */
function readJson(json: string, specs: readonly ToolSpec[], where: string): ParsedCall[] {
  let value: unknown;
  try {
    value = parseJson(json);
  } catch {
    return [malformedCall(`no JSON object with name and arguments in ${where}`)];
  }
  const calls = (Array.isArray(value) ? value : [value]).map((each) => readObject(each, specs));
  return calls.length > 0 ? calls : [malformedCall(`an empty list of calls in ${where}`)];
}

function readObject(value: unknown, specs: readonly ToolSpec[]): ParsedCall {
  if (!isRecord(value)) return malformedCall("a call must be a JSON object");
  const inner = isRecord(value.function) ? value.function : value;
  const name = inner.name ?? inner.function;
  if (typeof name !== "string" || name === "") return malformedCall("a call must have a name");
  let args: unknown = inner.arguments ?? inner.parameters ?? {};
  if (typeof args === "string") {
    // Some models quote the arguments once more, as OpenAI's API does.
    try {
      args = parseJson(args);
    } catch {
      // Told below.
    }
  }
  if (!isRecord(args)) return malformedCall("arguments must be a JSON object", name);
  return checkedCall(name, args, specs);
}

/** Where the JSON object or array at `start` ends; -1 if it does not. */
function jsonEnd(text: string, start: number): number {
  let depth = 0;
  let quoted = false;
  for (let i = start; i < text.length; i++) {
    const character = text[i]!;
    if (quoted) {
      if (character === "\\") i++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === "{" || character === "[") depth++;
    else if ((character === "}" || character === "]") && --depth <= 0) return i + 1;
    if (depth === 0) return -1;
  }
  return -1;
}
