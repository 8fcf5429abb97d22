/**
 * Deleting runs. The folder gets a hidden name beside its place first: whoever looks sees the whole
 * run or none, however long its files take, and what a killed process left of them is found again.
 *
 * @module
 */

import { basename, dirname, join } from "@std/path";
import { writeError } from "../io/checkpoint.ts";

/** Names that {@linkcode hideRun} gives, and nobody else. */
const HIDDEN = /^\..+\.deleted-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a folder of this name is a run that is being deleted. */
export function isDeleted(name: string): boolean {
  return HIDDEN.test(name);
}

/**
 * Takes away a run that the caller has locked.
 *
 * @returns what is left to be removed
 * @throws {CheckpointError} if it cannot be renamed
 */
export function hideRun(folder: string): string {
  const hidden = join(dirname(folder), `.${basename(folder)}.deleted-${crypto.randomUUID()}`);
  try {
    Deno.renameSync(folder, hidden);
  } catch (error) {
    throw writeError(folder, error);
  }
  return hidden;
}

/** Removes what processes that were killed left of the runs that they deleted under `root`. */
export async function removeDeleted(root: string): Promise<void> {
  for (const { name } of [...Deno.readDirSync(root)]) {
    if (isDeleted(name)) await removeHidden(join(root, name));
  }
}

/** Removes what {@linkcode hideRun} left; links in it are removed, and not followed. */
export async function removeHidden(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    // Another server that began meanwhile did it.
    if (!(error instanceof Deno.errors.NotFound)) throw writeError(path, error);
  }
}
