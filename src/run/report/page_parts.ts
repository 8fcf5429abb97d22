/**
 * What every page of a run has in common: the style, the scripts and the data that these show.
 *
 * @module
 */

import { createHash } from "node:crypto";
import license from "uplot/LICENSE" with { type: "text" };
import library from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import libraryStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import type { Chart } from "./chart.ts";
import chartScript from "./charts.js" with { type: "text" };
import { type Html, markup, trusted, visible } from "./html.ts";
import style from "./page.css" with { type: "text" };
import themeScript from "./theme.js" with { type: "text" };
import tokenScript from "./tokens.js" with { type: "text" };

/** Numbers of the tokens of a rollout, in order. */
export interface TokenNumbers {
  /** "1" where the model sampled the token. */
  readonly mask: string;
  readonly logprobs: readonly (number | null)[];
  /** One for the whole rollout, or one per token. */
  readonly advantages: number | null | readonly (number | null)[];
}

/** What the scripts show. */
export interface PageData {
  /** Every chart that the page has the figure of. */
  readonly charts?: readonly Chart[];
  /** What is shown of each token, by the id of the rollout. */
  readonly tokens?: Readonly<Record<string, TokenNumbers>>;
}

/** CSS of the page and its charts. */
export const pageStyle = `${libraryStyle}\n${style}`;

/** The theme button, the charts and the readout of tokens; after all of the page's elements. */
export const pageScript = [`/*\n${license}*/`, library, themeScript, chartScript, tokenScript]
  .join("\n");

/** The element that the scripts read. */
export function dataElement({ charts = [], tokens = {} }: PageData): Html {
  return markup`<script type="application/json" id="data">${
    trusted(json({ charts, tokens }))
  }</script>`;
}

/** The button that the theme's script shows. */
export const themeButton = markup`<button type="button" id="theme" hidden>Theme</button>`;

/** SHA-256 in base64, as a page's policy names its scripts. */
export function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

/** JSON that cannot end the script element that it is in. */
function json(value: unknown): string {
  return JSON.stringify(value, (_, part) => typeof part === "string" ? visible(part) : part)
    .replaceAll("<", "\\u003c");
}
