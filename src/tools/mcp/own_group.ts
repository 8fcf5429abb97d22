/**
 * Programs in a process group of their own: Ctrl-C goes to all processes of the terminal's, and a
 * server that obeyed it would leave the step that a run still finishes without its tools.
 *
 * @module
 */

import type { McpProgram } from "./spec.ts";

let found: Promise<boolean> | null = null;

/** The command line that starts a program so, where the system has `setsid`, or else its own. */
export async function inOwnGroup(
  { command, args }: McpProgram,
): Promise<{ command: string; args: string[] }> {
  found ??= hasSetsid();
  return await found
    ? { command: "setsid", args: [command, ...args] }
    : { command, args: [...args] };
}

/** What setsid says of a program that there is not, for which it has no exit code of its own. */
export const NO_PROGRAM = /^setsid: .*No such file or directory/;

async function hasSetsid(): Promise<boolean> {
  try {
    return (await new Deno.Command("setsid", { args: ["true"], stdin: "null" }).output()).success;
  } catch {
    // Windows and macOS have none, and not everybody may run it.
    return false;
  }
}
