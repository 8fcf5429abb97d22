/**
 * What takes a token for control, on the page of somebody whose token is for reading.
 *
 * @module
 */

import { type Html, markup } from "../run/report/html.ts";
import type { Visitor } from "./shell.ts";

/** Attributes that disable it. */
export function controlOnly({ scope }: Visitor): Html | null {
  return scope === "control" ? null : markup` disabled aria-describedby="read-only"`;
}

/** Says why it is disabled, once on a page. @param what it is */
export function readOnlyNote({ scope }: Visitor, what: string): Html | null {
  return scope === "control"
    ? null
    : markup`<p class="note" id="read-only">Your token may read alone; ${what} takes one for control.</p>`;
}
