/**
 * The tools that run code, by the name that settings give them.
 *
 * @module
 */

import { openJavascript, openPython, type SandboxTool } from "../../tools/sandbox/tools.ts";

const interpreters: Readonly<Record<string, () => Promise<SandboxTool>>> = {
  python: () => openPython(),
  javascript: () => openJavascript(),
};

/** Every name. */
export const interpreterNames: readonly string[] = Object.keys(interpreters);

/**
 * Opens the tool of a name; null if there is no such name.
 *
 * @throws {ToolUnavailableError} if it can't be had on this machine.
 */
export async function openInterpreter(name: string): Promise<SandboxTool | null> {
  return Object.hasOwn(interpreters, name) ? await interpreters[name]!() : null;
}
