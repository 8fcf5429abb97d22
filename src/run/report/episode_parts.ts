/**
 * What pages show of one episode: its outcome, its tokens, its calls and its reward.
 *
 * @module
 */

import type { ReportEpisode } from "./collect.ts";
import { compactJson, fixed, isNumber, signed } from "./format.ts";
import { clip, type Html, markup } from "./html.ts";
import type { TokenNumbers } from "./page_parts.ts";

/** Most tokens of an episode that are shown. */
export const MAX_TOKENS = 2500;

/** The tokens of an episode, where they were recorded. */
export type EpisodeTokens = NonNullable<ReportEpisode["tokens"]>;

/** What became of an episode, in a word. */
export function outcome({ correct, finished, unavailable }: ReportEpisode): Html {
  if (unavailable) return markup`<span>not scored: ${clip(unavailable, 200)}</span>`;
  if (correct) return markup`<span class="good">\u2713 correct</span>`;
  return markup`<span class="bad">\u2717 ${finished ? "wrong" : "unfinished"}</span>`;
}

/** Probabilities of tokens below which they get the next colour. */
export const PROBABILITY_BOUNDS = [0.9, 0.6, 0.35, 0.14];

/** What the colours of log-probabilities mean. */
export const logprobScale =
  markup`<p class="scale by-logprob note">Probability of the sampled token: <span><i></i>90 % or more</span> <span><i class="l1"></i>60 %</span> <span><i class="l2"></i>35 %</span> <span><i class="l3"></i>14 %</span> <span><i class="l4"></i>less</span></p>`;

/** What tokens are coloured by, which the style sheet does in a `.viewer`, and what colours mean. */
export const colouring = markup`<fieldset>
<legend>Colour tokens by</legend>
<label><input type="radio" name="colour" value="mask" checked> who wrote them</label>
<label><input type="radio" name="colour" value="logprob"> log-probability</label>
<label><input type="radio" name="colour" value="advantage"> advantage</label>
</fieldset>
<p class="scale by-mask note"><span><i class="m"></i>sampled by the model, trained on</span> <span><i></i>prompt and tool results, no loss</span></p>
${logprobScale}
<p class="scale by-advantage note">Advantage over the group, in its standard deviations: <span><i class="p3"></i>1.5 or more</span> <span><i class="p2"></i>0.75</span> <span><i class="p1"></i>0.25</span> <span><i></i>near 0</span> <span><i class="n1"></i>&minus;0.25</span> <span><i class="n2"></i>&minus;0.75</span> <span><i class="n3"></i>&minus;1.5 or less</span></p>
`;

/** The text of an episode by tokens. @param id of its numbers in the page's data */
export function tokenText(tokens: EpisodeTokens, id: string): Html {
  const spans = tokens.text.slice(0, MAX_TOKENS).map((piece, i) => {
    const looks = tokens.mask[i] === "1"
      ? `m${surprise(tokens.logprobs[i]!)}${merit(at(tokens.advantages, i))}`
      : "";
    // A line break alone, or the beginning of a character, would show nothing to point at.
    const shown = clip(piece, 200).replace("\n", "\u21b5\n") || "\u25ab";
    return looks ? markup`<span class="${looks}">${shown}</span>` : markup`<span>${shown}</span>`;
  });
  return markup`<p class="tokens" data-tokens="${id}" tabindex="0" role="group" aria-label="Tokens; arrow keys move from one to the next">${spans}</p>
<output class="note">${
    tokens.text.length > MAX_TOKENS
      ? `The first ${MAX_TOKENS} of ${tokens.text.length} tokens.`
      : null
  }</output>`;
}

/** The numbers of the tokens that are shown, for the page's script. */
export function numbersOf({ mask, logprobs, advantages }: EpisodeTokens): TokenNumbers {
  return {
    mask: mask.slice(0, MAX_TOKENS),
    logprobs: logprobs.slice(0, MAX_TOKENS),
    advantages: Array.isArray(advantages) ? advantages.slice(0, MAX_TOKENS) : advantages,
  };
}

function at(values: number | readonly number[], i: number): number {
  return typeof values === "number" ? values : values[i]!;
}

/** Class of a log-probability: none from the first bound on, then one for each that it is below. */
function surprise(logprob: number): string {
  if (!isNumber(logprob)) return "";
  const level = PROBABILITY_BOUNDS.filter((bound) => Math.exp(logprob) < bound).length;
  return level === 0 ? "" : ` l${level}`;
}

function merit(advantage: number): string {
  if (!isNumber(advantage)) return "";
  const level = [0.25, 0.75, 1.5].filter((bound) => Math.abs(advantage) >= bound).length;
  return level === 0 ? "" : ` ${advantage > 0 ? "p" : "n"}${level}`;
}

/** A call of the student or of the teacher. */
export type ShownCall = ReportEpisode["attempts"][number];

/** A call, what came back, and what went wrong with it. */
export function callLine({ name, arguments: args, status, result }: ShownCall): Html {
  const given = Object.entries(args ?? {}).map(([key, value]) => `${key}: ${compactJson(value)}`);
  const call = `${name || "?"}(${args ? given.join(", ") : "?"})`;
  const back = result === undefined
    ? null
    : markup` \u2192 <code>${clip(compactJson(result), 300)}</code>`;
  return markup`<code>${clip(call, 300)}</code>${back}${
    status === "ok" ? null : markup` <span class="bad">\u2717 ${clip(status, 40)}</span>`
  }`;
}

/** The reward, term by term. */
export function termTable({ terms, weighted }: ReportEpisode): Html {
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
  return markup`<table class="terms"><thead><tr><th scope="col">term</th><th scope="col" class="number">metric</th><th scope="col" class="number">contribution</th><td></td></tr></thead>
<tbody>
${rows}</tbody></table>`;
}
