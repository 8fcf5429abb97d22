/**
 * One line per request, and how many there were.
 *
 * @module
 */

import type { MiddlewareHandler } from "hono";
import { addressOf, type ServeEnv } from "./guards.ts";

/** What is written down of a request; nothing that it carried. */
export interface RequestRecord {
  /** When it was answered, in ISO form. */
  readonly time: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
  /** Until the answer began. */
  readonly milliseconds: number;
  /** The token's name, or the network address. */
  readonly client: string;
  /** What went wrong in the server. */
  readonly error?: string;
}

/** How many requests were answered, by method and kind of status. */
export class RequestCounts {
  readonly #counts = new Map<string, number>();
  /** How long they took together. */
  seconds = 0;

  /** Counts one. */
  add({ method, status, milliseconds }: RequestRecord): void {
    // A method is whatever a client writes: others than these would grow the table.
    const known = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"].includes(method) ? method : "other";
    const key = `${known} ${Math.floor(status / 100)}xx`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    this.seconds += milliseconds / 1000;
  }

  /** The counts, with labels. */
  totals(): [{ method: string; status: string }, number][] {
    return [...this.#counts].map(([key, count]) => {
      const [method, status] = key.split(" ") as [string, string];
      return [{ method, status }, count];
    });
  }
}

/** Counts requests, and hands each to `write`. */
export function logRequests(
  counts: RequestCounts,
  write: (record: RequestRecord) => void,
): MiddlewareHandler<ServeEnv> {
  return async (c, next) => {
    const started = performance.now();
    await next();
    const failure = c.get("failure");
    const record: RequestRecord = {
      time: new Date().toISOString(),
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      milliseconds: Math.round((performance.now() - started) * 100) / 100,
      client: c.get("identity")?.name ?? addressOf(c),
      ...(failure ? { error: failure.stack ?? String(failure) } : {}),
    };
    counts.add(record);
    write(record);
  };
}
