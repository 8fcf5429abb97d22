/**
 * Tells Deno's spans of requests which route answered: by itself Deno knows no more than the path.
 *
 * @module
 */

import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { openTelemetry } from "../run/telemetry.ts";

/** Names the span of each request after its route, if Deno was started to export spans. */
export function nameRoutes(): MiddlewareHandler {
  const telemetry = openTelemetry();
  return async (c, next) => {
    const span = (await telemetry)?.trace.getActiveSpan();
    await next();
    const route = routePath(c, -1);
    // Where nothing but middleware is in charge of a path, nothing is there.
    if (!span || route.includes("*")) return;
    span.updateName(`${c.req.method} ${route}`);
    span.setAttribute("http.route", route);
  };
}
