/**
 * Task files in Mentor's own format: one JSON object per line.
 *
 * @module
 */

import { formatTypedJson } from "../text/typed_json.ts";
import type { Tool } from "../tools/tool.ts";
import { own, rowOf } from "./formats/own.ts";
import { TaskReader } from "./formats/reader.ts";
import { jsonLines } from "./rows/json.ts";
import { checkLimit, firstRows } from "./rows/row.ts";
import type { Task } from "./task.ts";

/** Where tasks come from and which tools they may name. */
export interface ParseTasksOptions {
  /** Name of the file, for messages. */
  source: string;
  /** Every tool that a line may name. */
  tools: readonly Tool[];
  /** Stop after this many tasks; the lines behind are not looked at. */
  limit?: number;
}

/**
 * Reads a task file. Blank lines are skipped; fields that the format does not know are ignored.
 *
 * `src/tasks/task.schema.json` says as a JSON Schema what a line may be, with every default.
 *
 * @throws {TaskFormatError} naming file, line and what is wrong
 * @throws {RangeError} if `limit` is not a positive integer
 */
export function parseTasks(text: string, options: ParseTasksOptions): Task[] {
  const { source, limit } = options;
  const reader = new TaskReader(own, options);
  for (const row of firstRows(jsonLines(text), checkLimit(limit, source))) reader.add(row);
  return reader.tasks;
}

/**
 * Writes tasks as a task file, a line each, such that {@linkcode parseTasks} reads them again.
 *
 * @param more further fields of a line, which readers ignore
 */
export function formatTasks(
  tasks: readonly Task[],
  more: (task: Task) => Readonly<Record<string, unknown>> = () => ({}),
): string {
  return tasks.map((task) => {
    const { expected, ...row } = { ...rowOf(task), ...more(task) };
    if (task.rules === undefined || expected === undefined) {
      return `${JSON.stringify({ ...row, expected })}\n`;
    }
    // Rules that tell integers from floats have values that JSON.stringify does not.
    return `${JSON.stringify(row).slice(0, -1)},"expected":${formatTypedJson(expected)}}\n`;
  }).join("");
}
