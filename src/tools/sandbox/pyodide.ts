/**
 * Where Pyodide lies on this machine.
 *
 * @module
 */

import { ToolUnavailableError } from "../tool.ts";
import { unavailable } from "./launch.ts";

/** Fixed to the last digit: memory snapshots are an inner part of it. */
export const PYODIDE = "pyodide@314.0.7";

/**
 * The folder of the npm package in Deno's cache; downloads it if it isn't there. Only those who open
 * a Python sandbox have it downloaded, so no module imports it.
 *
 * @throws {ToolUnavailableError} if it can't be had
 */
export async function pyodideFolder(): Promise<string> {
  const args = ["info", "--quiet", "--json", "--no-config", "--no-lock", `npm:${PYODIDE}`];
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).output();
  } catch (error) {
    throw unavailable("look for Pyodide", error);
  }
  const { success, stdout, stderr } = output;
  const info: Info = success ? JSON.parse(new TextDecoder().decode(stdout)) : {};
  const folder = info.npmPackages?.[PYODIDE]?.localPath;
  if (folder !== undefined) return folder;
  const reason = info.modules?.[0]?.error ?? new TextDecoder().decode(stderr).trim();
  throw new ToolUnavailableError(
    `Cannot find npm:${PYODIDE}, which runs Python: ${reason}. Where npm can be reached, ` +
      `\`deno cache npm:${PYODIDE}\` downloads it`,
  );
}

/** What is used of what `deno info --json` prints. */
interface Info {
  readonly npmPackages?: Readonly<Record<string, { readonly localPath?: string }>>;
  readonly modules?: readonly { readonly error?: string }[];
}
