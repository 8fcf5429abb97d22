/**
 * Reports: pages that are one file and need no network.
 *
 * @module
 */

import { join } from "@std/path";
import { CheckpointError, replaceFile } from "../../io/checkpoint.ts";
import { comparisonCsv } from "./comparison_csv.ts";
import { parseComparison } from "./comparison_file.ts";
import { renderComparisonReport } from "./comparison_report.ts";
import { collectRunReport, renderRunReport } from "./run_report.ts";

export type * from "./comparison.ts";
export { collectRunReport, comparisonCsv, renderComparisonReport, renderRunReport };
export type { RunReport } from "./collect.ts";

/** Where the report goes. */
export interface ReportOptions {
  /** Path of the page; by default `report.html` in the folder that it is about. */
  readonly out?: string | null;
}

/** What was written. */
export interface ReportResult {
  /** What the folder holds. */
  readonly kind: "run" | "comparison";
  /** The page. */
  readonly page: string;
  /** The table of a comparison, beside the page; null for a run. */
  readonly csv: string | null;
}

/**
 * Writes the report of a folder: of a run, or of a comparison (`comparison.json`), which gets a
 * `comparison.csv` as well. Files that are there are replaced, each at once.
 *
 * @param path folder of a run or of a comparison
 * @throws {CheckpointError} if the folder is neither, a file in it cannot be read, or the report
 * cannot be written
 * @throws {ConfigError} if the run's config cannot be read
 */
export function report(path: string, { out = null }: ReportOptions = {}): ReportResult {
  const page = out ?? join(path, "report.html");
  const names = namesIn(path);
  if (names.includes("comparison.json")) {
    const comparison = readComparison(join(path, "comparison.json"));
    const csv = out === null ? join(path, "comparison.csv") : `${out.replace(/\.html?$/i, "")}.csv`;
    replaceFile(page, renderComparisonReport(comparison));
    replaceFile(csv, comparisonCsv(comparison));
    return { kind: "comparison", page, csv };
  }
  if (!names.includes("config.json") || !names.includes("events.jsonl")) {
    throw new CheckpointError(`Cannot report on "${path}": ${whatElse(path, names)}`);
  }
  replaceFile(page, renderRunReport(collectRunReport(path)));
  return { kind: "run", page, csv: null };
}

function namesIn(path: string): string[] {
  try {
    return Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such folder"
      : error instanceof Deno.errors.NotADirectory
      ? "it is a file; name the folder that it is in"
      : (error as Error).message;
    throw new CheckpointError(`Cannot report on "${path}": ${why}`, { cause: error });
  }
}

/** Why a folder cannot be reported on, and what to name instead. */
function whatElse(path: string, names: readonly string[]): string {
  const wanted = "a run has config.json and events.jsonl, a comparison has comparison.json";
  if (names.includes("model.safetensors")) {
    return `it is a model; ${wanted}. Name the folder of the run that it is from`;
  }
  const runs = names.filter((name) => {
    try {
      return Deno.statSync(join(path, name, "events.jsonl")).isFile;
    } catch {
      return false;
    }
  });
  const found = names.length === 0 ? "nothing" : names.slice(0, 8).join(", ");
  return runs.length > 0
    ? `it holds runs; name one of them, for instance "${join(path, runs.at(-1)!)}"`
    : `${wanted}; this folder holds ${found}`;
}

function readComparison(path: string) {
  try {
    return parseComparison(Deno.readTextFileSync(path));
  } catch (error) {
    throw new CheckpointError(`Cannot read comparison "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}
