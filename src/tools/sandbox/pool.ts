/**
 * Kept-alive subprocesses that take calls in turn.
 *
 * @module
 */

import type { Request } from "./child/loop.ts";
import type { Answer, SandboxProcess } from "./process.ts";
import {
  BUSY_MS,
  type Sandbox,
  type SandboxCall,
  type SandboxLimits,
  type SandboxResult,
} from "./sandbox.ts";

/** Where a pool's processes come from. */
export interface Source extends AsyncDisposable {
  /** A process that is ready. */
  start(): Promise<SandboxProcess>;
}

/** A call that waits for a process. */
interface Waiter {
  resolve(process: SandboxProcess): void;
  reject(reason: unknown): void;
}

/** A {@linkcode Sandbox} of as many processes as are needed at a time, up to a limit. */
export class SandboxPool implements Sandbox {
  readonly #limits: SandboxLimits;
  readonly #source: Source;
  /** Those without a call; the one used last is the next. */
  readonly #idle: SandboxProcess[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #processes = new Set<SandboxProcess>();
  /** Processes that are, and those that are being started. */
  #count = 0;
  /** What starts and ends behind the calls' backs. */
  readonly #background = new Set<Promise<void>>();
  #closed = false;

  private constructor(limits: SandboxLimits, source: Source) {
    this.#limits = limits;
    this.#source = source;
  }

  /**
   * Waits until a first process is ready. The source is disposed with the pool.
   *
   * @throws {ToolUnavailableError} if none can be started
   */
  static async open(limits: SandboxLimits, source: Source): Promise<SandboxPool> {
    const pool = new SandboxPool(limits, source);
    try {
      pool.#offer(await pool.#take());
      return pool;
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs code in a process that nothing else uses meanwhile. */
  async run(code: string, call: SandboxCall = {}): Promise<SandboxResult> {
    const { signal, before = [], beforeMs = 0 } = call;
    const timeoutMs = this.#limits.timeoutMs + beforeMs;
    const work = { before, code };
    let [answer, ms] = await this.#use(await this.#take(signal), work, timeoutMs, signal);
    if (answer.kind === "gone") {
      // It may have died of an earlier call, or of the machine: in a new process the call can only
      // blame itself.
      [answer, ms] = await this.#use(await this.#start(), work, timeoutMs, signal);
    }
    return resultOf(answer, timeoutMs, ms);
  }

  /** Ends all processes; calls that run or wait fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { reject } of this.#waiters.splice(0)) reject(closedError());
    await Promise.all([...this.#processes].map((process) => process.end()));
    while (this.#background.size > 0) await Promise.all(this.#background);
    await this.#source[Symbol.asyncDispose]();
  }

  async #take(signal?: AbortSignal): Promise<SandboxProcess> {
    signal?.throwIfAborted();
    if (this.#closed) throw closedError();
    for (let process = this.#idle.pop(); process; process = this.#idle.pop()) {
      if (process.usable) return process;
      this.#drop(process);
    }
    if (this.#count < this.#limits.processes) this.#grow();
    const { promise, resolve, reject } = Promise.withResolvers<SandboxProcess>();
    const waiter = { resolve, reject };
    this.#waiters.push(waiter);
    const leave = () => {
      const place = this.#waiters.indexOf(waiter);
      if (place >= 0) this.#waiters.splice(place, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  /**
   * Runs a call in a process, which then is offered to the next one or ended.
   *
   * @returns what it came to, and its wall time in ms
   */
  async #use(
    process: SandboxProcess,
    work: Omit<Request, "nonce">,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<[Answer, number]> {
    const stop = () => process.kill();
    signal?.addEventListener("abort", stop, { once: true });
    const begin = performance.now();
    try {
      signal?.throwIfAborted();
      const answer = await process.run(work, timeoutMs);
      signal?.throwIfAborted();
      if (this.#closed) throw closedError();
      if (answer.kind !== "reply" || answer.reply.spent) process.kill();
      return [answer, performance.now() - begin];
    } finally {
      signal?.removeEventListener("abort", stop);
      if (this.#count > this.#limits.processes || process.busyMs > BUSY_MS) process.kill();
      this.#offer(process);
    }
  }

  /** Gives a process to a call that waits, or keeps it for one to come. */
  #offer(process: SandboxProcess): void {
    if (!process.usable) return this.#drop(process);
    const waiter = this.#waiters.shift();
    if (waiter) waiter.resolve(process);
    else this.#idle.push(process);
  }

  async #start(): Promise<SandboxProcess> {
    if (this.#closed) throw closedError();
    this.#count++;
    try {
      const process = await this.#source.start();
      this.#processes.add(process);
      if (!this.#closed) return process;
      await process.end();
      throw closedError();
    } catch (error) {
      this.#count--;
      throw error;
    }
  }

  /** Starts a process for the calls that wait or will come. */
  #grow(): void {
    this.#behind((async () => {
      try {
        this.#offer(await this.#start());
      } catch (error) {
        // Without any process there is nobody to serve those who wait.
        if (this.#count === 0) { for (const { reject } of this.#waiters.splice(0)) reject(error); }
      }
    })());
  }

  /** Ends a process, and has another one started in its place. */
  #drop(process: SandboxProcess): void {
    this.#count--;
    this.#processes.delete(process);
    this.#behind(process.end());
    if (!this.#closed && this.#count < this.#limits.processes) this.#grow();
  }

  #behind(work: Promise<void>): void {
    const entry = work.finally(() => this.#background.delete(entry));
    this.#background.add(entry);
  }
}

function resultOf(answer: Answer, timeoutMs: number, ms: number): SandboxResult {
  if (answer.kind === "reply") {
    const { status, value, stdout, error } = answer.reply;
    return { status, value, stdout, error, ms };
  }
  const nothing = { value: null, stdout: "", ms };
  if (answer.kind === "timeout") {
    return { status: "timeout", error: `it ran for more than ${timeoutMs} ms`, ...nothing };
  }
  return answer.outOfMemory
    ? { status: "memory", error: "it took more memory than it may", ...nothing }
    : { status: "crashed", error: `it broke its process: ${answer.reason}`, ...nothing };
}

function closedError(): Error {
  return new Error("Cannot run code: the sandbox is closed");
}
