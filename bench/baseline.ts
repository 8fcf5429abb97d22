/**
 * Numbers that were kept, and what has become of them.
 *
 * @module
 */

import type { BenchReport } from "./report.ts";
import { renderTable } from "./report.ts";

/**
 * Reads what `--save` wrote.
 *
 * @throws {TypeError} if the file is not such a report.
 */
export async function readReport(path: string): Promise<BenchReport> {
  const refuse = (fault: string) =>
    new TypeError(
      `Cannot compare with "${path}": ${fault}; make one with ./mentor bench --save FILE`,
    );
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw refuse((error as Error).message);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse((error as Error).message);
  }
  if (typeof value !== "object" || value === null || !Array.isArray((value as BenchReport).rows)) {
    throw refuse("it holds no rows");
  }
  return value as BenchReport;
}

/** A line for each row of Mentor's that both reports have: then, now, and the ratio. */
export function compareWithBaseline(now: BenchReport, then: BenchReport): string {
  const key = ({ work, shape }: BenchReport["rows"][number]) => `${work}\n${shape}`;
  const own = (report: BenchReport) =>
    report.rows.filter(({ contender }) => contender === "mentor");
  const before = new Map(own(then).map((row) => [key(row), row.medianMs]));
  const rows = own(now).flatMap((row) => {
    const old = before.get(key(row));
    if (old === undefined) return [];
    const ratio = old / row.medianMs;
    return [[
      row.work,
      row.shape,
      old.toPrecision(3),
      row.medianMs.toPrecision(3),
      ratio.toFixed(2),
    ]];
  });
  const title = `against ${then.date.slice(0, 10)} on ${then.adapter}`;
  if (rows.length === 0) return `${title}: no work in common`;
  const head = ["work", "shape", "then, ms", "now, ms", "times as fast"];
  const warning = then.adapter === now.adapter ? "" : " (another adapter)";
  return `${title}${warning}\n${renderTable([head, ...rows], [2, 3, 4])}`;
}
