/**
 * `/openapi.json`: what the server can do, generated from the schemas that it checks with.
 *
 * @module
 */

import { toJsonSchema } from "@valibot/to-json-schema";
import type { Hono } from "hono";
import { generateSpecs } from "hono-openapi";
import type * as v from "valibot";
import deno from "../../../deno.json" with { type: "json" };
import type { ServeEnv } from "../guards.ts";

/** The OpenAPI document of an app. */
export type OpenApiDocument = Awaited<ReturnType<typeof generateSpecs>>;

/** The JSON schema of what a schema takes. */
// deno-lint-ignore no-explicit-any -- two packages have two types for the same JSON
export function jsonSchemaOf(schema: v.GenericSchema): any {
  // A list of different items is more than JSON Schema says here; it is checked all the same.
  const { $schema: _, ...rest } = toJsonSchema(schema, { typeMode: "input", errorMode: "ignore" });
  return rest;
}

/** Describes an app, in OpenAPI 3.1. */
export function describe(app: Hono<ServeEnv>): Promise<OpenApiDocument> {
  return generateSpecs(app, {
    documentation: {
      info: {
        title: "Mentor",
        version: deno.version,
        description: "Starts, watches, pauses and stops training runs.",
        license: { name: deno.license },
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }, {}],
    },
  });
}
