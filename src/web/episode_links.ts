/**
 * Where episodes are found, and which of them a reader is looking at.
 *
 * @module
 */

/** Which episodes of a run are listed; all if nothing is said. */
export interface EpisodeFilter {
  readonly step?: number;
  readonly correct?: boolean;
  /** Part of the task's name. */
  readonly task?: string;
}

/** The list. @param after the line of the last one of the page before */
export function episodesUrl(run: string, filter: EpisodeFilter = {}, after?: number): string {
  return withQuery(`/ui/runs/${encodeURIComponent(run)}/episodes`, { ...filter, after });
}

/** One episode, with the way back to the list that it was chosen from. */
export function episodeUrl(run: string, line: number, filter: EpisodeFilter = {}): string {
  return withQuery(`/ui/runs/${encodeURIComponent(run)}/episodes/${line}`, { ...filter });
}

function withQuery(path: string, values: Readonly<Record<string, unknown>>): string {
  const given = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)]]
  );
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
