/**
 * Watching runs: curves, episodes, and events as they happen.
 *
 * @module
 */

import { Hono } from "hono";
import { describeRoute, validator } from "hono-openapi";
import * as v from "valibot";
import { refuseInvalid } from "../body.ts";
import { eventStream } from "../event_stream.ts";
import type { ServeEnv } from "../guards.ts";
import { curves, type EpisodeRange, episodes } from "../index/queries.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { answer, count, curve, defined, MAX_STEP, problems, runParam } from "./schemas.ts";

const instant = v.pipe(
  v.string(),
  v.isoTimestamp("a time as 2026-11-22T23:17:00Z is expected"),
  v.transform((text) => Date.parse(text)),
  // The pattern lets some through that are none, as 2026-11-22T23:17:00+05.
  v.number("a time as 2026-11-22T23:17:00Z is expected"),
);

const metricsQuery = v.object({
  names: v.optional(v.pipe(
    v.string(),
    v.maxLength(4096),
    v.transform((text) => [...new Set(text.split(","))]),
    v.description("Names of metrics, with commas between; all if absent"),
  )),
  fromStep: v.optional(count(0, MAX_STEP)),
  toStep: v.optional(count(0, MAX_STEP)),
  fromTime: v.optional(instant),
  toTime: v.optional(instant),
  points: v.optional(v.pipe(
    count(1, 10_000),
    v.description("Put steps together so that a curve has at most so many points"),
  )),
});

const episodesQuery = v.object({
  limit: v.optional(v.pipe(count(1, 500), v.description("Episodes on a page; 50 if absent"))),
  after: v.optional(v.pipe(count(0, MAX_STEP), v.description("`next` of the page before"))),
  order: v.optional(v.pipe(
    v.picklist(["oldest", "newest"]),
    v.description("`newest` has the latest step first, and a step's episodes as they were made"),
  )),
  step: v.optional(count(0, MAX_STEP)),
  group: v.optional(v.pipe(count(0, MAX_STEP), v.description("Which prompt of a step"))),
  correct: v.optional(v.picklist(["true", "false"])),
  task: v.optional(
    v.pipe(v.string(), v.maxLength(200), v.description("Part of the task's name")),
  ),
});

const eventsQuery = v.object({
  after: v.optional(v.pipe(
    v.string(),
    v.regex(/^\d{1,15}(-[0-9a-f]{8})?$/, "the id of an event is expected"),
    v.description("The id of the last event that is known, unless there is a `Last-Event-ID`"),
  )),
});

const episodePage = v.object({
  episodes: v.array(v.pipe(
    v.record(v.string(), v.unknown()),
    v.description("As in `episodes.jsonl`, with the number of its `line`"),
  )),
  next: v.nullable(v.number()),
});

/** How many clients may watch events at the same time. */
const MAX_STREAMS = 1000;

/** `/runs/:id/metrics`, `/runs/:id/episodes` and `/runs/:id/events`. */
export function watchRoutes(service: RunService) {
  const param = validator("param", runParam, refuseInvalid);
  return new Hono<ServeEnv>()
    .get(
      "/runs/:id/metrics",
      describeRoute({
        tags: ["runs"],
        summary: "Curves of a run: every number that it reports, by step",
        responses: {
          200: answer("The curves", v.object({ metrics: v.array(curve) })),
          ...problems(404),
        },
      }),
      param,
      validator("query", metricsQuery, refuseInvalid),
      (c) => {
        const { id } = service.run(c.req.valid("param").id);
        const range = defined(c.req.valid("query"));
        return c.json({ metrics: curves(service.index.database, id, range) }, 200);
      },
    )
    .get(
      "/runs/:id/episodes",
      describeRoute({
        tags: ["runs"],
        summary: "Episodes of a run, in the order in which they were made or the latest first",
        responses: { 200: answer("A page of them", episodePage), ...problems(404) },
      }),
      param,
      validator("query", episodesQuery, refuseInvalid),
      (c) => {
        const { id } = c.req.valid("param");
        const { limit = 50, order = "oldest", correct, ...rest } = c.req.valid("query");
        const range: EpisodeRange = {
          ...defined(rest),
          limit: limit + 1,
          newest: order === "newest",
          ...(correct === undefined ? {} : { correct: correct === "true" }),
        };
        const found = episodes(service.index.database, id, service.folder(id), range);
        const page = found.slice(0, limit);
        const next = found.length > limit ? page.at(-1)!.line : null;
        return c.json({
          episodes: page.map(({ line, episode }) => ({ line, ...episode as object })),
          next,
        }, 200);
      },
    )
    .get(
      "/runs/:id/events",
      describeRoute({
        tags: ["runs"],
        summary: "Events of a run as they happen, from the first or the last known one on",
        description:
          "Server-sent events. The data is a line of `events.jsonl`, the id its number " +
          "with a hash of it. An event `rewind` says how many lines still hold after a run went " +
          "back to a checkpoint; those after them are sent anew. The stream ends with the run.",
        responses: {
          200: {
            description: "The events",
            content: { "text/event-stream": { schema: { type: "string" } } },
          },
          204: { description: "The run has ended, and the client has all of its events" },
          ...problems(404, 503),
        },
      }),
      param,
      validator("query", eventsQuery, refuseInvalid),
      (c) => {
        const { feed, signal } = service.watch(c.req.valid("param").id);
        // As long as the answer is not a stream, which joins by itself.
        using reading = new DisposableStack();
        reading.defer(feed.join());
        const { after = null } = c.req.valid("query");
        const cursor = feed.after(c.req.header("last-event-id") ?? after);
        // This tells an EventSource not to come back.
        if (feed.isDone(cursor) && cursor.line > 0) return c.body(null, 204);
        const headers = {
          "content-type": "text/event-stream",
          "cache-control": "no-store",
          "x-accel-buffering": "no",
        };
        // Hono drops the body of an answer to HEAD, and would leave the stream open.
        if (c.req.method === "HEAD") return c.body(null, 200, headers);
        if (service.streams >= MAX_STREAMS) {
          throw new Problem(503, `${MAX_STREAMS} clients are watching already; try again later`, {
            headers: { "retry-after": "10" },
          });
        }
        service.streams++;
        const stream = eventStream(feed, cursor, {
          signal,
          onEnd: () => service.streams--,
        });
        return c.body(stream, 200, headers);
      },
    );
}
