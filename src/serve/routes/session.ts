/**
 * Signing in to the dashboard: a browser gets its token as a cookie, since neither a link nor an
 * `EventSource` can send a header.
 *
 * @module
 */

import { type Context, Hono } from "hono";
import { deleteCookie, setCookie } from "hono/cookie";
import { describeRoute } from "hono-openapi";
import { bearerOf, type ServeEnv, SESSION_COOKIE } from "../guards.ts";
import { readNothing } from "../body.ts";
import { problems } from "./schemas.ts";

/** `/session`. */
export function sessionRoutes() {
  return new Hono<ServeEnv>()
    .post(
      "/session",
      describeRoute({
        tags: ["dashboard"],
        summary: "Get the token of this request as a cookie, for the dashboard in a browser",
        responses: { 204: { description: "The cookie is set" }, ...problems() },
      }),
      async (c) => {
        await readNothing(c);
        const token = bearerOf(c);
        if (token !== undefined) setCookie(c, SESSION_COOKIE, token, cookie(c));
        return c.body(null, 204);
      },
    )
    .delete(
      "/session",
      describeRoute({
        tags: ["dashboard"],
        summary: "Forget the cookie",
        responses: { 204: { description: "The cookie is gone" }, ...problems() },
      }),
      async (c) => {
        await readNothing(c);
        deleteCookie(c, SESSION_COOKIE, cookie(c));
        return c.body(null, 204);
      },
    );
}

/** No script sees it, and no other site's page makes a browser send it. */
function cookie(c: Context) {
  return {
    path: "/",
    httpOnly: true,
    sameSite: "Strict",
    // The server speaks HTTP; a proxy in front of it tells what it speaks.
    secure: c.req.header("x-forwarded-proto") === "https",
  } as const;
}
