/**
 * `./mentor tasks`: what is in a file of tasks, or the same tasks in Mentor's own format.
 *
 * @module
 */

import { replaceFile } from "../../io/checkpoint.ts";
import { formatTasks } from "../../tasks/jsonl.ts";
import { Tokenizer } from "../../text/tokenizer.ts";
import type { RunConfig } from "../config/mod.ts";
import { inspectTasks, type TaskInspection } from "./inspect.ts";
import { loadTokenizer, locateModel } from "../model_source.ts";
import { chatOf, hubProgress, type OnProgress } from "../student.ts";
import { readTaskFile, type TaskFile, type TaskFileOptions } from "./file.ts";
import { openTools } from "../tools/mod.ts";

/** What the command is told beside a run's settings. */
export interface TasksOptions {
  /** Another file, for evaluation. */
  readonly evaluation?: string | undefined;
  /** Whether a model was named, whose tokens are worth counting. */
  readonly countTokens: boolean;
  readonly onProgress?: OnProgress;
}

/**
 * Inspects a file of tasks, and another for evaluation; malformed rows are counted.
 *
 * @throws {ConfigError} if the rows have no known format.
 * @throws {CheckpointError} if a file, or the model whose chat format is shown, cannot be read.
 */
export async function inspectTaskFile(
  source: string,
  config: RunConfig,
  { evaluation, countTokens, onProgress }: TasksOptions,
): Promise<TaskInspection> {
  await using box = await openTools(config.tools);
  const reading = { ...readingOf(config, box.tools, onProgress), skipInvalid: true };
  const file = await readTaskFile(source, reading);
  const other = evaluation === undefined
    ? undefined
    : await readTaskFile(evaluation, { ...reading, format: "auto", limit: null });
  const tokenizer = config.from === "scratch"
    ? Tokenizer.bytes()
    : await loadTokenizer((await locateModel(config.from, hubProgress(onProgress))).path);
  const chat = chatOf(tokenizer, config.chat);
  return await inspectTasks(file, { chat, tokenizer, countTokens, evaluation: other });
}

/**
 * Writes the tasks of a file in Mentor's own format.
 *
 * @throws {TaskFormatError} on a malformed row, unless these are to be skipped; nothing is written.
 * @throws {CheckpointError} if a file cannot be read or written.
 */
export async function convertTaskFile(
  source: string,
  target: string,
  config: RunConfig,
  onProgress?: OnProgress,
): Promise<TaskFile> {
  await using box = await openTools(config.tools);
  const file = await readTaskFile(source, readingOf(config, box.tools, onProgress));
  replaceFile(target, formatTasks(file.tasks));
  return file;
}

function readingOf(
  { format, limit, skipInvalid, tools: chosen }: RunConfig,
  tools: TaskFileOptions["tools"],
  onProgress: OnProgress | undefined,
): TaskFileOptions {
  const hub = hubProgress(onProgress);
  return { format, limit, skipInvalid, tools, chosen: chosen !== null, hub };
}
