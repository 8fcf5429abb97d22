/**
 * The memory of a Python interpreter that has started, so that the next one need not: 0.2 s instead
 * of 3 s.
 *
 * @module
 */

import { join } from "@std/path";
import { ToolUnavailableError } from "../tool.ts";
import harness from "./child/harness.py" with { type: "text" };
import { unavailable, type Workshop } from "./launch.ts";
import { PYODIDE } from "./pyodide.ts";

/** Where the user's caches are, by the variables that the hub's cache goes by. */
function cacheFolder(): string {
  const user = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? ".";
  return join(Deno.env.get("XDG_CACHE_HOME") || join(user, ".cache"), "mentor");
}

/**
 * The path of the snapshot; makes it if it isn't there. Another version of Pyodide, of Deno or of the
 * harness has another one.
 *
 * @param folder of Pyodide
 * @throws {ToolUnavailableError} if it can't be made
 */
export async function pythonSnapshot(workshop: Workshop, folder: string): Promise<string> {
  let path: string;
  let part: string;
  try {
    const cache = cacheFolder();
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(harness));
    const key = new Uint8Array(digest).toHex().slice(0, 12);
    path = join(cache, `${PYODIDE}-deno-${Deno.version.deno}-${key}.snapshot`);
    if ((await Deno.stat(path).catch(() => null))?.isFile) return path;
    await Deno.mkdir(cache, { recursive: true });
    part = `${path}.${crypto.randomUUID()}.part`;
  } catch (error) {
    throw unavailable("make Python's memory snapshot", error);
  }
  try {
    await makeSnapshot(workshop, folder, part);
    await Deno.rename(part, path);
    return path;
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw error instanceof ToolUnavailableError
      ? error
      : unavailable("make Python's memory snapshot", error);
  }
}

/**
 * Starts an interpreter from nothing and writes its memory to a file.
 *
 * @throws {ToolUnavailableError} if that fails
 */
export async function makeSnapshot(
  workshop: Workshop,
  folder: string,
  target: string,
): Promise<void> {
  const child = workshop.spawn("make_snapshot.ts", {
    read: [folder],
    write: [target],
    args: [folder, harness, target],
    heapMiB: 512,
    memoryMiB: 1024,
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
