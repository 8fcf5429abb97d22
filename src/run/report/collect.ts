/**
 * What a page about a run is made of, read from its folder.
 *
 * @module
 */

import { basename, join } from "@std/path";
import * as v from "valibot";
import { eachJsonl } from "../../io/jsonl.ts";
import { readConfigFile } from "../config/mod.ts";
import { readEvents, type RunEvent } from "../events.ts";
import { isEvent } from "./history.ts";

/** A number; JSON has null for what is none. */
const number = v.fallback(v.number(), NaN);
const terms = v.record(v.string(), number);
const args = v.record(v.string(), v.unknown());

const tokensSchema = v.pipe(
  v.object({
    text: v.array(v.string()),
    mask: v.string(),
    logprobs: v.array(number),
    advantages: v.union([v.array(number), number]),
  }),
  v.check(({ text, mask, logprobs, advantages }) =>
    mask.length === text.length && logprobs.length === text.length &&
    (!Array.isArray(advantages) || advantages.length === text.length)
  ),
);

/** What can be counted. */
const place = v.pipe(v.number(), v.safeInteger());

/** An `EpisodeRecord` as it is read: of any age, and from any hand. */
export const episodeSchema = v.object({
  ...{ step: place, group: place, sample: place },
  task: v.fallback(v.string(), ""),
  text: v.fallback(v.string(), ""),
  answer: v.fallback(v.string(), ""),
  correct: v.fallback(v.boolean(), false),
  finished: v.fallback(v.boolean(), false),
  unavailable: v.fallback(v.optional(v.string()), undefined),
  attempts: v.fallback(
    v.array(v.object({
      name: v.string(),
      arguments: v.nullish(args, null),
      status: v.string(),
      result: v.optional(v.unknown()),
    })),
    [],
  ),
  reward: number,
  terms: v.fallback(terms, {}),
  judged: v.fallback(v.optional(v.number()), undefined),
  advantage: number,
  weighted: v.fallback(v.optional(terms), undefined),
  reference: v.fallback(
    v.nullish(v.object({
      calls: v.array(
        v.object({
          name: v.string(),
          arguments: v.nullish(args, null),
          result: v.optional(v.unknown()),
        }),
      ),
      answer: v.string(),
    })),
    undefined,
  ),
  tokens: v.fallback(v.optional(tokensSchema), undefined),
});

/** An episode as a page shows it. */
export type ReportEpisode = v.InferOutput<typeof episodeSchema>;

/** A run as a page shows it. */
export interface RunReport {
  /** The run's name. */
  readonly name: string;
  /** Its configuration, as it is in the file. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly events: readonly RunEvent[];
  /** The first episode of some prompts of the first and of the last step; one step, if they are one. */
  readonly samples: readonly (readonly ReportEpisode[])[];
  /** Episodes of the first prompt of an early, a middle and a late step. */
  readonly rollouts: readonly ReportEpisode[];
  /** How many episodes the run has kept. */
  readonly episodes: number;
  /** How many lines of the episode file are no episodes. */
  readonly unreadable: number;
}

/** How many prompts of a step are shown by one sample each. */
const PROMPTS = 6;
/** How many samples of a step's first prompt are shown. */
const SAMPLES = 8;

/**
 * Reads `config.json`, `events.jsonl` and, where it is there, `episodes.jsonl` of a run.
 *
 * @param folder the run's
 * @throws {ConfigError} if the config cannot be read
 * @throws {CheckpointError} if another file cannot be read
 */
export function collectRunReport(folder: string): RunReport {
  const config = readConfigFile(join(folder, "config.json"));
  const events = readEvents(join(folder, "events.jsonl")).filter(isEvent);
  const found = readEpisodes(join(folder, "episodes.jsonl"), middleStep(events));
  const ends = found.first === found.last ? [found.first] : [found.first, found.last];
  const inOrder = [...new Set([found.first, found.middle, found.last])];
  return {
    ...{ name: basename(folder), config, events },
    samples: ends.filter(({ length }) => length > 0)
      .map((step) => step.filter(({ group, sample }) => sample === 0 && group < PROMPTS)),
    rollouts: inOrder.flatMap((step) => step.filter(({ group }) => group === 0)),
    ...{ episodes: found.episodes, unreadable: found.unreadable },
  };
}

/** The step halfway through those with episodes; none without events. */
function middleStep(events: readonly RunEvent[]): number | undefined {
  const steps = events.flatMap((event) =>
    event.type === "step" && event.method !== "sft" ? [event.step] : []
  );
  return steps[Math.floor((steps.length - 1) / 2)];
}

interface Episodes {
  /** Episodes of three steps; each empty if there is no such step. */
  readonly first: readonly ReportEpisode[];
  readonly middle: readonly ReportEpisode[];
  readonly last: readonly ReportEpisode[];
  readonly episodes: number;
  readonly unreadable: number;
}

/** Goes once through the file and keeps what is shown. */
function readEpisodes(path: string, middle: number | undefined): Episodes {
  const steps: Record<"first" | "middle" | "last", ReportEpisode[]> = {
    ...{ first: [], middle: [], last: [] },
  };
  let [step, episodes, unreadable] = [NaN, 0, 0];
  if (!exists(path)) return { ...steps, episodes, unreadable };
  for (const value of eachJsonl(path)) {
    const parsed = v.safeParse(episodeSchema, value);
    if (!parsed.success) {
      unreadable++;
      continue;
    }
    episodes++;
    const episode = parsed.output;
    if (episode.step !== step) {
      const isFirst = Number.isNaN(step);
      step = episode.step;
      steps.last = [];
      if (isFirst) steps.first = steps.last;
      if (step === middle) steps.middle = steps.last;
    }
    const { group, sample } = episode;
    const isShown = (group === 0 && sample < SAMPLES) || (sample === 0 && group < PROMPTS);
    if (isShown) steps.last.push(episode);
  }
  return { ...steps, episodes, unreadable };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
