/**
 * Tells Deno's spans of requests which route answered: by itself Deno knows no more than the path.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type { Span } from "@opentelemetry/api";
import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { openTelemetry } from "../run/telemetry.ts";

/** Names the span of each request after its route, if Deno was started to export spans. */
export function nameRoutes(): MiddlewareHandler {
  const telemetry = openTelemetry();
  return async (c, next) => {
    const api = await telemetry;
    const span = api ? api.trace.getActiveSpan() ?? spanOfAnswer(c) : undefined;
    await next();
    const route = routePath(c, -1);
    // Where nothing but middleware is in charge of a path, nothing is there.
    if (!span || route.includes("*")) return;
    span.updateName(`${c.req.method} ${route}`);
    span.setAttribute("http.route", route);
  };
}

/**
 * The span of a request to `node:http`, which Deno 2.9 makes and exports, and does not make the active
 * one: it is on the answer, under a symbol of Deno's own. This can go once it is active there as it is
 * under `Deno.serve`.
 */
function spanOfAnswer(c: Context): Span | undefined {
  const { outgoing } = (c.env ?? {}) as { outgoing?: ServerResponse };
  const key = Object.getOwnPropertySymbols(outgoing ?? {})
    .find(({ description }) => description === "kOtelSpan");
  return key && (outgoing as unknown as Record<symbol, Span>)[key];
}
