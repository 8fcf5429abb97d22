/**
 * Every tool-call format by name, and which one a model uses.
 *
 * @module
 */

import { findMark } from "../marks.ts";
import { formatCall, parseCall, type ParsedCall } from "../tool_call.ts";
import { noCalls, type ToolCallFormat, toolJson } from "./format.ts";
import { functionGemma } from "./function_gemma.ts";
import { hermes, llama3 } from "./json.ts";
import { gemma, python } from "./python.ts";

export type { CallText, PlannedCall, ToolCallFormat, ToolResult } from "./format.ts";

const CALL = "<|call|>";
const END_CALL = "<|end_call|>";

/** The embedded student's: `<|call|>add 34 8<|end_call|>`. */
const compact: ToolCallFormat = {
  name: "compact",
  format: (calls) =>
    calls.map(({ spec, args }) =>
      // Only quoted strings can have "<|" in them; here, text alone must tell where a call ends.
      `${CALL}${formatCall(spec, args).replaceAll("<|", "\\u003c|")}${END_CALL}`
    ).join(""),
  opening: (name = "") => `${CALL}${name}`,
  begins: (text) => findMark(text, [CALL]),
  parse(text, specs) {
    const [before, ...rest] = text.split(CALL);
    if (rest.length === 0) return noCalls(text);
    let clean = true;
    const calls = rest.map((part): ParsedCall => {
      const [call, ...after] = part.split(END_CALL);
      if (after.join("") !== "" || after.length !== 1) clean = false;
      return parseCall(call!, specs);
    });
    clean &&= calls.every(({ status }) => status !== "malformed");
    return { text: before!, calls, clean };
  },
  instructions: (specs) =>
    `Call a tool with ${CALL}name argument argument${END_CALL}.\n` +
    specs.map((spec) => JSON.stringify(toolJson(spec))).join("\n"),
  results: (results) => results.map(({ text }) => `<|result|>${text}<|end_result|>`).join(""),
};

/** The formats by name. */
export const toolFormats = {
  hermes,
  llama3,
  python,
  gemma,
  "function-gemma": functionGemma,
  compact,
} as const satisfies Record<string, ToolCallFormat>;

/** Name of a format. */
export type ToolFormatName = keyof typeof toolFormats;

/**
 * The format that a model was trained on, told by what its chat template writes and which control
 * tokens it has; Hermes where nothing tells, which most small models know.
 */
export function detectToolFormat(
  template: string,
  hasToken: (name: string) => boolean,
): ToolFormatName {
  const knows = (name: string) => template.includes(name) || hasToken(name);
  if (knows("<start_function_call>")) return "function-gemma";
  if (knows(CALL) && knows(END_CALL)) return "compact";
  if (template.includes("[func_name1(")) return "python";
  if (knows("<tool_call>")) return "hermes";
  if (knows("<|python_tag|>") || template.includes('"parameters": ')) return "llama3";
  if (template.includes("<start_of_turn>")) return "gemma";
  return "hermes";
}
