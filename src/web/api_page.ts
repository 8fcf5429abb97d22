/**
 * What can be asked of the server, route by route.
 *
 * @module
 */

import { type Html, markup } from "../run/report/html.ts";
import { wide } from "../run/report/page.ts";
import type { DashboardPage } from "./shell.ts";

/** A parameter of a request, as OpenAPI has it. */
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly description?: string;
  readonly schema?: { readonly description?: string };
}

/** What can be asked, as OpenAPI has it. */
export interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema?: unknown }> };
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
}

/** A route, with what can be asked there. */
export interface Route {
  /** In capitals. */
  readonly method: string;
  /** With `{name}` where something is to be put in. */
  readonly path: string;
  readonly operation: Operation;
}

/** The page at `/docs`. */
export function apiPage(version: string, routes: readonly Route[]): DashboardPage {
  return {
    title: "API",
    lead:
      markup`<p>Version ${version}. <a href="/openapi.json">openapi.json</a> has the same for programs. What is below <code>/v1</code> is as OpenAI describes it.</p>`,
    body: markup`${routes.map(section)}`,
  };
}

function section({ method, path, operation }: Route): Html {
  const { summary = "", description, parameters = [], requestBody, responses = {} } = operation;
  const body = requestBody?.content["application/json"]?.schema;
  return markup`<section class="operation">
<h2><code>${method} ${path}</code></h2>
<p>${prose(description === undefined ? summary : `${summary}. ${description}`)}</p>
${
    table(
      `Parameters of ${method} ${path}`,
      ["parameter", "in", "meaning"],
      parameters.map(({ name, in: place, schema, description = schema?.description ?? "" }) => [
        ...[name, place, description],
      ]),
    )
  }
${
    body === undefined ? null : markup`<details>
<summary>Body</summary>
<pre>${JSON.stringify(body, null, 2)}</pre>
</details>
`
  }${
    table(
      `Answers to ${method} ${path}`,
      ["status", "meaning"],
      Object.entries(responses).map(([status, { description = "" }]) => [status, description]),
    )
  }</section>
`;
}

/** Text in which backticks stand around code. */
function prose(text: string): Html {
  return markup`${
    text.split("`").map((part, i) => i % 2 === 0 ? part : markup`<code>${part}</code>`)
  }`;
}

function table(
  label: string,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): Html | null {
  if (rows.length === 0) return null;
  return wide(
    label,
    markup`<table>
<thead><tr>${titles.map((title) => markup`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>
${
      rows.map(([name, ...rest]) =>
        markup`<tr><th scope="row"><code>${name}</code></th>${
          rest.map((cell) => markup`<td>${prose(cell)}</td>`)
        }</tr>
`
      )
    }</tbody>
</table>`,
  );
}
