/**
 * JavaScript in the sandbox.
 *
 * @module
 */

import type { JavascriptSetup } from "./child/javascript.ts";
import { SharedFolder } from "./launch.ts";
import { SandboxPool, type Source } from "./pool.ts";
import { SandboxProcess } from "./process.ts";
import {
  cpuSeconds,
  lineChars,
  type Sandbox,
  type SandboxLimits,
  sandboxLimits,
} from "./sandbox.ts";

/**
 * Opens a sandbox for JavaScript: the language with `console`, timers, and a clock and randomness
 * that are the same in every call. Code may await at its top.
 *
 * @throws {ToolUnavailableError} if subprocesses can't be started
 * @throws {RangeError} on a limit out of range
 */
export async function openJavascriptSandbox(given: Partial<SandboxLimits> = {}): Promise<Sandbox> {
  const limits = sandboxLimits(given);
  return await SandboxPool.open(limits, await javascriptSource(limits));
}

/** Where the processes of such a sandbox come from. */
export async function javascriptSource(limits: SandboxLimits): Promise<Source> {
  const [{ default: acorn }, { default: inspect }] = await Promise.all([
    import("acorn", { with: { type: "text" } }),
    import("object-inspect", { with: { type: "text" } }),
  ]);
  const shared = await SharedFolder.open();
  const setup: JavascriptSetup = { acorn, inspect, outputChars: limits.maxOutput };
  const { memoryMiB } = limits;
  const rights = { heapMiB: memoryMiB, memoryMiB, cpuSeconds: cpuSeconds(limits) };
  const start = () =>
    SandboxProcess.start(shared.spawn("javascript.ts", rights), setup, lineChars(limits));
  return { start, [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose]() };
}
