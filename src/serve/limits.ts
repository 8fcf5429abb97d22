/**
 * How much is asked of the server: by one client in a second, and by all at once.
 *
 * @module
 */

import type { MiddlewareHandler } from "hono";
import { addressOf, type ServeEnv } from "./guards.ts";
import { Problem } from "./problem.ts";
import { RateLimit } from "./rate_limit.ts";

/** Limits the requests of a client, told by its token or address. */
export function limitRate(rate: number): MiddlewareHandler<ServeEnv> {
  const limit = new RateLimit(rate);
  return async (c, next) => {
    const { name } = c.get("identity");
    limit.require(name === null ? `address ${addressOf(c)}` : `token ${name}`);
    await next();
  };
}

/** Limits the requests that are served at the same time. */
export function limitConcurrency(most: number): MiddlewareHandler {
  let served = 0;
  return async (_c, next) => {
    if (served >= most) {
      throw new Problem(503, "The server is busy; try again in a second", {
        headers: { "retry-after": "1" },
      });
    }
    served++;
    try {
      await next();
    } finally {
      served--;
    }
  };
}
