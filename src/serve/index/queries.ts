/**
 * What is asked of the index about one run: curves and episodes.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { join } from "@std/path";
import { readAt } from "../../io/tail.ts";

/** A curve, column by column; times in milliseconds since 1970. */
export interface Curve {
  /** The metric's name. */
  readonly name: string;
  /** The steps of the points; of a bucket its last one. */
  readonly step: readonly number[];
  /** When these were done. */
  readonly time: readonly number[];
  /** The values; of a bucket the mean. */
  readonly value: readonly number[];
  /** Least and greatest values of the buckets, where points were put together. */
  readonly min?: readonly number[];
  readonly max?: readonly number[];
}

/** Which part of the curves is asked for. */
export interface CurveRange {
  /** Names; all if absent. */
  readonly names?: readonly string[];
  readonly fromStep?: number;
  readonly toStep?: number;
  readonly fromTime?: number;
  readonly toTime?: number;
  /** Put steps together so that a curve has at most so many points. */
  readonly points?: number;
}

/** The metrics of a run. */
export function curves(database: DatabaseSync, run: string, range: CurveRange): Curve[] {
  const { fromStep = 0, toStep = Number.MAX_SAFE_INTEGER, fromTime = 0 } = range;
  const { toTime = Number.MAX_SAFE_INTEGER, points } = range;
  const bounds = { run, fromStep, toStep, fromTime, toTime };
  const within = "run = :run AND step BETWEEN :fromStep AND :toStep " +
    "AND time BETWEEN :fromTime AND :toTime";
  const names = range.names ??
    database.prepare(`SELECT DISTINCT name FROM metrics WHERE ${within} ORDER BY name`)
      .all(bounds).map(({ name }) => name as string);
  const all = database.prepare(
    `SELECT step, time, value FROM metrics WHERE ${within} AND name = :name ORDER BY step`,
  );
  const bucketed = database.prepare(
    `WITH part AS (SELECT step, time, value FROM metrics WHERE ${within} AND name = :name),
          span AS (SELECT MIN(step) AS first, MAX(step) - MIN(step) + 1 AS length FROM part)
     SELECT MAX(step) AS step, MAX(time) AS time, AVG(value) AS value,
            MIN(value) AS min, MAX(value) AS max
     FROM part, span GROUP BY (step - first) * CAST(:points AS INTEGER) / length ORDER BY step`,
  );
  return names.flatMap((name) => {
    const rows = points === undefined
      ? all.all({ ...bounds, name })
      : bucketed.all({ ...bounds, name, points });
    if (rows.length === 0) return [];
    const column = (key: string) => rows.map((row) => row[key] as number);
    const extent = points === undefined ? {} : { min: column("min"), max: column("max") };
    return [{
      name,
      step: column("step"),
      time: column("time"),
      value: column("value"),
      ...extent,
    }];
  });
}

/** Which episodes of a run are meant; all if nothing is said. */
export interface EpisodeFilter {
  readonly step?: number;
  /** Which prompt of a step. */
  readonly group?: number;
  readonly correct?: boolean;
  /** Part of the task's name. */
  readonly task?: string;
}

/** Which episodes are asked for. */
export interface EpisodeRange extends EpisodeFilter {
  readonly limit: number;
  /** The line of the last one of the page before. */
  readonly after?: number;
  /** Whether the latest step is first; within a step they are as they were made all the same. */
  readonly newest?: boolean;
}

/** An episode as it stands in `episodes.jsonl`, with the number of its line. */
export interface NumberedEpisode {
  readonly line: number;
  readonly episode: unknown;
}

/** Episodes of a run, in the order in which they were made, or the latest step first. */
export function episodes(
  database: DatabaseSync,
  run: string,
  folder: string,
  { limit, after, newest = false, ...filter }: EpisodeRange,
): NumberedEpisode[] {
  const { table, where, values } = conditions(run, filter);
  const last = "(SELECT step FROM episodes WHERE run = :run AND line = :after)";
  const rest = newest
    ? `AND step <= ${last} AND (step < ${last} OR line > :after)`
    : "AND line > :after";
  const rows = database.prepare(
    `SELECT line, position, length FROM ${table} WHERE ${where} ${after === undefined ? "" : rest}
     ORDER BY ${newest ? "step DESC, line" : "line"} LIMIT :limit`,
  ).all({ ...values, limit, ...(after === undefined ? {} : { after }) });
  return read(folder, rows as unknown as EpisodePosition[]);
}

/** An episode by the number of its line; undefined if there is none. */
export function episodeAt(
  database: DatabaseSync,
  run: string,
  folder: string,
  line: number,
): NumberedEpisode | undefined {
  const row = database.prepare(
    "SELECT line, position, length FROM episodes WHERE run = ? AND line = ?",
  ).get(run, line) as EpisodePosition | undefined;
  return row && read(folder, [row])[0];
}

/** The lines of the episodes before and after one, among those that are meant; null at an end. */
export function neighbours(
  database: DatabaseSync,
  run: string,
  line: number,
  filter: EpisodeFilter,
): { readonly previous: number | null; readonly next: number | null } {
  const { table, where, values } = conditions(run, filter);
  const nearest = (side: string) => {
    const sql = `SELECT line FROM ${table} WHERE ${where} AND line ${side} LIMIT 1`;
    const row = database.prepare(sql).get({ ...values, line }) as { line: number } | undefined;
    return row?.line ?? null;
  };
  return {
    previous: nearest("< :line ORDER BY line DESC"),
    next: nearest("> :line ORDER BY line"),
  };
}

/** Where a line is in `episodes.jsonl`, in bytes. */
interface EpisodePosition {
  readonly line: number;
  readonly position: number;
  readonly length: number;
}

function conditions(run: string, { step, group, correct, task }: EpisodeFilter) {
  const parts: readonly (readonly [string, string, string | number | undefined])[] = [
    ["run", "run = :run", run],
    ["step", "step = :step", step],
    ["group", '"group" = :group', group],
    ["correct", "correct = :correct", correct === undefined ? undefined : Number(correct)],
    ["task", "instr(task, :task) > 0", task],
  ];
  const given = parts.flatMap(([name, sql, value]) =>
    value === undefined ? [] : [{ name, sql, value }]
  );
  return {
    // Without statistics SQLite would look at all episodes of a run for those of a step.
    table: step === undefined ? "episodes" : "episodes INDEXED BY episodes_by_step",
    where: given.map(({ sql }) => sql).join(" AND "),
    values: Object.fromEntries(given.map(({ name, value }) => [name, value])),
  };
}

function read(folder: string, places: readonly EpisodePosition[]): NumberedEpisode[] {
  if (places.length === 0) return [];
  using file = openIfThere(join(folder, "episodes.jsonl"));
  if (!file) return [];
  return places.flatMap(({ line, position, length }) => {
    try {
      const text = new TextDecoder().decode(readAt(file, position, length));
      return [{ line, episode: JSON.parse(text) as unknown }];
    } catch {
      // The run was rewound since: the next look at the folder finds that out.
      return [];
    }
  });
}

/** The next look at the folder finds out that a file is gone. */
function openIfThere(path: string): Deno.FsFile | null {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
