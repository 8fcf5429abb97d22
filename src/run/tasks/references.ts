/**
 * Running the calls of references.
 *
 * @module
 */

import {
  type Reference,
  type ReferenceCall,
  type Task,
  TaskFormatError,
} from "../../tasks/task.ts";
import { episodeContext } from "../../tools/run_call.ts";
import { callTool, isDeclared } from "../../tools/tool.ts";

/** So many references are run at the same time: tools may be processes. */
const AT_ONCE = 32;

/** What running the calls of a reference came to. */
export type Rerun =
  | { readonly calls: readonly ReferenceCall[]; readonly problem?: undefined }
  | { readonly calls?: undefined; readonly problem: string };

/**
 * Whether a reference has calls that its task's tools can make: those of a task that is checked by its
 * calls are nowhere run, and where only names are known there is nothing to run.
 */
export function isRunnable({ check, reference, tools }: Task): boolean {
  if (check === "calls" || !reference || reference.namesOnly) return false;
  const called = new Set(reference.calls.map(({ name }) => name));
  return called.size > 0 && tools.every((tool) => !called.has(tool.name) || !isDeclared(tool));
}

/**
 * Makes the calls of a reference, in their order.
 *
 * @throws {ToolUnavailableError} if a tool cannot be had, which is not the reference's fault
 */
export async function rerun({ reference, tools, world }: Task): Promise<Rerun> {
  const calls: ReferenceCall[] = [];
  const context = episodeContext(world);
  for (const call of reference!.calls) {
    const tool = tools.find(({ name }) => name === call.name)!; // the reader has seen to that
    const { status, result, text, unavailable } = await callTool(tool, call.arguments, context);
    if (unavailable) throw unavailable;
    if (status !== "ok") {
      return { problem: `the reference's call of "${call.name}" does not work: ${text}` };
    }
    calls.push({ ...call, result });
  }
  return { calls };
}

/**
 * Runs the calls of references whose results are left out.
 *
 * @param onFailure takes a task whose reference does not work, which is left out
 */
export async function withResults(
  tasks: readonly Task[],
  onFailure: (task: Task, problem: string) => void = refuse,
): Promise<Task[]> {
  const complete: Task[] = [];
  for (let i = 0; i < tasks.length; i += AT_ONCE) {
    const some = tasks.slice(i, i + AT_ONCE);
    for (const [n, ran] of (await Promise.all(some.map(rerunIfNeeded))).entries()) {
      const task = some[n]!;
      if (ran === null) complete.push(task);
      else if (ran.problem !== undefined) onFailure(task, ran.problem);
      else {
        const reference: Reference = { ...task.reference!, calls: [...ran.calls] };
        complete.push({ ...task, reference });
      }
    }
  }
  return complete;
}

async function rerunIfNeeded(task: Task): Promise<Rerun | null> {
  const { check, reference } = task;
  if (check === "calls" || !reference || reference.namesOnly) return null;
  return reference.calls.some(({ result }) => result === undefined) ? await rerun(task) : null;
}

function refuse({ origin }: Task, problem: string): never {
  throw new TaskFormatError(origin!.source, origin!.line, problem, origin!.unit);
}
