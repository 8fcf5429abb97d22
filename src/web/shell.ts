/**
 * What every page of the dashboard has around it.
 *
 * @module
 */

import { type Html, markup } from "../run/report/html.ts";
import { dataElement, type PageData, themeButton } from "../run/report/page_parts.ts";
import { type AssetName, assetUrl } from "./assets.ts";

/** When a page that is open shows what is new. Only its live parts change. */
export type Live =
  /** Whenever the events of a run bring something: the path of the stream. */
  | { readonly events: string }
  /** So often, in milliseconds. */
  | { readonly every: number };

/** How often a page is looked at again where no events tell of what is new, in milliseconds. */
export const EVERY_MS = 5000;

/** A page of the dashboard. */
export interface DashboardPage extends PageData {
  readonly title: string;
  /** Below the title. */
  readonly lead?: Html;
  readonly body: Html;
  readonly live?: Live;
  /** Scripts of this page alone. */
  readonly scripts?: readonly AssetName[];
}

/** A part of a page that changes while the page is open; the focus of what leaves it goes to it. */
export function livePart(id: string, content: unknown): Html {
  return markup`<div id="${id}" data-live tabindex="-1">${content}</div>`;
}

/** For whom a page is. */
export interface Visitor {
  /** The path that was asked for. */
  readonly path: string;
  /** Name of the token; null where none is needed. */
  readonly name: string | null;
  /** Whether what changes something is for them, or looking alone. */
  readonly scope: "read" | "control";
}

const places: readonly [path: string, title: string][] = [
  ["/", "Runs"],
  ["/ui/compare", "Compare"],
  ["/ui/start", "Start a run"],
  ["/ui/playground", "Playground"],
  ["/docs", "API"],
];

/** The page as the text of an answer. */
export function renderShell(page: DashboardPage, { path, name }: Omit<Visitor, "scope">): string {
  const { title, lead, body, live, scripts = [] } = page;
  const files = new Set<AssetName>([
    "page.js",
    "request.js",
    ...live ? ["live.js"] as const : [],
    ...scripts,
    ...name === null ? [] : ["session.js"] as const,
  ]);
  return String(markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} &middot; Mentor</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${assetUrl("style.css")}">
</head>
<body${live ? markup` ${liveAttribute(live)}` : null}>
<a class="skip" href="#content">Skip to the content</a>
<header class="app">
<a class="brand" href="/">Mentor</a>
<nav aria-label="Pages">
<ul>
${
    places.map(([to, text]) =>
      markup`<li><a href="${to}"${
        to === path ? markup` aria-current="page"` : null
      }>${text}</a></li>
`
    )
  }</ul>
</nav>
<div class="actions">${
    name === null ? null : markup`<button type="button" id="sign-out">Sign out ${name}</button>`
  }${themeButton}</div>
</header>
<main id="content">
<h1>${title}</h1>
${live ? markup`<p id="stale" class="bad" role="status" hidden></p>` : null}
${lead}
${body}
</main>
<footer>
<p>Charts by uPlot, &copy; Leon Sorokin, MIT License.</p>
</footer>
${dataElement(page)}
${[...files].map((file) => markup`<script src="${assetUrl(file)}"></script>\n`)}</body>
</html>
`);
}

function liveAttribute(live: Live): Html {
  return "events" in live
    ? markup`data-events="${live.events}"`
    : markup`data-every="${live.every}"`;
}
