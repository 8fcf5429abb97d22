/**
 * Rows as Parquet.
 *
 * @module
 */

import type { RowOrFault, Rows } from "./row.ts";

/** Bytes that can be read in any order. */
export interface RandomAccess {
  /** Bytes in all. */
  readonly size: number;
  /** Bytes `offset` to `offset + length`. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Codecs that hyparquet itself can read. */
const plainCodecs = new Set(["UNCOMPRESSED", "SNAPPY"]);

/**
 * The rows of a Parquet file, numbered from 1 and read group by group.
 *
 * Structs have all of their fields in each row, null where a row lacks one: such nulls are left out.
 *
 * @throws {Error} if the file is not Parquet, or damaged
 */
export function parquetRows(file: RandomAccess): Rows {
  return { rows: readGroups(file), unit: "row", textual: true };
}

async function* readGroups(file: RandomAccess): AsyncGenerator<RowOrFault> {
  const { parquetMetadataAsync, parquetReadObjects } = await import("hyparquet");
  const buffer = {
    byteLength: file.size,
    async slice(start: number, end = file.size) {
      const { buffer, byteOffset, byteLength } = await file.read(start, end - start);
      return buffer.slice(byteOffset, byteOffset + byteLength);
    },
  };
  const metadata = await parquetMetadataAsync(buffer);
  const codecs = metadata.row_groups.flatMap(({ columns }) =>
    columns.map((column) => column.meta_data?.codec ?? "UNCOMPRESSED")
  );
  const compressors = codecs.every((codec) => plainCodecs.has(codec))
    ? undefined
    : (await import("hyparquet-compressors")).compressors;
  let line = 0;
  for (const { num_rows } of metadata.row_groups) {
    const range = { rowStart: line, rowEnd: line + Number(num_rows) };
    const options = { file: buffer, metadata, ...range, ...(compressors ? { compressors } : {}) };
    for (const row of await parquetReadObjects(options)) {
      yield { line: ++line, value: plain(row) as Record<string, unknown> };
    }
  }
}

/** A value as JSON has it. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint8Array, plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== null && each !== undefined)
      .map(([key, each]) => [key, plain(each)]),
  );
}
