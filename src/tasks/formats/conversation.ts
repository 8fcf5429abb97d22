/**
 * Conversations as tasks.
 *
 * A task begins with what the user says and ends with an answer, so that a conversation in which the
 * user speaks again does not become one. What is checked:
 *
 * - the calls of the first turn, where one of the tools that the conversation calls cannot be run;
 * - the answer, where all of them can, and the calls with their recorded results are the reference;
 * - that nothing is called, where there are tools and the assistant calls none;
 * - the answer, where there are no tools.
 *
 * @module
 */

import { isRecord, kind } from "../../text/json_value.ts";
import { isDeclared, type Tool } from "../../tools/tool.ts";
import { callsAnswer, type MadeCall } from "../call_match.ts";
import { parseNumber, type ReferenceCall, type Task } from "../task.ts";
import { byName, calledTool, requireFit, toolName } from "./declarations.ts";
import { jsonOf, type RowContext, RowError, textOf } from "./format.ts";

/** A call, with what ties its result to it. */
export interface ConversationCall extends MadeCall {
  /** As the tool's turn repeats it. */
  readonly id?: string;
}

/** What somebody says in a conversation. */
export type Turn =
  | { readonly role: "user"; readonly text: string }
  | {
    readonly role: "assistant";
    /** Null where the data does not have it. */
    readonly text: string | null;
    readonly calls: readonly ConversationCall[];
  }
  | { readonly role: "tool"; readonly result: unknown; readonly id?: string };

/** A conversation between a user, an assistant and its tools. */
export interface Conversation {
  /** What the system message says beside the tools. */
  readonly system?: string;
  /** What the assistant may call. */
  readonly tools: readonly Tool[];
  /** In the order in which they come. */
  readonly turns: readonly Turn[];
}

/**
 * The task of a conversation, or why there is none.
 *
 * @param format its name, of which the task's name and domain are made
 * @throws {RowError} if a call is none of the tools', or the turns make no conversation
 */
export function conversationTask(
  { system, tools, turns }: Conversation,
  format: string,
  { line }: RowContext,
): Task | string {
  const users = turns.filter(({ role }) => role === "user").length;
  if (users === 0) throw new RowError("the user says nothing");
  if (users > 1) return "several user turns";
  const [user, first] = turns;
  if (user?.role !== "user") return "the assistant speaks first";
  if (user.text === "") throw new RowError("the user says nothing");
  if (first === undefined) return "nobody answers the user";
  if (first.role !== "assistant") throw new RowError("a tool answers the user");
  const known = byName(tools);
  const run = turns.flatMap((turn) => turn.role === "assistant" ? turn.calls : []);
  for (const { name, arguments: args } of run) {
    requireFit(calledTool(name, known), args, `the call of ${name}`);
  }
  const task = {
    id: `${format}-${line}`,
    domain: format,
    split: "train",
    prompt: user.text,
    ...(system ? { system } : {}),
    tools,
  } as const;

  if (first.calls.length === 0) {
    // Its first turn is neither what it answers nor a refusal to call.
    if (turns.length > 2) return "the assistant goes on after an answer";
    const { text } = first;
    if (text === "") throw new RowError("the assistant says nothing");
    const reference = text === null ? null : { calls: [], answer: text };
    if (tools.length > 0) return { ...task, check: "calls", answer: callsAnswer([]), reference };
    if (text === null) throw new RowError("there is no answer");
    return { ...task, check: checkOf(text), answer: text, reference };
  }
  const last = turns.at(-1)!;
  const answer = last.role === "assistant" && last.calls.length === 0 ? last.text : null;
  if (!answer || run.some(({ name }) => isDeclared(known.get(name)!))) {
    const calls = first.calls.map(({ name, arguments: args }) => ({ name, arguments: args }));
    const made = callsAnswer(calls);
    return { ...task, check: "calls", answer: made, reference: { calls, answer: made } };
  }
  const reference = { calls: withResults(turns), answer };
  return { ...task, check: checkOf(answer), answer, reference };
}

/**
 * A call in OpenAI's form, or in that of its `function` alone; arguments may be JSON in a text, and
 * may be called parameters.
 *
 * @throws {RowError} if it is neither
 */
export function callOf(value: unknown, field: string): ConversationCall {
  if (!isRecord(value)) throw new RowError(`"${field}" must have calls, got ${kind(value)}`);
  const { function: inner = value, id } = value;
  const { name, arguments: given, parameters = {} } = isRecord(inner) ? inner : {};
  const args = jsonOf(given ?? parameters, `${field}.arguments`);
  if (!isRecord(args)) {
    throw new RowError(`"${field}.arguments" must be an object, got ${kind(args)}`);
  }
  return {
    name: toolName(textOf(name, `${field}.name`)),
    arguments: args,
    ...(typeof id === "string" ? { id } : {}),
  };
}

/** How an answer that stands in a data set is compared. */
export function checkOf(answer: string): "number" | "exact" {
  return parseNumber(answer) === null ? "exact" : "number";
}

/** The calls of all turns; results are told by their ids, or come in the order of the calls. */
function withResults(turns: readonly Turn[]): ReferenceCall[] {
  return turns.flatMap((turn, i) => {
    if (turn.role !== "assistant") return [];
    const end = turns.findIndex(({ role }, j) => j > i && role !== "tool");
    const results = turns.slice(i + 1, end < 0 ? undefined : end).filter((each) =>
      each.role === "tool"
    );
    return turn.calls.map(({ name, arguments: args, id }, n): ReferenceCall => {
      const own = id === undefined ? undefined : results.find((each) => each.id === id);
      const found = own ?? results[n];
      return { name, arguments: args, ...(found ? { result: found.result } : {}) };
    });
  });
}
