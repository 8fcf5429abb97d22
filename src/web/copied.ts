/**
 * Text to be taken elsewhere.
 *
 * @module
 */

import { type Html, markup } from "../run/report/html.ts";

/** An element with a text, or one that a script fills, and a button that copies what is in it. */
export function copied(id: string, text = ""): Html {
  return markup`<div class="copied">
<pre id="${id}" tabindex="0">${text}</pre>
<p><button type="button" data-copy="${id}">Copy</button> <output class="note"></output></p>
</div>`;
}
