/**
 * A task: a prompt, the tools to solve it with, and how its answer is checked.
 *
 * @module
 */

import type { Tool } from "../tools/tool.ts";
import { bfclError } from "./bfcl/matching.ts";
import { type ExpectedCall, matchesCalls } from "./call_match.ts";

/** One call of a reference trajectory. */
export interface ReferenceCall {
  /** Name of one of the task's tools. */
  name: string;
  /** Arguments that satisfy the tool's schema. */
  arguments: Record<string, unknown>;
  /** What the tool returned, where known. */
  result?: unknown;
}

/** What a teacher did to solve a task. It never enters a prompt. */
export interface Reference {
  /** In the order made; empty where no tool is needed. */
  calls: ReferenceCall[];
  /** The teacher's final answer. */
  answer: string;
  /** Other acceptable lists of calls. */
  alternatives?: ReferenceCall[][];
  /**
   * Only the names of the tools are known, each once and with no arguments: enough for rewards that
   * compare sets of names, and for nothing that has to make the calls.
   */
  namesOnly?: true;
}

/** Every split of tasks, the training one first. */
export const splits = ["train", "composition", "depth", "domain"] as const;

/**
 * Which part of a study a task belongs to: `train`, or one of three kinds of held-out tasks: known
 * tools in ordered combinations never trained on, longer chains, or whole held-out domains.
 */
export type Split = typeof splits[number];

/** Every {@linkcode Check}. */
export const checks = ["exact", "number", "last-number", "calls"] as const;

/**
 * How an answer is compared: as text (NFKC, trimmed), as a number, by the last number in it, or by
 * the calls that were made.
 *
 * A task that is checked by its calls ends with the first turn, whose calls are not run: the answer
 * is the list of them, as `callsAnswer` writes it.
 */
export type Check = typeof checks[number];

/** Something to be solved with tools. */
export interface Task {
  /** Unique in its file or stream. */
  id: string;
  /** Family of the task, the row of result tables. */
  domain: string;
  /** See {@linkcode Split}. */
  split: Split;
  /** What the user says. */
  prompt: string;
  /** What the system message says of this task; added to what the run's says. */
  system?: string;
  /** What may be called. */
  tools: readonly Tool[];
  /** Private state that only tools read. */
  world?: unknown;
  /** The correct final answer. */
  answer: string;
  /** See {@linkcode Check}. */
  check: Check;
  /** Which calls solve a task that is checked by its calls; without it, those of `answer`. */
  expected?: readonly ExpectedCall[];
  /**
   * Whose rules compare calls: those of the Berkeley Function Calling Leaderboard, by which any call
   * will do where none is expected by name. By default an argument has to equal a value allowed.
   */
  rules?: "bfcl";
  /** The teacher's trajectory, or null where there is none. */
  reference: Reference | null;
  /** The file and line that the task was read from. */
  origin?: TaskOrigin;
}

/** What it takes to check an answer. */
export type CheckedTask =
  & Pick<Task, "answer" | "check" | "expected">
  & Partial<Pick<Task, "rules" | "tools">>;

/** Where a task was read. */
export interface TaskOrigin {
  /** Name of the file. */
  source: string;
  /** Line number, from 1; of a file that has rows but no lines, the row's number. */
  line: number;
  /** What `line` counts; lines where absent. */
  unit?: "row";
}

/** A place in a task file, for messages: `tasks.jsonl:3`, or `tasks.parquet, row 3`. */
export function placeOf({ source, line, unit }: TaskOrigin): string {
  return unit === "row" ? `${source}, row ${line}` : `${source}:${line}`;
}

/** A task file has a line that is not a task; the message names file, line and what is wrong. */
export class TaskFormatError extends SyntaxError {
  /** Tells this error from others. */
  override name = "TaskFormatError";
  /** Name of the file. */
  readonly source: string;
  /** Line number, from 1. */
  readonly line: number;

  /** Puts the place in front of what is wrong; `unit` is what `line` counts, lines where absent. */
  constructor(source: string, line: number, problem: string, unit?: "row") {
    super(`${placeOf({ source, line, ...(unit ? { unit } : {}) })}: ${problem}`);
    this.source = source;
    this.line = line;
  }
}

/** A reward that compares with a teacher was asked for, and a task has no reference. */
export class MissingReferenceError extends Error {
  /** Tells this error from others. */
  override name = "MissingReferenceError";
}

/** Relative tolerance of `check: "number"`. */
export const numberTolerance = 1e-6;

/**
 * Whether an answer is right. No answer (null) is wrong; numbers may carry "$", thousands commas
 * and surrounding space, and are equal within a relative 1e-6.
 */
export function checkAnswer(task: CheckedTask, answer: string | null): boolean {
  if (answer === null) return false;
  const { check, rules, expected: calls, tools = [] } = task;
  if (check === "calls") {
    if (rules === "bfcl") return bfclError(answer, calls, tools) === null;
    return matchesCalls(calls ?? task.answer, answer);
  }
  if (check === "exact") return normalise(answer) === normalise(task.answer);
  const got = check === "last-number" ? lastNumber(answer) : parseNumber(answer);
  const expected = parseNumber(task.answer);
  if (got === null || expected === null) return false;
  return Math.abs(got - expected) <= numberTolerance * Math.max(Math.abs(got), Math.abs(expected));
}

function normalise(text: string): string {
  return text.normalize("NFKC").trim();
}

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?$/i;

const ANY_NUMBER = /-?[$\d.,]*\d[$\d.,]*/g;

/** The last number in a text, or null: 1234.5 in "That makes $1,234.50.". */
export function lastNumber(text: string): number | null {
  const last = text.match(ANY_NUMBER)?.at(-1);
  return last === undefined ? null : parseNumber(last.replace(/[.,]+$/, ""));
}

/** The number that an answer states, or null: "$1,234.50" is 1234.5, "12 apples" is nothing. */
export function parseNumber(text: string): number | null {
  const bare = normalise(text).replaceAll(/[$,]/g, "").replace("\u2212", "-");
  if (!NUMBER.test(bare)) return null;
  const value = Number(bare);
  return Number.isFinite(value) ? value : null;
}

/**
 * Refuses tasks that a teacher-guided reward cannot score, or that nobody can imitate.
 *
 * @param names whether it is enough to know the names of the tools
 * @throws {MissingReferenceError} naming the first task without a reference, and its place
 */
export function requireReferences(
  tasks: readonly Task[],
  { names = false }: { readonly names?: boolean } = {},
): void {
  const lacks = ({ reference }: Task) =>
    reference === null || (!names && reference.namesOnly === true);
  const [first, ...others] = tasks.filter(lacks);
  if (first === undefined) return;
  const place = first.origin ? ` (${placeOf(first.origin)})` : "";
  if (first.reference) {
    throw new MissingReferenceError(
      `Cannot imitate a teacher or compare calls with one: the reference of task "${first.id}"` +
        `${place} has only the names of tools; choose the reward "mentor-exact", ` +
        '"mentor-partial", "mentor-f1" or "sparse", and --warmup-sft 0',
    );
  }
  const more = others.length > 0 ? `, nor have ${others.length} others` : "";
  throw new MissingReferenceError(
    `Cannot imitate a teacher or compare calls with one: task "${first.id}"${place} has no ` +
      `reference${more}; add "reference" to the line, collect references with ./mentor teach, or do ` +
      "without: --reward sparse --warmup-sft 0",
  );
}
