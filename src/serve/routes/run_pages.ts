/**
 * The pages of runs: each by itself, and several side by side.
 *
 * @module
 */

import { join } from "@std/path";
import { Hono } from "hono";
import { validator } from "hono-openapi";
import * as v from "valibot";
import { collectRunReport, renderRunReport } from "../../run/report/mod.ts";
import type { RunState } from "../../run/state.ts";
import { COMPARED, type ComparedRun, comparePage } from "../../web/compare_page.ts";
import { type FileGroup, runPage } from "../../web/run_page.ts";
import { apiRunUrl } from "../../web/urls.ts";
import { refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import { Problem } from "../problem.ts";
import { RunHistories } from "../run_histories.ts";
import type { RunService } from "../service.ts";
import { filesOf } from "./files.ts";
import { page, show, visitorOf } from "./pages.ts";
import { detailOf, pageOf } from "./run_view.ts";
import { runId, runParam } from "./schemas.ts";

/**
 * Bytes of events and episodes that a report may be made of: others wait meanwhile, 0.4 s for so
 * many (0.8 s for twice as many, 1.9 s for 120 MB; 2 cores of an AMD EPYC, November 2026).
 */
const REPORT_BYTES = 16 * 2 ** 20;

/** Checkpoints that are listed with their files, the last ones. */
const CHECKPOINTS = 20;

/** Runs that a comparison can be made of are offered, the last ones. */
const OFFERED = 50;

const compareQuery = v.object({
  run: v.optional(v.pipe(
    v.union([
      v.pipe(runId, v.transform((id) => [id])),
      v.pipe(v.array(runId), v.maxLength(OFFERED)),
    ]),
    v.transform((ids) => [...new Set(ids)]),
  )),
});

/** `/ui/runs/:id` with its report, and `/ui/compare`. */
export function runPageRoutes(service: RunService) {
  const histories = new RunHistories();
  const param = validator("param", runParam, refuseInvalid);
  return new Hono<ServeEnv>()
    .get("/ui/runs/:id", page, param, async (c) => {
      const { id } = c.req.valid("param");
      const folder = service.folder(id);
      // In this order: events that the state does not know of yet are sent to the page once more.
      const { last } = await histories.read(folder);
      service.index.refreshRun(id);
      const run = detailOf(service, id);
      const { history } = await histories.read(folder);
      const files = groups(id, folder, run);
      const noReport = whyNoReport(run.state, folder);
      return show(c, runPage({ run, history, last, files, noReport }, visitorOf(c)));
    })
    .get("/ui/runs/:id/report", page, param, (c) => {
      const { id } = c.req.valid("param");
      const folder = service.folder(id);
      const why = whyNoReport(service.run(id).state, folder);
      if (why !== null) throw new Problem(409, why);
      return c.body(renderRunReport(collectRunReport(folder)), 200, {
        "content-type": "text/html; charset=utf-8",
        "content-disposition": `attachment; filename="${id}.html"`,
      });
    })
    .get("/ui/compare", page, validator("query", compareQuery, refuseInvalid), async (c) => {
      const { run: chosen = [] } = c.req.valid("query");
      const runs = chosen.slice(0, COMPARED).map((id) => detailOf(service, id));
      const compared: ComparedRun[] = [];
      for (const run of runs) {
        const { history } = await histories.read(service.folder(run.id));
        compared.push({ run, history });
      }
      const { runs: offered } = pageOf(service, { limit: OFFERED });
      return show(c, comparePage({ compared, offered, left: chosen.length - runs.length }));
    });
}

/** Why a run has no report that can be sent; null if it has one. */
function whyNoReport(state: RunState, folder: string): string | null {
  if (state === "damaged") return "There is no report of what is damaged";
  const [events, episodes] = ["events.jsonl", "episodes.jsonl"]
    .map((name) => bytesOf(join(folder, name)));
  if (!events) return "There is nothing to report on yet";
  if (events + (episodes ?? 0) <= REPORT_BYTES) return null;
  return `Its report takes long: make it by ./mentor report ${folder}`;
}

function bytesOf(path: string): number | null {
  try {
    return Deno.statSync(path).size;
  } catch {
    return null;
  }
}

/** The files of the model and of the last checkpoints. */
function groups(
  id: string,
  folder: string,
  { model, checkpoints }: Pick<ReturnType<typeof detailOf>, "model" | "checkpoints">,
): FileGroup[] {
  const group = (title: string, path: string, place: string): FileGroup[] => {
    try {
      return [{ title, path: `${apiRunUrl(id)}/${path}`, files: filesOf(join(folder, place)) }];
    } catch (error) {
      // An old checkpoint goes when a new one comes.
      if (error instanceof Problem) return [];
      throw error;
    }
  };
  return [
    ...model ? group("The trained model", "model", "model") : [],
    ...checkpoints.slice(-CHECKPOINTS).reverse().flatMap((step) =>
      group(`Checkpoint after step ${step}`, `checkpoints/${step}`, `checkpoint-${step}`)
    ),
  ];
}
