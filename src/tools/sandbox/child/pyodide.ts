/**
 * Pyodide: CPython as a WebAssembly instance.
 *
 * @module
 */

import nodeCrypto from "node:crypto";
import { pathToFileURL } from "node:url";
import { frozen } from "./frozen.ts";

/** The little of Pyodide that is used, most of it CPython's own functions. */
export interface Pyodide {
  runPython(code: string): unknown;
  makeMemorySnapshot(): Uint8Array<ArrayBuffer>;
  readonly FS: { unlink(path: string): void };
  readonly _module: {
    readonly HEAPU8: Uint8Array<ArrayBuffer>;
    stringToNewUTF8(text: string): number;
    UTF8ToString(at: number): string;
    _free(at: number): void;
    _sbrk(bytes: number): number;
    _PyImport_AddModule(name: number): number;
    _PyModule_GetDict(module: number): number;
    _PyRun_StringFlags(
      code: number,
      start: number,
      globals: number,
      locals: number,
      flags: number,
    ): number;
    _PyUnicode_AsUTF8(text: number): number;
  };
}

/** Its clock and its random bytes, from wherever it takes them. */
export const chance = frozen();
Date.now = chance.now;
performance.now = chance.elapsed;
crypto.getRandomValues = chance.fill;
nodeCrypto.randomFillSync = chance.fill;

/**
 * Loads it.
 *
 * @param folder of the package pyodide
 * @param snapshot the memory that an earlier one had; without, this one's may become a snapshot
 */
export async function loadPyodide(
  folder: string,
  snapshot: Uint8Array | null,
): Promise<Pyodide> {
  const module = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
  const pyodide: Pyodide = await module.loadPyodide({
    indexURL: `${folder}/`,
    env: { HOME: "/home/user", PYTHONHASHSEED: "0" },
    // The process speaks on stdout with its parent.
    stdin: () => null,
    stdout: () => {},
    // These have no public names, which is why the package's version is fixed.
    _sysExecutable: "/usr/bin/python",
    ...(snapshot ? { _loadSnapshot: snapshot } : { _makeSnapshot: true }),
  });
  // These read and write the process's own streams.
  for (const name of ["tty", "tty1", "stdin", "stdout", "stderr"]) {
    pyodide.FS.unlink(`/dev/${name}`);
  }
  return pyodide;
}
