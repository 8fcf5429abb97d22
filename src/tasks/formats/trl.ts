/**
 * TRL's prompt-completion and conversational language-modelling types: `prompt` and `completion`,
 * texts or lists of messages, or `messages`; with them, `tools`.
 *
 * @module
 */

import { isRecord, kind } from "../../text/json_value.ts";
import { callOf, conversationTask, type Turn } from "./conversation.ts";
import { declaredTools } from "./declarations.ts";
import { jsonOf, listOf, type Row, RowError, type TaskFormat, textOf } from "./format.ts";

/** Messages as OpenAI's API has them. */
export const trl = {
  name: "trl",
  columns: "messages, or prompt and completion; perhaps tools",
  recognises: ({ messages, prompt, completion }) =>
    messages !== undefined || (prompt !== undefined && completion !== undefined),
  read(row, context) {
    const { system, turns } = turnsOf(messagesOf(row));
    const { tools = null } = row;
    return conversationTask(
      {
        ...(system === "" ? {} : { system }),
        tools: tools === null || tools === "" ? [] : declaredTools(tools, "tools", context),
        turns,
      },
      "trl",
      context,
    );
  },
} as const satisfies TaskFormat;

function messagesOf({ messages, prompt, completion }: Row): unknown[] {
  if (messages !== undefined) return listOf(jsonOf(messages, "messages"), "messages", "messages");
  return [...side(prompt, "prompt", "user"), ...side(completion, "completion", "assistant")];
}

/** One side of a prompt-completion pair: messages, or the text of one. */
function side(value: unknown, field: string, role: string): unknown[] {
  if (typeof value === "string" && !/^\s*\[\s*\{\s*"/.test(value)) {
    return [{ role, content: textOf(value, field) }];
  }
  return listOf(jsonOf(value, field), field, "messages");
}

function turnsOf(messages: readonly unknown[]): { system: string; turns: Turn[] } {
  const system: string[] = [];
  const turns: Turn[] = [];
  for (const message of messages) {
    if (!isRecord(message)) throw new RowError(`a message must be an object, got ${kind(message)}`);
    const { role, tool_calls: calls, tool_call_id: id } = message;
    const text = contentOf(message.content);
    switch (role) {
      case "system":
      case "developer":
        system.push(text);
        break;
      case "user":
        turns.push({ role, text });
        break;
      case "assistant":
        turns.push({
          role,
          text,
          calls: listOf(calls ?? [], "tool_calls", "calls").map((call) =>
            callOf(call, "tool_calls")
          ),
        });
        break;
      case "tool":
        turns.push({ role, result: text, ...(typeof id === "string" ? { id } : {}) });
        break;
      default: {
        const reason = "a message has a role that is none of system, user, assistant, tool";
        throw new RowError(`${reason}: ${JSON.stringify(role)}`, reason);
      }
    }
  }
  return { system: system.join("\n\n"), turns };
}

/** The text of a message, whose parts may be listed. */
function contentOf(content: unknown): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content.trim();
  return listOf(content, "content", "parts").map((part) => {
    const { type, text } = isRecord(part) ? part : {};
    if (type === "text" && typeof text === "string") return text;
    throw new RowError(`a message has a part that is no text but ${JSON.stringify(type)}`);
  }).join("");
}
