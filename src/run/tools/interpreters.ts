/**
 * The tools that run code, by the name that settings give them.
 *
 * @module
 */

import {
  lazyJavascript,
  lazyPython,
  openJavascript,
  openPython,
  type SandboxTool,
} from "../../tools/sandbox/tools.ts";

/** How a tool is had: at once, or with its first call. */
interface Interpreter {
  open(): Promise<SandboxTool>;
  lazy(): SandboxTool;
}

const interpreters: Readonly<Record<string, Interpreter>> = {
  python: { open: openPython, lazy: lazyPython },
  javascript: { open: openJavascript, lazy: lazyJavascript },
};

/** Every name. */
export const interpreterNames: readonly string[] = Object.keys(interpreters);

/**
 * Opens the tool of a name; null if there is no such name.
 *
 * @throws {ToolUnavailableError} if it can't be had on this machine.
 */
export async function openInterpreter(name: string): Promise<SandboxTool | null> {
  return Object.hasOwn(interpreters, name) ? await interpreters[name]!.open() : null;
}

/** The tool of a name, whose first call opens it; null if there is no such name. */
export function lazyInterpreter(name: string): SandboxTool | null {
  return Object.hasOwn(interpreters, name) ? interpreters[name]!.lazy() : null;
}
