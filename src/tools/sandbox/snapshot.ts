/**
 * The memory of a Python interpreter that has started, so that the next one need not: 0.2 s instead
 * of 3 s.
 *
 * @module
 */

import { join } from "@std/path";
import { ToolUnavailableError } from "../tool.ts";
import harness from "./child/harness.py" with { type: "text" };
import loader from "./child/pyodide.ts" with { type: "text" };
import { type SharedFolder, unavailable } from "./launch.ts";
import { PYODIDE } from "./pyodide.ts";

/** Where the user's caches are, by the variables that the hub's cache goes by. */
function cacheFolder(): string {
  const user = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? ".";
  return join(Deno.env.get("XDG_CACHE_HOME") || join(user, ".cache"), "mentor");
}

/**
 * The path of the snapshot; makes it if it isn't there. Another version of Pyodide, of Deno or of what
 * is in the snapshot has another one.
 *
 * @param folder of Pyodide
 * @throws {ToolUnavailableError} if it can't be made
 */
export async function pythonSnapshot(shared: SharedFolder, folder: string): Promise<string> {
  let cache = "";
  let part = "";
  try {
    cache = cacheFolder();
    const name = `${PYODIDE}-deno-${Deno.version.deno}-${await digest(harness + loader)}.snapshot`;
    const path = join(cache, name);
    if ((await Deno.stat(path).catch(() => null))?.isFile) return path;
    await Deno.mkdir(cache, { recursive: true });
    part = `${path}.${crypto.randomUUID()}.part`;
    await makeSnapshot(shared, folder, part);
    // Several may make it at a time; all make the same.
    await Deno.rename(part, path);
    return path;
  } catch (error) {
    if (part !== "") await Deno.remove(part).catch(() => {});
    if (error instanceof ToolUnavailableError) throw error;
    throw unavailable(
      `keep Python's memory snapshot in "${cache}", which XDG_CACHE_HOME chooses`,
      error,
    );
  }
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 12);
}

/**
 * Starts an interpreter from nothing and writes its memory to a file.
 *
 * @throws {ToolUnavailableError} if that fails
 */
export async function makeSnapshot(
  shared: SharedFolder,
  folder: string,
  target: string,
): Promise<void> {
  const child = shared.spawn("make_snapshot.ts", {
    read: [folder],
    write: [target],
    args: [folder, harness, target],
    heapMiB: 512,
    memoryMiB: 1024,
    cpuSeconds: 600,
  });
  const [{ success }, stderr] = await Promise.all([
    child.status,
    new Response(child.stderr).text(),
    child.stdout.cancel(),
    child.stdin.close(),
  ]);
  if (success) return;
  throw new ToolUnavailableError(
    `Cannot make Python's memory snapshot "${target}": ${stderr.trim()}`,
  );
}
