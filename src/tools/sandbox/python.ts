/**
 * Python in the sandbox.
 *
 * @module
 */

import type { PythonSetup } from "./child/python.ts";
import { SharedFolder } from "./launch.ts";
import { SandboxPool, type Source } from "./pool.ts";
import { SandboxProcess } from "./process.ts";
import { pyodideFolder } from "./pyodide.ts";
import {
  cpuSeconds,
  lineChars,
  type Sandbox,
  type SandboxLimits,
  sandboxLimits,
} from "./sandbox.ts";
import { pythonSnapshot } from "./snapshot.ts";

/** Heap of the JavaScript around the interpreter, in MiB. */
const HEAP_MIB = 128;

/** Memory of the interpreter at rest, in MiB. */
const OWN_MIB = 32;

/**
 * Opens a sandbox for Python: CPython as Pyodide has it, with most of its standard library, and a
 * clock and randomness that are the same in every call. Code may await at its top.
 *
 * The first time it downloads Pyodide from npm (14 MB) and makes a memory snapshot (31 MB) in the
 * user's cache.
 *
 * @throws {ToolUnavailableError} if Pyodide can't be had or subprocesses can't be started
 * @throws {RangeError} on a limit out of range
 */
export async function openPythonSandbox(given: Partial<SandboxLimits> = {}): Promise<Sandbox> {
  const limits = sandboxLimits(given);
  return await SandboxPool.open(limits, await pythonSource(limits));
}

/** Where the processes of such a sandbox come from. */
export async function pythonSource(limits: SandboxLimits): Promise<Source> {
  const shared = await SharedFolder.open();
  const release = () => shared[Symbol.asyncDispose]();
  try {
    const folder = await pyodideFolder();
    const snapshot = await pythonSnapshot(shared, folder);
    const setup: PythonSetup = {
      folder,
      snapshot,
      memoryBytes: (OWN_MIB + limits.memoryMiB) * 2 ** 20,
      outputBytes: limits.maxOutput,
    };
    const rights = {
      read: [folder, snapshot],
      heapMiB: HEAP_MIB,
      memoryMiB: HEAP_MIB + limits.memoryMiB,
      cpuSeconds: cpuSeconds(limits),
    };
    const start = () =>
      SandboxProcess.start(shared.spawn("python.ts", rights), setup, lineChars(limits));
    return { start, [Symbol.asyncDispose]: release };
  } catch (error) {
    await release();
    throw error;
  }
}
