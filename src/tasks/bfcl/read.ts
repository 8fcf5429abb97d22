/**
 * The files of the Berkeley Function Calling Leaderboard: questions with the functions on offer, and
 * the answers allowed.
 *
 * @module
 */

import { parseTypedJson } from "../../text/typed_json.ts";
import { declaredTool, type Tool } from "../../tools/tool.ts";
import type { ExpectedCall } from "../call_match.ts";
import { type Row, RowError } from "../formats/format.ts";
import { type RowCounts, TaskReader } from "../formats/reader.ts";
import { jsonLines } from "../rows/json.ts";
import { checkLimit, firstRows, soundRows } from "../rows/row.ts";
import { type Task, TaskFormatError } from "../task.ts";
import { referenceAnswer } from "./reference.ts";
import { toJsonSchema } from "./schema.ts";

/** The categories of one turn whose functions are Python's, as the benchmark calls them. */
export const bfclCategories = [
  ...["simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance"] as const,
  ...["live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"] as const,
  ...["live_irrelevance", "live_relevance"] as const,
] as const;

/** Name of a category. */
export type BfclCategory = typeof bfclCategories[number];

/** Whether a category has a file of answers; the others ask only whether any function is called. */
export function hasAnswers(category: BfclCategory): boolean {
  return !category.endsWith("relevance");
}

/** A file with its name, for messages. */
export interface NamedText {
  /** Name of the file. */
  readonly source: string;
  /** What it says. */
  readonly text: string;
}

/** What {@linkcode parseBfcl} reads. */
export interface BfclFiles {
  /** `BFCL_v4_CATEGORY.json`. */
  readonly questions: NamedText;
  /** The file of that name in `possible_answer/`, where the category has one. */
  readonly answers?: NamedText;
  /** Read this many questions; default all. */
  readonly limit?: number;
  /** Counts malformed questions in place of stopping at the first. */
  readonly skipInvalid?: boolean;
}

/** Tasks, and the questions that are none. */
export interface BfclTasks {
  /** In the order of the file. */
  readonly tasks: Task[];
  /** Questions at the end of a conversation of several turns, which a task has no place for. */
  readonly leftOut: RowCounts;
  /** Malformed questions; none unless they are skipped. */
  readonly invalid: RowCounts;
}

/** Stands behind each description, as the benchmark has it. */
const HINT = " Note that the provided function is in Python 3 syntax.";

/**
 * Reads a category.
 *
 * @throws {TaskFormatError} naming file, line and what is wrong
 * @throws {TypeError} if the answers are not given to a category that has some
 * @throws {RangeError} if `limit` is not a positive integer
 */
export function parseBfcl(
  category: BfclCategory,
  { questions, answers, limit, skipInvalid = false }: BfclFiles,
): BfclTasks {
  if (hasAnswers(category) && !answers) {
    throw new TypeError(
      `Cannot read ${questions.source}: ${category} has answers, which stand in a file of their own; ` +
        "pass it as `answers`",
    );
  }
  const allowed = answers && readAnswers(answers);
  const { source, text } = questions;
  const read = ({ id, question, function: functions }: Row): Task | string => {
    const fail = (problem: string): never => {
      throw new RowError(problem);
    };
    if (typeof id !== "string") return fail('"id" must be a string');
    if (!Array.isArray(functions)) return fail('"function" must be a list');
    const messages = Array.isArray(question) && question.length === 1 ? question[0] : null;
    if (!isConversation(messages)) return fail('"question" must be a list of one list of messages');
    const { system, prompt } = singleTurn(messages);
    if (prompt === undefined) return "several user turns";
    const tools = functions.map((each, i) =>
      declared(each, (it) => fail(`function ${i + 1}: ${it}`))
    );
    const expected = category === "live_relevance"
      ? undefined // some call is wanted, and none in particular
      : allowed
      ? allowed.get(id) ?? fail(`there is no answer to "${id}" in ${answers.source}`)
      : [];
    return {
      id,
      domain: `bfcl:${category}`,
      split: "train",
      prompt,
      ...(system === undefined ? {} : { system }),
      tools,
      answer: referenceAnswer(expected ?? anyCall(tools), tools),
      check: "calls",
      ...(expected === undefined ? {} : { expected }),
      rules: "bfcl",
      reference: null,
    };
  };
  const format = { name: "bfcl", columns: "id, question, function", recognises: () => true, read };
  const reader = new TaskReader(format, { source, tools: [], skipInvalid });
  for (const row of firstRows(jsonLines(text), checkLimit(limit, source))) reader.add(row);
  const { tasks, leftOut, invalid } = reader;
  return { tasks, leftOut, invalid };
}

interface Message {
  readonly role: string;
  readonly content: string;
}

function isConversation(value: unknown): value is Message[] {
  return Array.isArray(value) &&
    value.every((each) => typeof each?.role === "string" && typeof each.content === "string");
}

/** A user's message, perhaps behind a system's; no prompt where there is more. */
function singleTurn(messages: readonly Message[]): { system?: string; prompt?: string } {
  const [first, second] = messages;
  if (messages.length === 1 && first!.role === "user") return { prompt: first!.content };
  if (messages.length === 2 && first!.role === "system" && second!.role === "user") {
    return { system: first!.content, prompt: second!.content };
  }
  return {};
}

function anyCall(tools: readonly Tool[]): ExpectedCall[] {
  return tools.slice(0, 1).map(({ name }) => ({ name, arguments: {} }));
}

function declared(value: unknown, fail: (problem: string) => never): Tool {
  const { name, description = "", parameters }: Record<string, unknown> = Object(value);
  try {
    return declaredTool({
      name: name as string,
      description: `${description}${HINT}`,
      parameters: toJsonSchema(parameters),
    });
  } catch (error) {
    return fail((error as Error).message);
  }
}

/** The calls wanted, by the question's id; numbers keep their kind. */
function readAnswers({ source, text }: NamedText): Map<string, ExpectedCall[]> {
  const found = new Map<string, ExpectedCall[]>();
  for (const { line, value, text: raw } of soundRows(jsonLines(text), source)) {
    const calls = (parseTypedJson(raw!) as { ground_truth?: unknown }).ground_truth;
    const call = (each: unknown): ExpectedCall => {
      const [[name, args] = [], ...others] = Object.entries(each ?? {});
      if (name === undefined || others.length > 0 || !isLists(args)) {
        throw new TaskFormatError(
          source,
          line,
          '"ground_truth" must be a list of calls, each {function: {argument: [allowed values]}}',
        );
      }
      return { name, arguments: args };
    };
    if (typeof value.id !== "string" || !Array.isArray(calls)) {
      throw new TaskFormatError(
        source,
        line,
        '"id" and "ground_truth" must be a string and a list',
      );
    }
    found.set(value.id, calls.map(call));
  }
  return found;
}

function isLists(value: unknown): value is Record<string, unknown[]> {
  return typeof value === "object" && value !== null && Object.values(value).every(Array.isArray);
}
