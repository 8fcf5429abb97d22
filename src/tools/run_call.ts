/**
 * A call as a model wrote it, run for real where it can be.
 *
 * @module
 */

import type { CallStatus, ParsedCall } from "../text/tool_call.ts";
import { callTool, type Tool, type ToolContext, type ToolUnavailableError } from "./tool.ts";

/** What the tools of one episode know of it. */
export type EpisodeContext = Pick<ToolContext, "world"> & Required<Pick<ToolContext, "episode">>;

/** That of a new episode: what its tools do to the world of the task, they do to a copy. */
export function episodeContext(world: unknown): EpisodeContext {
  return { world: structuredClone(world), episode: Object.freeze({}) };
}

/** What became of a call. */
export interface CallOutcome {
  /** Whether it could be read, and what the tool made of it. */
  readonly status: CallStatus;
  /** The value returned, where the status is "ok". */
  readonly result?: unknown;
  /** What the model sees; begins with "error: " unless the status is "ok". */
  readonly text: string;
  /** Why the tool could not be run at all, where that is so. */
  readonly unavailable?: ToolUnavailableError;
}

/**
 * Runs a call of one of `tools`.
 *
 * @param call as `readTurn` gave it, who was told of these tools; null for a turn that asks for tools
 * and says nothing that can be read
 * @throws the reason of `context.signal` if the caller aborts; nothing else
 */
export async function runCall(
  call: ParsedCall | null,
  tools: readonly Tool[],
  context: Parameters<typeof callTool>[2] = {},
): Promise<CallOutcome> {
  if (call === null) return { status: "malformed", text: "error: malformed call" };
  if (call.status !== "ok") return { status: call.status, text: `error: ${call.error}` };
  const found = tools.find(({ name }) => name === call.name)!;
  return await callTool(found, call.arguments!, context);
}
