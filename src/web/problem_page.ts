/**
 * What a person gets where a page cannot be shown.
 *
 * @module
 */

import { clip, markup } from "../run/report/html.ts";
import type { DashboardPage } from "./shell.ts";

/** A page that says what went wrong. */
export function problemPage({ title, detail }: { title: string; detail: string }): DashboardPage {
  return {
    title,
    body: markup`<p class="bad">${clip(detail, 2000)}</p>
<p><a href="/">All runs</a></p>`,
  };
}
