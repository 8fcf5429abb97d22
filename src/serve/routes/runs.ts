/**
 * Starting, listing and steering runs.
 *
 * @module
 */

import { Hono } from "hono";
import { describeRoute, validator } from "hono-openapi";
import { runConfigSchema } from "../../run/config/schema.ts";
import { requestedConfig } from "../allowed.ts";
import { readJson, readNothing, refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import type { RunService } from "../service.ts";
import { detailOf, pageOf } from "./run_view.ts";
import { answer, listQuery, problems, runDetail, runPage, runParam } from "./schemas.ts";
import { jsonSchemaOf } from "./openapi.ts";

/** `/runs`, `/runs/:id` and what can be asked of a run. */
export function runRoutes(service: RunService) {
  const { runs, allowed } = service.options;
  const steered = (what: string) =>
    describeRoute({
      tags: ["runs"],
      summary: what,
      responses: {
        202: answer("Asked; the run does so at the end of its step", runDetail),
        ...problems(404, 409, 415, 503),
      },
    });
  const param = validator("param", runParam, refuseInvalid);
  return new Hono<ServeEnv>()
    .post(
      "/runs",
      describeRoute({
        tags: ["runs"],
        summary: "Start a run: it waits in the queue for its turn",
        requestBody: {
          required: true,
          content: { "application/json": { schema: jsonSchemaOf(runConfigSchema) } },
        },
        responses: {
          201: answer("The run; `Location` is where it is found", runDetail),
          ...problems(415),
        },
      }),
      async (c) => {
        const config = requestedConfig(await readJson(c), runs, allowed);
        const id = service.supervisor.create(config);
        service.supervisor.tick();
        c.header("Location", `/runs/${id}`);
        return c.json(detailOf(service, id), 201);
      },
    )
    .get(
      "/runs",
      describeRoute({
        tags: ["runs"],
        summary: "List the runs, newest first",
        responses: { 200: answer("A page of them", runPage), ...problems() },
      }),
      validator("query", listQuery, refuseInvalid),
      (c) => c.json(pageOf(service, c.req.valid("query")), 200),
    )
    .get(
      "/runs/:id",
      describeRoute({
        tags: ["runs"],
        summary: "Show a run",
        responses: { 200: answer("The run", runDetail), ...problems(404) },
      }),
      param,
      (c) => c.json(detailOf(service, c.req.valid("param").id), 200),
    )
    .delete(
      "/runs/:id",
      describeRoute({
        tags: ["runs"],
        summary: "Delete a run with all its files; one that is being made has to be stopped first",
        responses: { 204: { description: "It is gone" }, ...problems(404, 409, 415, 503) },
      }),
      param,
      async (c) => {
        await readNothing(c);
        await service.delete(c.req.valid("param").id);
        return c.body(null, 204);
      },
    )
    .post(
      "/runs/:id/pause",
      steered("Let a run save and wait at the end of its step"),
      param,
      async (c) => {
        await readNothing(c);
        const { id } = c.req.valid("param");
        await service.supervisor.pause(id);
        return c.json(detailOf(service, id), 202);
      },
    )
    .post(
      "/runs/:id/resume",
      steered("Let a run go on that waits, was stopped, was killed or failed"),
      param,
      async (c) => {
        await readNothing(c);
        const { id } = c.req.valid("param");
        await service.supervisor.resume(id);
        service.supervisor.tick();
        return c.json(detailOf(service, id), 202);
      },
    )
    .post(
      "/runs/:id/stop",
      steered("Let a run save and end after its step; one in the queue leaves it"),
      param,
      async (c) => {
        await readNothing(c);
        const { id } = c.req.valid("param");
        await service.supervisor.stop(id);
        return c.json(detailOf(service, id), 202);
      },
    );
}
