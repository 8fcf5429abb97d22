/**
 * One episode: its text by tokens, its calls beside the teacher's, its reward, and its group.
 *
 * @module
 */

import { deviation, isDead } from "../rl/advantage.ts";
import {
  colouring,
  numbersOf,
  outcome,
  termTable,
  tokenText,
} from "../run/report/episode_parts.ts";
import type { ReportEpisode } from "../run/report/collect.ts";
import { count, fixed, isNumber, mean, signed } from "../run/report/format.ts";
import { clip, type Html, markup } from "../run/report/html.ts";
import { sectionOf, wide } from "../run/report/page.ts";
import { callTable } from "./call_table.ts";
import { apiRunUrl, type EpisodeFilter, episodesUrl, episodeUrl, runUrl } from "./urls.ts";
import { callCount, episodeHead, episodeRow, type ListedEpisode } from "./episode_rows.ts";
import type { DashboardPage } from "./shell.ts";

/** An episode and what is around it. */
export interface EpisodeView extends ListedEpisode {
  readonly run: string;
  /** Which episodes are looked at. */
  readonly filter: EpisodeFilter;
  /** Lines of the episodes before and after it among these; null at an end. */
  readonly previous: number | null;
  readonly next: number | null;
  /** All samples of its prompt. */
  readonly group: readonly ListedEpisode[];
}

/** Most characters of a text that was not recorded by tokens. */
const CHARACTERS = 20_000;

/** The metric behind each term of the reward. */
const termMeanings: ReadonlyMap<string, string> = new Map([
  ["correctness", "1 if the task's verifier accepts the answer"],
  ["tools", "how well the calls agree with the teacher's"],
  ["arguments", "how well the arguments agree, of calls that stand beside each other"],
  ["validity", "share of the attempted calls that executed"],
  ["format", "share of well-formed turns; 0 without an answer, or without a call where one is due"],
  ["penalty", "for repeats, for many more calls than the teacher's, and for length"],
]);

/** The page at `/ui/runs/:id/episodes/:line`. */
export function episodePage(view: EpisodeView): DashboardPage {
  const { run, line, episode, filter } = view;
  const { step, group, sample, tokens } = episode;
  const sections = [
    { id: "text", title: "Text", body: text(view) },
    { id: "calls", title: "Calls beside the teacher's", body: callTable(episode) },
    { id: "reward", title: "Reward by term", body: reward(episode) },
    { id: "group", title: "Samples of this prompt", body: samples(view) },
  ];
  return {
    title: `Step ${step}, prompt ${group + 1}, sample ${sample + 1}`,
    lead: markup`<p class="trail">Run <a href="${runUrl(run)}">${clip(run, 100)}</a> / <a href="${
      episodesUrl(run, filter)
    }">Episodes</a></p>
<p class="turn">${turn(view, "previous")} ${turn(view, "next")} <a href="${
      source(run, line)
    }">As JSON</a></p>
${facts(episode)}`,
    body: markup`${sections.map(sectionOf)}`,
    ...tokens ? { tokens: { episode: numbersOf(tokens) } } : {},
  };
}

/** The line as the API has it, with nothing left out. */
function source(run: string, line: number): string {
  return `${apiRunUrl(run)}/episodes?after=${line - 1}&limit=1`;
}

function turn({ run, filter, ...lines }: EpisodeView, side: "previous" | "next"): Html {
  const text = side === "previous" ? "\u2190 Previous" : "Next \u2192";
  const line = lines[side];
  return line === null
    ? markup`<span class="open">${text}</span>`
    : markup`<a href="${episodeUrl(run, line, filter)}" rel="${
      side === "previous" ? "prev" : "next"
    }">${text}</a>`;
}

function facts(episode: ReportEpisode): Html {
  const { answer, reward, advantage, judged, task } = episode;
  const known: [string, unknown][] = [
    ["Outcome", outcome(episode)],
    ["Right answer", clip(answer, 200)],
    ["Reward", fixed(reward, 3)],
    ...isNumber(judged)
      ? [["of it by a model's judgement", signed(judged, 3)] as [string, unknown]]
      : [],
    ["Advantage", signed(advantage, 2)],
    ["Calls", callCount(episode)],
    ["Task", clip(task, 200)],
  ];
  return markup`<dl class="facts">${
    known.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)
  }</dl>
`;
}

function text({ episode: { tokens, text, group } }: EpisodeView): Html {
  if (tokens) {
    return markup`<p class="note">Point at a token for its numbers, or choose the text and use the arrow keys.</p>
<div class="viewer">
${colouring}
${tokenText(tokens, "episode")}
</div>`;
  }
  const why = group > 0
    ? "Single tokens are recorded for the first prompt of a step only."
    : "This run did not record single tokens.";
  return markup`<pre>${clip(text, CHARACTERS)}</pre>
<p class="note">${why}</p>`;
}

function reward(episode: ReportEpisode): Html {
  const { terms, weighted, group, judged } = episode;
  const names = Object.keys(terms);
  if (names.length === 0) return markup`<p>Its terms were not recorded.</p>`;
  const about = weighted
    ? `The contributions add up to the reward, before its lower bound of 0${
      isNumber(judged) ? `, and a model's judgement of ${signed(judged, 3)} is added` : ""
    }.`
    : group > 0
    ? "What each term contributed is recorded for the first prompt of a step only."
    : "This run did not record what each term contributed.";
  const meanings = names.flatMap((name) => {
    const meaning = termMeanings.get(name);
    return meaning === undefined ? [] : [markup`<div><dt>${name}</dt><dd>${meaning}</dd></div>
`];
  });
  return markup`<div class="pair"><div>${wide("Table of terms", termTable(episode))}
<p class="note">${about}</p></div>
<dl class="meanings">${meanings}</dl></div>`;
}

/** The advantage compares the samples of a prompt. */
function samples({ run, line, filter, group }: EpisodeView): Html {
  const rewards = group.map(({ episode }) => episode.reward).filter(isNumber);
  const summary = rewards.length < 2
    ? markup`Fewer than two samples were scored.`
    : isDead(rewards)
    ? markup`All rewards are equal: none of these samples is better than another.`
    : markup`The mean reward is <b>${fixed(mean(rewards), 3)}</b> with a standard deviation of <b>${
      fixed(deviation(rewards), 3)
    }</b>, over ${
      count(rewards.length, "sample")
    }. Methods that compare the samples of a prompt, as GRPO does, take their advantages from these.`;
  return markup`<p>${summary}</p>
${
    wide(
      "Table of samples",
      markup`<table class="episodes">
${episodeHead}
<tbody>
${group.map((sample) => episodeRow(run, sample, filter, sample.line === line))}</tbody>
</table>`,
    )
  }`;
}
