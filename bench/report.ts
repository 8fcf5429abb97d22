/**
 * What a bench prints, for people and for machines.
 *
 * @module
 */

/** One contender at one piece of work. */
export interface BenchRow {
  /** A kernel's label, or the name of larger work. */
  readonly work: string;
  /** The sizes, for people. */
  readonly shape: string;
  /** Who did it: `mentor`, or a peer. */
  readonly contender: string;
  /** Wall time of one repetition; of one dispatch where the work is a kernel. */
  readonly medianMs: number;
  /** (slowest - fastest) / median of the repetitions. */
  readonly spread: number;
  /** Median CPU time of all threads, where it was taken. */
  readonly cpuMs?: number | null;
  /** What is done per second, in `unit`. */
  readonly rate: number;
  /** Of `rate`. */
  readonly unit: "GFLOP/s" | "GB/s" | "tokens/s" | "episodes/s" | "steps/s" | "tasks/s";
  /** medianMs / Mentor's: above 1 Mentor is faster; null where Mentor did not do the work. */
  readonly ratioToMentor: number | null;
  /** Share of the adapter's roofline, where one is known. */
  readonly limit: number | null;
}

/** Work that a contender did not do, and why. */
export interface Skipped {
  /** As in a row. */
  readonly work: string;
  /** As in a row. */
  readonly contender: string;
  /** For people. */
  readonly reason: string;
}

/** What `./mentor bench --json` prints. */
export interface BenchReport {
  readonly adapter: string;
  readonly date: string;
  readonly rows: readonly BenchRow[];
  /** What contenders could not do. */
  readonly skipped: readonly Skipped[];
  /** What `growth`, `steady` and `tune` found, where they were asked for. */
  readonly [part: string]: unknown;
}

/** Rows as a table. */
export function renderRows(rows: readonly BenchRow[]): string {
  const head = [
    "work",
    "shape",
    "contender",
    "median",
    "spread",
    "CPU",
    "rate",
    "",
    "x mentor",
    "of limit",
  ];
  const body = rows.map((row) => [
    row.work,
    row.shape,
    row.contender,
    milliseconds(row.medianMs),
    `${(100 * row.spread).toFixed(0)} %`,
    row.cpuMs == null ? "" : milliseconds(row.cpuMs),
    row.rate >= 100 ? row.rate.toFixed(0) : row.rate.toPrecision(3),
    row.unit,
    row.ratioToMentor === null ? "" : row.ratioToMentor.toFixed(2),
    row.limit === null ? "" : `${(100 * row.limit).toFixed(0)} %`,
  ]);
  return renderTable([head, ...body], [3, 4, 5, 6, 8, 9]);
}

/** A line for each contender and reason, with the work that it did not do. */
export function renderSkipped(skipped: readonly Skipped[]): string[] {
  const works = new Map<string, string[]>();
  for (const { work, contender, reason } of skipped) {
    const key = `${contender}: ${reason}`;
    works.set(key, [...works.get(key) ?? [], work]);
  }
  return [...works].map(([key, list]) => `skipped ${list.join(", ")} with ${key}`);
}

/** Columns as wide as they need to be; those in `right` end flush. */
export function renderTable(
  rows: readonly (readonly string[])[],
  right: readonly number[],
): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
      .join("  ").trimEnd()
  ).join("\n");
}

function milliseconds(ms: number): string {
  if (ms < 1) return `${(1000 * ms).toFixed(0)} us`;
  return ms < 100 ? `${ms.toPrecision(3)} ms` : `${ms.toFixed(0)} ms`;
}
