/**
 * The list of a run's episodes.
 *
 * @module
 */

import { clip, type Html, markup } from "../run/report/html.ts";
import { wide } from "../run/report/page.ts";
import { type EpisodeFilter, episodesUrl, runUrl } from "./urls.ts";
import { EPISODE_COLUMNS, episodeHead, episodeRow, type ListedEpisode } from "./episode_rows.ts";
import { type DashboardPage, EVERY_MS, livePart } from "./shell.ts";

/** A page of the list. */
export interface EpisodesView {
  readonly run: string;
  /** Whether there may be more of them soon. */
  readonly isLive: boolean;
  readonly filter: EpisodeFilter;
  /** The line after which this page begins; undefined on the first. */
  readonly after: number | undefined;
  /** The latest step first; samples of a prompt beside each other. */
  readonly episodes: readonly ListedEpisode[];
  /** The line after which the next page begins; null on the last. */
  readonly next: number | null;
}

/** The page at `/ui/runs/:id/episodes`. */
export function episodesPage(view: EpisodesView): DashboardPage {
  const { run, isLive, filter, after, episodes, next } = view;
  const links = [
    ...after === undefined ? [] : [markup`<a href="${episodesUrl(run, filter)}">Latest</a>`],
    ...next === null ? [] : [markup`<a href="${episodesUrl(run, filter, next)}">Earlier</a>`],
  ];
  return {
    title: "Episodes",
    lead: markup`<p class="trail">Run <a href="${runUrl(run)}">${clip(run, 100)}</a></p>`,
    body: markup`${form(run, filter)}
${
      livePart("episodes", [
        episodes.length === 0 ? nothing(view) : wide("Episodes", table(view)),
        links.length === 0
          ? null
          : markup`<p class="turn">${links.map((link) => markup`${link} `)}</p>`,
      ])
    }`,
    ...isLive ? { live: { every: EVERY_MS } } : {},
  };
}

function form(run: string, filter: EpisodeFilter): Html {
  const { step, correct, task } = filter;
  const option = (value: string, text: string) =>
    markup`<option value="${value}"${
      value === String(correct ?? "") ? markup` selected` : null
    }>${text}</option>`;
  return markup`<form class="filter" action="${
    episodesUrl(run)
  }" role="search" aria-label="Episodes">
<label>Step <input name="step" type="number" min="0" inputmode="numeric" value="${
    step ?? ""
  }"></label>
<label>Outcome <select name="correct">${option("", "all")}${option("true", "correct")}${
    option("false", "not correct")
  }</select></label>
<label>Task <input name="task" maxlength="200" value="${
    task ?? ""
  }" placeholder="part of its name"></label>
<button>Show</button>
${isAll(filter) ? null : markup`<a href="${episodesUrl(run)}">Show all</a>`}
</form>`;
}

function table({ run, filter, episodes }: EpisodesView): Html {
  const prompts = Map.groupBy(episodes, ({ episode: { step, group } }) => `${step}/${group}`);
  return markup`<table class="episodes">
${episodeHead}
${
    [...prompts.values()].map((samples) =>
      markup`<tbody>
${promptRow(samples)}${samples.map((sample) => episodeRow(run, sample, filter))}</tbody>
`
    )
  }</table>`;
}

/** What the samples of a prompt have in common. */
function promptRow(samples: readonly ListedEpisode[]): Html {
  const { step, group, task, answer } = samples[0]!.episode;
  const recorded = samples.some(({ episode }) => episode.tokens)
    ? markup` <span class="mark">token by token</span>`
    : null;
  return markup`<tr><th scope="rowgroup" colspan="${EPISODE_COLUMNS}">Step ${step}, prompt ${
    group + 1
  }${recorded} <small>${clip(task, 120)}; right answer: ${clip(answer, 120)}</small></th></tr>
`;
}

function nothing({ run, isLive, filter, after }: EpisodesView): Html {
  if (after !== undefined) return markup`<p>There are no earlier ones.</p>`;
  if (!isAll(filter)) {
    return markup`<p>No episode is like that. <a href="${episodesUrl(run)}">Show all</a></p>`;
  }
  return isLive
    ? markup`<p>There are no episodes yet: they come with the first step of RL.</p>`
    : markup`<p>This run has no episodes. Imitation has none, and RL only once a step is done.</p>`;
}

function isAll({ step, correct, task }: EpisodeFilter): boolean {
  return step === undefined && correct === undefined && task === undefined;
}
