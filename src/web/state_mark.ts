/**
 * The state of a run, as pages show it.
 *
 * @module
 */

import { type Html, markup } from "../run/report/html.ts";
import type { RunState } from "../run/state.ts";

const tones: Readonly<Record<RunState, "good" | "bad" | "open" | "busy">> = {
  queued: "open",
  running: "busy",
  paused: "open",
  stopping: "busy",
  finished: "good",
  stopped: "open",
  failed: "bad",
  interrupted: "bad",
  damaged: "bad",
};

/** The state in a word, and what the run was asked to do since. */
export function stateMark(state: RunState, request: "pause" | "stop" | null): Html {
  const isDone = state === "stopping" || (state === "paused" && request === "pause");
  const asked = request === null || isDone ? null : ` (${request} asked)`;
  return markup`<span class="state ${tones[state]}">${state}</span>${asked}`;
}
