/**
 * A sandbox that is only opened when there is something to run.
 *
 * @module
 */

import type { Sandbox, SandboxCall, SandboxResult } from "./sandbox.ts";

/** Opens with its first call; where that fails, the next one tries again. */
export class LazySandbox implements Sandbox {
  readonly #open: () => Promise<Sandbox>;
  #sandbox: Promise<Sandbox> | null = null;
  #closed = false;

  constructor(open: () => Promise<Sandbox>) {
    this.#open = open;
  }

  /** Runs code. @throws as {@linkcode Sandbox.run}, and what opening throws */
  async run(code: string, call?: SandboxCall): Promise<SandboxResult> {
    if (this.#closed) throw new Error("Cannot run code: the sandbox is closed");
    this.#sandbox ??= this.#opened();
    const sandbox = await this.#sandbox;
    return await sandbox.run(code, call);
  }

  /** Ends all processes, also those that are still being started. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const opened = await this.#sandbox?.catch(() => null);
    await opened?.[Symbol.asyncDispose]();
  }

  async #opened(): Promise<Sandbox> {
    try {
      return await this.#open();
    } catch (error) {
      this.#sandbox = null;
      throw error;
    }
  }
}
