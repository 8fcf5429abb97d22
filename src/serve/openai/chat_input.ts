/**
 * The messages and tools of a chat request in the terms of this project.
 *
 * @module
 */

import type { Message } from "../../text/conversation.ts";
import { jsonDepth } from "../../io/http.ts";
import { isRecord } from "../../text/json_value.ts";
import type { ToolSpec } from "../../text/tool_call.ts";
import { invalid } from "./errors.ts";
import { type ChatRequest, MAX_DEPTH } from "./schema.ts";

type RequestMessage = ChatRequest["messages"][number];

/** What a model is asked. */
export interface ChatInput {
  readonly messages: readonly Message[];
  /** Those that the model is shown. */
  readonly tools: readonly ToolSpec[];
  /** Whether the turn has to begin with a call: of this tool, or of any. */
  readonly opening: ToolSpec | "any" | null;
}

/** @throws {ApiError} if a tool is named that isn't there, or arguments are no JSON. */
export function chatInput(request: ChatRequest): ChatInput {
  const names = new Map<string, string>(); // id of a call -> tool
  const messages = request.messages.map((message, i) => readMessage(message, i, names));
  const choice = request.tool_choice ?? "auto";
  const offered = (request.tools ?? []).map(({ function: { name, description, parameters } }) => ({
    name,
    description: description ?? "",
    parameters: parameters ?? { type: "object", properties: {} },
  }));
  if (choice === "none") return { messages, tools: [], opening: null };
  if (choice === "auto") return { messages, tools: offered, opening: null };
  if (choice === "required") {
    if (offered.length === 0) {
      throw invalid(
        "Invalid 'tool_choice': a call is required, and there are no tools",
        "tool_choice",
      );
    }
    return { messages, tools: offered, opening: offered.length === 1 ? offered[0]! : "any" };
  }
  const { name } = choice.function;
  const opening = offered.find((tool) => tool.name === name);
  if (opening) return { messages, tools: offered, opening };
  throw invalid(`Invalid 'tool_choice': there is no tool "${name}" in 'tools'`, "tool_choice");
}

/**
 * Tools as far as a turn can't be read without them: names and types of arguments. The schemas of
 * clients are for the model; whether arguments keep to them is the client's to check, and a pattern
 * in one could keep a validator busy for ever.
 */
export function readingSpecs(tools: readonly ToolSpec[]): ToolSpec[] {
  return tools.map(({ name, description, parameters: { properties } }) => ({
    ...{ name, description },
    parameters: {
      type: "object",
      properties: Object.fromEntries(
        Object.entries(properties ?? {}).map(([key, schema]) => [key, typeOf(schema)]),
      ),
    },
  }));
}

function typeOf(schema: unknown): { type?: string } {
  const { type } = (schema ?? {}) as { type?: unknown };
  return typeof type === "string" ? { type } : {};
}

function readMessage(message: RequestMessage, i: number, names: Map<string, string>): Message {
  const content = textOf(message.content);
  switch (message.role) {
    case "developer":
      return { role: "system", content };
    case "tool": {
      const name = names.get(message.tool_call_id);
      if (name !== undefined) return { role: "tool", name, content };
      const param = `messages[${i}].tool_call_id`;
      throw invalid(
        `Invalid '${param}': no call before it has the id "${message.tool_call_id}"`,
        param,
      );
    }
    case "assistant": {
      const calls = (message.tool_calls ?? []).map(({ id, function: call }, j) => {
        names.set(id, call.name);
        const param = `messages[${i}].tool_calls[${j}].function.arguments`;
        return { name: call.name, arguments: readArguments(call.arguments, param) };
      });
      return { role: "assistant", content, calls };
    }
    default:
      return { role: message.role, content };
  }
}

function textOf(content: RequestMessage["content"]): string {
  if (typeof content === "string") return content;
  return (content ?? []).map(({ text }) => text).join("");
}

function readArguments(text: string, param: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = jsonDepth(text) > MAX_DEPTH ? null : JSON.parse(text || "{}");
  } catch {
    value = null;
  }
  if (isRecord(value)) return value;
  throw invalid(`Invalid '${param}': expected a JSON object, not nested too deeply`, param);
}
