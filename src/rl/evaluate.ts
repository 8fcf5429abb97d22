/**
 * Evaluation: what the model can do on tasks that it was never trained on.
 *
 * @module
 */

import type { Generator } from "../model/generator.ts";
import type { Split, Task } from "../tasks/task.ts";
import type { ChatFormat } from "../text/chat_template.ts";
import { ToolUnavailableError } from "../tools/tool.ts";
import { summarizeEpisodes } from "./metrics.ts";
import { describeOutage } from "./outages.ts";
import { type Rollout, rollout, type RolloutOptions } from "./rollout.ts";
import { proportionInterval } from "./statistics.ts";

/** The tasks of one domain and split. */
export interface EvaluationSet {
  readonly domain: string;
  readonly split: Split;
  readonly tasks: readonly Task[];
}

/** What an evaluation found in one domain and split. */
export interface Scores {
  /** Share of correct sampled answers. */
  readonly pass1: number;
  /** 95 % interval of pass1, bootstrapped over prompts. */
  readonly ci95: readonly [number, number];
  /** Share of correct greedy answers. */
  readonly greedy: number;
  /** Share of calls that parsed, passed the schema and executed. */
  readonly validity: number;
  /** Multiset F1 of the tools called with the reference's. */
  readonly toolF1: number;
  /** 1 - Jensen-Shannon divergence of the tool distributions, in bits. */
  readonly similarity: number;
  /** Calls per task. */
  readonly calls: number;
  /** Share of sampled episodes with a wrong answer, and among their calls one of the reference's. */
  readonly partial: number;
  /** Episodes that nobody can score, since a tool could not be had; all else leaves them out. */
  readonly unscorable: number;
}

/** One row of the evaluation table. */
export interface EvaluationRow extends Scores {
  /** The domain. */
  readonly name: string;
  /** Which part of it. */
  readonly split: Split;
}

/** What an evaluation found. */
export interface Evaluation {
  /** One per domain and split, in the order of the sets. */
  readonly rows: readonly EvaluationRow[];
  /** Mean pass@1 of each split over all its prompts, with interval. */
  readonly splits: readonly { split: Split; pass1: number; ci95: readonly [number, number] }[];
  /** [sets, prompts, samples] 1 where a sampled answer was correct; without those unscorable. */
  readonly outcomes: readonly (readonly (readonly number[])[])[];
  /** How many episodes could not be scored, and why; null if all could. */
  readonly outage: string | null;
}

/**
 * Samples `samples` episodes per prompt at temperature 1 and one greedily. Aborting ends it with the
 * signal's reason.
 *
 * @throws {ToolUnavailableError} if no episode of a set can be scored, or a tool is gone for good.
 */
export async function evaluateModel(
  generator: Generator,
  chat: ChatFormat,
  sets: readonly EvaluationSet[],
  { samples, seed, maxTokens, maxCalls, signal, onEpisode }: {
    readonly samples: number;
    readonly seed: number;
    readonly maxTokens: number;
    readonly maxCalls: number;
    readonly signal?: AbortSignal;
    readonly onEpisode?: () => void;
  },
): Promise<Evaluation> {
  const tasks = sets.flatMap((set) => set.tasks);
  const common: Omit<RolloutOptions, "temperature"> = {
    topK: 0,
    topP: 1,
    seed,
    maxTokens,
    maxCalls,
    stream: "evaluation",
    ...(signal ? { signal } : {}),
    ...(onEpisode ? { onEpisode } : {}),
  };
  const sampled = await rollout(generator, chat, tasks, samples, { ...common, temperature: 1 });
  const greedy = await rollout(generator, chat, tasks, 1, { ...common, temperature: 0 });
  // An abort that reached only the tools of a last turn would pass for what these answered.
  signal?.throwIfAborted();

  let first = 0;
  const bySplit = new Map<Split, number[][]>();
  const outcomes: number[][][] = [];
  const rows = sets.map(({ domain, split, tasks }) => {
    const range = [first, first += tasks.length] as const;
    const all = sampled.slice(...range);
    const groups = all.map(scorable);
    const tried = greedy.slice(...range).flat();
    const best = scorable(tried);
    const outage = describeOutage([...all.flat(), ...tried]);
    if (groups.flat().length === 0 || best.length === 0) {
      throw new ToolUnavailableError(
        `Cannot evaluate "${domain}" (${split}): there is nothing left to measure. ${outage}`,
      );
    }
    const correct = groups.map((group) => group.map(({ episode }) => Number(episode.correct)));
    bySplit.set(split, [...(bySplit.get(split) ?? []), ...correct]);
    outcomes.push(correct);
    const { mean, low, high } = proportionInterval(correct);
    const summary = summarizeEpisodes(groups.flat().flatMap(evaluated));
    return {
      name: domain,
      split,
      pass1: mean,
      ci95: [low, high] as const,
      greedy: best.filter(({ episode }) => episode.correct).length / best.length,
      validity: summary.validity,
      toolF1: summary.toolF1,
      similarity: summary.similarity,
      calls: summary.calls,
      partial: summary.partial,
      unscorable: all.flat().length + tried.length - groups.flat().length - best.length,
    };
  });
  const splits = [...bySplit].map(([split, clusters]) => {
    const { mean, low, high } = proportionInterval(clusters);
    return { split, pass1: mean, ci95: [low, high] as const };
  });
  const outage = describeOutage([...sampled.flat(), ...greedy.flat()]);
  return { rows, splits, outcomes, outage };
}

function scorable(rollouts: readonly Rollout[]): Rollout[] {
  return rollouts.filter(({ episode }) => !episode.unscorable);
}

/** A rollout as the metrics want it; alignment is measured where there is a reference. */
function evaluated({ task, episode }: Rollout) {
  return [{ episode, reference: task.reference, tools: task.tools }];
}
