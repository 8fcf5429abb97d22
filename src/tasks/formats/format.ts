/**
 * What a format of task files is: a way to make tasks of rows.
 *
 * @module
 */

import { kind } from "../../text/json_value.ts";
import type { ToolSpec } from "../../text/tool_call.ts";
import type { Tool } from "../../tools/tool.ts";
import type { Task } from "../task.ts";

/** A row of a file, by column. */
export type Row = Record<string, unknown>;

/** What a format may know beside the row. */
export interface RowContext {
  /** The row's number, or its line; ids are made of it. */
  readonly line: number;
  /** The row as it stands in the file, where it is a line of JSON. */
  readonly text?: string;
  /** Tools that can be run, by name. */
  readonly tools: ReadonlyMap<string, Tool>;
  /** Whether tasks are wanted that have no reference, where data of the format should bring one. */
  readonly unreferenced: boolean;
  /**
   * The tool of a declaration: the one of that name where the user has offered one to be run for it,
   * else one that is only declared; the same for equal declarations.
   *
   * @throws {RowError} if the declaration is malformed
   */
  declare(spec: ToolSpec): Tool;
}

/** One way to write tasks. */
export interface TaskFormat {
  /** What `--format` calls it. */
  readonly name: string;
  /** The columns that tell it from others, for people. */
  readonly columns: string;
  /** Columns that are JSON in files whose cells are text. */
  readonly structured?: readonly string[];
  /** Whether a row looks like one of this format, malformed or not. */
  recognises(row: Row): boolean;
  /**
   * Makes a task of a row.
   *
   * @returns the task, or why a row that is well-formed does not become one
   * @throws {RowError} if the row is malformed
   */
  read(row: Row, context: RowContext): Task | string;
}

/** A row is malformed; its place is added by whoever knows it. */
export class RowError extends Error {
  /** Tells it from other errors. */
  override name = "RowError";
  /** The kind of fault, the same for all rows that have it. */
  readonly reason: string;

  /** An error, of a kind that is told by its text where none is given. */
  constructor(problem: string, reason: string = problem) {
    super(problem);
    this.reason = reason;
  }
}

/**
 * A field that is a text with something in it.
 *
 * @throws {RowError} if it is anything else
 */
export function textOf(value: unknown, field: string): string {
  if (value === undefined) throw new RowError(`"${field}" is missing`);
  if (typeof value !== "string") {
    throw new RowError(`"${field}" must be a string, got ${kind(value)}`);
  }
  if (value === "") throw new RowError(`"${field}" is empty`);
  return value;
}

/**
 * A field that is a list.
 *
 * @param what it is a list of, for messages
 * @throws {RowError} if it is anything else
 */
export function listOf(value: unknown, field: string, what: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new RowError(`"${field}" must be a list of ${what}, got ${kind(value)}`);
}

/**
 * A value that many data sets have as JSON in a text.
 *
 * @throws {RowError} if it is a text that is not JSON
 */
export function jsonOf(value: unknown, field: string): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch (error) {
    const reason = `"${field}" is not valid JSON`;
    throw new RowError(`${reason}: ${(error as Error).message}`, reason);
  }
}
