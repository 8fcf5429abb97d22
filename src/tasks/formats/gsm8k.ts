/**
 * GSM8K: grade-school word problems whose worked solutions mark their calculations as
 * `<<48/2=24>>`. Each becomes calls of the arithmetic tools, and all of them together the teacher's
 * reference trajectory; the number behind `####` is the answer.
 *
 * @module
 */

import { calculator } from "../tools/calculator.ts";
import { convertSolution } from "./gsm8k_solution.ts";
import { jsonLines } from "./jsonl.ts";
import { parseNumber, type Task, TaskFormatError } from "./task.ts";

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
 * A calculation becomes a chain of add, sub, mul and div calls in evaluation order. The tools are
 * run; where the result is not the one marked (up to the rounding that the stated number of decimals
 * implies), the solution is not a trajectory to learn from and the problem is skipped.
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
    const [worked, final] = solution.split("####") as [string, string?];
    const answer = final?.trim().replaceAll(",", "");
    if (answer === undefined || parseNumber(answer) === null) {
      skip("no final answer");
      continue;
    }
    const converted = convertSolution(worked, tools);
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
