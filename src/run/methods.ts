/**
 * The methods of a run: each knows how to make one step of it.
 *
 * @module
 */

import type { Generator } from "../model/generator.ts";
import { StepsAhead } from "../rl/ahead.ts";
import { distillStep } from "../rl/distill.ts";
import { dpoStep } from "../rl/dpo.ts";
import { EntropyController } from "../rl/entropy.ts";
import type { LearningContext, StepResult } from "../rl/experience.ts";
import { grpoStep } from "../rl/grpo.ts";
import type { Learner } from "../rl/learner.ts";
import { likelihoodScores } from "../rl/likelihood.ts";
import { ppoStep } from "../rl/ppo_step.ts";
import type { RolloutOptions } from "../rl/rollout.ts";
import { demonstration, sftStep } from "../rl/sft.ts";
import type { Auxiliaries } from "./auxiliary.ts";
import type { RunConfig } from "./config/mod.ts";
import type { StepEvent } from "./events.ts";
import {
  distillOptions,
  dpoOptions,
  grpoOptions,
  learningRate,
  ppoOptions,
  samplingOptions,
} from "./options.ts";
import type { Student } from "./student.ts";
import type { TaskSource } from "./tasks/source.ts";

/** What methods work with. */
export interface Workshop {
  readonly config: RunConfig;
  readonly student: Student;
  readonly tasks: TaskSource;
  readonly learner: Learner;
  readonly generator: Generator;
  readonly auxiliaries: Auxiliaries;
  readonly reward: LearningContext["reward"];
  readonly potential: LearningContext["potential"];
  readonly span: NonNullable<LearningContext["span"]>;
  /** Is told of every episode of a step. */
  readonly onEpisode: NonNullable<LearningContext["onEpisode"]>;
}

/** Metrics of a step, and how long its parts took. */
export interface StepOutcome {
  readonly metrics: Readonly<Record<string, number>>;
  readonly parts: Readonly<Record<string, number>>;
}

/** Which step is to be made. */
export interface StepPlace {
  /** Counted over the whole run from 0. */
  readonly step: number;
  /** Share of the method's steps that are done, in [0, 1). */
  readonly progress: number;
  /** Whether the same method makes the next step, and nobody is to see the weights before it. */
  readonly goesOn: boolean;
}

/** A method of training. */
export interface Method {
  /** Its name in events. */
  readonly name: StepEvent["method"];
  /** Whether the next step was submitted: the weights are its own already. */
  readonly isAhead: boolean;
  step(place: StepPlace): Promise<StepOutcome>;
  /** Takes in a step that was made before the run was interrupted. */
  replay(metrics: Readonly<Record<string, number>>): void;
}

/** The method that a config names. */
export function openMethod(workshop: Workshop): Method {
  switch (workshop.config.method) {
    case "sft":
      return imitation(workshop);
    case "grpo":
      return reinforcement(workshop);
    case "ppo":
      return actorCritic(workshop);
    case "distill":
      return distillation(workshop);
    case "dpo":
      return preference(workshop);
  }
}

/** Imitation of the teacher. */
export function imitation({ config, student, tasks, learner, span }: Workshop): Method {
  const { sft: { batch, learningRate }, tokenBudget } = config;
  const tokens = new Map<number, number>();
  const steps = new StepsAhead((step) => {
    const shown = tasks.draw(step, 0, batch);
    const sequences = shown.map((task) => demonstration(student.chat, task, task.reference!));
    tokens.set(step, sequences.reduce((sum, { ids }) => sum + ids.length, 0));
    return sftStep(learner, sequences, { learningRate, tokenBudget });
  });
  return {
    name: "sft",
    get isAhead() {
      return steps.isAhead;
    },
    async step({ step, goesOn }) {
      const { loss, entropy, grad_norm } = await span("update", () => steps.step(step, goesOn));
      const num_tokens = tokens.get(step)!;
      tokens.delete(step);
      return { metrics: { loss, entropy: entropy!, grad_norm, num_tokens }, parts: {} };
    },
    replay() {},
  };
}

/** GRPO and its family. */
function reinforcement(workshop: Workshop): Method {
  const { config } = workshop;
  const { grpo } = config;
  const entropy = new EntropyController({
    coefficient: grpo.entropyCoef,
    target: grpo.entropyTarget,
  });
  const observe = (metrics: Readonly<Record<string, number>>) => {
    if (metrics.entropy !== undefined) entropy.observe(metrics.entropy);
  };
  return {
    name: "grpo",
    isAhead: false,
    async step({ step, progress }) {
      const { context, prompts, sampling } = explorationOf(workshop, step);
      const entropyCoefficient = entropy.coefficient;
      const options = grpoOptions(config, {
        learningRate: learningRate(config, progress),
        entropyCoefficient,
      });
      const { metrics, seconds } = await grpoStep(
        context,
        prompts,
        sampling,
        options,
        progress,
      );
      observe(metrics);
      const steered: Record<string, number> = entropy.active
        ? { entropy_coef: entropyCoefficient }
        : {};
      return { metrics: { ...metrics, ...steered }, parts: seconds };
    },
    replay: observe,
  };
}

/** PPO: a learned value function says what to expect, instead of other episodes. */
function actorCritic(workshop: Workshop): Method {
  const { config, auxiliaries: { head, critic } } = workshop;
  return exploring("ppo", workshop, ({ context, prompts, sampling, progress }) => {
    const models = { ...context, head: head!, critic };
    return ppoStep(models, prompts, sampling, ppoOptions(config, progress), progress);
  });
}

/** On-policy distillation of a larger model. */
function distillation(workshop: Workshop): Method {
  const { config, auxiliaries: { teacher } } = workshop;
  return exploring("distill", workshop, ({ context, prompts, sampling, progress }) => {
    const models = { ...context, teacher: teacher! };
    return distillStep(models, prompts, sampling, distillOptions(config, progress), progress);
  });
}

/** DPO: the teacher's demonstration is preferred to what failed. */
function preference(workshop: Workshop): Method {
  const { config } = workshop;
  return exploring("dpo", workshop, ({ context, prompts, sampling, progress }) => {
    const models = { ...context, reference: context.reference! };
    return dpoStep(models, prompts, sampling, dpoOptions(config, progress), progress);
  });
}

/** What a step on episodes of the student's own begins with. */
interface Exploration {
  readonly context: LearningContext;
  readonly prompts: number;
  readonly sampling: RolloutOptions;
  readonly progress: number;
}

/** A method that samples episodes, and remembers nothing from step to step but weights. */
function exploring(
  name: Method["name"],
  workshop: Workshop,
  learn: (exploration: Exploration) => Promise<StepResult>,
): Method {
  return {
    name,
    isAhead: false,
    async step({ step, progress }) {
      const { metrics, seconds } = await learn({ ...explorationOf(workshop, step), progress });
      return { metrics, parts: seconds };
    },
    replay() {},
  };
}

function explorationOf(workshop: Workshop, step: number): Omit<Exploration, "progress"> {
  const { config, student: { chat }, auxiliaries: { reference }, tasks } = workshop;
  const { rollout: { prompts }, seed } = config;
  return {
    context: {
      ...workshop,
      ...{ chat, reference, draw: drawing(tasks, step) },
      ...judgement(workshop),
    },
    prompts,
    sampling: samplingOptions(config, tasks.maxTokens, `${seed}/step/${step}`),
  };
}

/** With an expert its likelihood is the reward, and the preset's what is left of it beside that. */
function judgement(workshop: Workshop): Pick<LearningContext, "reward" | "judge"> {
  const { config, reward, student: { model }, auxiliaries: { expert, base } } = workshop;
  if (!expert) return { reward };
  const { likelihood: { weight, entropyWeight, presetWeight }, tokenBudget, rollout } = config;
  const { temperature } = rollout;
  return {
    reward: {
      ...reward.weights ? { weights: reward.weights } : {},
      score(...episode) {
        const result = reward.score(...episode);
        return { ...result, total: presetWeight * result.total };
      },
    },
    async judge(rollouts) {
      const options = { tokenBudget, temperature, entropyWeight, policy: model };
      const scores = await likelihoodScores(expert, base, rollouts, options);
      return scores.map(({ score }) => weight * score);
    },
  };
}

/** Draws the tasks of a step one after the other. */
function drawing(tasks: TaskSource, step: number): LearningContext["draw"] {
  let drawn = 0;
  return (count) => {
    const fresh = tasks.draw(step, drawn, count);
    drawn += count;
    return fresh;
  };
}
