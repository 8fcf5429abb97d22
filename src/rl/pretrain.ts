/**
 * The base model: a student worth starting from.
 *
 * Reinforcement learning needs a student that sometimes succeeds and whose most likely behaviour is
 * wrong in several independent ways. The corpus is therefore an unlimited stream of traces of a
 * flawed policy over all domains; copying and call syntax come out right, decisions come out wrong.
 * No prompt of the evaluation suite is ever among them.
 *
 * @module
 */

import { warmupCosine } from "../optim/schedule.ts";
import { Random } from "../random.ts";
import { behave, behaviours } from "../tasks/behaviour.ts";
import { families, generateTask } from "../tasks/domains/mod.ts";
import type { ChatFormat } from "../text/chat_template.ts";
import { StepsAhead } from "./ahead.ts";
import type { Learner, UpdateMetrics } from "./learner.ts";
import type { MaskedSequence } from "./packing.ts";
import { demonstration, sftStep } from "./sft.ts";

/** Hyper-parameters of pretraining. */
export interface PretrainOptions {
  readonly steps: number;
  /** Traces per step. */
  readonly batch: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly tokenBudget: number;
  /** Which policy's traces; default `flawed`. */
  readonly behaviour?: keyof typeof behaviours;
}

/** Families that fine-tuning trains on are this many times as frequent as held-out ones. */
const TRAIN_WEIGHT = 2;

/** Trace number `index` of the corpus named by the seed. */
export function flawedTrace(
  chat: ChatFormat,
  seed: number,
  index: number,
  behaviour: keyof typeof behaviours = "flawed",
): MaskedSequence {
  const random = new Random(`${seed}/corpus/${index}`);
  const { domain, split } = random.weighted(
    families.map((family) => [family, family.split === "train" ? TRAIN_WEIGHT : 1] as const),
  );
  const task = generateTask(domain, split, { seed: `${seed}/corpus`, index });
  return demonstration(chat, task, behave(task, random, behaviours[behaviour]));
}

/**
 * Trains for `steps` steps. `onStep` may stop it by throwing; the step after that one was made then.
 */
export async function pretrain(
  learner: Learner,
  chat: ChatFormat,
  { steps, batch, learningRate, seed, tokenBudget, behaviour }: PretrainOptions,
  onStep: (step: number, metrics: UpdateMetrics) => void | Promise<void>,
): Promise<void> {
  const updates = new StepsAhead((step) => {
    const traces = Array.from(
      { length: batch },
      (_, i) => flawedTrace(chat, seed, step * batch + i, behaviour),
    );
    const rate = warmupCosine(step, steps, { peak: learningRate, warmup: 50, floor: 0.05 });
    return sftStep(learner, traces, { learningRate: rate, tokenBudget });
  });
  for (let step = 0; step < steps; step++) {
    await onStep(step + 1, await updates.step(step, step + 1 < steps));
  }
}
