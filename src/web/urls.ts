/**
 * Where the pages of runs are, and what the API has of them.
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

/** The list of runs, of one state or of all. @param after the last run of the page before */
export function runsUrl(state: string | null = null, after?: string): string {
  return withQuery("/", { state: state ?? undefined, after });
}

/** The page of a run. */
export function runUrl(run: string): string {
  return `/ui/runs/${encodeURIComponent(run)}`;
}

/** A run's report, as a file. */
export function reportUrl(run: string): string {
  return `${runUrl(run)}/report`;
}

/** A run's episodes. @param after the line of the last one of the page before */
export function episodesUrl(run: string, filter: EpisodeFilter = {}, after?: number): string {
  return withQuery(`${runUrl(run)}/episodes`, { ...filter, after });
}

/** One episode, with the way back to the list that it was chosen from. */
export function episodeUrl(run: string, line: number, filter: EpisodeFilter = {}): string {
  return withQuery(`${runUrl(run)}/episodes/${line}`, { ...filter });
}

/** A run beside others, which are chosen there. */
export function compareUrl(run: string): string {
  return withQuery("/ui/compare", { run });
}

/** The form that starts a run, with the settings of another one. */
export function startUrl(like: string): string {
  return withQuery("/ui/start", { like });
}

/** A run in the API; what belongs to it lies below. */
export function apiRunUrl(run: string): string {
  return `/runs/${encodeURIComponent(run)}`;
}

function withQuery(path: string, values: Readonly<Record<string, unknown>>): string {
  const given = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)]]
  );
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
