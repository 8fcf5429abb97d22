/**
 * Runs as answers show them.
 *
 * @module
 */

import { join } from "@std/path";
import type * as v from "valibot";
import { readRequest } from "../../run/control.ts";
import { isLive } from "../../run/state.ts";
import { checkpointSteps } from "../../run/store.ts";
import { lastWords } from "../child.ts";
import type { RunRow } from "../index/run_index.ts";
import type { RunService } from "../service.ts";
import type { listQuery, runDetail, runPage, runSummary } from "./schemas.ts";

const iso = (time: number) => new Date(time).toISOString();
const isoOrNull = (time: number | null) => time === null ? null : iso(time);

/** A run for a list. @param root folder of the runs */
export function summaryOf(row: RunRow, root: string): v.InferOutput<typeof runSummary> {
  const { id, state, step, steps, method, reward, seed, message } = row;
  return {
    id,
    state,
    request: isLive(state) ? readRequest(join(root, id)) : null,
    created: iso(row.created),
    started: isoOrNull(row.started),
    ended: isoOrNull(row.ended),
    step,
    steps,
    method,
    reward,
    seed,
    message,
  };
}

/** A page of the list of runs, newest first. */
export function pageOf(
  { index, options }: RunService,
  { limit = 50, after, state }: v.InferOutput<typeof listQuery>,
): v.InferOutput<typeof runPage> {
  const rows = index.list({
    limit: limit + 1,
    ...(after === undefined ? {} : { after }),
    ...(state === undefined ? {} : { state }),
  });
  const page = rows.slice(0, limit);
  return {
    runs: page.map((row) => summaryOf(row, options.runs)),
    next: rows.length > limit ? page.at(-1)!.id : null,
  };
}

/** A run by itself. */
export function detailOf(service: RunService, id: string): v.InferOutput<typeof runDetail> {
  const row = service.run(id);
  const path = service.folder(id);
  const ill = row.state === "failed" || row.state === "interrupted" || row.state === "damaged";
  return {
    ...summaryOf(row, service.options.runs),
    config: row.config === null ? null : JSON.parse(row.config),
    checkpoints: checkpointSteps(path),
    model: hasModel(path),
    lastWords: ill ? lastWords(path) : null,
  };
}

/** Whether the trained model of a run is there. @param path folder of the run */
export function hasModel(path: string): boolean {
  try {
    return Deno.statSync(join(path, "model")).isDirectory;
  } catch {
    return false;
  }
}
