/**
 * A page that is one file: its style, script, chart library and data are in it, and its own policy
 * forbids it to load anything or to run any other script.
 *
 * @module
 */

import { createHash } from "node:crypto";
import license from "uplot/LICENSE" with { type: "text" };
import library from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import libraryStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import type { Chart } from "./chart.ts";
import { type Html, markup, trusted, visible } from "./html.ts";
import style from "./page.css" with { type: "text" };
import script from "./page.js" with { type: "text" };

/** A part of a page. */
export interface Section {
  /** For links; letters and hyphens. */
  readonly id: string;
  readonly title: string;
  readonly body: Html;
}

/** What a page consists of. */
export interface Page {
  readonly title: string;
  /** Below the title. */
  readonly lead: Html;
  readonly sections: readonly Section[];
  /** Every chart that a section has the figure of. */
  readonly charts: readonly Chart[];
  /** What the script shows of each token, by the id of the rollout. */
  readonly tokens?: Readonly<Record<string, TokenNumbers>>;
}

/** Numbers of the tokens of a rollout, in order. */
export interface TokenNumbers {
  /** "1" where the model sampled the token. */
  readonly mask: string;
  readonly logprobs: readonly (number | null)[];
  /** One for the whole rollout, or one per token. */
  readonly advantages: number | null | readonly (number | null)[];
}

const styles = `${libraryStyle}\n${style}`;
const scripts = `/*\n${license}*/\n${library}\n${script}`;

const policy = [
  "default-src 'none'",
  "img-src data:",
  `style-src '${digest(styles)}'`,
  `script-src '${digest(scripts)}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** The page as the text of an HTML file. */
export function renderPage({ title, lead, sections, charts, tokens = {} }: Page): string {
  return String(markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${trusted(styles)}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<div class="bar">
<span class="brand">Mentor</span>
<button type="button" id="theme" hidden>Theme</button>
</div>
<h1>${title}</h1>
${lead}
</header>
<nav aria-label="Sections">
<ul>
${sections.map(({ id, title }) => markup`<li><a href="#${id}">${title}</a></li>\n`)}
</ul>
</nav>
<main id="content">
${sections.map(sectionOf)}
</main>
<footer>
<p>Made by Mentor. Charts by uPlot, &copy; Leon Sorokin, MIT License.</p>
</footer>
<script type="application/json" id="data">${trusted(json({ charts, tokens }))}</script>
<script>${trusted(scripts)}</script>
</body>
</html>
`);
}

function sectionOf({ id, title, body }: Section): Html {
  return markup`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${body}
</section>
`;
}

/** A table that scrolls sideways by itself where it is wider than the page. */
export function wide(label: string, table: Html): Html {
  return markup`<section class="wide" aria-label="${label}" tabindex="0">
${table}
</section>
`;
}

/** JSON that cannot end the script element that it is in. */
function json(value: unknown): string {
  return JSON.stringify(value, (_, part) => typeof part === "string" ? visible(part) : part)
    .replaceAll("<", "\\u003c");
}

function digest(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
