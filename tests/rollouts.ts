// Hand-built rollouts with what they were worth, for the tests of credit and diagnostics.

import type { Episode } from "../src/rl/episode.ts";
import type { ScoredRollout } from "../src/rl/experience.ts";
import { type RewardTerms, termsOf } from "../src/rl/reward_terms.ts";
import type { Task } from "../src/tasks/task.ts";
import { episode } from "./episodes.ts";

/** A task without tools, which is a matter of course where nobody looks at it. */
export const question: Task = {
  id: "question",
  domain: "test",
  split: "train",
  prompt: "?",
  tools: [],
  answer: "68",
  check: "exact",
  reference: null,
};

/** A rollout that was worth so much, with a mask of the prompt's token and `mask`. */
export function rolloutOf(
  total: number,
  { mask = [1], terms = {}, weighted = {}, task = question, ...rest }: {
    mask?: number[];
    terms?: Partial<RewardTerms>;
    weighted?: Partial<RewardTerms>;
    task?: Task;
    episode?: Partial<Episode>;
  } = {},
): ScoredRollout {
  const bits = Uint8Array.from([0, ...mask]);
  return {
    task,
    episode: episode([], rest.episode),
    ids: new Uint32Array(bits.length),
    mask: bits,
    logprobs: new Float32Array(bits.length),
    reward: {
      total,
      terms: { ...termsOf(Number.isNaN(total) ? NaN : 0), ...terms },
      weighted: { ...termsOf(Number.isNaN(total) ? NaN : 0), ...weighted },
    },
  };
}
