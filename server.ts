/**
 * The HTTP server: starts, watches, pauses and stops training runs.
 *
 * @example
 * ```ts ignore
 * import { app } from "./server.ts";
 * Deno.serve({ hostname: "127.0.0.1" }, app.fetch);
 * ```
 * @module
 */

import "./mod.ts";
import { openApp, type ServerOptions } from "./src/serve/serve.ts";

export { MentorServer } from "./src/serve/serve.ts";
export type { Listening, ServerOptions } from "./src/serve/serve.ts";

/**
 * The server as a Hono app. Nothing is opened before the first request about runs; from then on it
 * starts the runs of the queue.
 */
export function createApp(options: ServerOptions = {}): App {
  return openApp(options).app;
}

/** The app's type, for a typed client: `hc<App>("http://localhost:8000")`. */
export type App = ReturnType<typeof openApp>["app"];

/** The app over the runs in `runs/`, for programs of this machine. */
export const app: App = createApp();
