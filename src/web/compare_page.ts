/**
 * Several runs side by side.
 *
 * @module
 */

import { moment } from "../run/report/format.ts";
import type { RunHistory } from "../run/report/history.ts";
import { clip, type Html, markup } from "../run/report/html.ts";
import { seriesKey } from "../run/report/interval_table.ts";
import { wide } from "../run/report/page.ts";
import { lastEvaluations } from "../run/report/last_evaluations.ts";
import { isLive } from "../run/state.ts";
import { overlaidCurves } from "../run/report/overlaid_curves.ts";
import { type ConfiguredRun, differences, labelsOf } from "./run_labels.ts";
import type { ListedRun } from "./runs_page.ts";
import { type DashboardPage, EVERY_MS, livePart } from "./shell.ts";
import { stateMark } from "./state_mark.ts";
import { stepBar } from "./step_bar.ts";
import { runUrl } from "./urls.ts";

/** Runs that are compared at most: as many as there are colours. */
export const COMPARED = 7;

/** A run that is compared. */
export interface ComparedRun {
  readonly run: ListedRun & ConfiguredRun;
  readonly history: RunHistory;
}

/** What the page is made of. */
export interface CompareView {
  readonly compared: readonly ComparedRun[];
  /** Runs to choose from, newest first. */
  readonly offered: readonly ListedRun[];
  /** How many were chosen beyond those that are compared. */
  readonly left: number;
}

/** Most rows of a table. */
const ROWS = 200;

/** The page at `/ui/compare`. */
export function comparePage({ compared, offered, left }: CompareView): DashboardPage {
  const chooser = choose(compared.map(({ run }) => run), offered);
  if (compared.length === 0) return { title: "Compare runs", body: chooser };
  const labels = labelsOf(compared.map(({ run }) => run));
  const curves = overlaidCurves(
    compared.map(({ history }, i) => ({ label: labels[i]!, history })),
  );
  const goesOn = compared.some(({ run: { state } }) => isLive(state) || state === "queued");
  return {
    title: "Compare runs",
    body: markup`${
      left > 0
        ? markup`<p class="bad">The first ${COMPARED} of the ${
          COMPARED + left
        } that were chosen are compared: there are ${COMPARED} colours.</p>`
        : null
    }
${livePart("compared", wide("Compared runs", comparedTable(compared, labels)))}
<details${
      compared.length < 2 ? markup` open` : null
    }><summary>Compare others</summary>${chooser}</details>
<section aria-labelledby="settings"><h2 id="settings">Settings that differ</h2>
${settingsTable(compared.map(({ run }) => run), labels)}</section>
<section aria-labelledby="evaluation"><h2 id="evaluation">Last evaluations</h2>
${
      livePart(
        "compare-evaluation",
        lastEvaluations(
          compared.map(({ history: { evaluations } }, i) => ({ label: labels[i]!, evaluations })),
        ),
      )
    }</section>
<section aria-labelledby="curves"><h2 id="curves">Curves</h2>
${livePart("compare-curves", curves.body)}</section>`,
    charts: curves.charts,
    ...goesOn ? { live: { every: EVERY_MS } } : {},
  };
}

/** Runs to choose: those that are compared, whatever their age, and the newest. */
function choose(chosen: readonly ListedRun[], offered: readonly ListedRun[]): Html {
  const ids = new Set(chosen.map(({ id }) => id));
  const runs = [...chosen, ...offered.filter(({ id }) => !ids.has(id))];
  if (runs.length === 0) return markup`<p>There are no runs yet.</p>`;
  return markup`<form class="choose" action="/ui/compare">
<p class="note">Up to ${COMPARED} runs; there are as many colours.</p>
<ul>
${
    runs.map(({ id, state, method, reward, seed, created }) =>
      markup`<li><label><input type="checkbox" name="run" value="${id}"${
        ids.has(id) ? markup` checked` : null
      }> <span class="name">${clip(id, 60)}</span> <small>${
        [method, reward, seed === null ? null : `seed ${seed}`, state, moment(created)]
          .filter((part) => part !== null).join(" · ")
      }</small></label></li>
`
    )
  }</ul>
<p><button>Compare the chosen</button></p>
</form>`;
}

function comparedTable(compared: readonly ComparedRun[], labels: readonly string[]): Html {
  return markup`<table class="compared stack">
<thead><tr><th scope="col">label</th><th scope="col">run</th><th scope="col">state</th><th scope="col">steps</th></tr></thead>
<tbody>
${
    compared.map(({ run: { id, state, request, step, steps } }, i) =>
      markup`<tr><th scope="row">${seriesKey(i)} ${labels[i]}</th><td><a href="${runUrl(id)}">${
        clip(id, 60)
      }</a></td><td>${stateMark(state, request)}</td><td>${stepBar(step, steps)}</td></tr>
`
    )
  }</tbody>
</table>`;
}

function settingsTable(runs: readonly ConfiguredRun[], labels: readonly string[]): Html {
  const rows = differences(runs);
  if (rows.length === 0) {
    return markup`<p>${runs.length < 2 ? "Choose another run to compare with." : "None."}</p>`;
  }
  return wide(
    "Settings by run",
    markup`<table>
<thead><tr><th scope="col">setting</th>${
      labels.map((label) => markup`<th scope="col">${label}</th>`)
    }</tr></thead>
<tbody>
${
      rows.slice(0, ROWS).map(({ name, values }) =>
        markup`<tr><th scope="row"><code>${clip(name, 80)}</code></th>${
          values.map((value) => markup`<td>${clip(value, 200)}</td>`)
        }</tr>
`
      )
    }</tbody>
</table>`,
  );
}
