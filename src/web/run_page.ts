/**
 * The page of a run: what has become of it, what can be asked of it, and its numbers as they come.
 *
 * @module
 */

import { duration, fixed, isNumber, moment, NONE, short } from "../run/report/format.ts";
import type { RunHistory } from "../run/report/history.ts";
import { clip, type Html, markup } from "../run/report/html.ts";
import { runCurves } from "../run/report/run_curves.ts";
import { evaluation, factList, plan, settings, warnings } from "../run/report/run_report.ts";
import { isLive, type RunState } from "../run/state.ts";
import { controlOnly, readOnlyNote } from "./control_only.ts";
import type { ListedRun } from "./runs_page.ts";
import { type DashboardPage, EVERY_MS, type Live, livePart, type Visitor } from "./shell.ts";
import { stateMark } from "./state_mark.ts";
import { stepBar } from "./step_bar.ts";
import { apiRunUrl, compareUrl, episodesUrl, reportUrl, startUrl } from "./urls.ts";

/** A run as its page shows it. */
export interface ShownRun extends ListedRun {
  /** When its last process took it on, in ISO 8601; null before that. */
  readonly started: string | null;
  /** When that was done with it; null before that. */
  readonly ended: string | null;
  /** All settings; null if they cannot be read. */
  readonly config: Readonly<Record<string, unknown>> | null;
  /** The end of what its process printed, unless it is well. */
  readonly lastWords: string | null;
}

/** Files that can be downloaded. */
export interface FileGroup {
  readonly title: string;
  /** The path below which the files are. */
  readonly path: string;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** What the page is made of. */
export interface RunView {
  readonly run: ShownRun;
  readonly history: RunHistory;
  /** Id of the last event in the history; null if there is none. */
  readonly last: string | null;
  readonly files: readonly FileGroup[];
  /** Why there is no report of it to download; null if there is one. */
  readonly noReport: string | null;
}

/** The page at `/ui/runs/:id`. */
export function runPage(view: RunView, visitor: Visitor): DashboardPage {
  const { run, history, last, files } = view;
  const { id, config } = run;
  const curves = runCurves(history);
  const events = history.landmarks;
  const live = liveOf(run, last);
  return {
    title: `Run ${clip(id, 100)}`,
    body: markup`
${livePart("run-state", stateOf(view, visitor))}
<output id="action-said" class="bad" role="alert"></output>
${links(view)}
${livePart("run-facts", facts(view))}
${
      livePart(
        "run-warnings",
        events.some(({ type }) => type === "warning")
          ? markup`<section aria-labelledby="warnings"><h2 id="warnings">Warnings</h2>
${warnings(events)}</section>`
          : null,
      )
    }
<section aria-labelledby="curves"><h2 id="curves">Curves</h2>
${livePart("run-curves", curves.body)}</section>
<section aria-labelledby="evaluation"><h2 id="evaluation">Before and after</h2>
${livePart("run-evaluation", evaluation(events))}</section>
<section aria-labelledby="settings"><h2 id="settings">Settings</h2>
${config === null ? markup`<p>They cannot be read.</p>` : settings({ config, events })}</section>
<section aria-labelledby="files"><h2 id="files">Files</h2>
${livePart("run-files", fileList(files))}</section>`,
    charts: curves.charts,
    ...live ? { live } : {},
    scripts: ["run_actions.js"],
  };
}

/** Nothing new comes of what is finished, and of what is damaged only if somebody mends it. */
function liveOf({ id, state }: ShownRun, last: string | null): Live | null {
  if (state === "finished") return null;
  if (!isLive(state) && state !== "queued") return { every: EVERY_MS };
  const after = last === null ? "" : `?after=${last}`;
  return { events: `${apiRunUrl(id)}/events${after}` };
}

type Action = "pause" | "resume" | "stop" | "delete";

const titles: Readonly<Record<Action, string>> = {
  pause: "Pause",
  resume: "Resume",
  stop: "Stop",
  delete: "Delete",
};

/** What can be asked of a run in each state. */
const possible: Readonly<Record<RunState, readonly Action[]>> = {
  queued: ["stop", "delete"],
  running: ["pause", "stop"],
  paused: ["resume", "stop"],
  stopping: [],
  finished: ["delete"],
  stopped: ["resume", "delete"],
  failed: ["resume", "delete"],
  interrupted: ["resume", "delete"],
  damaged: ["delete"],
};

const explained: Partial<Readonly<Record<RunState, string>>> = {
  queued: "It waits for its turn. Stop takes it out of the queue.",
  running: "Pause and stop take effect at the end of the step, with a checkpoint.",
  paused: "It waits, saved, and its place is not given to another.",
  stopping: "It ends after its step, with a checkpoint.",
  stopped: "It can go on from its last checkpoint.",
  failed: "Resume tries again from its last checkpoint.",
  interrupted: "Its process is gone without a word. Resume goes on from its last checkpoint.",
};

function stateOf({ run, history }: RunView, visitor: Visitor): Html {
  const { id, state, request, step, steps, message, lastWords } = run;
  const actions = request === "pause" && state === "running"
    ? (["resume", "stop"] as const)
    : possible[state];
  const left = (steps ?? NaN) - step;
  const rest = state === "running" && left > 0 ? left * history.secondsPerStep : NaN;
  return markup`<p class="line">${stateMark(state, request)} ${
    steps === null ? null : stepBar(step, steps)
  } ${isNumber(rest) ? markup`<span>about ${duration(rest)} left</span>` : null}</p>
${
    actions.length === 0
      ? null
      : markup`<p class="line">${
        actions.map((action) =>
          markup`<button type="button" id="action-${action}" ${asked(id, action)}${
            controlOnly(visitor)
          }>${titles[action]}</button> `
        )
      }</p>`
  }${explained[state] === undefined ? null : markup`<p class="note">${explained[state]}</p>`}${
    actions.length === 0 ? null : readOnlyNote(visitor, "steering or deleting a run")
  }${message === null ? null : markup`<p class="bad">${clip(message, 2000)}</p>`}${
    lastWords === null ? null : markup`<details class="words" open><summary>Its last words</summary>
<pre>${clip(lastWords, 4000)}</pre></details>`
  }`;
}

/** What a button asks of the server. */
function asked(id: string, action: Action): Html {
  const path = apiRunUrl(id);
  return action === "delete"
    ? markup`data-action="${path}" data-method="DELETE" data-question="${`Delete run "${
      clip(id, 60)
    }", with its checkpoints, its model and all that is known of it? It cannot be had back.`}"`
    : markup`data-action="${path}/${action}"`;
}

function links({ run: { id, config }, noReport }: RunView): Html {
  return markup`<ul class="links">
<li><a href="${episodesUrl(id)}">Episodes</a></li>
<li><a href="${compareUrl(id)}">Compare</a></li>
${
    config === null ? null : markup`<li><a href="${startUrl(id)}">Start another like this</a></li>
`
  }${
    noReport === null
      ? markup`<li><a href="${reportUrl(id)}" download>Download the report</a></li>`
      : markup`<li>${noReport}</li>`
  }
</ul>`;
}

function facts({ run, history }: RunView): Html {
  const { created, started, ended, config } = run;
  const bytes = history.latest("timing/gpuBytes");
  const speed = history.tokensPerSecond;
  return factList([
    ...plan({ config: config ?? {}, events: history.landmarks }),
    ["Made", moment(created)],
    ["Started", started === null ? NONE : moment(started)],
    ...ended === null ? [] : [["Ended", moment(ended)] as const],
    ["Time of a step", duration(history.secondsPerStep)],
    ["Speed", isNumber(speed) ? `${short(Math.round(speed))} tokens/s` : NONE],
    ["Memory of the GPU", isNumber(bytes) ? size(bytes) : NONE],
  ]);
}

function fileList(groups: readonly FileGroup[]): Html {
  if (groups.length === 0) return markup`<p>There is no checkpoint yet.</p>`;
  return markup`${
    groups.map(({ title, path, files }) =>
      markup`<details id="files-${path}"><summary>${title}</summary>
<ul>${
        files.map(({ name, bytes }) =>
          markup`<li><a href="${path}/${
            encodeURIComponent(name)
          }" download="${name}">${name}</a> <small>${size(bytes)}</small></li>`
        )
      }</ul></details>
`
    )
  }`;
}

/** "1.5 MiB". */
function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${fixed(bytes / 1024 ** power, 1)} ${["KiB", "MiB", "GiB", "TiB"][power - 1]}`;
}
