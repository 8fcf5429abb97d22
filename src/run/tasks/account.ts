/**
 * What became of the rows of a task file, in words.
 *
 * @module
 */

import { count, total } from "../../tasks/formats/reader.ts";
import type { Task } from "../../tasks/task.ts";
import { isDeclared } from "../../tools/tool.ts";
import type { TaskFile } from "./file.ts";

/** Counts a task whose reference does not work among the malformed rows of a file. */
export function countFailure(
  { invalid }: Pick<TaskFile, "invalid">,
): (task: Task, problem: string) => void {
  return ({ origin }, problem) =>
    count(invalid, "a call of the reference does not work", origin!.line, problem);
}

/**
 * What the reader of a run should know of its task file.
 *
 * @param tasks those of the file that the run has
 */
export function notesOf(file: TaskFile, tasks: readonly Task[]): string[] {
  const { source, format, rows } = file;
  const aside = ([["left out", "leftOut"], ["malformed", "invalid"]] as const)
    .filter(([, which]) => total(file[which]) > 0)
    .map(([what, which]) => `; ${what}: ${reasons(file, which).join(", ")}`);
  const notes: string[] = [];
  if (aside.length > 0 || format !== "own") {
    notes.push(
      `${tasks.length} of ${rows} rows of "${source}" (${format}) are tasks${aside.join("")}`,
    );
  }
  const idle = tasks.filter(({ check, tools }) => check !== "calls" && tools.some(isDeclared));
  if (idle.length > 0) {
    notes.push(
      `${idle.length} tasks have tools that are only declared: calls of them fail; offer tools of ` +
        "their names with --tools",
    );
  }
  return notes;
}

/** Counts in words: "3 unsupported syntax (first on line 20)". */
export function reasons(file: TaskFile, which: "leftOut" | "invalid"): string[] {
  return Object.entries(file[which]).map(([reason, { count, firstLine }]) =>
    `${count} ${reason} (first ${file.unit === "row" ? "row" : "on line"} ${firstLine})`
  );
}
