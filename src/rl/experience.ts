/**
 * Experience: groups of episodes on the same prompts, with what they were worth.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import type { Generator } from "../model/generator.ts";
import type { Reference, Task } from "../tasks/task.ts";
import type { ChatFormat } from "../text/chat_template.ts";
import { isDead } from "./advantage.ts";
import type { Episode } from "./episode.ts";
import type { Learner } from "./learner.ts";
import type { Reward, RewardResult, ScoreContext } from "./reward.ts";
import { unscorableResult } from "./reward_terms.ts";
import { type Rollout, rollout, type RolloutOptions } from "./rollout.ts";

/** A rollout with what it was worth. */
export interface ScoredRollout extends Rollout {
  /** What it was worth, term by term; where there is a judge, its value is in the total alone. */
  readonly reward: RewardResult;
  /** What the judge said; absent without one. */
  readonly judged?: number;
}

/**
 * A potential for turn-level credit: how far an episode has come by the end of a turn.
 *
 * @param prefix the episode up to there
 */
export type Potential = (
  prefix: Episode,
  reference: Reference | null,
  context: ScoreContext,
) => number;

/** What learning from experience needs. */
export interface LearningContext {
  readonly learner: Learner;
  readonly generator: Generator;
  readonly chat: ChatFormat;
  readonly reward: Pick<Reward, "score" | "weights">;
  /** Pays turns its differences, beside the reward; null credits whole episodes. */
  readonly potential?: Potential | null;
  /**
   * Values of episodes that models find rather than rules, [rollouts]; each is added to the total of
   * its reward. NaN where there is nothing to judge.
   */
  readonly judge?: ((rollouts: readonly Rollout[]) => Promise<readonly number[]>) | null;
  /** The frozen reference policy; needed where a divergence from it counts. */
  readonly reference: Decoder | null;
  /** Fresh tasks; asked again where dead groups are resampled. */
  readonly draw: (count: number) => readonly Task[];
  /** Is told of every episode while the update is under way. */
  readonly onEpisode?: (episode: CreditedRollout, group: number, sample: number) => void;
  /** Does a part of the step under its name, for profiles; without, it is just done. */
  readonly span?: <T>(name: string, work: () => T | Promise<T>) => Promise<T>;
}

/** A rollout with the advantage of what it did. */
export interface CreditedRollout extends ScoredRollout {
  /** Of the episode; the mean over its tokens where they differ. */
  readonly advantage: number;
  /** [T] where tokens differ, 0 where the model sampled none. */
  readonly advantages: Float64Array | null;
}

/** Episodes that nothing is credited to, where a method does not learn from rewards. */
export function uncredited(groups: readonly (readonly ScoredRollout[])[]): CreditedRollout[][] {
  return groups.map((group) => group.map((one) => ({ ...one, advantage: 0, advantages: null })));
}

/** What a step of learning came to. */
export interface StepResult {
  readonly groups: readonly (readonly CreditedRollout[])[];
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: { readonly rollout: number; readonly update: number };
}

/**
 * Samples and scores groups of episodes.
 *
 * With a judge, an episode that did not finish is worth as much as the worst finished one of its
 * round, and no more than 0, whatever the judge says: it never beats one that finished.
 *
 * @param prompts number of groups
 * @param group episodes of each
 * @param resampleDead rounds of fresh prompts in place of groups without signal (DAPO's dynamic
 * sampling); those of the last round are kept as they are
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 */
export async function collect(
  { generator, chat, reward, judge, draw, span = plain }: Omit<
    LearningContext,
    "learner" | "reference"
  >,
  prompts: number,
  sampling: RolloutOptions,
  { group, resampleDead }: { readonly group: number; readonly resampleDead: number },
  progress: number,
): Promise<ScoredRollout[][]> {
  const kept: ScoredRollout[][] = [];
  const rewards = new Map<Rollout, RewardResult>();
  const score = (one: Rollout): RewardResult => {
    const { episode, task } = one;
    const result = rewards.get(one) ??
      (episode.unscorable
        ? unscorableResult()
        : reward.score(episode, task.reference, { progress, tools: task.tools, task }));
    rewards.set(one, result);
    return result;
  };
  const onEpisode = (one: Rollout) => {
    score(one);
    sampling.onEpisode?.(one);
  };
  for (let round = 0; round <= resampleDead && kept.length < prompts; round++) {
    const stream = `${sampling.stream}/${round}`;
    const tasks = draw(prompts - kept.length);
    const sampled = await span(
      "rollout",
      () => rollout(generator, chat, tasks, group, { ...sampling, stream, onEpisode }),
    );
    await span("scoring", async () => {
      const all = sampled.flat().map((one) => ({ ...one, reward: score(one) }));
      const judged = judge ? addJudgement(all, await judge(all)) : all;
      for (let first = 0; first < judged.length; first += group) {
        const scored = judged.slice(first, first + group);
        const dead = group > 1 && isDead(scored.map(({ reward }) => reward.total));
        if (!dead || round === resampleDead) kept.push(scored);
      }
    });
  }
  return kept;
}

function addJudgement(
  rollouts: readonly ScoredRollout[],
  values: readonly number[],
): ScoredRollout[] {
  const totals = rollouts.map(({ reward }, i) => reward.total + values[i]!);
  const finished = totals.filter((total, i) =>
    rollouts[i]!.episode.finished && !Number.isNaN(total)
  );
  const least = Math.min(0, ...finished);
  return rollouts.map((one, i) => {
    const ended = one.episode.finished || Number.isNaN(one.reward.total);
    const total = ended ? totals[i]! : least;
    return { ...one, reward: { ...one.reward, total }, judged: values[i]! };
  });
}

/** Tells whoever listens of every episode that was learned from; best while the GPU works. */
export type Tell = (groups: readonly (readonly CreditedRollout[])[]) => void;

/**
 * One step: samples and scores groups of episodes, and learns from them. Those that nobody can score
 * are not learned from, and are in no metric but `unscorable`, their share.
 *
 * @param options as `collect` has them
 * @param learn makes the updates, where there is anything to learn from; its part of the time starts
 * with it
 */
export async function learningStep(
  context: LearningContext,
  prompts: number,
  sampling: RolloutOptions,
  { group, resampleDead = 0 }: { readonly group: number; readonly resampleDead?: number },
  progress: number,
  learn: (scored: ScoredRollout[][], tell: Tell) => Promise<Omit<StepResult, "seconds">>,
): Promise<StepResult> {
  const started = performance.now();
  const all = await collect(context, prompts, sampling, { group, resampleDead }, progress);
  const sampled = performance.now();
  const scored = all.map((group) => group.filter(({ episode }) => !episode.unscorable))
    .filter((group) => group.length > 0);
  const tell: Tell = (groups) => tellEpisodes(context, all, groups.flat());
  const learned = scored.length > 0 ? await learn(scored, tell) : { groups: [], metrics: {} };
  if (scored.length === 0) tell([]);
  const [count, total] = [scored, all].map((groups) => groups.flat().length);
  return {
    groups: learned.groups,
    metrics: { ...learned.metrics, unscorable: (total! - count!) / total! },
    seconds: {
      rollout: (sampled - started) / 1000,
      update: (performance.now() - sampled) / 1000,
    },
  };
}

/** @param credited of all episodes, in order, those that can be scored */
function tellEpisodes(
  { onEpisode }: Pick<LearningContext, "onEpisode">,
  all: readonly (readonly ScoredRollout[])[],
  credited: readonly CreditedRollout[],
): void {
  let next = 0;
  uncredited(all).forEach((group, g) =>
    group.forEach((one, sample) =>
      onEpisode?.(one.episode.unscorable ? one : credited[next++]!, g, sample)
    )
  );
}

/** A rollout whose tokens have advantages of their own; null where nothing is learned from it. */
export function creditTokens(
  one: ScoredRollout,
  advantages: Float64Array | null,
): CreditedRollout {
  const count = one.mask.reduce((sum, bit) => sum + bit, 0);
  const sum = advantages?.reduce((a, b) => a + b, 0) ?? 0;
  return { ...one, advantage: count > 0 ? sum / count : 0, advantages };
}

/** Does what a profile would time. */
export async function plain<T>(_name: string, work: () => T | Promise<T>): Promise<T> {
  return await work();
}

/**
 * Potentials after each turn of an episode. The prefix has the calls made so far and no answer yet,
 * but for the last one, which is the whole episode.
 */
export function turnPotentials(
  { episode, task }: Rollout,
  potential: Potential,
  progress: number,
): number[] {
  return episode.turns.map((_, k) => {
    const last = k === episode.turns.length - 1;
    const prefix: Episode = last ? episode : {
      ...episode,
      attempts: episode.attempts.filter(({ turn }) => turn <= k),
      turns: episode.turns.slice(0, k + 1),
      answer: null,
      correct: false,
      finished: false,
    };
    return potential(prefix, task.reference, { progress, tools: task.tools, task });
  });
}

/** [T] which turn a sampled token belongs to, -1 elsewhere: turns are what tools' results divide. */
export function turnOfTokens(mask: Uint8Array): Int32Array {
  const turns = new Int32Array(mask.length).fill(-1);
  let turn = -1;
  mask.forEach((bit, t) => {
    if (bit && !mask[t - 1]) turn++;
    if (bit) turns[t] = turn;
  });
  return turns;
}
