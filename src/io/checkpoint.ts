/**
 * Folders that are either whole or absent, and line files that survive a crash.
 *
 * A folder is written beside its place under a temporary name, forced to disk and renamed over, so
 * that a reader never sees half of it and a failed write leaves the old one alone.
 *
 * @module
 */

import { basename, dirname, join } from "@std/path";
import { isPlainName } from "./folder.ts";
import { CheckpointError } from "./safetensors.ts";

export { CheckpointError };

/**
 * Writes `files` as the folder `target`, replacing the folder that is there.
 *
 * Only a folder that holds nothing but files of the same names is replaced: whatever else lies in
 * it would be lost, so that is refused.
 *
 * @param files contents by name; a name is a plain file name, without folders
 * @throws {RangeError} if a name is not a plain file name
 * @throws {CheckpointError} if the folder cannot be written or must not be replaced; `target` is
 * then as it was, and nothing temporary is left
 */
export async function saveFolder(
  target: string,
  files: Readonly<Record<string, Uint8Array | string>>,
): Promise<void> {
  for (const name of Object.keys(files)) {
    if (!isPlainName(name)) {
      throw new RangeError(`Cannot save "${name}" in "${target}": not a plain file name`);
    }
  }
  const place = await resolvePlace(target);
  const temporary = temporaryName(place);
  try {
    await recover(place);
    const replaces = await checkReplaceable(place, new Set(Object.keys(files)));
    await Deno.mkdir(dirname(place), { recursive: true });
    await Deno.mkdir(temporary);
    for (const [name, content] of Object.entries(files)) {
      await writeThrough(join(temporary, name), content);
    }
    await syncFolder(temporary);
    if (replaces) await swap(temporary, place);
    else await Deno.rename(temporary, place);
    await syncFolder(dirname(place));
  } catch (error) {
    await removeIfThere(temporary);
    throw writeError(target, error);
  }
}

/**
 * Reads the named files of a folder.
 *
 * @throws {CheckpointError} if the folder or one of the files is not there or cannot be read
 */
export async function readFolder<const Name extends string>(
  folder: string,
  names: readonly Name[],
): Promise<Record<Name, Uint8Array<ArrayBuffer>>> {
  await tryToRecover(folder);
  const contents: [string, Uint8Array<ArrayBuffer>][] = [];
  for (const name of names) {
    try {
      contents.push([name, await Deno.readFile(join(folder, name))]);
    } catch (error) {
      const others = await listNames(folder);
      const found = others === null
        ? "there is no such folder"
        : `the folder holds ${others.length === 0 ? "nothing" : others.join(", ")}`;
      throw new CheckpointError(
        `Cannot read "${join(folder, name)}": ${reason(error)}; ${found}. ` +
          `Name a folder with ${names.join(" and ")}`,
        { cause: error },
      );
    }
  }
  return Object.fromEntries(contents) as Record<Name, Uint8Array<ArrayBuffer>>;
}

/**
 * The names in a folder, sorted; null if there is no such folder.
 *
 * @throws {CheckpointError} if the folder cannot be read
 */
export async function listFolder(folder: string): Promise<string[] | null> {
  await tryToRecover(folder);
  try {
    return await listNames(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) return null;
    throw new CheckpointError(`Cannot read "${folder}": ${reason(error)}`, { cause: error });
  }
}

/** A {@linkcode CheckpointError} for a failed write: path, the system's reason, and the remedy. */
export function writeError(path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error;
  return new CheckpointError(`Cannot write "${path}": ${reason(error)}. ${remedy(error)}`, {
    cause: error,
  });
}

/**
 * A {@linkcode CheckpointError} for a file that cannot be read. An error that is not the file's own,
 * as that too many are open, stays what it is.
 */
export function readError(path: string, error: unknown): unknown {
  const { PermissionDenied, IsADirectory, NotADirectory, FilesystemLoop } = Deno.errors;
  const own = [PermissionDenied, IsADirectory, NotADirectory, FilesystemLoop];
  if (!own.some((kind) => error instanceof kind)) return error;
  return new CheckpointError(`Cannot read "${path}": ${reason(error)}`, { cause: error });
}

/**
 * Writes one file: readers see the old content or the new.
 *
 * @throws {CheckpointError} if it cannot be written; the old one is still there then.
 */
export function replaceFile(path: string, text: string): void {
  const temporary = temporaryName(path);
  try {
    Deno.writeTextFileSync(temporary, text, { createNew: true });
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was never made: the first error says why.
    }
    throw writeError(path, error);
  }
}

/** Where something is written that is to get the name `path` once it is whole: beside that. */
export function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.saving-${crypto.randomUUID()}`);
}

const TEMPORARY = /^\..+\.saving-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a name in a folder is one that {@linkcode temporaryName} gives. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** Nobody takes as long to give a file its name. */
const FILE_MS = 60_000;

/**
 * Removes from a folder what processes left that were killed while they wrote there, and gives a
 * folder that was about to be replaced its name again. For the one process that saves folders there;
 * a file may be about to get its name from another, and stays for a minute.
 *
 * @throws {CheckpointError} if it cannot be removed
 */
export async function clearLeftovers(folder: string): Promise<void> {
  for (const name of await listNames(folder) ?? []) {
    const path = join(folder, name);
    const replaced = /^\.(.+)\.previous$/.exec(name)?.[1];
    try {
      if (replaced !== undefined) await recover(join(folder, replaced));
      else if (!isTemporary(name) || await isRecentFile(path)) continue;
      await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw writeError(path, error);
    }
  }
}

async function isRecentFile(path: string): Promise<boolean> {
  const { isFile, mtime } = await Deno.lstat(path);
  return isFile && Date.now() - (mtime?.getTime() ?? 0) < FILE_MS;
}

/** The real path of a link, so that what it points to is replaced and not the link. */
async function resolvePlace(target: string): Promise<string> {
  try {
    return await Deno.realPath(target);
  } catch {
    return target.replace(/(?<=.)[/\\]+$/, "");
  }
}

/** Whether `place` holds a folder to be replaced. */
async function checkReplaceable(place: string, names: ReadonlySet<string>): Promise<boolean> {
  const present = await listNames(place);
  if (present === null) return false;
  const others = present.filter((name) => !names.has(name));
  if (others.length > 0) {
    throw new CheckpointError(
      `Cannot replace "${place}": it also holds ${others.slice(0, 3).join(", ")}` +
        `${others.length > 3 ? ` and ${others.length - 3} more` : ""}, which would be lost. ` +
        "Choose another folder, or move them away",
    );
  }
  return true;
}

/** Puts `temporary` in the place of an existing folder, which comes back if that fails. */
async function swap(temporary: string, place: string): Promise<void> {
  const previous = previousOf(place);
  await removeIfThere(previous);
  await Deno.rename(place, previous);
  try {
    await Deno.rename(temporary, place);
  } catch (error) {
    await Deno.rename(previous, place);
    throw error;
  }
  await removeIfThere(previous);
}

/** Undoes what a crash between the two renames of {@linkcode swap} left behind. */
async function recover(place: string): Promise<void> {
  if (await listNames(place) !== null) return;
  if (await listNames(previousOf(place)) !== null) await Deno.rename(previousOf(place), place);
}

/** For readers, who report a folder that cannot be recovered as one that cannot be read. */
async function tryToRecover(place: string): Promise<void> {
  try {
    await recover(place);
  } catch {
    // Reported by the reading that follows.
  }
}

function previousOf(place: string): string {
  return join(dirname(place), `.${basename(place)}.previous`);
}

async function writeThrough(path: string, content: Uint8Array | string): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  using file = await Deno.open(path, { write: true, createNew: true });
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
  await file.sync();
}

/** Makes a folder's entries durable; Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using handle = await Deno.open(folder, { read: true });
  await handle.sync();
}

/** The names in a folder, sorted; null if there is none. */
async function listNames(folder: string): Promise<string[] | null> {
  try {
    const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
    return names.sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch {
    // Not there, or not ours to remove: the error that brought us here says more.
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/: .* '.*'$/s, "") : String(error);
}

function remedy(error: unknown): string {
  const code = (error as { code?: string } | null)?.code ?? "";
  if (code === "ENOSPC" || code === "EDQUOT") {
    return "The disk is full: free some space, or write to another disk";
  }
  if (code === "EFBIG") return "The file may not grow that large: raise the limit (ulimit -f)";
  if (code === "ENOTDIR" || code === "EEXIST") return "A file is in the way: choose another folder";
  if (code === "ENOENT") return "The folder is not there: make it, or choose another one";
  if (["EACCES", "EPERM", "EROFS"].includes(code)) {
    return "The folder is not writable: choose another one, or change its permissions";
  }
  return "Choose another folder, or repair this one";
}
