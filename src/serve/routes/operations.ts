/**
 * For those who run the server: whether it is well, and numbers for Prometheus.
 *
 * @module
 */

import { Hono } from "hono";
import { describeRoute } from "hono-openapi";
import * as v from "valibot";
import deno from "../../../deno.json" with { type: "json" };
import { runStates } from "../../run/state.ts";
import type { ServeEnv } from "../guards.ts";
import type { RequestCounts } from "../request_log.ts";
import type { RunService } from "../service.ts";
import { answer } from "./schemas.ts";

const health = v.object({ status: v.literal("ok"), version: v.string() });

/** `/health` and `/metrics`. */
export function operationRoutes(service: RunService, counts: RequestCounts) {
  const started = performance.now();
  return new Hono<ServeEnv>()
    .get(
      "/health",
      describeRoute({
        tags: ["operations"],
        summary: "Tell that the server answers",
        responses: { 200: answer("It does", health) },
      }),
      (c) => c.json({ status: "ok" as const, version: deno.version }, 200),
    )
    .get(
      "/metrics",
      describeRoute({
        tags: ["operations"],
        summary: "Numbers about the server, for Prometheus",
        responses: {
          200: {
            description: "The text format, version 0.0.4",
            content: { "text/plain": { schema: { type: "string" } } },
          },
        },
      }),
      (c) => {
        const states = service.index.counts();
        const { rss, heapUsed } = Deno.memoryUsage();
        const families = [
          family("mentor_runs", "gauge", "Runs by state.", [
            ...runStates.map((state) => [{ state }, states[state] ?? 0] as const),
          ]),
          family("mentor_event_streams", "gauge", "Clients that watch events.", [
            [{}, service.streams],
          ]),
          family("mentor_http_requests_total", "counter", "Requests answered.", counts.totals()),
          family("mentor_http_request_seconds_total", "counter", "Time until answers began.", [
            [{}, counts.seconds],
          ]),
          family("mentor_uptime_seconds", "gauge", "Time since the server started.", [
            [{}, (performance.now() - started) / 1000],
          ]),
          family("mentor_memory_bytes", "gauge", "Memory of the server.", [
            [{ kind: "resident" }, rss],
            [{ kind: "heap" }, heapUsed],
          ]),
        ];
        return c.body(families.join(""), 200, {
          "content-type": "text/plain; version=0.0.4; charset=utf-8",
        });
      },
    );
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** A metric in the text format. Labels are words of this program, which need no escapes. */
function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text}"`).join(",");
    return `${name}${pairs === "" ? "" : `{${pairs}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}
