/**
 * The list of runs.
 *
 * @module
 */

import { clip, type Html, markup } from "../run/report/html.ts";
import { moment, NONE } from "../run/report/format.ts";
import { wide } from "../run/report/page.ts";
import type { RunState } from "../run/state.ts";
import type { DashboardPage } from "./shell.ts";
import { stateMark } from "./state_mark.ts";

/** A run as the list shows it. */
export interface ListedRun {
  readonly id: string;
  readonly state: RunState;
  /** What it was asked to do at the end of its step. */
  readonly request: "pause" | "stop" | null;
  /** ISO 8601. */
  readonly created: string;
  readonly step: number;
  readonly steps: number | null;
  readonly method: string | null;
  readonly reward: string | null;
  readonly seed: number | null;
  readonly message: string | null;
}

/** A page of the list. */
export interface RunsView {
  /** Newest first. */
  readonly runs: readonly ListedRun[];
  /** Where older ones follow, by its name; null if there are none. */
  readonly next: string | null;
}

const EVERY_MS = 2000;

/** The page at `/`. */
export function runsPage({ runs, next }: RunsView): DashboardPage {
  const list = runs.length === 0
    ? markup`<p>There are no runs yet. <a href="/ui/start">Start one</a>, or <code>./mentor train</code> at a terminal.</p>`
    : wide("Runs", table(runs));
  const older = next === null
    ? null
    : markup`<p><a href="/?after=${encodeURIComponent(next)}">Older runs</a></p>`;
  return {
    title: "Runs",
    body: markup`<div id="runs" data-live>${list}${older}</div>`,
    live: { every: EVERY_MS },
  };
}

function table(runs: readonly ListedRun[]): Html {
  return markup`<table class="runs stack">
<thead><tr><th scope="col">run</th><th scope="col">state</th><th scope="col">steps</th><th scope="col">method</th><th scope="col">reward</th><th scope="col" class="number">seed</th><th scope="col">made</th></tr></thead>
<tbody>
${runs.map(row)}</tbody>
</table>`;
}

function row(
  { id, state, request, step, steps, method, reward, seed, created, message }: ListedRun,
) {
  return markup`<tr><th scope="row"><a href="/ui/runs/${encodeURIComponent(id)}">${
    clip(id, 60)
  }</a></th><td>${stateMark(state, request)}${
    message === null ? null : markup` <small class="bad">${clip(message, 120)}</small>`
  }</td><td><span class="steps">${progress(step, steps)}</span></td><td>${method ?? NONE}</td><td>${
    reward ?? NONE
  }</td><td class="number">${seed ?? NONE}</td><td class="name">${moment(created)}</td></tr>
`;
}

/** Steps done of all, with a bar. */
function progress(step: number, steps: number | null): Html {
  if (steps === null) return markup`${NONE}`;
  return markup`<progress max="${steps}" value="${step}" aria-label="${step} of ${steps} steps"></progress> ${step} of ${steps}`;
}
