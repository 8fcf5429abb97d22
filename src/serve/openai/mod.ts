/**
 * OpenAI's API over the models of an engine.
 *
 * @module
 */

import { Hono } from "hono";
import { chatCompletion } from "./chat.ts";
import { textCompletion } from "./completions.ts";
import type { InferenceEngine } from "./engine.ts";
import { ApiError, asApiError } from "./errors.ts";

export { InferenceEngine } from "./engine.ts";
export type { EngineOptions, Lease, ServedModel } from "./engine.ts";
export { ApiError } from "./errors.ts";
export { inferenceFlags, inferenceOptions, openEngine } from "./flags.ts";
export type { InferenceOptions } from "./flags.ts";
export { loadServed } from "./load.ts";
export type { ServingOptions } from "./load.ts";

/**
 * The routes below `/v1`. Who may use them, and how large a body may be, is for the app to say that
 * mounts them.
 */
export function inferenceRoutes(engine: InferenceEngine): Hono {
  const app = new Hono();
  app.onError((error) =>
    // Only a client that leaves aborts anything, and nobody reads the answer then.
    error.name === "AbortError"
      ? new Response(null, { status: 499 })
      : asApiError(error, (error) => engine.report(error)).toResponse()
  );
  app.post("/v1/chat/completions", ({ req }) => chatCompletion(engine, req.raw, leaving(req.raw)));
  app.post("/v1/completions", ({ req }) => textCompletion(engine, req.raw, leaving(req.raw)));
  const described = (id: string) => ({
    id,
    object: "model",
    created: engine.created,
    owned_by: "mentor",
  });
  app.get("/v1/models", (c) => c.json({ object: "list", data: engine.models.map(described) }));
  app.get("/v1/models/:id{.+}", (c) => {
    const id = c.req.param("id");
    if (engine.models.includes(id)) return c.json(described(id));
    throw new ApiError(404, `The model "${id}" does not exist`, {
      param: "model",
      code: "model_not_found",
    });
  });
  return app;
}

/** Aborted, with the error that is meant for it, once the client leaves: servers give any reason. */
function leaving({ signal }: Request): AbortSignal {
  const left = new AbortController();
  if (signal.aborted) left.abort();
  else signal.addEventListener("abort", () => left.abort(), { once: true });
  return left.signal;
}
