/**
 * One conversation with a student that may call tools.
 *
 * @module
 */

import { Generator } from "../model/generator.ts";
import { rollout } from "../rl/rollout.ts";
import { type Tool, ToolUnavailableError } from "../tools/tool.ts";
import type { Student } from "./student.ts";

/** What the student did with a prompt. */
export interface Conversation {
  /** The whole conversation, control tokens shown. */
  readonly text: string;
  /** Each call with what came back. */
  readonly calls: readonly { call: string; result: unknown; status: string }[];
  /** The final answer; null if there was none. */
  readonly answer: string | null;
}

/**
 * Lets the student answer a prompt, running its calls for real.
 *
 * @throws {RangeError} if the prompt exceeds the context.
 * @throws {ToolUnavailableError} if a tool that it calls cannot be had.
 */
export async function converse(
  student: Student,
  prompt: string,
  tools: readonly Tool[],
  { maxTokens, maxCalls, temperature, topK, topP, seed }: {
    readonly maxTokens: number;
    readonly maxCalls: number;
    readonly temperature: number;
    readonly topK: number;
    readonly topP: number;
    readonly seed: number;
  },
): Promise<Conversation> {
  using generator = new Generator(student.model, {
    slots: 1,
    length: maxTokens,
    stops: student.chat.stops,
  });
  const task = {
    id: "prompt",
    domain: "prompt",
    split: "train" as const,
    prompt,
    tools,
    answer: "",
    check: "exact" as const,
    reference: null,
  };
  const options = { maxTokens, maxCalls, temperature, topK, topP, seed, stream: "prompt" };
  const [[one]] = await rollout(generator, student.chat, [task], 1, options) as [[
    Awaited<ReturnType<typeof rollout>>[number][number],
  ]];
  if (one.unavailable !== undefined) throw new ToolUnavailableError(one.unavailable);
  return {
    text: student.tokenizer.decode(one.ids, { skipSpecial: false }),
    calls: one.episode.attempts.map(({ name, arguments: args, result, status }) => ({
      call: `${name} ${JSON.stringify(args)}`,
      result: result ?? null,
      status,
    })),
    answer: one.episode.answer,
  };
}

/** Each call with its result, and the answer. */
export function renderConversation({ calls, answer }: Conversation): string {
  const lines = calls.map(({ call, result, status }) =>
    `  ${call} -> ${status === "ok" ? JSON.stringify(result) : status}`
  );
  return [...lines, answer ?? "(no answer)"].join("\n");
}
