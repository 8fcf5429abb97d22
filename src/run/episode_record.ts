/**
 * An episode as a line of `episodes.jsonl`.
 *
 * @module
 */

import type { CreditedRollout } from "../rl/experience.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Where in a run an episode was. */
export interface EpisodePlace {
  readonly step: number;
  /** Which prompt of the step. */
  readonly group: number;
  /** Which of the prompt's samples. */
  readonly sample: number;
}

/** What is kept of an episode. */
export function episodeRecord(
  { task, episode, ids, reward, judged, advantage }: CreditedRollout,
  place: EpisodePlace,
  tokenizer: Tokenizer,
): Record<string, unknown> {
  return {
    ...place,
    task: task.id,
    text: tokenizer.decode(ids, { skipSpecial: false }),
    answer: task.answer,
    correct: episode.correct,
    finished: episode.finished,
    attempts: episode.attempts,
    reward: reward.total,
    terms: reward.terms,
    ...(judged === undefined ? {} : { judged }),
    advantage,
  };
}
