/**
 * The HTTP server as a function from requests to answers, put together from its routes.
 *
 * @module
 */

import { Hono } from "hono";
import { cors } from "hono/cors";
import { secureHeaders } from "hono/secure-headers";
import { guardIdentity, type GuardOptions, guardOrigin, type ServeEnv } from "./guards.ts";
import { type InferenceEngine, inferenceRoutes } from "./openai/mod.ts";
import { limitConcurrency, limitRate } from "./limits.ts";
import { Problem } from "./problem.ts";
import { logRequests, RequestCounts, type RequestRecord } from "./request_log.ts";
import { nameRoutes } from "./route_names.ts";
import { docsRoutes } from "./routes/docs.ts";
import { episodePageRoutes } from "./routes/episode_pages.ts";
import { fileRoutes } from "./routes/files.ts";
import { operationRoutes } from "./routes/operations.ts";
import { answerError, pageRoutes } from "./routes/pages.ts";
import { runPageRoutes } from "./routes/run_pages.ts";
import { runRoutes } from "./routes/runs.ts";
import { sessionRoutes } from "./routes/session.ts";
import { startRoutes } from "./routes/start_pages.ts";
import { toolRoutes } from "./routes/tools.ts";
import { watchRoutes } from "./routes/watch.ts";
import type { RunService } from "./service.ts";

/** How requests are let in and written down. */
export interface AppOptions extends GuardOptions {
  /** Requests of a client in a second. */
  readonly rate: number;
  /** Called with every request that was answered. */
  readonly onRequest: (record: RequestRecord) => void;
}

/** Requests that are served at the same time; streams of events count only while they begin. */
const MAX_CONCURRENT = 256;

/** The app over the runs of a service, and the models of an engine. */
export function buildApp(service: RunService, engine: InferenceEngine, options: AppOptions) {
  const counts = new RequestCounts();
  const app = new Hono<ServeEnv>();
  app.onError(answerError);
  app.notFound((c) => {
    throw new Problem(404, `There is nothing at ${c.req.path}`);
  });
  app.use(logRequests(counts, options.onRequest));
  app.use(nameRoutes());
  app.use(secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", "data:"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'self'"],
      frameAncestors: ["'none'"],
    },
    xFrameOptions: "DENY",
    referrerPolicy: "no-referrer",
    // The server itself speaks HTTP; a proxy that speaks HTTPS says so by itself.
    strictTransportSecurity: false,
  }));
  app.use(limitConcurrency(MAX_CONCURRENT));
  app.use(guardOrigin(options));
  if (options.origins.length > 0) {
    app.use(cors({
      origin: [...options.origins],
      allowMethods: ["GET", "POST", "DELETE"],
      allowHeaders: ["authorization", "content-type", "last-event-id"],
      exposeHeaders: ["location", "retry-after", "content-range"],
      maxAge: 600,
    }));
  }
  app.use(guardIdentity(options));
  app.use(limitRate(options.rate));
  const routes = app
    .route("/", operationRoutes(service, counts))
    .route("/", runRoutes(service))
    .route("/", watchRoutes(service))
    .route("/", fileRoutes(service))
    .route("/", toolRoutes(service))
    .route("/", inferenceRoutes(engine))
    .route("/", sessionRoutes())
    .route("/", pageRoutes(service))
    .route("/", runPageRoutes(service))
    .route("/", episodePageRoutes(service))
    .route("/", startRoutes(service, engine));
  routes.route("/", docsRoutes(app));
  refuseOtherMethods(app);
  return routes;
}

/** Answers 405 where there is something for another method. */
function refuseOtherMethods(app: Hono<ServeEnv>): void {
  const methods = Map.groupBy(
    app.routes.filter(({ method }) => method !== "ALL"),
    ({ path }) => path,
  );
  for (const [path, routes] of methods) {
    const allowed = [...new Set(routes.map(({ method }) => method))];
    if (allowed.includes("GET")) allowed.push("HEAD");
    app.all(path, (c) => {
      throw new Problem(405, `${c.req.method} is not for ${c.req.path}`, {
        headers: { allow: allowed.join(", ") },
      });
    });
  }
}
