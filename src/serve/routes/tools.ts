/**
 * Calling tools: one call at a time, as it would run in an episode.
 *
 * @module
 */

import { Hono } from "hono";
import { describeRoute, validator } from "hono-openapi";
import * as v from "valibot";
import { readValid, refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import { limitConcurrency } from "../limits.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { jsonSchemaOf } from "./openapi.ts";
import { answer, problems } from "./schemas.ts";

/** Calls at the same time; there are fewer processes of an interpreter, so some of them wait. */
const MAX_CALLS = 8;

const toolParam = v.object({
  name: v.pipe(v.string(), v.regex(/^[A-Za-z_][\w.-]{0,63}$/, "a tool's name is expected")),
});

const toolList = v.object({
  tools: v.array(v.object({
    name: v.string(),
    description: v.string(),
    parameters: v.pipe(v.record(v.string(), v.unknown()), v.description("A JSON Schema")),
  })),
});

const toolCall = v.strictObject({
  arguments: v.pipe(v.record(v.string(), v.unknown()), v.description("By name")),
});

const toolResult = v.object({
  status: v.pipe(
    v.picklist(["ok", "bad-arguments", "failed"]),
    v.description("Whether the tool took the arguments, and did what it is for"),
  ),
  result: v.pipe(v.string(), v.description("What a model is told of it")),
});

/** `/tools`, and each of them. */
export function toolRoutes(service: RunService) {
  return new Hono<ServeEnv>()
    .get(
      "/tools",
      describeRoute({
        tags: ["tools"],
        summary: "List the tools that can be called",
        responses: { 200: answer("Those that are allowed and run here", toolList), ...problems() },
      }),
      (c) => c.json({ tools: service.tools.specs }, 200),
    )
    .post(
      "/tools/:name",
      describeRoute({
        tags: ["tools"],
        summary: "Call a tool, within the limits of a call in an episode",
        requestBody: {
          required: true,
          content: { "application/json": { schema: jsonSchemaOf(toolCall) } },
        },
        responses: {
          200: answer("What came of it, also where the tool failed", toolResult),
          ...problems(404, 415, 503),
        },
      }),
      limitConcurrency(MAX_CALLS),
      validator("param", toolParam, refuseInvalid),
      async (c) => {
        const { name } = c.req.valid("param");
        const { arguments: args } = await readValid(c, toolCall);
        return c.json(await call(service, name, args, c.req.raw.signal), 200);
      },
    );
}

/** @throws {Problem} 404 if there is no such tool, 503 if it can't be had, or the call was cut short */
async function call(
  { tools, ending }: RunService,
  name: string,
  args: Record<string, unknown>,
  gone: AbortSignal,
): Promise<v.InferOutput<typeof toolResult>> {
  const signal = AbortSignal.any([gone, ending.signal]);
  const outcome = await tools.call(name, args, signal).catch((error) => {
    if (!signal.aborted) throw error;
    throw new Problem(503, "The call was ended: the server stops, or nobody waits any more");
  });
  if (outcome === null) {
    throw new Problem(404, `There is no tool "${name}"; GET /tools lists those that there are`);
  }
  if (outcome.unavailable) {
    throw new Problem(503, `"${name}" can't be had now: ${outcome.unavailable.message}`);
  }
  return { status: outcome.status, result: outcome.text };
}
