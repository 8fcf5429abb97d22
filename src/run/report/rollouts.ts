/**
 * Episodes on a page: samples beside each other, and single ones token by token.
 *
 * @module
 */

import type { ReportEpisode } from "./collect.ts";
import {
  callLine,
  colouring,
  MAX_TOKENS,
  numbersOf,
  outcome,
  type ShownCall,
  termTable,
  tokenText,
} from "./episode_parts.ts";
import { fixed, signed } from "./format.ts";
import { clip, type Html, markup, within } from "./html.ts";
import type { TokenNumbers } from "./page_parts.ts";

/** Bytes of the page that samples may take. */
const SAMPLE_BYTES = 160_000;
/** Bytes of the page that rollouts may take, numbers included. */
const ROLLOUT_BYTES = 800_000;
/** Most calls of a list that are shown. */
const CALLS = 30;

/** The first samples of some prompts, early and late, in columns. */
export function samples(steps: readonly (readonly ReportEpisode[])[]): Html {
  if (steps.length === 0) return markup`<p>There are no episodes: imitation has none.</p>`;
  const columns = steps.map((episodes) =>
    markup`<div>
<h3>Step ${episodes[0]?.step ?? "?"}</h3>
${within(episodes.map(sample), SAMPLE_BYTES / steps.length)}</div>
`
  );
  return markup`<p>The first sample of each of the first prompts of a step, not chosen by hand; every step draws other prompts.</p>
<div class="pair">${columns}</div>
`;
}

function sample(episode: ReportEpisode): Html {
  const { task, text, answer } = episode;
  return markup`<article>
<h4>${clip(task, 120)}</h4>
<p>${outcome(episode)} <small>right answer: ${clip(answer, 200)} &middot; reward ${
    fixed(episode.reward)
  }</small></p>
<pre>${clip(text, 3000)}</pre>
</article>
`;
}

/** Rollouts for the page. */
export interface RolloutViews {
  readonly body: Html;
  /** For the page's script. */
  readonly tokens: Readonly<Record<string, TokenNumbers>>;
  /** How many are shown. */
  readonly shown: number;
  /** Whether tokens beyond the limit were left out. */
  readonly cut: boolean;
}

/** As many rollouts as the page has room for, in order; one that does not fit is left out. */
export function rollouts(episodes: readonly ReportEpisode[]): RolloutViews {
  const tokens: Record<string, TokenNumbers> = {};
  const views: Html[] = [];
  let [left, shown, cut, step] = [ROLLOUT_BYTES, 0, false, NaN];
  for (const episode of episodes) {
    const id = `r${shown}`;
    const head = episode.step === step ? null : heading(episode);
    const view = markup`${head}${rollout(episode, id, shown === 0)}`;
    const numbers = episode.tokens ? numbersOf(episode.tokens) : null;
    const size = bytes(String(view)) + bytes(JSON.stringify(numbers));
    if (size > left) continue;
    left -= size;
    shown++;
    step = episode.step;
    views.push(view);
    if (numbers) tokens[id] = numbers;
    cut ||= (episode.tokens?.text.length ?? 0) > MAX_TOKENS;
  }
  const body = views.length === 0
    ? markup`<p>${episodes.length === 0 ? "There are none." : "They are too long for a page."}</p>`
    : markup`<p>Samples of the first prompt of an early, a middle and a late step. Point at a token for its numbers, or choose the text and use the arrow keys.</p>
<div class="viewer">
${colouring}
${views}</div>
`;
  return { body, tokens, shown, cut };
}

function heading({ step, task, answer }: ReportEpisode): Html {
  return markup`<h3>Step ${step}</h3>
<p class="note">Task ${clip(task, 120)}; right answer: ${clip(answer, 200)}</p>
`;
}

function rollout(episode: ReportEpisode, id: string, open: boolean): Html {
  const { sample, reward, advantage } = episode;
  return markup`<details${open ? markup` open` : null}>
<summary>Sample ${sample + 1}: ${outcome(episode)} <small>reward ${fixed(reward)}, advantage ${
    signed(advantage, 2)
  }</small></summary>
${text(episode, id)}
<div class="pair">${calls(episode)}<div><h4>Reward ${fixed(reward, 3)}</h4>
${termTable(episode)}</div>
</div>
</details>
`;
}

function text({ text, tokens }: ReportEpisode, id: string): Html {
  if (tokens) return tokenText(tokens, id);
  return markup`<pre>${clip(text, 10_000)}</pre>
<p class="note">This run did not record single tokens.</p>`;
}

/** What the student did beside what the teacher did. */
function calls({ attempts, reference }: ReportEpisode): Html {
  const teacher = reference === undefined
    ? markup`<p class="note">This run did not record it.</p>`
    : reference === null
    ? markup`<p class="note">The task has none.</p>`
    : markup`${
      callList(reference.calls.map((call) => ({ ...call, status: "ok" })))
    }<p>Answer: <code>${clip(reference.answer, 200)}</code></p>`;
  return markup`<div><h4>Calls</h4>
${callList(attempts)}
<h4>The teacher's calls</h4>
${teacher}</div>
`;
}

function callList(made: readonly ShownCall[]): Html {
  if (made.length === 0) return markup`<p>None.</p>`;
  const items = made.slice(0, CALLS).map((call) => markup`<li>${callLine(call)}</li>`);
  const more = made.length > CALLS ? markup`<li>\u2026 and ${made.length - CALLS} more</li>` : null;
  return markup`<ol>${items}${more}</ol>`;
}

const encoder = new TextEncoder();

function bytes(text: string): number {
  return encoder.encode(text).length;
}
