/**
 * The one door between models and a file system, so that the core runs where there is none.
 *
 * @module
 */

import type { ByteSource } from "./source.ts";

/** Reads and writes whole folders of small files, and opens large ones. */
export interface Folder {
  /** Contents by name; throws if a name is missing. */
  read(directory: string, names: readonly string[]): Promise<Record<string, Uint8Array>>;
  /** Replaces the folder as a whole, or leaves it as it was. */
  write(directory: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<void>;
  /** The names in a folder, sorted; null if there is no such folder. */
  list(directory: string): Promise<string[] | null>;
  /** Opens a file to be read piece by piece. */
  open(path: string): Promise<ByteSource>;
}

let installed: Folder | null = null;

/** Installs the runtime's file system; `mod.ts` does this under Deno. */
export function useFolder(folder: Folder): void {
  installed = folder;
}

/**
 * The installed file system.
 *
 * @throws {TypeError} if this runtime has none.
 */
export function folder(): Folder {
  if (!installed) {
    throw new TypeError("Cannot reach files: this runtime has no file system, pass bytes instead");
  }
  return installed;
}

/** Whether a name is that of a file in the folder at hand, and can't point elsewhere. */
export function isPlainName(name: string): boolean {
  return /^[^/\\\0]+$/.test(name) && name !== "." && name !== "..";
}
