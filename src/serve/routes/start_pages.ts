/**
 * The pages with which people start something: a run, or a conversation with a model.
 *
 * @module
 */

import { Hono } from "hono";
import { validator } from "hono-openapi";
import { join } from "@std/path";
import * as v from "valibot";
import { valueAt } from "../../run/config/mod.ts";
import { settings } from "../../run/config/schema.ts";
import { playgroundPage } from "../../web/playground_page.ts";
import { startPage } from "../../web/start_page.ts";
import { namable, OWN } from "../allowed.ts";
import { refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import type { InferenceEngine } from "../openai/mod.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { page, show, visitorOf } from "./pages.ts";
import { hasModel } from "./run_view.ts";
import { runId } from "./schemas.ts";

/** Runs that are looked through for models. */
const RECENT = 100;

const startQuery = v.object({ like: v.optional(runId) });

/** Settings that a request may set. */
const open = settings.filter(({ path }) => !OWN.includes(path));

/** `/ui/start` and `/ui/playground`. */
export function startRoutes(service: RunService, engine: InferenceEngine) {
  return new Hono<ServeEnv>()
    .get("/ui/start", page, validator("query", startQuery, refuseInvalid), (c) => {
      const { like } = c.req.valid("query");
      const models = trainedModels(service).map(({ path }) => path);
      return show(
        c,
        startPage({
          settings: open,
          like: like === undefined ? null : { id: like, values: valuesOf(service, like) },
          suggestions: namable(service.options.allowed, models),
        }, visitorOf(c)),
      );
    })
    .get("/ui/playground", page, (c) => {
      return show(
        c,
        playgroundPage({
          models: engine.models,
          tools: service.tools.specs,
          trained: trainedModels(service),
        }, visitorOf(c)),
      );
    });
}

/** Settings of a run that differ from their defaults, by path, as far as they are still allowed. */
function valuesOf(service: RunService, id: string): ReadonlyMap<string, unknown> {
  const { config } = service.run(id);
  if (config === null) throw new Problem(409, `The settings of run "${id}" can't be read`);
  const parsed = JSON.parse(config);
  return new Map(
    open.flatMap((setting) => {
      const value = valueAt(parsed, setting.path);
      const differs = JSON.stringify(value) !== JSON.stringify(setting.fallback);
      return differs && setting.accepts(value) ? [[setting.path, value]] : [];
    }),
  );
}

/** Models of the latest runs that are finished. */
function trainedModels({ index, options }: RunService): { id: string; path: string }[] {
  return index.list({ limit: RECENT, state: "finished" }).flatMap(({ id }) => {
    const folder = join(options.runs, id);
    return hasModel(folder) ? [{ id, path: join(folder, "model") }] : [];
  });
}
