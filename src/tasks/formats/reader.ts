/**
 * Reads rows into tasks, and keeps account of those that do not become one.
 *
 * @module
 */

import type { Tool } from "../../tools/tool.ts";
import type { RowOrFault } from "../rows/row.ts";
import { type Task, TaskFormatError, type TaskOrigin } from "../task.ts";
import { byName, ToolShelf } from "./declarations.ts";
import { jsonOf, type Row, RowError, type TaskFormat } from "./format.ts";

/** Rows by reason, in the order in which the reasons came up. */
export type RowCounts = Record<string, {
  /** How many rows. */
  count: number;
  /** Line, or number, of the first. */
  firstLine: number;
  /** What was said of the first, where that says more than the reason. */
  example?: string;
}>;

/** How rows are read. */
export interface ReadOptions {
  /** Name of the file, for messages. */
  readonly source: string;
  /** What the lines of rows count; lines where absent. */
  readonly unit?: "row" | undefined;
  /** Whether cells are text, as those of CSV. */
  readonly textual?: boolean | undefined;
  /** Every tool that a row may name. */
  readonly tools: readonly Tool[];
  /** Those that stand in for declarations of their names; all of them by default. */
  readonly implementations?: readonly Tool[];
  /** Keeps tasks without the reference that their format should bring; by default they are left out. */
  readonly unreferenced?: boolean;
  /** Counts malformed rows in place of stopping at the first. */
  readonly skipInvalid?: boolean;
  /** What can be done about a malformed row, for messages. */
  readonly remedy?: string;
}

/** Gathers the tasks of a file's rows. */
export class TaskReader {
  /** The tasks so far. */
  readonly tasks: Task[] = [];
  /** Rows that are well-formed and still no task. */
  readonly leftOut: RowCounts = {};
  /** Malformed rows. */
  readonly invalid: RowCounts = {};
  readonly #format: TaskFormat;
  readonly #options: ReadOptions;
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #shelf: ToolShelf;
  /** Lines by the ids of their tasks. */
  readonly #lines = new Map<string, number>();
  #rows = 0;

  /** Starts with no row. */
  constructor(format: TaskFormat, options: ReadOptions) {
    this.#format = format;
    this.#options = options;
    this.#tools = byName(options.tools);
    this.#shelf = new ToolShelf(options.implementations ?? options.tools);
  }

  /** Rows read so far. */
  get rows(): number {
    return this.#rows;
  }

  /**
   * Reads a row.
   *
   * @throws {TaskFormatError} if it is malformed and these are not to be skipped
   */
  add(row: RowOrFault): void {
    const { source, unit, skipInvalid, remedy } = this.#options;
    const { line } = row;
    this.#rows++;
    try {
      if (row.fault !== undefined) throw new RowError(row.fault, row.reason);
      const task = this.#read(row.value, line, row.text);
      if (typeof task === "string") return count(this.leftOut, task, line);
      const origin: TaskOrigin = { source, line, ...(unit ? { unit } : {}) };
      this.tasks.push({ ...task, origin });
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      if (!skipInvalid) {
        const problem = remedy ? `${error.message.replace(/\.$/, "")}. ${remedy}` : error.message;
        throw new TaskFormatError(source, line, problem, unit);
      }
      count(this.invalid, error.reason, line, error.message);
    }
  }

  #read(value: Row, line: number, text?: string): Task | string {
    const row = this.#options.textual ? this.#withStructure(value) : value;
    const task = this.#format.read(row, {
      ...{ line, ...(text === undefined ? {} : { text }) },
      tools: this.#tools,
      unreferenced: this.#options.unreferenced ?? false,
      declare: this.#shelf.declare,
    });
    if (typeof task === "string") return task;
    const earlier = this.#lines.get(task.id);
    if (earlier !== undefined) {
      const { unit = "line" } = this.#options;
      throw new RowError(
        `id "${task.id}" was used on ${unit} ${earlier} before`,
        "an id was used before",
      );
    }
    this.#lines.set(task.id, line);
    return task;
  }

  /** The row with what its cells say in JSON; a cell with nothing in it is a field left out. */
  #withStructure(row: Row): Row {
    const structured = this.#format.structured ?? [];
    return Object.fromEntries(
      Object.entries(row).filter(([, cell]) => cell !== "" && cell !== null)
        .map(([name, cell]) => [name, structured.includes(name) ? jsonOf(cell, name) : cell]),
    );
  }
}

/** Counts a row by reason. @param problem what is wrong in this row */
export function count(
  counts: RowCounts,
  reason: string,
  line: number,
  problem: string = reason,
): void {
  const example = problem === reason ? {} : { example: problem };
  const entry = counts[reason] ??= { count: 0, firstLine: line, ...example };
  entry.count++;
}

/** The sum of counts. */
export function total(counts: RowCounts): number {
  return Object.values(counts).reduce((sum, { count }) => sum + count, 0);
}
