/**
 * Reading a file of tasks: where it lies, what its rows are made of, which format they have.
 *
 * @module
 */

import { CheckpointError } from "../../io/checkpoint.ts";
import { fileSource } from "../../io/file_source.ts";
import type { HubOptions } from "../../io/hub.ts";
import { datasetFile, isHubAddress } from "../../io/hub_dataset.ts";
import { readTextFile } from "../../io/text_file.ts";
import type { TaskFormat } from "../../tasks/formats/format.ts";
import { detectFormat, type TaskFormatName, taskFormats } from "../../tasks/formats/mod.ts";
import { type RowCounts, TaskReader } from "../../tasks/formats/reader.ts";
import { csvRows } from "../../tasks/rows/csv.ts";
import { jsonRows } from "../../tasks/rows/json.ts";
import { parquetRows } from "../../tasks/rows/parquet.ts";
import { checkLimit, type RowOrFault, type Rows } from "../../tasks/rows/row.ts";
import type { Task } from "../../tasks/task.ts";
import type { Tool } from "../../tools/tool.ts";
import { BFCL_NAME, bfclCategoryOf, readBfclFile } from "./bfcl_file.ts";
import { ConfigError } from "../config/mod.ts";

/** What came of a file of tasks. */
export interface TaskFile {
  /** As the user calls it. */
  readonly source: string;
  /** Name of the format of its rows. */
  readonly format: TaskFormatName;
  /** Rows read. */
  readonly rows: number;
  /** What their numbers count; lines where absent. */
  readonly unit?: "row" | undefined;
  readonly tasks: readonly Task[];
  /** Rows that are well-formed and still no task. */
  readonly leftOut: RowCounts;
  /** Malformed rows. */
  readonly invalid: RowCounts;
}

/** How a file of tasks is read. */
export interface TaskFileOptions {
  /** Format of its rows; `auto` looks at the first of them. */
  readonly format: TaskFormatName | "auto";
  /** Every tool that a row may name. */
  readonly tools: readonly Tool[];
  /** Whether these were chosen, and stand in for what rows declare under their names. */
  readonly chosen: boolean;
  /** Read so many rows only. */
  readonly limit: number | null;
  /** Keeps tasks without the reference that their format should bring; by default they are left out. */
  readonly unreferenced?: boolean;
  /** Counts malformed rows in place of stopping at the first. */
  readonly skipInvalid: boolean;
  /** Access to the Hub. */
  readonly hub?: HubOptions;
}

/** So many rows are looked at to tell the format. */
const TELLING_ROWS = 8;

/**
 * Reads a file: JSON lines, a JSON list, CSV or Parquet, on disk or on the Hub.
 *
 * @throws {TaskFormatError} naming file and line of a malformed row
 * @throws {ConfigError} if the rows have no known format
 * @throws {CheckpointError} if the file cannot be read
 * @throws {HubError} if the Hub does not give it
 */
export async function readTaskFile(source: string, options: TaskFileOptions): Promise<TaskFile> {
  const { tools, chosen, skipInvalid, unreferenced = false } = options;
  const isBfcl = options.format === "auto" && bfclCategoryOf(source) !== null;
  if (isBfcl || options.format === "bfcl") {
    return await readBfclFile(source, options, (path) => readText(path, options.hub));
  }
  await using file = await openRows(source, options.hub);
  const { unit, textual } = file;
  const rows = firstRows(file.rows, checkLimit(options.limit, source));
  const first = await Array.fromAsync({ length: TELLING_ROWS }, () => rows.next());
  const telling = first.flatMap(({ value }) => value ? [value] : []);
  const format = taskFormats.find(({ name }) => name === options.format) ??
    formatOf(telling, source);
  const reader = new TaskReader(format, {
    ...{ source, tools, skipInvalid, unreferenced, implementations: chosen ? tools : [] },
    ...{ unit, textual, remedy: "--skip-invalid counts such rows and goes on" },
  });
  for (const row of telling) reader.add(row);
  for await (const row of rows) reader.add(row);
  return {
    ...{ source, unit, format: format.name as TaskFormatName, rows: reader.rows },
    ...{ tasks: reader.tasks, leftOut: reader.leftOut, invalid: reader.invalid },
  };
}

async function* firstRows(rows: Rows["rows"], limit: number): AsyncGenerator<RowOrFault, void> {
  let count = 0;
  for await (const row of rows) {
    yield row;
    if (++count >= limit) return;
  }
}

/** The file itself: a path as it is, or what was fetched from the Hub. */
export async function locateTasks(source: string, hub?: HubOptions): Promise<string> {
  return isHubAddress(source) ? await datasetFile(source, hub) : source;
}

async function readText(source: string, hub?: HubOptions): Promise<string> {
  return await readTextFile(await locateTasks(source, hub), source);
}

async function openRows(source: string, hub?: HubOptions): Promise<Rows & AsyncDisposable> {
  const extension = /\.\w+$/.exec(source)?.[0].toLowerCase();
  if (extension === ".parquet") {
    const file = await fileSource(await locateTasks(source, hub));
    const { rows, ...about } = parquetRows(file);
    return {
      ...about,
      rows: explained(rows, source),
      [Symbol.asyncDispose]: () => Promise.resolve(file[Symbol.dispose]()),
    };
  }
  const text = await readText(source, hub);
  const rows = extension === ".csv" || extension === ".tsv"
    ? await csvRows(text, source, extension === ".csv" ? "," : "\t")
    : jsonRows(text, source);
  return { ...rows, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** The same rows of Parquet; what goes wrong under way names the file. */
async function* explained(rows: Rows["rows"], source: string): AsyncGenerator<RowOrFault> {
  try {
    yield* rows;
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const { message } = error as Error;
    throw new CheckpointError(
      `Cannot read "${source}": it is not Parquet, or damaged: ${message}. Fetch or make it anew`,
      { cause: error },
    );
  }
}

/** The format of a file, by its first rows; an empty one has that of any. */
function formatOf(first: readonly RowOrFault[], source: string): TaskFormat {
  const rows = first.flatMap(({ value }) => value ? [value] : []);
  const format = detectFormat(rows);
  if (format) return format;
  // Whatever is wrong with all of the first rows is told before their format matters.
  if (rows.length === 0) return taskFormats[0]!;
  const keys = [...new Set(rows.flatMap(Object.keys))].map((key) => `"${key}"`).join(", ");
  const known = taskFormats.map(({ name, columns }) => `${name} (${columns})`);
  throw new ConfigError(
    `Cannot read tasks "${source}": its rows have ${keys || "no columns"}, which is no format ` +
      `that is known. There are ${known.join("; ")}; bfcl (${BFCL_NAME}). --format names one`,
  );
}
