/**
 * Conversations, whatever the format in which a model reads them.
 *
 * @module
 */

import type { PlannedCall } from "./calls/format.ts";
import type { ToolSpec } from "./tool_call.ts";

/** A call that a message of the model's made. */
export interface MessageCall {
  /** The tool's name. */
  readonly name: string;
  /** By name: JSON values. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** A message of a conversation. */
export type Message =
  | { readonly role: "system" | "user"; readonly content: string }
  | {
    readonly role: "assistant";
    readonly content: string;
    readonly calls?: readonly MessageCall[];
  }
  | {
    readonly role: "tool";
    /** Of the tool that answered. */
    readonly name: string;
    readonly content: string;
  };

/** Messages that a format can write: what the system says at first, and the turns. */
export interface OrderedMessages {
  /** The system messages at the beginning. */
  readonly system: readonly string[];
  /** The first is the user's. */
  readonly turns: readonly Message[];
}

/**
 * Takes the system messages off the beginning.
 *
 * @throws {RangeError} if the user does not come first, or nobody asks the model to go on.
 */
export function orderMessages(messages: readonly Message[]): OrderedMessages {
  const count = messages.findIndex(({ role }) => role !== "system");
  const turns = count < 0 ? [] : messages.slice(count);
  const [first] = turns;
  const last = turns.at(-1);
  if (first?.role !== "user" || (last?.role !== "user" && last?.role !== "tool")) {
    throw new RangeError(
      "Cannot write the conversation: behind system messages the user has to begin, and the last " +
        `message has to be of a user or a tool; the roles are ${
          messages.map(({ role }) => role).join(", ") || "none"
        }`,
    );
  }
  return { system: messages.slice(0, count).map(({ content }) => content), turns };
}

/**
 * Calls with the tools that they are for. A tool that is not among those offered any more is known
 * by the arguments alone.
 */
export function plannedCalls(
  calls: readonly MessageCall[],
  tools: readonly ToolSpec[],
): PlannedCall[] {
  return calls.map(({ name, arguments: args }) => ({
    spec: tools.find((tool) => tool.name === name) ?? {
      name,
      description: "",
      parameters: {
        type: "object",
        properties: Object.fromEntries(Object.keys(args).map((key) => [key, {}])),
      },
    },
    args,
  }));
}
