/**
 * Episodes on a page: samples beside each other, and single ones token by token.
 *
 * @module
 */

import type { ReportEpisode } from "./collect.ts";
import { compactJson, fixed, isNumber, signed } from "./format.ts";
import { clip, type Html, markup, within } from "./html.ts";
import type { TokenNumbers } from "./page_parts.ts";

/** Bytes of the page that samples may take. */
const SAMPLE_BYTES = 160_000;
/** Bytes of the page that rollouts may take, numbers included. */
const ROLLOUT_BYTES = 800_000;
/** Most tokens of a rollout that are shown. */
const TOKENS = 2500;
/** Most calls of an episode that are shown. */
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

function outcome({ correct, finished, unavailable }: ReportEpisode): Html {
  if (unavailable) return markup`<span>not scored: ${clip(unavailable, 200)}</span>`;
  if (correct) return markup`<span class="good">\u2713 correct</span>`;
  return markup`<span class="bad">\u2717 ${finished ? "wrong" : "unfinished"}</span>`;
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
    const numbers = numbersOf(episode);
    const size = bytes(String(view)) + bytes(JSON.stringify(numbers));
    if (size > left) continue;
    left -= size;
    shown++;
    step = episode.step;
    views.push(view);
    if (numbers) tokens[id] = numbers;
    cut ||= (episode.tokens?.text.length ?? 0) > TOKENS;
  }
  const body = views.length === 0
    ? markup`<p>${episodes.length === 0 ? "There are none." : "They are too long for a page."}</p>`
    : markup`<p>Samples of the first prompt of an early, a middle and a late step. Point at a token for its numbers, or choose the text and use the arrow keys.</p>
<div class="viewer">
${COLOURING}
${views}</div>
`;
  return { body, tokens, shown, cut };
}

const COLOURING = markup`<fieldset>
<legend>Colour tokens by</legend>
<label><input type="radio" name="colour" value="mask" checked> who wrote them</label>
<label><input type="radio" name="colour" value="logprob"> log-probability</label>
<label><input type="radio" name="colour" value="advantage"> advantage</label>
</fieldset>
<p class="scale by-mask note"><span><i class="m"></i>sampled by the model, trained on</span> <span><i></i>prompt and tool results, no loss</span></p>
<p class="scale by-logprob note">Probability of the sampled token: <span><i></i>90 % or more</span> <span><i class="l1"></i>60 %</span> <span><i class="l2"></i>35 %</span> <span><i class="l3"></i>14 %</span> <span><i class="l4"></i>less</span></p>
<p class="scale by-advantage note">Advantage over the group, in its standard deviations: <span><i class="p3"></i>1.5 or more</span> <span><i class="p2"></i>0.75</span> <span><i class="p1"></i>0.25</span> <span><i></i>near 0</span> <span><i class="n1"></i>&minus;0.25</span> <span><i class="n2"></i>&minus;0.75</span> <span><i class="n3"></i>&minus;1.5 or less</span></p>
`;

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
${tokenText(episode, id)}
<div class="pair">${calls(episode)}${terms(episode)}</div>
</details>
`;
}

function tokenText({ text, tokens }: ReportEpisode, id: string): Html {
  if (!tokens) {
    return markup`<pre>${clip(text, 10_000)}</pre>
<p class="note">This run did not record single tokens.</p>`;
  }
  const spans = tokens.text.slice(0, TOKENS).map((piece, i) => {
    const looks = tokens.mask[i] === "1"
      ? `m${surprise(tokens.logprobs[i]!)}${merit(at(tokens.advantages, i))}`
      : "";
    // A line break alone, or the beginning of a character, would show nothing to point at.
    const shown = clip(piece, 200).replace("\n", "\u21b5\n") || "\u25ab";
    return looks ? markup`<span class="${looks}">${shown}</span>` : markup`<span>${shown}</span>`;
  });
  return markup`<p class="tokens" data-tokens="${id}" tabindex="0" role="group" aria-label="Tokens; arrow keys move from one to the next">${spans}</p>
<output class="note">${
    tokens.text.length > TOKENS ? `The first ${TOKENS} of ${tokens.text.length} tokens.` : null
  }</output>`;
}

function numbersOf({ tokens }: ReportEpisode): TokenNumbers | null {
  if (!tokens) return null;
  const { mask, logprobs, advantages } = tokens;
  return {
    mask: mask.slice(0, TOKENS),
    logprobs: logprobs.slice(0, TOKENS),
    advantages: Array.isArray(advantages) ? advantages.slice(0, TOKENS) : advantages,
  };
}

function at(values: number | readonly number[], i: number): number {
  return typeof values === "number" ? values : values[i]!;
}

/** Class of a log-probability: none from 90 % on, then 60, 35, 14 %. */
function surprise(logprob: number): string {
  if (!isNumber(logprob)) return "";
  const level = [0.9, 0.6, 0.35, 0.14].filter((bound) => Math.exp(logprob) < bound).length;
  return level === 0 ? "" : ` l${level}`;
}

function merit(advantage: number): string {
  if (!isNumber(advantage)) return "";
  const level = [0.25, 0.75, 1.5].filter((bound) => Math.abs(advantage) >= bound).length;
  return level === 0 ? "" : ` ${advantage > 0 ? "p" : "n"}${level}`;
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

type Call = ReportEpisode["attempts"][number];

function callList(made: readonly Call[]): Html {
  if (made.length === 0) return markup`<p>None.</p>`;
  const items = made.slice(0, CALLS).map(({ name, arguments: args, status, result }) => {
    const given = Object.entries(args ?? {}).map(([key, value]) => `${key}: ${compactJson(value)}`);
    const call = `${name || "?"}(${args ? given.join(", ") : "?"})`;
    const back = result === undefined
      ? null
      : markup` \u2192 <code>${clip(compactJson(result), 300)}</code>`;
    return markup`<li><code>${clip(call, 300)}</code>${back}${
      status === "ok" ? null : markup` <span class="bad">\u2717 ${clip(status, 40)}</span>`
    }</li>`;
  });
  const more = made.length > CALLS ? markup`<li>\u2026 and ${made.length - CALLS} more</li>` : null;
  return markup`<ol>${items}${more}</ol>`;
}

/** The reward, term by term. */
function terms({ reward, terms, weighted }: ReportEpisode): Html {
  const names = Object.keys(terms).slice(0, 20);
  const parts = names.map((name) => weighted?.[name]).filter(isNumber);
  const most = Math.max(...parts.map(Math.abs), 1e-9);
  const rows = names.map((name) => {
    const part = weighted?.[name];
    return markup`<tr><th scope="row">${clip(name, 40)}</th><td class="number">${
      fixed(terms[name])
    }</td><td class="number">${
      isNumber(part) ? signed(part, 3) : fixed(null)
    }</td><td class="strip">${
      isNumber(part)
        ? markup`<svg height="10" aria-hidden="true"><rect class="${
          part < 0 ? "minus" : "plus"
        }" width="${Math.round(1000 * Math.abs(part) / most) / 10}%" height="10"/></svg>`
        : null
    }</td></tr>
`;
  });
  return markup`<div><h4>Reward ${fixed(reward, 3)}</h4>
<table class="terms"><thead><tr><th scope="col">term</th><th scope="col" class="number">metric</th><th scope="col" class="number">contribution</th><td></td></tr></thead>
<tbody>
${rows}</tbody></table></div>
`;
}

const encoder = new TextEncoder();

function bytes(text: string): number {
  return encoder.encode(text).length;
}
