/**
 * ToolRL's training data (`rlla_4k`), in verl's columns: `prompt` has a system message, in which the
 * tools are text, and a user message with the dialogue so far; `reward_model.ground_truth` is the
 * text of the turn that is wanted.
 *
 * @module
 */

import { isRecord } from "../../text/json_value.ts";
import { callOf, conversationTask } from "./conversation.ts";
import { declaredTools } from "./declarations.ts";
import { jsonOf, listOf, type RowContext, RowError, type TaskFormat, textOf } from "./format.ts";

/** A tool in the system message: `1. Name: X`, `Description: ...` and `Parameters: {...}`. */
const TOOL = /^\d+\. Name: (.*)\nDescription: ([\s\S]*?)\nParameters: (\{.*\})$/gm;

/** The whole dialogue, where the user has spoken once and nobody else has. */
const OPENING = /^(?:\*\*Dialogue Records History\*\*\s*)?<user>([\s\S]*)<\/user>\s*$/;

/** Rows of verl whose prompt is a system message with tools and a user message. */
export const toolrl = {
  name: "toolrl",
  columns: "prompt, reward_model",
  recognises: ({ prompt, reward_model }) =>
    reward_model !== undefined && JSON.stringify(prompt ?? "").includes("Available Tools"),
  read(row, context) {
    const messages = listOf(jsonOf(row.prompt, "prompt"), "prompt", "messages");
    const system = content(messages, "system");
    const said = OPENING.exec(content(messages, "user"))?.[1];
    if (said === undefined || said.includes("<user>")) return "several user turns";
    if (/<(tool_call|response|obs)>/.test(said)) return "the assistant has begun already";
    const model = jsonOf(row.reward_model, "reward_model");
    const truth = textOf(isRecord(model) ? model.ground_truth : undefined, "ground_truth");
    const response = /<response>([\s\S]*?)<\/response>/.exec(truth)?.[1]?.trim();
    const calls = /<tool_call>([\s\S]*?)<\/tool_call>/.exec(truth)?.[1];
    if (calls === undefined && response === undefined) {
      throw new RowError('"ground_truth" has neither calls nor a response');
    }
    return conversationTask(
      {
        tools: toolsOf(system, context),
        turns: [
          { role: "user", text: said.trim() },
          {
            role: "assistant",
            text: response ?? null,
            calls: (calls ?? "").split("\n").filter((line) => line.trim() !== "")
              .map((line) => callOf(jsonOf(line, "ground_truth"), "ground_truth")),
          },
        ],
      },
      "toolrl",
      context,
    );
  },
} as const satisfies TaskFormat;

function content(messages: readonly unknown[], role: "system" | "user"): string {
  const message = messages.find((each) => isRecord(each) && each.role === role);
  if (!message) throw new RowError(`"prompt" has no ${role} message`);
  return textOf((message as Record<string, unknown>).content, "prompt[].content");
}

function toolsOf(system: string, context: RowContext) {
  const found = [...system.matchAll(TOOL)].map(([, name, description, parameters]) => ({
    name,
    description,
    parameters,
  }));
  if (found.length === 0) throw new RowError("the system message declares no tool");
  return declaredTools(found, "tools", context);
}
