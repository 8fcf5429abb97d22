/**
 * Measuring a model without training it.
 *
 * @module
 */

import { Gpu } from "../gpu/device.ts";
import { Generator } from "../model/generator.ts";
import { evaluateModel, type Evaluation } from "../rl/evaluate.ts";
import { ConfigError, resolveConfig, type RunConfig } from "./config.ts";
import { loadStudent, type Student } from "./student.ts";
import { openTasks, type TaskSource } from "./tasks.ts";

/** How to watch an evaluation. */
export interface EvaluateOptions {
  /** Called as episodes end. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
}

/**
 * Evaluates the model of `config.from` on the built-in suite, or on the held-out part of a task
 * file.
 *
 * @throws {ConfigError} if the config is not usable or names no evaluation task.
 * @throws {CheckpointError} if the model cannot be read.
 */
export async function evaluate(
  input: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const config = resolveConfig({ flags: input });
  using gpu = await Gpu.open();
  using student = await loadStudent(gpu, config.from);
  return await evaluateStudent(student, config, options);
}

/** The same of a student at hand. */
export async function evaluateStudent(
  student: Student,
  config: RunConfig,
  { onProgress }: EvaluateOptions,
): Promise<Evaluation> {
  const { model, chat } = student;
  const tasks = await openTasks(config, chat, model.config.maxPositions);
  if (tasks.evaluation.length === 0) {
    throw new ConfigError(
      "Cannot evaluate: there are no evaluation tasks; raise evaluation.prompts, or give a larger task file",
    );
  }
  using generator = openGenerator(student, config, tasks);
  return await evaluateTasks(generator, student, config, tasks, (done, total) => {
    onProgress?.("evaluate", done, total);
  });
}

/** A generator with the slots of the config and the context of the tasks. */
export function openGenerator(
  { model, chat: { stops } }: Student,
  { rollout: { slots, stepsPerRead } }: RunConfig,
  { maxTokens }: TaskSource,
): Generator {
  const stopTokens = [stops.endCall, stops.end] as const;
  return new Generator(model, { slots, stepsPerRead, length: maxTokens, stops: stopTokens });
}

/** Evaluates on the evaluation tasks of a source. */
export async function evaluateTasks(
  generator: Generator,
  { chat }: Student,
  { evaluation: { samples }, rollout: { maxCalls } }: RunConfig,
  { evaluation: sets, maxTokens }: TaskSource,
  onProgress: (done: number, total: number) => void,
): Promise<Evaluation> {
  const total = sets.reduce((sum, { tasks }) => sum + tasks.length, 0) * (samples + 1);
  let done = 0;
  return await evaluateModel(generator, chat, sets, {
    samples,
    // The same draws in every run and phase, so that differences are the model's.
    seed: 0,
    maxTokens,
    maxCalls,
    onEpisode: () => onProgress(++done, total),
  });
}
