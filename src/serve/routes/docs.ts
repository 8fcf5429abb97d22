/**
 * What the server can do, for programs and for readers; both made from the routes themselves.
 *
 * @module
 */

import { Hono } from "hono";
import { apiPage, type Operation } from "../../web/api_page.ts";
import type { ServeEnv } from "../guards.ts";
import { describe, type OpenApiDocument } from "./openapi.ts";
import { show } from "./pages.ts";

/** `/openapi.json` and `/docs`. */
export function docsRoutes(app: Hono<ServeEnv>) {
  let document: Promise<OpenApiDocument> | null = null;
  const described = () => document ??= describe(app);
  return new Hono<ServeEnv>()
    .get("/openapi.json", async (c) => c.json(await described()))
    .get("/docs", async (c) => {
      const { info, paths } = await described();
      const routes = Object.entries(paths ?? {}).flatMap(([path, item]) =>
        Object.entries(item ?? {}).map(([method, operation]) => ({
          method: method.toUpperCase(),
          path,
          operation: operation as Operation,
        }))
      );
      return show(c, apiPage(info.version, routes));
    });
}
