/**
 * The matching rules of the Berkeley Function Calling Leaderboard: whether the calls of one turn are
 * those that a question wants.
 *
 * Rules as of bfcl-eval 2026.3.23 (`ast_checker.py`, and `eval_runner.py` for questions that no
 * function helps with).
 *
 * @module
 */

import type { ToolSpec } from "../../text/tool_call.ts";
import { parseTypedJson } from "../../text/typed_json.ts";
import type { ExpectedCall, MadeCall } from "../call_match.ts";
import { type ValueError, valueError } from "./values.ts";

/**
 * Why calls are wrong, in the words of the benchmark's checker, without the names of its functions
 * where several say the same.
 */
export type BfclError =
  | "wrong_count"
  | "wrong_func_name"
  | "missing_required"
  | "unexpected_param"
  | "missing_optional"
  | "cannot_find_match"
  | "irrelevance_error:decoder_success"
  | "relevance_error:decoder_failed"
  | ValueError;

/**
 * Compares an answer, the JSON list of a turn's calls, with the calls wanted: none where that list is
 * empty, any where there is no list, otherwise as many and in any order.
 *
 * @param wanted integers as bigints, as `parseTypedJson` reads them
 * @param tools that were on offer
 * @returns null if they match
 */
export function bfclError(
  answer: string,
  wanted: readonly ExpectedCall[] | undefined,
  tools: readonly ToolSpec[],
): BfclError | null {
  const calls = readCalls(answer);
  if (wanted === undefined) return calls.length > 0 ? null : "relevance_error:decoder_failed";
  if (wanted.length === 0) {
    return calls.length === 0 ? null : "irrelevance_error:decoder_success";
  }
  if (calls.length !== wanted.length) return "wrong_count";
  if (wanted.length === 1) return callError(calls[0]!, wanted[0]!, tools);
  // Each takes the first call that fits and is left: no search for the best assignment.
  const left = [...calls];
  for (const each of wanted) {
    const found = left.findIndex((call) => callError(call, each, tools) === null);
    if (found < 0) return "cannot_find_match";
    left.splice(found, 1);
  }
  return null;
}

function callError(
  { name, arguments: args }: MadeCall,
  wanted: ExpectedCall,
  tools: readonly ToolSpec[],
): BfclError | null {
  if (name !== wanted.name) return "wrong_func_name";
  const spec = tools.find((tool) => tool.name === name);
  const { required = [], properties = {} } = spec?.parameters ?? {};
  if (required.some((key) => !Object.hasOwn(args, key))) return "missing_required";
  for (const [key, value] of Object.entries(args)) {
    if (!Object.hasOwn(properties, key) || !Object.hasOwn(wanted.arguments, key)) {
      return "unexpected_param";
    }
    const error = valueError(value, wanted.arguments[key]!, properties[key]!);
    if (error !== null) return error;
  }
  const missing = Object.entries(wanted.arguments).some(([key, allowed]) =>
    !Object.hasOwn(args, key) && !allowed.includes("")
  );
  return missing ? "missing_optional" : null;
}

/** An answer that is no list has no calls in it. */
function readCalls(answer: string): MadeCall[] {
  try {
    const calls = parseTypedJson(answer);
    return Array.isArray(calls) ? calls : [];
  } catch {
    return [];
  }
}

/** The error's type as the benchmark writes it into its results. */
export function errorType(error: BfclError, category: string): string {
  if (error === "cannot_find_match") return `${PARALLEL}:${error}`;
  if (error === "wrong_count") {
    if (category.includes("parallel")) return `${PARALLEL}:${error}`;
    return category.includes("multiple")
      ? `multiple_function_checker:${error}`
      : `${SIMPLE}:${error}`;
  }
  return error.includes(":") ? error : `${SIMPLE}:${error}`;
}

const SIMPLE = "simple_function_checker";
const PARALLEL = "parallel_function_checker_no_order";
