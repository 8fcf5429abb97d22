/**
 * What files of tasks are made of.
 *
 * @module
 */

import { TaskFormatError } from "../task.ts";

/** A row, or what is wrong where one should be. */
export type RowOrFault =
  | {
    /** Line where it begins, or its number where the file has no lines; from 1. */
    readonly line: number;
    /** Its fields by column. */
    readonly value: Record<string, unknown>;
    /** As it stands in the file, where it is a line of JSON. */
    readonly text?: string;
    readonly fault?: undefined;
  }
  | {
    /** The same. */
    readonly line: number;
    readonly value?: undefined;
    /** What is wrong. */
    readonly fault: string;
    /** The kind of fault, the same for all that have it. */
    readonly reason: string;
  };

/** The rows of a file. */
export interface Rows {
  /** One by one; throws `TaskFormatError` where the file itself cannot be read on. */
  readonly rows: Iterable<RowOrFault> | AsyncIterable<RowOrFault>;
  /** What `line` counts; lines where absent. */
  readonly unit?: "row" | undefined;
  /** Whether cells are text, which may be JSON. */
  readonly textual?: boolean | undefined;
}

/** A row that is sound. */
export type SoundRow = Extract<RowOrFault, { fault?: undefined }>;

/**
 * Rows of which none may be malformed.
 *
 * @throws {TaskFormatError} with the line of the first that is
 */
export function* soundRows(rows: Iterable<RowOrFault>, source: string): Generator<SoundRow> {
  for (const row of rows) {
    if (row.fault !== undefined) throw new TaskFormatError(source, row.line, row.fault);
    yield row;
  }
}

/**
 * A limit of rows as a number.
 *
 * @throws {RangeError} if it is not a positive integer
 */
export function checkLimit(limit: number | null | undefined, source: string): number {
  if (limit === null || limit === undefined) return Infinity;
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new RangeError(`Cannot read ${source}: limit must be a positive integer, got ${limit}`);
}

/** The first rows; those behind are not looked at. */
export function* firstRows(rows: Iterable<RowOrFault>, limit: number): Generator<RowOrFault> {
  let count = 0;
  for (const row of rows) {
    yield row;
    if (++count >= limit) return;
  }
}
