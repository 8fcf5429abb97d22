/**
 * How far a run has come.
 *
 * @module
 */

import { NONE } from "../run/report/format.ts";
import { type Html, markup } from "../run/report/html.ts";

/** Steps done of all, with a bar; a dash before anybody knows how many there are. */
export function stepBar(step: number, steps: number | null): Html {
  if (steps === null) return markup`${NONE}`;
  return markup`<span class="steps"><progress max="${steps}" value="${step}" aria-label="${step} of ${steps} steps"></progress> ${step} of ${steps}</span>`;
}
