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
import { openTasks } from "./tasks.ts";

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
  const { evaluation: sets, maxTokens } = await openTasks(
    config,
    student.chat,
    student.model.config.maxPositions,
  );
  if (sets.length === 0) {
    throw new ConfigError(
      "Cannot evaluate: there are no evaluation tasks; raise evaluation.prompts, or give a larger task file",
    );
  }
  const { slots, stepsPerRead, maxCalls } = config.rollout;
  const { endCall, end } = student.chat.stops;
  using generator = new Generator(student.model, {
    slots,
    stepsPerRead,
    length: maxTokens,
    stops: [endCall, end],
  });
  const { samples } = config.evaluation;
  const total = sets.reduce((sum, { tasks }) => sum + tasks.length, 0) * (samples + 1);
  let done = 0;
  return await evaluateModel(generator, student.chat, sets, {
    samples,
    seed: 0,
    maxTokens,
    maxCalls,
    onEpisode: () => onProgress?.("evaluate", ++done, total),
  });
}
