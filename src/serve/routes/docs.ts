/**
 * What the server can do, for programs and for readers; both made from the routes themselves.
 *
 * @module
 */

import { Hono } from "hono";
import { html, raw } from "hono/html";
import type { ServeEnv } from "../guards.ts";
import { describe, type OpenApiDocument } from "./openapi.ts";

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
h2 { margin-top: 2.5rem; font-size: 1.1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
`;

/** `/openapi.json` and `/docs`. */
export function docsRoutes(app: Hono<ServeEnv>) {
  let document: Promise<OpenApiDocument> | null = null;
  const described = () => document ??= describe(app);
  return new Hono<ServeEnv>()
    .get("/openapi.json", async (c) => c.json(await described()))
    .get("/docs", async (c) => c.html(page(await described())))
    .get("/docs.css", (c) => c.body(STYLE, 200, { "content-type": "text/css; charset=utf-8" }));
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema?: unknown }> };
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: { readonly description?: string };
}

function page({ info, paths }: OpenApiDocument) {
  const operations = Object.entries(paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item ?? {}).map(([method, operation]) =>
      section(method.toUpperCase(), path, operation as Operation)
    )
  );
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>${info.title} ${info.version}</title>
        <link rel="stylesheet" href="/docs.css">
      </head>
      <body>
    <h1>${info.title} ${info.version}</h1>
    <p>${info.description ??
      ""} <a href="/openapi.json">openapi.json</a> has the same for programs.</p>
    ${operations}
      </body>
    </html>
  `;
}

function section(
  method: string,
  path: string,
  { summary, description, parameters = [], requestBody, responses = {} }: Operation,
) {
  const body = requestBody?.content["application/json"]?.schema;
  return html`<h2><code>${method} ${path}</code></h2>
<p>${summary ?? ""}${description === undefined ? "" : `. ${description}`}</p>
${
    table(parameters.map(({ name, in: place, schema, description = schema?.description ?? "" }) =>
      [name, place, description] as const
    ))
  }
${
    body === undefined ? "" : html`
      <details>
        <summary>Body</summary>
        <pre>${JSON.stringify(body, null, 2)}</pre>
      </details>
    `
  }
${table(Object.entries(responses).map(([status, { description = "" }]) => [status, description]))}`;
}

function table(rows: readonly (readonly string[])[]) {
  if (rows.length === 0) return raw("");
  return html`<table>${
    rows.map((cells) =>
      html`<tr>${
        cells.map((cell, i) =>
          i === 0 ? html`<th><code>${cell}</code></th>` : html`<td>${cell}</td>`
        )
      }</tr>`
    )
  }</table>`;
}
