/**
 * Interpreters as tools: what a model writes is run in the sandbox, and it sees what a REPL shows.
 *
 * @module
 */

import { LONGEST_TIMER_MS, type Tool, tool, type ToolContext } from "../tool.ts";
import { openJavascriptSandbox } from "./javascript.ts";
import { LazySandbox } from "./lazy.ts";
import { openPythonSandbox } from "./python.ts";
import type { Sandbox, SandboxLimits, SandboxResult } from "./sandbox.ts";

/** A tool that holds processes until it is disposed, or until the program ends. */
export type SandboxTool = Tool & AsyncDisposable;

/** Limits of a call, and how the tool presents itself. */
export interface SandboxToolOptions extends Partial<SandboxLimits> {
  /** Default "python" or "javascript". */
  readonly name?: string;
  /** One sentence for the model. */
  readonly description?: string;
  /**
   * Whether the calls of an episode share their variables, as the cells of a notebook do. Default
   * false.
   */
  readonly stateful?: boolean;
  /** Longest text that the model sees, in UTF-8 bytes. Default 2048. */
  readonly maxResultBytes?: number;
}

/**
 * Opens a tool `python` with one parameter, `code`.
 *
 * @throws {ToolUnavailableError} if Pyodide can't be had or subprocesses can't be started
 * @throws {RangeError} on a limit out of range
 *
 * @example
 * ```ts ignore
 * export const python = await openPython({ timeoutMs: 2000 }); // a module for --tools
 * ```
 */
export async function openPython(options: SandboxToolOptions = {}): Promise<SandboxTool> {
  return pythonTool(await openPythonSandbox(options), options);
}

/**
 * Opens a tool `javascript` with one parameter, `code`.
 *
 * @throws {ToolUnavailableError} if subprocesses can't be started
 * @throws {RangeError} on a limit out of range
 */
export async function openJavascript(options: SandboxToolOptions = {}): Promise<SandboxTool> {
  return javascriptTool(await openJavascriptSandbox(options), options);
}

/** {@linkcode openPython}, but that its first call opens the sandbox, or fails to. */
export function lazyPython(): SandboxTool {
  return pythonTool(new LazySandbox(openPythonSandbox));
}

/** {@linkcode openJavascript}, but that its first call opens the sandbox, or fails to. */
export function lazyJavascript(): SandboxTool {
  return javascriptTool(new LazySandbox(openJavascriptSandbox));
}

function pythonTool(sandbox: Sandbox, options: SandboxToolOptions = {}): SandboxTool {
  return sandboxTool(sandbox, {
    name: "python",
    description: description("Python", options.stateful),
    ...options,
  });
}

function javascriptTool(sandbox: Sandbox, options: SandboxToolOptions = {}): SandboxTool {
  return sandboxTool(sandbox, {
    name: "javascript",
    description: description("JavaScript", options.stateful),
    ...options,
  });
}

function description(language: string, stateful = false): string {
  return `Runs ${language} code; returns what it prints and the value of its last expression.` +
    (stateful ? " Variables are kept for later calls." : "");
}

/** What an episode has run. */
interface Session {
  /** Pieces of code that ended by themselves. */
  readonly pieces: string[];
  /** Wall time that they take together, in ms. */
  ms: number;
  /** The last call, done or not: calls of an episode run one after the other. */
  last: Promise<unknown>;
}

function sandboxTool(
  sandbox: Sandbox,
  { name, description, stateful = false, maxResultBytes }:
    & SandboxToolOptions
    & Required<Pick<SandboxToolOptions, "name" | "description">>,
): SandboxTool {
  const sessions = new WeakMap<object, Session>();

  const runIn = async (session: Session, code: string, signal: AbortSignal) => {
    // Replayed on a machine that has become busier, the same pieces take longer.
    const beforeMs = Math.ceil(2 * session.ms);
    const result = await sandbox.run(code, { signal, before: session.pieces, beforeMs });
    // A call that broke a limit leaves no trace.
    if (result.status === "ok" || result.status === "error") {
      session.pieces.push(code);
      session.ms = Math.max(session.ms, result.ms);
    }
    return result;
  };

  const run = (code: string, { signal, episode }: ToolContext): Promise<SandboxResult> => {
    if (!stateful || episode === undefined) return sandbox.run(code, { signal });
    const session = sessions.get(episode) ?? { pieces: [], ms: 0, last: Promise.resolve() };
    sessions.set(episode, session);
    const result = session.last.then(() => runIn(session, code, signal));
    session.last = result.catch(() => {});
    return result;
  };

  const definition = tool({
    name,
    description,
    parameters: {
      type: "object",
      properties: { code: { type: "string" } },
      required: ["code"],
      additionalProperties: false,
    },
    execute: async ({ code }, context) => replText(await run(code as string, context)),
    // The sandbox ends every call, and how long one waits for its turn is not the call's fault.
    timeoutMs: LONGEST_TIMER_MS,
    ...(maxResultBytes === undefined ? {} : { maxResultBytes }),
    stateful,
  });
  return Object.freeze({
    ...definition,
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  });
}

/**
 * What the model sees.
 *
 * @throws {Error} with that text, if the code failed
 */
function replText({ status, value, stdout, error }: SandboxResult): string {
  const printed = stdout.trimEnd();
  if (status !== "ok") {
    throw new Error(printed === "" ? error! : `${error}\nprinted before that:\n${printed}`);
  }
  const shown = [...(printed === "" ? [] : [printed]), ...(value === null ? [] : [value])];
  return shown.length > 0 ? shown.join("\n") : "(no output)";
}
