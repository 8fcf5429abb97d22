/**
 * GSM8K: grade-school word problems whose worked solutions mark their calculations as
 * `<<48/2=24>>`. Each becomes calls of the arithmetic tools, and all of them together the teacher's
 * reference trajectory; the number behind `####` is the answer.
 *
 * @module
 */

import { calculator } from "../../tools/calculator.ts";
import { convertSolution } from "./gsm8k_solution.ts";
import { jsonLines } from "../rows/json.ts";
import { checkLimit, firstRows } from "../rows/row.ts";
import { parseNumber, type Task, TaskFormatError } from "../task.ts";
import { type Row, RowError, type TaskFormat } from "./format.ts";
import { count, type RowCounts } from "./reader.ts";

/** Why some problems have no reference. */
export interface Gsm8kReport {
  /** Problems read. */
  total: number;
  /** Problems whose solution became a reference. */
  converted: number;
  /** The others by reason, with the line where the reason came up first. */
  skipped: RowCounts;
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

const tools = calculator();

/** A problem per row. */
export const gsm8k = {
  name: "gsm8k",
  columns: "question, answer",
  recognises: ({ question, answer, prompt }) =>
    typeof question === "string" && typeof answer === "string" && prompt === undefined,
  read(row, { line, unreferenced }) {
    const { task, reason } = convert(row, line);
    return task && (task.reference || unreferenced) ? task : reason!;
  },
} as const satisfies TaskFormat;

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
  const tasks: Task[] = [];
  const report: Gsm8kReport = { total: 0, converted: 0, skipped: {} };
  for (const { line, value, fault } of firstRows(jsonLines(text), checkLimit(limit, source))) {
    report.total++;
    try {
      if (fault !== undefined) throw new RowError(fault);
      const { task, reason } = convert(value, line);
      if (reason === null) report.converted++;
      else count(report.skipped, reason, line);
      if (task && (task.reference || keepUnreferenced)) {
        tasks.push({ ...task, origin: { source, line } });
      }
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      throw new TaskFormatError(source, line, error.message);
    }
  }
  return { tasks, report };
}

/** The task of a problem, and why it has no reference, or there is none. */
function convert(
  { question, answer: solution }: Row,
  line: number,
): { task: Task | null; reason: string | null } {
  if (typeof question !== "string" || question === "" || typeof solution !== "string") {
    throw new RowError('"question" and "answer" must be strings');
  }
  const [worked, final] = solution.split("####") as [string, string?];
  const answer = final?.trim().replaceAll(",", "");
  if (answer === undefined || parseNumber(answer) === null) {
    return { task: null, reason: "no final answer" };
  }
  const converted = convertSolution(worked, tools);
  const task: Task = {
    id: `gsm8k-${line}`,
    domain: "gsm8k",
    split: "train",
    prompt: question,
    tools: tools.all,
    answer,
    check: "number",
    reference: typeof converted === "string" ? null : { calls: converted, answer },
  };
  return { task, reason: typeof converted === "string" ? converted : null };
}
