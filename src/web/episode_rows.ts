/**
 * Episodes as rows of a table.
 *
 * @module
 */

import type { ReportEpisode } from "../run/report/collect.ts";
import { outcome } from "../run/report/episode_parts.ts";
import { fixed, signed } from "../run/report/format.ts";
import { type Html, markup } from "../run/report/html.ts";
import { type EpisodeFilter, episodeUrl } from "./urls.ts";

/** An episode with the number of its line in `episodes.jsonl`. */
export interface ListedEpisode {
  readonly line: number;
  readonly episode: ReportEpisode;
}

/** What stands above the rows. */
export const episodeHead =
  markup`<thead><tr><th scope="col">sample</th><th scope="col">outcome</th><th scope="col" class="number">reward</th><th scope="col" class="number">advantage</th><th scope="col" class="number">calls</th></tr></thead>`;

/** How many columns that are. */
export const EPISODE_COLUMNS = 5;

/** One sample of a prompt. @param isShown whether it is what the page is about */
export function episodeRow(
  run: string,
  { line, episode }: ListedEpisode,
  filter: EpisodeFilter,
  isShown = false,
): Html {
  const name = `Sample ${episode.sample + 1}`;
  const link = isShown
    ? markup`${name} <small>(this one)</small>`
    : markup`<a id="line-${line}" href="${episodeUrl(run, line, filter)}">${name}</a>`;
  return markup`<tr${
    isShown ? markup` aria-current="true"` : null
  }><th scope="row">${link}</th><td>${
    episode.unavailable ? "not scored" : outcome(episode)
  }</td><td class="number">${fixed(episode.reward, 3)}</td><td class="number">${
    signed(episode.advantage, 2)
  }</td><td class="number">${callCount(episode)}</td></tr>
`;
}

/** "3", or "3, 1 failed". */
export function callCount({ attempts }: ReportEpisode): string {
  const failed = attempts.filter(({ status }) => status !== "ok").length;
  return failed === 0 ? `${attempts.length}` : `${attempts.length}, ${failed} failed`;
}
