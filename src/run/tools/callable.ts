/**
 * Tools that a server calls for whoever asks: those of the project itself, and interpreters, which are
 * confined. What a module or an MCP server brings along would run with the rights of the server.
 *
 * @module
 */

import type { ToolSpec } from "../../text/tool_call.ts";
import { builtInTools } from "../../tools/built_in.ts";
import { callTool, type Tool, type ToolOutcome } from "../../tools/tool.ts";
import { lazyInterpreter } from "./interpreters.ts";

/** Names whose tools look at what belongs to a task, and find nothing without one. */
const NEED_TASK = ["table"];

/** Tools that are called one by one, outside of episodes. */
export class CallableTools implements AsyncDisposable {
  readonly #tools = new Map<string, Tool>();
  readonly #opened = new AsyncDisposableStack();

  /** @param sources as `config.tools` has them; those that can't be called like this are left out */
  constructor(sources: readonly string[]) {
    for (const source of new Set(sources)) {
      if (NEED_TASK.includes(source)) continue;
      const interpreter = lazyInterpreter(source);
      if (interpreter) this.#opened.use(interpreter);
      const tools = interpreter ? [interpreter] : builtInTools(source) ?? [];
      for (const tool of tools) this.#tools.set(tool.name, tool);
    }
  }

  /** What there is. */
  get specs(): ToolSpec[] {
    return Array.from(
      this.#tools.values(),
      ({ name, description, parameters }) => ({ name, description, parameters }),
    );
  }

  /**
   * Calls a tool, within its limits of time and size; null if there is none of that name.
   *
   * @throws the reason of `signal` if the caller aborts; nothing else
   */
  async call(
    name: string,
    args: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<ToolOutcome | null> {
    const tool = this.#tools.get(name);
    return tool ? await callTool(tool, args, { signal }) : null;
  }

  /** Ends the processes of interpreters; calls that run fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}
