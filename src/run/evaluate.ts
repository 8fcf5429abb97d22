/**
 * Measuring a model without training it.
 *
 * @module
 */

import type { ProfileDetail } from "../gpu/profiler.ts";
import { Generator } from "../model/generator.ts";
import { evaluateModel, type Evaluation, type Scores } from "../rl/evaluate.ts";
import type { Split } from "../tasks/task.ts";
import { openAdapter } from "./adapter.ts";
import { ConfigError, resolveConfig, type RunConfig } from "./config/mod.ts";
import type { RunEvent } from "./events.ts";
import { type Profile, RunProfile } from "./profile.ts";
import { loadStudent, type Student } from "./student.ts";
import { openTools } from "./tools/mod.ts";
import { openTasks, type TaskSource } from "./tasks/source.ts";

/** How to watch an evaluation. */
export interface EvaluateOptions {
  /** Called as episodes end. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
  /** Measure where the time goes, by kernel or by submit. */
  readonly profile?: ProfileDetail;
  /**
   * Evaluates on up to so many prompts per domain trained on that are there to choose by, none of
   * which is among the config's evaluation prompts; without it, on these themselves.
   */
  readonly validation?: number;
  /** Aborting ends it at once, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What {@linkcode evaluate} found. */
export interface EvaluationResult extends Evaluation {
  /** Where the time went, if that was asked for. */
  readonly profile?: Profile;
}

/** Scores of one domain and split before and after. */
export interface DomainResult {
  /** The domain. */
  readonly name: string;
  /** Which part of it: trained on, or held out in one of three ways. */
  readonly split: Split;
  /** Of the model that the run started from. */
  readonly before: Scores;
  /** Of the trained model. */
  readonly after: Scores;
}

/**
 * Evaluates the model of `config.from` on the built-in suite, or on the held-out part of a task
 * file.
 *
 * @throws {ConfigError} if the config is not usable or names no evaluation task.
 * @throws {CheckpointError} if the model cannot be read.
 * @throws {GpuUnavailableError} if no adapter will do, or it cannot be profiled as asked.
 * @throws {ToolUnavailableError} if no episode of a domain can be scored, or a tool is gone for good.
 */
export async function evaluate(
  input: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions = {},
): Promise<EvaluationResult> {
  const config = resolveConfig({ flags: input });
  return await withStudent(
    config,
    options,
    (student) => evaluateStudent(student, config, options),
  );
}

/** Opens adapter and model of a config for `work`, and profiles it if that was asked for. */
export async function withStudent<T extends object>(
  config: RunConfig,
  { onProgress, profile: detail }: EvaluateOptions,
  work: (student: Student) => Promise<T>,
): Promise<T & { readonly profile?: Profile }> {
  using gpu = await openAdapter(config, { profile: detail });
  const { chat, dtype } = config;
  using student = await loadStudent(gpu, config.from, { chat, dtype, onProgress });
  if (!detail) return await work(student);
  // There is no folder for a trace: only runs have one.
  using profile = new RunProfile(gpu, detail, null);
  const found = await profile.span("evaluate", () => work(student));
  return { ...found, profile: await profile.finish() };
}

/** The same of a student at hand. */
export async function evaluateStudent(
  student: Student,
  config: RunConfig,
  { onProgress, validation, signal }: EvaluateOptions,
): Promise<Evaluation> {
  const { model, chat } = student;
  await using box = await openTools(config.tools);
  const use = { evaluationOnly: true, ...(validation === undefined ? {} : { validation }) };
  const tasks = await openTasks(config, box.tools, chat, model.config.maxPositions, use);
  if (tasks.evaluation.length === 0) {
    throw new ConfigError(
      "Cannot evaluate: there are no evaluation tasks; raise evaluation.prompts, or give a larger task file",
    );
  }
  using generator = openGenerator(student, config, tasks);
  const tell = (done: number, total: number) => onProgress?.("evaluate", done, total);
  return await evaluateTasks(generator, student, config, tasks, tell, signal);
}

/** A generator with the slots of the config and the context of the tasks. */
export function openGenerator(
  { model, chat: { stops } }: Student,
  { rollout: { slots, stepsPerRead } }: RunConfig,
  { maxTokens }: TaskSource,
): Generator {
  return new Generator(model, { slots, stepsPerRead, length: maxTokens, stops });
}

/** Evaluates on the evaluation tasks of a source. */
export async function evaluateTasks(
  generator: Generator,
  { chat }: Student,
  { evaluation: { samples }, rollout: { maxCalls } }: RunConfig,
  { evaluation: sets, maxTokens }: TaskSource,
  onProgress: (done: number, total: number) => void,
  signal?: AbortSignal,
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
    ...(signal ? { signal } : {}),
  });
}

/** The scores of a run's first and last evaluation side by side, where it has both. */
export function compareEvaluations(events: readonly RunEvent[]): DomainResult[] {
  const evaluations = events.filter((event) => event.type === "eval");
  const before = evaluations.find(({ phase }) => phase === "before");
  const after = evaluations.findLast(({ phase }) => phase === "after");
  return (before?.domains ?? []).flatMap(({ name, split, ...scores }) => {
    const later = after?.domains.find((row) => row.name === name && row.split === split);
    if (!later) return [];
    const { name: _name, split: _split, ...rest } = later;
    return [{ name, split, before: scores, after: rest } as unknown as DomainResult];
  });
}
