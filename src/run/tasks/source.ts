/**
 * Where a run's tasks come from: the built-in domains, or a file.
 *
 * @module
 */

import { Random } from "../../random.ts";
import type { EvaluationSet } from "../../rl/evaluate.ts";
import { demonstration } from "../../rl/sft.ts";
import { comparesNames, needsReference } from "../../rl/reward.ts";
import {
  type DomainTask,
  evaluationSuite,
  generateTask,
  isForValidation,
  promptPurpose,
  validationSuite,
} from "../../tasks/domains/mod.ts";
import { requireReferences, type Task } from "../../tasks/task.ts";
import { teach } from "../../tasks/teacher.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import type { Tool } from "../../tools/tool.ts";
import { ConfigError, type RunConfig } from "../config/mod.ts";
import { withResults } from "./references.ts";
import { countFailure, notesOf, reasons } from "./account.ts";
import { readTaskFile, type TaskFile, type TaskFileOptions } from "./file.ts";
import { openTools } from "../tools/mod.ts";

/** The tasks of a run. */
export interface TaskSource {
  /** Training tasks number `first` .. `first + count - 1` of a step; the same for the same seed. */
  draw(step: number, first: number, count: number): Task[];
  /** Fixed tasks that are never drawn. */
  readonly evaluation: readonly EvaluationSet[];
  /** Longest episode in tokens. */
  readonly maxTokens: number;
  /** What the reader should know: conversions, tasks left out. */
  readonly notes: readonly string[];
}

/**
 * Context of the built-in domains in the compact format: their longest gold transcript is 103
 * tokens. Chat formats that show tools in the prompt need more.
 */
const BUILT_IN_TOKENS = 128;

/** What tasks are wanted for. */
export interface TaskUse {
  /**
   * Evaluate on up to so many prompts per domain trained on that are there to choose by, and on no
   * prompt of the config's evaluation.
   */
  readonly validation?: number;
  /** Nothing is learned from them, so that nobody has to show how, and none has to be drawn. */
  readonly evaluationOnly?: boolean;
}

/**
 * Opens the tasks that a config names.
 *
 * @param tools that the lines of a task file may name
 * @param context longest sequence of the model
 * @throws {TaskFormatError} naming file and line of a malformed task.
 * @throws {ConfigError} if no task is left to train on, or none to choose by.
 * @throws {ToolUnavailableError} if a tool cannot be had that a reference's result is to come from.
 */
export async function openTasks(
  config: RunConfig,
  tools: readonly Tool[],
  chat: ChatFormat,
  context: number,
  use: TaskUse = {},
): Promise<TaskSource> {
  return config.tasks === null
    ? builtIn(config, chat, context, use)
    : await fromFile(config, tools, chat, context, use);
}

function builtIn(
  { domains, seed, teacher, evaluation, rollout, tokenBudget, limit }: RunConfig,
  chat: ChatFormat,
  context: number,
  { validation }: TaskUse,
): TaskSource {
  const taught = (task: DomainTask, key: string): DomainTask => ({
    ...task,
    reference: teach(task, teacher, new Random(key)),
  });
  const task = (domain: number, index: number) =>
    taught(
      generateTask(domains[domain % domains.length]!, "train", { seed, index }),
      `${seed}/teacher/${index}`,
    );
  const draw: TaskSource["draw"] = limit === null
    ? (step, first, count) =>
      Array.from({ length: count }, (_, i) => task(first + i, step * 65536 + first + i))
    : passes(Array.from({ length: limit }, (_, i) => task(i, i)), seed, rollout.prompts);
  const needed = () => {
    const lengths = draw(0, 0, 64).map((task) => transcriptLength(chat, task));
    return lengths.every((length) => length <= BUILT_IN_TOKENS)
      ? BUILT_IN_TOKENS
      : fitted(lengths, Math.min(context, tokenBudget));
  };
  checkContext(rollout.maxTokens, context);
  return {
    draw,
    evaluation: evaluation.prompts === 0
      ? []
      : (validation === undefined
        ? evaluationSuite(evaluation.prompts)
        : validationSuite(validation, evaluation.prompts)).map((part) => ({
          ...part,
          tasks: part.tasks.map((task) => taught(task, `teacher/${task.id}`)),
        })),
    maxTokens: rollout.maxTokens ?? needed(),
    notes: [],
  };
}

async function fromFile(
  config: RunConfig,
  tools: readonly Tool[],
  chat: ChatFormat,
  context: number,
  { validation, evaluationOnly = false }: TaskUse,
): Promise<TaskSource> {
  const source = config.tasks!;
  const file = await readTasks(config, tools);
  const all = await withResults(file.tasks, config.skipInvalid ? countFailure(file) : undefined);
  const notes = notesOf(file, all);
  const { method, warmupSft, reward } = config;
  const imitates = method === "sft" || method === "dpo" || warmupSft !== 0;
  if (!evaluationOnly && (imitates || needsReference(reward))) {
    requireReferences(all, { names: !imitates && comparesNames(reward) });
  }
  const lengths = new Map(all.map((task) => [task, transcriptLength(chat, task)]));
  const maxTokens = config.rollout.maxTokens ??
    fitted([...lengths.values()], Math.min(context, config.tokenBudget));
  checkContext(maxTokens, context);
  const fitting = all.filter((task) => lengths.get(task)! <= maxTokens);
  const left = all.length - fitting.length;
  if (left > 0) {
    notes.push(
      `${left} of ${all.length} tasks do not fit the context of ${maxTokens} tokens and are left out`,
    );
  }
  const held = validation === undefined
    ? fitting.filter(({ prompt }) => promptPurpose(prompt) === "eval" && !isForValidation(prompt))
    : forValidation(source, fitting);
  const training = fitting.filter(({ prompt }) => promptPurpose(prompt) === "train");
  if (training.length === 0 && !evaluationOnly) {
    throw new ConfigError(
      `Cannot train on "${source}": none of its ${all.length} tasks fits a context of ${maxTokens} tokens; ` +
        "raise rollout.maxTokens or shorten the prompts",
    );
  }
  const prompts = validation ?? config.evaluation.prompts;
  const families = Map.groupBy(held, ({ domain, split }) => `${domain}/${split}`);
  return {
    draw: passes(training, config.seed, config.rollout.prompts),
    evaluation: prompts === 0 ? [] : [...families.values()].map((tasks) => ({
      domain: tasks[0]!.domain,
      split: tasks[0]!.split,
      tasks: tasks.slice(0, prompts),
    })),
    maxTokens,
    notes,
  };
}

/**
 * Sees to it that a task file has tasks to choose models by; the built-in domains do.
 *
 * @throws {ConfigError} if there is none.
 */
export async function requireValidation(config: RunConfig): Promise<void> {
  if (config.tasks === null) return;
  await using box = await openTools(config.tools);
  forValidation(config.tasks, (await readTasks(config, box.tools)).tasks);
}

/** The tasks to choose models by: of those trained on, like the ones that the built-in domains have. */
function forValidation(source: string, tasks: readonly Task[]): Task[] {
  const found = tasks.filter(({ prompt, split }) => split === "train" && isForValidation(prompt));
  if (found.length > 0) return found;
  throw new ConfigError(
    `Cannot choose a model by "${source}": of its ${tasks.length} tasks none is held out for that. ` +
      'Give it more tasks of split "train" (one prompt in 16 is), or leave imitation out',
  );
}

/** Draws from a list, of which each pass has an order of its own. @param prompts of a step at least */
function passes<T extends Task>(
  tasks: readonly T[],
  seed: number,
  prompts: number,
): (step: number, first: number, count: number) => T[] {
  const orders = new Map<number, T[]>();
  const order = (pass: number) => {
    let found = orders.get(pass);
    if (!found) {
      found = new Random(`${seed}/pass/${pass}`).shuffle([...tasks]);
      orders.set(pass, found);
    }
    return found;
  };
  return (step, first, count) =>
    Array.from({ length: count }, (_, i) => {
      const n = step * Math.max(count, prompts) + first + i;
      return order(Math.floor(n / tasks.length))[n % tasks.length]!;
    });
}

/** @throws {ConfigError} if a model's context is shorter than what a config asks for. */
export function checkContext(maxTokens: number | null, context: number): void {
  if (maxTokens !== null && maxTokens > context) {
    throw new ConfigError(
      `Cannot use rollout.maxTokens = ${maxTokens}: the model's context is ${context}`,
    );
  }
}

/**
 * Reads the task file of a config.
 *
 * @param options whether tasks are kept that lack the reference which their format should bring
 * @throws {ConfigError} if there is no task in it, and as {@linkcode readTaskFile} does
 */
export async function readTasks(
  config: RunConfig,
  tools: readonly Tool[],
  { unreferenced = false }: Pick<TaskFileOptions, "unreferenced"> = {},
): Promise<TaskFile> {
  const { format, limit, skipInvalid } = config;
  const source = config.tasks!;
  const chosen = config.tools !== null;
  const file = await readTaskFile(source, {
    ...{ format, limit, skipInvalid, tools, chosen, unreferenced },
  });
  if (file.tasks.length > 0) return file;
  const why = [...reasons(file, "leftOut"), ...reasons(file, "invalid")].join(", ");
  throw new ConfigError(
    `Cannot use tasks "${source}": ${
      file.rows === 0 ? "it holds no task" : `none of its ${file.rows} rows is a task (${why})`
    }`,
  );
}

/** Tokens of an episode as the teacher's, or of the prompt where nobody shows how. */
export function transcriptLength(chat: ChatFormat, task: Task): number {
  return task.reference && !task.reference.namesOnly
    ? demonstration(chat, task, task.reference).ids.length
    : chat.promptIds(task.prompt, task.tools, task.system).length + 1;
}

/**
 * A context that holds 95 % of the references with a quarter to spare.
 *
 * @param most that the model takes, and that fits a micro-batch: a longer episode would need more
 * memory than anything that was planned
 */
function fitted(lengths: readonly number[], most: number): number {
  const sorted = lengths.toSorted((a, b) => a - b);
  const long = sorted[Math.floor(0.95 * (sorted.length - 1))] ?? 0;
  return Math.min(most, Math.ceil(long * 1.25 / 64) * 64);
}
