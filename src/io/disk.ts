/**
 * The local file system as a {@linkcode Folder}.
 *
 * @module
 */

import { listFolder, readFolder, saveFolder } from "./checkpoint.ts";
import { fileSource } from "./file_source.ts";
import type { Folder } from "./folder.ts";

/** Deno's file system, for {@linkcode useFolder}. */
export const disk: Folder = {
  read: readFolder,
  write: saveFolder,
  list: listFolder,
  open: fileSource,
};
