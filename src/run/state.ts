/**
 * What has become of a run, told by its folder alone.
 *
 * @module
 */

import { isHeld, queueFile, readProcess, readRequest } from "./control.ts";
import type { RunEvent } from "./events.ts";

/** Every state. */
export const runStates = [
  "queued",
  "running",
  "paused",
  "stopping",
  "finished",
  "stopped",
  "failed",
  "interrupted",
  "damaged",
] as const;

/**
 * What has become of a run. `stopped` was asked to end early, `interrupted` was killed, and both can
 * be resumed; `damaged` has no usable configuration.
 */
export type RunState = typeof runStates[number];

/** Whether a process is making a run of this state. */
export function isLive(state: RunState): boolean {
  return state === "running" || state === "paused" || state === "stopping";
}

/** The state of a run. @param last its last event */
export function runState(folder: string, last: RunEvent | undefined): RunState {
  if (isHeld(folder)) {
    if (readRequest(folder) === "stop") return "stopping";
    return last?.type === "paused" ? "paused" : "running";
  }
  if (exists(queueFile(folder))) return "queued";
  const process = readProcess(folder);
  if (process?.error !== undefined) return "failed";
  // It left the queue before anybody began it.
  if (last === undefined && process === null) return "stopped";
  if (last?.type !== "run-end") return "interrupted";
  return last.status === "done" ? "finished" : last.status;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
