/**
 * The dashboard: pages over what the other routes answer with.
 *
 * @module
 */

import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { describeRoute, validator } from "hono-openapi";
import { assets } from "../../web/assets.ts";
import { problemPage } from "../../web/problem_page.ts";
import { runsPage } from "../../web/runs_page.ts";
import { type DashboardPage, renderShell, type Visitor } from "../../web/shell.ts";
import { signInPage } from "../../web/sign_in_page.ts";
import { refuseInvalid } from "../body.ts";
import { isPage, isSafe, type ServeEnv } from "../guards.ts";
import { answerProblem, Problem, problemOf } from "../problem.ts";
import type { RunService } from "../service.ts";
import type { Identity } from "../tokens.ts";
import { pageOf } from "./run_view.ts";
import { listQuery } from "./schemas.ts";

/** Pages are for people: the document for programs leaves them out. */
export const page = describeRoute({ hide: true });

/** `/` and everything below `/ui`. */
export function pageRoutes(service: RunService) {
  return new Hono<ServeEnv>()
    .get("/", page, validator("query", listQuery, refuseInvalid), (c) => {
      const query = c.req.valid("query");
      const { state = null } = query;
      return show(
        c,
        runsPage({ ...pageOf(service, query), state, counts: service.index.counts() }),
      );
    })
    .get("/ui/sign-in", (c) => show(c, signInPage()))
    .get("/ui/assets/:file", (c) => {
      const file = c.req.param("file");
      if (!Object.hasOwn(assets, file)) throw new Problem(404, `There is no file "${file}"`);
      const { type, text, hash } = assets[file as keyof typeof assets];
      // The page of an older server asks for a file that is no longer what it was.
      const isCurrent = c.req.query("v") === hash;
      return c.body(text, 200, {
        "content-type": type,
        "cache-control": isCurrent ? "public, max-age=31536000, immutable" : "no-store",
      });
    });
}

/** Answers with a page, which is not to be kept. */
export function show(
  c: Context<ServeEnv>,
  page: DashboardPage,
  status: ContentfulStatusCode = 200,
): Response {
  c.header("cache-control", "no-store");
  return c.html(renderShell(page, visitorOf(c)), status);
}

/** For whom a page is; of a request that came to nothing, not even that may be known. */
export function visitorOf(c: Context<ServeEnv>): Visitor {
  const { name, scope } = (c.get("identity") as Identity | undefined) ??
    { name: null, scope: "read" };
  return { path: c.req.path, name, scope };
}

/** The answer to a request that cannot be served: a page where one was asked for; for `onError`. */
export function answerError(error: Error, c: Context<ServeEnv>): Response {
  if (!isPage(c.req.path) || !isSafe(c.req.method)) return answerProblem(error, c);
  const { status, title, message, headers } = problemOf(error, c);
  for (const [name, value] of Object.entries(headers)) c.header(name, value);
  return show(c, problemPage({ title, detail: message }), status);
}
