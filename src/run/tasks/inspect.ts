/**
 * What is in a file of tasks, and what is wrong with it.
 *
 * @module
 */

import { demonstration } from "../../rl/sft.ts";
import { callsAnswer } from "../../tasks/call_match.ts";
import { promptPurpose } from "../../tasks/domains/mod.ts";
import { count, type RowCounts } from "../../tasks/formats/reader.ts";
import { type Check, checkAnswer, placeOf, type Split, type Task } from "../../tasks/task.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { isDeclared, resultText } from "../../tools/tool.ts";
import { isRunnable, rerun, withResults } from "./references.ts";
import { countFailure } from "./account.ts";
import type { TaskFile } from "./file.ts";
import { duplicates, type Overlap, overlap } from "./overlap.ts";
import { transcriptLength } from "./source.ts";

/** Sizes, sorted. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  /** 95 % are no larger. */
  readonly p95: number;
  readonly most: number;
}

/** The tasks that are one row of result tables, by how they are checked. */
export interface TaskGroup {
  readonly domain: string;
  readonly split: Split;
  readonly check: Check;
  readonly tasks: number;
  /** How many are held out of training by the hash of their prompt. */
  readonly heldOut: number;
  /** How many have a reference. */
  readonly references: number;
}

/** A tool that tasks offer. */
export interface OfferedTool {
  readonly name: string;
  /** Whether it can be run, or is only declared. */
  readonly runs: boolean;
  /** Tasks that offer it. */
  readonly offered: number;
  /** Calls of it in references. */
  readonly called: number;
}

/** A task as a model sees it. */
export interface TaskSample {
  readonly id: string;
  /** Up to where the model begins. */
  readonly prompt: string;
  /** What follows where the model does as the reference; null without one. */
  readonly demonstration: string | null;
}

/** What became of the rows of a file. */
export interface FileAccount extends Omit<TaskFile, "tasks"> {
  readonly tasks: number;
}

/** Everything about a file of tasks. */
export interface TaskInspection extends FileAccount {
  readonly groups: readonly TaskGroup[];
  /** Tasks by the number of calls in their reference. */
  readonly calls: readonly { readonly calls: number; readonly tasks: number }[];
  readonly tools: readonly OfferedTool[];
  /** Lengths of prompts in characters; null where there is no task. */
  readonly characters: Spread | null;
  /** Lengths in tokens of prompts with their tools, and of whole episodes as the reference's. */
  readonly tokens: { readonly prompt: Spread; readonly episode: Spread } | null;
  readonly duplicates: Overlap;
  /** Tasks held out by their hash that resemble one that is trained on. */
  readonly heldOut: Overlap;
  /** The file for evaluation, and its tasks that resemble one of this; null without such a file. */
  readonly evaluation: Overlap & { readonly file: FileAccount } | null;
  /** How many references were run, and what is wrong with any. */
  readonly references: { readonly run: number; readonly problems: RowCounts };
  readonly samples: readonly TaskSample[];
}

/** What a file is inspected with. */
export interface InspectionOptions {
  readonly chat: ChatFormat;
  readonly tokenizer: Tokenizer;
  /** Whether lengths are counted in tokens. */
  readonly countTokens: boolean;
  /** Another file, for evaluation. */
  readonly evaluation?: TaskFile | undefined;
}

/** Tasks that are shown. */
const SAMPLES = 3;

/** Inspects a file of tasks; of the references, results that are left out are filled in. */
export async function inspectTasks(
  { tasks: read, ...file }: TaskFile,
  { chat, tokenizer, countTokens, evaluation }: InspectionOptions,
): Promise<TaskInspection> {
  const tasks = await withResults(read, countFailure(file));
  const [held, trained] = split(tasks, ({ prompt }) => promptPurpose(prompt) === "eval");
  const lengths = new Map(tasks.map((task) => [task, episodeLength(task, chat)]));
  const histogram = Map.groupBy(
    tasks.filter(({ reference }) => reference !== null),
    ({ reference }) => reference!.calls.length,
  );
  return {
    ...file,
    tasks: tasks.length,
    groups: groupsOf(tasks),
    calls: [...histogram].map(([calls, { length }]) => ({ calls, tasks: length }))
      .sort((a, b) => a.calls - b.calls),
    tools: toolsOf(tasks),
    characters: spread(tasks.map(({ prompt }) => prompt.length)),
    tokens: countTokens ? tokensOf(lengths, chat) : null,
    duplicates: duplicates(tasks),
    heldOut: overlap(held, trained),
    evaluation: evaluation
      ? {
        ...overlap(evaluation.tasks, tasks),
        file: { ...evaluation, tasks: evaluation.tasks.length },
      }
      : null,
    references: await checkReferences(lengths, new Set(read)),
    samples: samplesOf(tasks).map((task) => sample(task, chat, tokenizer)),
  };
}

function groupsOf(tasks: readonly Task[]): TaskGroup[] {
  const groups = Map.groupBy(
    tasks,
    ({ domain, split, check }) => JSON.stringify([domain, split, check]),
  );
  return [...groups.values()].map((members) => {
    const { domain, split, check } = members[0]!;
    return {
      ...{ domain, split, check },
      tasks: members.length,
      heldOut: members.filter(({ prompt }) => promptPurpose(prompt) === "eval").length,
      references: members.filter(({ reference }) => reference !== null).length,
    };
  });
}

function toolsOf(tasks: readonly Task[]): OfferedTool[] {
  const tools = new Map<string, { runs: boolean; offered: number; called: number }>();
  for (const task of tasks) {
    for (const tool of task.tools) {
      const entry = tools.get(tool.name) ?? { runs: true, offered: 0, called: 0 };
      entry.runs &&= !isDeclared(tool);
      entry.offered++;
      tools.set(tool.name, entry);
    }
    for (const { name } of task.reference?.calls ?? []) tools.get(name)!.called++;
  }
  return [...tools].map(([name, entry]) => ({ name, ...entry }))
    .sort((a, b) => b.called - a.called || b.offered - a.offered);
}

/** Tokens of an episode; null where the format has no way to write the reference's calls. */
function episodeLength(task: Task, chat: ChatFormat): number | null {
  try {
    return transcriptLength(chat, task);
  } catch (error) {
    // Positional formats can write the arguments alone that a schema names.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function tokensOf(
  lengths: ReadonlyMap<Task, number | null>,
  chat: ChatFormat,
): TaskInspection["tokens"] {
  const prompts = [...lengths.keys()].map(({ prompt, tools, system }) =>
    chat.promptIds(prompt, tools, system).length
  );
  const [prompt, episode] = [
    spread(prompts),
    spread([...lengths.values()].flatMap((n) => n ?? [])),
  ];
  return prompt && episode && { prompt, episode };
}

/** @param recorded tasks whose references came with results, which are compared with those of now */
async function checkReferences(
  lengths: ReadonlyMap<Task, number | null>,
  recorded: ReadonlySet<Task>,
): Promise<TaskInspection["references"]> {
  const problems: RowCounts = {};
  let run = 0;
  for (const [task, length] of lengths) {
    const note = (reason: string, problem = reason) =>
      count(problems, reason, task.origin!.line, problem);
    const { reference, check } = task;
    if (!reference || reference.namesOnly) continue;
    const answer = check === "calls" ? callsAnswer(reference.calls) : reference.answer;
    if (!checkAnswer(task, answer)) note("the reference does not solve its task");
    if (length === null) note("the chat format cannot write the reference's calls");
    if (!isRunnable(task)) continue;
    run++;
    if (!recorded.has(task)) continue;
    const { calls, problem } = await rerun(task);
    if (problem !== undefined) note("a call of the reference does not work", problem);
    const other = calls?.find(({ result }, i) => {
      const recorded = reference.calls[i]!.result;
      return recorded !== undefined && resultText(recorded) !== resultText(result);
    });
    if (other) {
      const reason = "a call of the reference has another result";
      note(reason, `${reason}: ${other.name} returns ${resultText(other.result)}`);
    }
  }
  return { run, problems };
}

/** The first tasks of different groups, and then the first ones. */
function samplesOf(tasks: readonly Task[]): Task[] {
  const kinds = Map.groupBy(tasks, ({ domain, split, check }) => `${domain}/${split}/${check}`);
  const first = [...kinds.values()].map((members) => members[0]!);
  return [...new Set([...first, ...tasks])].slice(0, SAMPLES);
}

function sample(task: Task, chat: ChatFormat, tokenizer: Tokenizer): TaskSample {
  const prompt = chat.promptIds(task.prompt, task.tools, task.system);
  const text = (ids: Uint32Array) => tokenizer.decode(ids, { skipSpecial: false });
  const { reference } = task;
  const shown = reference && !reference.namesOnly && episodeLength(task, chat) !== null;
  return {
    id: `${task.id} (${placeOf(task.origin!)})`,
    prompt: text(prompt),
    demonstration: shown
      ? text(demonstration(chat, task, reference).ids.subarray(prompt.length))
      : null,
  };
}

function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  return { least: at(0), median: at(0.5), p95: at(0.95), most: at(1) };
}

function split<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}
