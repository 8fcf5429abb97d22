/**
 * The dashboard: pages over what the other routes answer with.
 *
 * @module
 */

import { type Context, Hono } from "hono";
import { describeRoute, validator } from "hono-openapi";
import { assets } from "../../web/assets.ts";
import { runsPage } from "../../web/runs_page.ts";
import { type DashboardPage, renderShell } from "../../web/shell.ts";
import { signInPage } from "../../web/sign_in_page.ts";
import { refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { pageOf } from "./run_view.ts";
import { listQuery } from "./schemas.ts";

/** Pages are for people: the document for programs leaves them out. */
export const page = describeRoute({ hide: true });

/** `/` and everything below `/ui`. */
export function pageRoutes(service: RunService) {
  return new Hono<ServeEnv>()
    .get("/", page, validator("query", listQuery, refuseInvalid), (c) => {
      return show(c, runsPage(pageOf(service, c.req.valid("query"))));
    })
    .get("/ui/sign-in", (c) => show(c, signInPage()))
    .get("/ui/assets/:file", (c) => {
      const file = c.req.param("file");
      if (!Object.hasOwn(assets, file)) throw new Problem(404, `There is no file "${file}"`);
      const { type, text } = assets[file as keyof typeof assets];
      return c.body(text, 200, {
        "content-type": type,
        "cache-control": "public, max-age=31536000, immutable",
      });
    });
}

/** Answers with a page, which is not to be kept. */
export function show(c: Context<ServeEnv>, page: DashboardPage): Response {
  c.header("cache-control", "no-store");
  return c.html(renderShell(page, { path: c.req.path, name: c.get("identity").name }));
}
