/**
 * Rows as CSV: columns are named by the first line, cells may be quoted and then hold line breaks.
 *
 * @module
 */

import { TaskFormatError } from "../task.ts";
import type { RowOrFault, Rows } from "./row.ts";

/** What csv-parse hands out of a record. */
interface Parsed {
  readonly raw: string;
  readonly record: readonly string[];
}

/**
 * The rows of a CSV text, by the lines on which they begin.
 *
 * @param delimiter between cells
 * @throws {TaskFormatError} if two columns have one name, or where quotes do not match: what follows
 * cannot be told apart
 */
export async function csvRows(text: string, source: string, delimiter: string): Promise<Rows> {
  const { parse } = await import("csv-parse/sync");
  const rows: RowOrFault[] = [];
  let header: readonly string[] | null = null;
  // csv-parse's own count of lines takes "\r\n" inside of quotes for two.
  let next = 1;
  const take = ({ raw, record }: Parsed) => {
    const line = next + breaksIn(/^[\r\n]*/.exec(raw)![0]);
    next += breaksIn(raw);
    if (header === null) header = checkedHeader(record, source, line);
    else rows.push(rowOf(header, record, line));
    return null;
  };
  try {
    parse(text, {
      ...{ bom: true, delimiter, raw: true, relax_column_count: true, skip_empty_lines: true },
      on_record: (record: unknown) => take(record as Parsed),
    });
  } catch (error) {
    if (error instanceof TaskFormatError) throw error;
    throw new TaskFormatError(source, next, `not valid CSV: ${(error as Error).message}`);
  }
  return { rows, textual: true };
}

function checkedHeader(header: readonly string[], source: string, line: number) {
  const twice = header.find((name, i) => header.indexOf(name) < i);
  if (twice === undefined) return header;
  throw new TaskFormatError(source, line, `two columns are named "${twice}"; rename one of them`);
}

function rowOf(header: readonly string[], record: readonly string[], line: number): RowOrFault {
  if (record.length === header.length) {
    return { line, value: Object.fromEntries(header.map((name, i) => [name, record[i]])) };
  }
  return {
    line,
    fault: `the row has ${record.length} cells, the header ${header.length}`,
    reason: "the row has not as many cells as the header",
  };
}

function breaksIn(text: string): number {
  return text.match(/\r\n?|\n/g)?.length ?? 0;
}
