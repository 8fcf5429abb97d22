/**
 * A page that is one file: its style, script, chart library and data are in it, and its own policy
 * forbids it to load anything or to run any other script.
 *
 * @module
 */

import { type Html, markup, trusted } from "./html.ts";
import {
  dataElement,
  digest,
  type PageData,
  pageScript,
  pageStyle,
  themeButton,
} from "./page_parts.ts";

/** A part of a page. */
export interface Section {
  /** For links; letters and hyphens. */
  readonly id: string;
  readonly title: string;
  readonly body: Html;
}

/** What a page consists of. */
export interface Page extends PageData {
  readonly title: string;
  /** Below the title. */
  readonly lead: Html;
  readonly sections: readonly Section[];
}

const policy = [
  "default-src 'none'",
  "img-src data:",
  `style-src 'sha256-${digest(pageStyle)}'`,
  `script-src 'sha256-${digest(pageScript)}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** The page as the text of an HTML file. */
export function renderPage({ title, lead, sections, ...data }: Page): string {
  return String(markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${trusted(pageStyle)}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<div class="bar">
<span class="brand">Mentor</span>
${themeButton}
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
${dataElement(data)}
<script>${trusted(pageScript)}</script>
</body>
</html>
`);
}

/** A part of a page as an element, with its title. */
export function sectionOf({ id, title, body }: Section): Html {
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
