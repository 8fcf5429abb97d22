/**
 * An episode as a line of `episodes.jsonl`.
 *
 * @module
 */

import type { ToolAttempt } from "../rl/episode.ts";
import type { CreditedRollout } from "../rl/experience.ts";
import type { RewardTerms } from "../rl/reward.ts";
import type { Reference } from "../tasks/task.ts";
import { decodeStream } from "../text/decode_stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Where in a run an episode was. */
export interface EpisodePlace {
  readonly step: number;
  /** Which prompt of the step. */
  readonly group: number;
  /** Which of the prompt's samples. */
  readonly sample: number;
}

/** The tokens of an episode, prompt and results included: T of them. */
export interface TokenRecord {
  /** [T] what each adds to the text; empty where a character is not whole yet. */
  readonly text: readonly string[];
  /** T characters, "1" where the model sampled the token and "0" elsewhere. */
  readonly mask: string;
  /** [T] log p of the sampled tokens under the policy that sampled them, 0 elsewhere; 4 decimals. */
  readonly logprobs: readonly number[];
  /** One for the whole episode, or [T] one per token; 4 decimals. */
  readonly advantages: number | readonly number[];
}

/** What is kept of an episode. */
export interface EpisodeRecord extends EpisodePlace {
  /** The task's name. */
  readonly task: string;
  /** The whole conversation as the model saw it. */
  readonly text: string;
  /** The right answer. */
  readonly answer: string;
  readonly correct: boolean;
  /** False if a limit ended it. */
  readonly finished: boolean;
  /** Why nobody can score it; its reward and terms are null then. Absent where they are not. */
  readonly unavailable?: string;
  readonly attempts: readonly ToolAttempt[];
  readonly reward: number;
  /** The metric behind each term of the reward, unweighted. */
  readonly terms: RewardTerms;
  /** What a model made of it, where one judges; part of the reward. */
  readonly judged?: number;
  readonly advantage: number;
  /** What each term contributed to the reward. The first group of a step only, as what follows. */
  readonly weighted?: RewardTerms;
  /** What the teacher did; null where there is no teacher. */
  readonly reference?: Pick<Reference, "calls" | "answer"> | null;
  readonly tokens?: TokenRecord;
}

/** What is kept of an episode; of the first group of a step that is more, so that files stay small. */
export function episodeRecord(
  { reward, judged, advantage, advantages, unavailable, ...rollout }: CreditedRollout,
  place: EpisodePlace,
  tokenizer: Tokenizer,
): EpisodeRecord {
  const { task, episode, ids, mask, logprobs } = rollout;
  const record: EpisodeRecord = {
    ...place,
    task: task.id,
    text: tokenizer.decode(ids, { skipSpecial: false }),
    answer: task.answer,
    correct: episode.correct,
    finished: episode.finished,
    ...(unavailable === undefined ? {} : { unavailable }),
    attempts: episode.attempts,
    reward: reward.total,
    terms: reward.terms,
    ...(judged === undefined ? {} : { judged }),
    advantage,
  };
  if (place.group > 0) return record;
  const { reference } = task;
  return {
    ...record,
    weighted: reward.weighted,
    reference: reference && { calls: reference.calls, answer: reference.answer },
    tokens: {
      text: pieces(ids, tokenizer),
      mask: mask.join(""),
      logprobs: Array.from(logprobs, round),
      advantages: advantages ? Array.from(advantages, round) : round(advantage),
    },
  };
}

/** The text by tokens: joined, they are the text of all. */
function pieces(ids: Uint32Array, tokenizer: Tokenizer): string[] {
  const stream = decodeStream((some) => tokenizer.decode(some, { skipSpecial: false }));
  const texts = Array.from(ids, (id) => stream.push(id));
  const rest = stream.end();
  return rest === "" ? texts : [...texts.slice(0, -1), texts.at(-1)! + rest];
}

function round(value: number): number {
  // Adding 0 makes -0 plain.
  return Math.round(value * 1e4) / 1e4 + 0;
}
