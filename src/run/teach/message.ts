/**
 * Messages as the chat-completions protocol has them: tools and calls on their way out and back.
 *
 * @module
 */

import { malformedCall, parseJson, toolJson } from "../../text/calls/format.ts";
import { isRecord } from "../../text/json_value.ts";
import { checkedCall, type ParsedCall, type ToolSpec } from "../../text/tool_call.ts";
import { formatTypedJson } from "../../text/typed_json.ts";
import { ConfigError } from "../config/mod.ts";

/** A message of a conversation; fields that are not named here are the endpoint's own. */
export interface Message {
  /** Who says it. */
  readonly role: string;
  /** What is said, where that is one text. */
  readonly content?: unknown;
  /** The calls that the teacher asks for. */
  readonly tool_calls?: unknown;
  /** The call that a tool answers. */
  readonly tool_call_id?: string;
  /** Anything else. */
  readonly [field: string]: unknown;
}

/** A call that a teacher asks for. */
export interface WantedCall {
  /** Names the call in the conversation. */
  readonly id: string;
  /** What is asked for, read. */
  readonly call: ParsedCall;
}

/** The names of tools as they are sent: the protocol allows no dots in them. */
export class ToolNames {
  /** The tools as the protocol has them. */
  readonly functions: readonly unknown[];
  readonly #tools: readonly ToolSpec[];
  readonly #bySent: ReadonlyMap<string, string>;

  /** @throws {ConfigError} if two tools would be sent under one name. */
  constructor(tools: readonly ToolSpec[]) {
    this.#tools = tools;
    this.functions = tools.map((tool) => toolJson({ ...tool, name: sent(tool.name) }));
    this.#bySent = new Map(tools.map(({ name }) => [sent(name), name]));
    if (this.#bySent.size === tools.length) return;
    const names = tools.map(({ name }) => name).join(", ");
    throw new ConfigError(
      `Cannot offer the tools ${names} together: chat completions have no dots in names, and with ` +
        '"_" in their place two are the same. Rename one',
    );
  }

  /** The calls that a message of the teacher's asks for; what cannot be read has a status for it. */
  read({ tool_calls: calls }: Message, turn: number): WantedCall[] {
    if (!Array.isArray(calls)) return [];
    return calls.map((call, i) => ({ id: callId(call, turn, i), call: this.#read(call) }));
  }

  #read(call: unknown): ParsedCall {
    const { name, arguments: written } = functionOf(call);
    if (typeof name !== "string") return malformedCall("no tool name");
    const own = this.#bySent.get(name) ?? name;
    const args = readArguments(written);
    if (args !== null) return checkedCall(own, args, this.#tools);
    return malformedCall(`the arguments of ${own} are not a JSON object: ${clip(written)}`, own);
  }
}

/**
 * A teacher's message as it is sent back: as it came, since endpoints keep signatures of thoughts in
 * fields of their own. Only calls are put right, whose ids may be missing and whose arguments servers
 * parse again: a conversation with arguments that are no JSON would be refused ever after.
 */
export function returned(message: Message, turn: number): Message {
  if (!Array.isArray(message.tool_calls)) return message;
  return {
    ...message,
    tool_calls: message.tool_calls.map((call, i) => {
      const { name, arguments: written } = functionOf(call);
      return {
        ...call,
        id: callId(call, turn, i),
        type: "function",
        function: {
          name: typeof name === "string" ? name : "",
          arguments: formatTypedJson(readArguments(written) ?? {}),
        },
      };
    }),
  };
}

/** The text of a message, which may come in parts; null where it says nothing. */
export function textOf({ content }: Message): string | null {
  const parts: unknown[] = Array.isArray(content) ? content.map((part) => part?.text) : [content];
  const text = parts.filter((part) => typeof part === "string").join("");
  return text.trim() === "" ? null : text;
}

function sent(name: string): string {
  return name.replaceAll(".", "_");
}

function functionOf(call: unknown): { name?: unknown; arguments?: unknown } {
  return (call as { function?: Record<string, unknown> } | null)?.function ?? {};
}

function callId(call: unknown, turn: number, index: number): string {
  const { id } = (call ?? {}) as { id?: unknown };
  return typeof id === "string" && id !== "" ? id : `call_${turn}_${index}`;
}

/**
 * Arguments as `parseJson` has them; null if they are no object. Some servers hand out the object
 * itself, and nothing where there are no arguments.
 */
function readArguments(written: unknown): Record<string, unknown> | null {
  const text = typeof written === "string" ? written.trim() : JSON.stringify(written ?? {});
  try {
    const value = text === "" ? {} : parseJson(text);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function clip(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= 200 ? text : `${text.slice(0, 197)}...`;
}
