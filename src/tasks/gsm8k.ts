/**
 * GSM8K: grade-school word problems whose worked solutions mark every calculation as
 * `<<48/2=24>>`. Each mark becomes calls to the arithmetic tools, and all of them together the
 * teacher's reference trajectory; the number behind `####` is the answer.
 *
 * @module
 */

import { type Calculator, calculator } from "../tools/calculator.ts";
import { callToolSync } from "../tools/tool.ts";
import { type Expression, parseExpression } from "./expression.ts";
import { jsonLines } from "./jsonl.ts";
import { parseNumber, type ReferenceCall, type Task, TaskFormatError } from "./task.ts";

/** Why some problems have no reference. */
export interface Gsm8kReport {
  /** Problems read. */
  total: number;
  /** Problems whose solution became a reference. */
  converted: number;
  /** The others by reason, with the line where the reason came up first. */
  skipped: Record<string, { count: number; firstLine: number }>;
}

/** Name of the file for messages, and what to read. */
export interface Gsm8kOptions {
  /** Name of the file. */
  source: string;
  /** Read this many problems, convertible or not; default all. */
  limit?: number;
  /** Keep problems whose solution is not convertible, without a reference; default false. */
  keepUnreferenced?: boolean;
}

/**
 * Whether a file whose first line this is looks like GSM8K rather than like a task file.
 */
export function looksLikeGsm8k(firstLine: string): boolean {
  try {
    const value = JSON.parse(firstLine.replace(/^\ufeff/, ""));
    return typeof value?.question === "string" && typeof value.answer === "string" &&
      value.prompt === undefined;
  } catch {
    return false;
  }
}

/**
 * Reads problems and converts their solutions.
 *
 * A marked calculation becomes a chain of add, sub, mul and div calls in evaluation order. The
 * tools are run; where the result is not the one stated (up to the rounding that the stated number
 * of decimals implies), the solution is not a trajectory to learn from and the problem is skipped.
 *
 * @throws {TaskFormatError} on a line that is not a problem
 * @throws {RangeError} if `limit` is not a positive integer
 */
export function parseGsm8k(
  text: string,
  options: Gsm8kOptions,
): { tasks: Task[]; report: Gsm8kReport } {
  const { source, limit, keepUnreferenced = false } = options;
  const tools = calculator();
  const tasks: Task[] = [];
  const report: Gsm8kReport = { total: 0, converted: 0, skipped: {} };
  for (const { line, value } of jsonLines(text, source, limit)) {
    const { question, answer: solution } = value;
    if (typeof question !== "string" || question === "" || typeof solution !== "string") {
      throw new TaskFormatError(source, line, '"question" and "answer" must be strings');
    }
    report.total++;
    const skip = (reason: string) => {
      const entry = report.skipped[reason] ??= { count: 0, firstLine: line };
      entry.count++;
    };
    const answer = solution.split("####")[1]?.trim().replaceAll(",", "");
    if (answer === undefined || parseNumber(answer) === null) {
      skip("no final answer");
      continue;
    }
    const converted = convertSolution(solution, tools);
    if (typeof converted === "string") skip(converted);
    else report.converted++;
    if (typeof converted === "string" && !keepUnreferenced) continue;
    tasks.push({
      id: `gsm8k-${line}`,
      domain: "gsm8k",
      split: "train",
      prompt: question,
      tools: tools.all,
      answer,
      check: "number",
      reference: typeof converted === "string" ? null : { calls: converted, answer },
      origin: { source, line },
    });
  }
  return { tasks, report };
}

/** The calls of a solution, or why there are none. */
function convertSolution(solution: string, tools: Calculator): ReferenceCall[] | string {
  const calls: ReferenceCall[] = [];
  let marks = 0;
  for (const match of solution.matchAll(/<<(.*?)>>/gs)) {
    marks++;
    const mark = match[1] as string;
    const equals = mark.lastIndexOf("=");
    if (equals < 0) return "calculation without result";
    // "2*3=6*4=24" states a chain of equal values; the last left side is what was calculated.
    const left = mark.slice(0, equals).split("=").at(-1) as string;
    const expression = parseExpression(left);
    const stated = parseExpression(mark.slice(equals + 1));
    if (expression === null || stated?.kind !== "number") return "unsupported syntax";
    const value = evaluate(expression, tools, calls);
    if (value === null) return "calculation fails";
    if (!agrees(value, stated.value, mark.slice(equals + 1))) return "result differs";
  }
  if (marks === 0) return "no calculation marked";
  if (calls.length === 0) return "nothing to calculate";
  return calls;
}

/** Runs an expression by tools, innermost and leftmost first, and appends the calls made. */
function evaluate(
  expression: Expression,
  tools: Calculator,
  calls: ReferenceCall[],
): number | null {
  if (expression.kind === "number") return expression.value;
  const a = evaluate(expression.left, tools, calls);
  const b = evaluate(expression.right, tools, calls);
  if (a === null || b === null) return null;
  const args = { a, b };
  const outcome = callToolSync(tools[expression.operator], args, {});
  if (outcome.status !== "ok") return null;
  calls.push({ name: expression.operator, arguments: args, result: outcome.result });
  return outcome.result as number;
}

/** Equal, or equal once rounded to the decimals that the text states: 10/3 "is" 3.33. */
function agrees(value: number, stated: number, text: string): boolean {
  const decimals = /\.(\d+)/.exec(text)?.[1]?.length ?? 0;
  const rounding = decimals > 0 ? 0.5 * 10 ** -decimals : 0;
  return Math.abs(value - stated) <= rounding + 1e-9 * Math.max(1, Math.abs(stated));
}
