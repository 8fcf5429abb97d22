/**
 * Tools that query the tables of a task: its `world` is a list of rows, or lists of rows by name.
 *
 * @module
 */

import { withoutDust } from "./calculator.ts";
import { type Tool, tool } from "./tool.ts";

type Cell = string | number | boolean | null;
type Row = Readonly<Record<string, Cell>>;

const OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "contains"] as const;
const AGGREGATES = ["count", "sum", "mean", "min", "max"] as const;

interface Condition {
  readonly column: string;
  readonly is: typeof OPERATORS[number];
  readonly value: Cell;
}

/** What `query` takes. */
interface Query {
  readonly where?: readonly Condition[];
  readonly aggregate?: typeof AGGREGATES[number];
  readonly of?: string;
  readonly by?: string;
  readonly sort?: string;
  readonly descending?: boolean;
  readonly select?: readonly string[];
  readonly limit?: number;
}

const tableName = {
  type: "string",
  description: "Name of the table, where there are several",
} as const;
const column = { type: "string" } as const;

const columns = tool({
  name: "columns",
  description: "Returns the names of the columns of a table, and how many rows it has",
  parameters: {
    type: "object",
    properties: { table: tableName },
    additionalProperties: false,
  },
  execute({ table }, { world }) {
    const rows = rowsOf(world, table as string | undefined);
    return { columns: columnsOf(rows), rows: rows.length };
  },
});

const query = tool({
  name: "query",
  description: "Returns rows of a table that meet all conditions, or an aggregate of them",
  parameters: {
    type: "object",
    properties: {
      where: {
        type: "array",
        items: {
          type: "object",
          properties: {
            column,
            is: { enum: OPERATORS },
            value: { type: ["string", "number", "boolean", "null"] },
          },
          required: ["column", "is", "value"],
          additionalProperties: false,
        },
      },
      aggregate: { enum: AGGREGATES },
      of: { ...column, description: "The column that is aggregated" },
      by: { ...column, description: "Aggregate for each value of this column" },
      sort: { ...column, description: "Column of the result to sort by" },
      descending: { type: "boolean" },
      select: { type: "array", items: column, description: "Columns to return; all by default" },
      limit: { type: "integer", minimum: 1 },
      table: tableName,
    },
    additionalProperties: false,
  },
  execute({ table, ...args }, { world }) {
    const { where = [], aggregate, of, by, sort, descending = false, select, limit } =
      args as Query;
    const all = rowsOf(world, table as string | undefined);
    const known = columnsOf(all);
    requireColumns(known, [...where.map(({ column }) => column), ...select ?? [], of, by]);
    const rows = all.filter((row) => where.every((one) => holds(one, cellOf(row, one.column))));
    if (aggregate === undefined) {
      requireColumns(known, [sort]);
      return picked(sorted(rows, sort, descending).slice(0, limit), select);
    }
    if (by === undefined) return aggregated(aggregate, of, rows);
    requireColumns([by, aggregate], [sort]);
    const groups = [...Map.groupBy(rows, (row) => cellOf(row, by))].map(([key, group]) => ({
      [by]: key,
      [aggregate]: aggregated(aggregate, of, group),
    }));
    return sorted(groups, sort ?? by, descending).slice(0, limit);
  },
});

/** What queries tables. */
export const tableTools: readonly Tool[] = [columns, query];

function rowsOf(world: unknown, name: string | undefined): readonly Row[] {
  if (Array.isArray(world)) return world;
  const tables = (world ?? {}) as Record<string, unknown>;
  const names = Object.keys(tables).filter((key) => Array.isArray(tables[key]));
  const chosen = name ?? (names.length === 1 ? names[0] : undefined);
  if (chosen !== undefined && names.includes(chosen)) return tables[chosen] as Row[];
  const what = names.length === 0 ? "there is no table" : `the tables are ${names.join(", ")}`;
  throw new RangeError(name === undefined ? what : `no table ${name}; ${what}`);
}

function columnsOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.flatMap(Object.keys))];
}

/** @throws {RangeError} if one of those that are named is not known. */
function requireColumns(known: readonly string[], names: readonly (string | undefined)[]): void {
  const other = names.find((name) => name !== undefined && !known.includes(name));
  if (other === undefined) return;
  throw new RangeError(`no column ${other}; the columns are ${known.join(", ")}`);
}

/** A cell; null where the row has none. */
function cellOf(row: Row, name: string): Cell {
  return Object.hasOwn(row, name) ? row[name]! : null;
}

function holds({ column, is, value }: Condition, cell: Cell): boolean {
  if (cell === null || value === null) {
    if (is === "=") return cell === value;
    return is === "!=" && cell !== value;
  }
  if (typeof cell !== typeof value) {
    throw new TypeError(
      `column ${column} holds ${JSON.stringify(cell)}, which is no ${typeof value}`,
    );
  }
  switch (is) {
    case "=":
      return cell === value;
    case "!=":
      return cell !== value;
    case "<":
      return cell < value;
    case "<=":
      return cell <= value;
    case ">":
      return cell > value;
    case ">=":
      return cell >= value;
    case "contains":
      return String(cell).toLowerCase().includes(String(value).toLowerCase());
  }
}

/** In the order of a column, rows without a value last; equal rows stay as they were. */
function sorted(
  rows: readonly Row[],
  name: string | undefined,
  descending: boolean,
): readonly Row[] {
  if (name === undefined) return rows;
  return rows.toSorted((one, other) => {
    const [a, b] = [cellOf(one, name), cellOf(other, name)];
    if (a === b) return 0;
    if (a === null || b === null) return a === null ? 1 : -1;
    return (a < b ? -1 : 1) * (descending ? -1 : 1);
  });
}

function picked(rows: readonly Row[], names: readonly string[] | undefined): readonly Row[] {
  if (names === undefined) return rows;
  return rows.map((row) => Object.fromEntries(names.map((name) => [name, cellOf(row, name)])));
}

function aggregated(
  aggregate: typeof AGGREGATES[number],
  of: string | undefined,
  rows: readonly Row[],
): number | null {
  if (aggregate === "count") {
    return of === undefined ? rows.length : rows.filter((row) => cellOf(row, of) !== null).length;
  }
  if (of === undefined) throw new RangeError(`${aggregate} of which column? Say so in "of"`);
  const values = rows.map((row) => cellOf(row, of)).filter((cell) => cell !== null);
  const other = values.find((value) => typeof value !== "number");
  if (other !== undefined) {
    throw new TypeError(`column ${of} holds ${JSON.stringify(other)}, which is no number`);
  }
  const numbers = values as number[];
  if (aggregate === "sum") return withoutDust(sum(numbers));
  if (numbers.length === 0) return null;
  if (aggregate === "mean") return withoutDust(sum(numbers) / numbers.length);
  return numbers.reduce((a, b) => aggregate === "min" ? Math.min(a, b) : Math.max(a, b));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
