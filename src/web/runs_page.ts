/**
 * The list of runs.
 *
 * @module
 */

import { clip, type Html, markup } from "../run/report/html.ts";
import { moment, NONE } from "../run/report/format.ts";
import { wide } from "../run/report/page.ts";
import { type RunState, runStates } from "../run/state.ts";
import { type DashboardPage, livePart } from "./shell.ts";
import { stateMark } from "./state_mark.ts";
import { stepBar } from "./step_bar.ts";
import { runsUrl, runUrl } from "./urls.ts";

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
  /** The state that all of them have; null if any will do. */
  readonly state: RunState | null;
  /** How many runs there are of each state. */
  readonly counts: Readonly<Partial<Record<RunState, number>>>;
}

/** More often than other pages: nothing else tells of a run that begins. */
const EVERY_MS = 2000;

/** The page at `/`. */
export function runsPage({ runs, next, state, counts }: RunsView): DashboardPage {
  return {
    title: "Runs",
    body: livePart("runs", [
      Object.keys(counts).length === 0
        ? markup`<p>There are no runs yet. <a href="/ui/start">Start one</a>, or <code>./mentor train</code> at a terminal.</p>`
        : [filter(state, counts), list(runs, state)],
      next === null ? null : markup`<p><a href="${runsUrl(state, next)}">Older runs</a></p>`,
    ]),
    live: { every: EVERY_MS },
  };
}

/** Links to the runs of one state. */
function filter(state: RunState | null, counts: RunsView["counts"]): Html {
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const link = (to: RunState | null, title: string, count: number) =>
    markup`<li><a href="${runsUrl(to)}"${
      to === state ? markup` aria-current="true"` : null
    }>${title} <small>${count}</small></a></li>
`;
  const states = runStates.filter((one) => one === state || counts[one] !== undefined);
  return markup`<nav class="states" aria-label="Runs by state"><ul>
${link(null, "all", all)}${states.map((one) => link(one, one, counts[one] ?? 0))}</ul></nav>
`;
}

function list(runs: readonly ListedRun[], state: RunState | null): Html {
  if (runs.length === 0) return markup`<p>No run is ${state ?? "here"}.</p>`;
  return markup`<form action="/ui/compare">
${wide("Runs", table(runs))}<p><button>Compare the chosen</button></p>
</form>`;
}

function table(runs: readonly ListedRun[]): Html {
  return markup`<table class="runs stack">
<thead><tr><th scope="col">run</th><th scope="col">state</th><th scope="col">steps</th><th scope="col">method</th><th scope="col">reward</th><th scope="col" class="number">seed</th><th scope="col">made</th><th scope="col">compare</th></tr></thead>
<tbody>
${runs.map(row)}</tbody>
</table>`;
}

function row(
  { id, state, request, step, steps, method, reward, seed, created, message }: ListedRun,
) {
  const name = clip(id, 60);
  return markup`<tr><th scope="row"><a id="run-${id}" href="${runUrl(id)}">${name}</a></th><td>${
    stateMark(state, request)
  }${message === null ? null : markup` <small class="bad">${clip(message, 120)}</small>`}</td><td>${
    stepBar(step, steps)
  }</td><td data-label="method">${method ?? NONE}</td><td data-label="reward">${
    reward ?? NONE
  }</td><td data-label="seed" class="number">${
    seed ?? NONE
  }</td><td data-label="made" class="name">${
    moment(created)
  }</td><td data-label="compare" class="choose"><input type="checkbox" id="choose-${id}" name="run" value="${id}" aria-label="Compare ${name}"></td></tr>
`;
}
