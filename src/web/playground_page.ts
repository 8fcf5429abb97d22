/**
 * Where people talk to the models that the server offers.
 *
 * @module
 */

import { clip, type Html, markup } from "../run/report/html.ts";
import { logprobScale, PROBABILITY_BOUNDS } from "../run/report/episode_parts.ts";
import { controlOnly, readOnlyNote } from "./control_only.ts";
import { copied } from "./copied.ts";
import type { DashboardPage, Visitor } from "./shell.ts";
import { runUrl } from "./urls.ts";

/** A tool as a model is told of it. */
export interface OfferedTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: unknown;
}

/** Whom and what there is to talk to and with. */
export interface PlaygroundView {
  /** Ids of the models. */
  readonly models: readonly string[];
  /** Tools that the server calls. */
  readonly tools: readonly OfferedTool[];
  /** Models of finished runs, which the server could offer. */
  readonly trained: readonly { readonly id: string; readonly path: string }[];
}

/** Turns that a model may make in answer to one message, where all but the last call tools. */
const ROUNDS = 8;

/** The page at `/ui/playground`. */
export function playgroundPage(view: PlaygroundView, visitor: Visitor): DashboardPage {
  if (view.models.length === 0) {
    return { title: "Playground", body: howToOffer(view.trained), scripts: ["copy.js"] };
  }
  const { models, tools } = view;
  return {
    title: "Playground",
    lead:
      markup`<p>One model at a time is on the GPU; the first answer of another one includes the time that it takes to load.</p>`,
    body: markup`${readOnlyNote(visitor, "talking to a model")}
<form id="playground" autocomplete="off" novalidate${
      visitor.name === null ? null : markup` data-token`
    }>
<fieldset class="all talk"${controlOnly(visitor)}>
<div>
<p class="model"><label for="model">Model</label> <select id="model">${
      models.map((id) => markup`<option>${id}</option>`)
    }</select></p>
<h2 class="unseen">Conversation</h2>
<ol id="messages" class="messages" data-bounds="${PROBABILITY_BOUNDS.join(" ")}"></ol>
<p id="failure" class="bad" role="alert" hidden></p>
<p id="state" class="note"></p>
<p class="unseen" role="status" id="news"></p>
<label for="said">Message</label>
<textarea id="said" rows="3" aria-describedby="keys"></textarea>
<p class="send"><button class="main" id="send">Send</button> <button type="button" id="stop" hidden>Stop</button> <span class="note" id="keys">Ctrl+Enter sends</span></p>
<p class="send"><button type="button" id="retry" disabled>Answer again</button> <button type="button" id="edit" disabled>Edit the last message</button> <button type="button" id="clear" disabled>Clear</button></p>
</div>
<section class="options" aria-label="How the model answers">
<p><label for="system">System prompt</label> <textarea id="system" rows="3"></textarea></p>
<div class="numbers">
${number("temperature", "Temperature", "1", { min: 0, max: 2, step: "any" })}
${number("top_p", "Top p", "1", { min: 0, max: 1, step: "any" })}
${number("max_tokens", "Max tokens", "as many as fit", { min: 1, step: 1 })}
${number("seed", "Seed", "random", { step: 1 })}
</div>
<p><label class="choice"><input type="checkbox" id="logprobs"> Show log-probabilities</label></p>
${logprobScale}
<h2>Tools</h2>
${serverTools(tools)}
<p><label for="own">Your own, as JSON</label> <textarea id="own" rows="4" spellcheck="false" class="code" aria-describedby="own-hint own-wrong" placeholder="${EXAMPLE}"></textarea>
<span class="note" id="own-hint">One definition, or a list of them, as OpenAI's API has them. You give the results of their calls.</span>
<span class="bad wrong" id="own-wrong" hidden></span></p>
${
      number("rounds", "Rounds of calls for a message, at most", String(ROUNDS), {
        min: 1,
        max: 100,
        step: 1,
      })
    }
</section>
</fieldset>
</form>
<details id="command">
<summary>As curl</summary>
${copied("as-curl")}
</details>`,
    scripts: ["copy.js", "chat_client.js", "chat_view.js", "playground.js"],
  };
}

const EXAMPLE =
  `{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}`;

/** A field for a number; `bounds` are its least and greatest, and the step between values. */
function number(
  id: string,
  label: string,
  placeholder: string,
  { min, max, step }: { min?: number; max?: number; step: number | "any" },
): Html {
  const limits = [["min", min], ["max", max], ["step", step]] as const;
  return markup`<p><label for="${id}">${label}</label> <input type="number" id="${id}" placeholder="${placeholder}"${
    limits.map(([name, value]) => value === undefined ? null : markup` ${name}="${value}"`)
  }></p>`;
}

function serverTools(tools: readonly OfferedTool[]): Html {
  if (tools.length === 0) {
    return markup`<p class="note">The server calls none. Which it may is said by <code>./mentor serve --allow-tools</code>.</p>`;
  }
  return markup`<fieldset class="offered">
<legend>The server calls these by itself</legend>
${
    tools.map((tool) =>
      markup`<label><input type="checkbox" name="tool" checked data-tool="${
        JSON.stringify(tool)
      }"> <code>${tool.name}</code> <span class="note">${clip(tool.description, 160)}</span></label>
`
    )
  }<p><button type="button" id="all-tools">None of them</button></p>
</fieldset>`;
}

/** Instead of a conversation, where there is nobody to talk to. */
function howToOffer(trained: PlaygroundView["trained"]): Html {
  const example = trained.length === 0
    ? "nano=assets/base-nano"
    : trained.slice(0, 3).map(({ id, path }) => `${id}=${path}`).join(",");
  return markup`<p>The server offers no models. Start it with some, each by a name of your choice:</p>
${copied("as-command", `./mentor serve --models ${example}`)}
${
    trained.length === 0 ? null : markup`<h2>Models of finished runs</h2>
<ul>
${
      trained.map(({ id, path }) =>
        markup`<li><a href="${runUrl(id)}">${clip(id, 60)}</a>: <code>${path}</code></li>\n`
      )
    }</ul>`
  }`;
}
