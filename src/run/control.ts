/**
 * How a run is watched and steered from outside of its process: by files in its folder, so that it
 * makes no difference who started it.
 *
 * ```
 * run.lock       locked by the process that makes the run, for as long as that lives
 * process.json   which process that is, or was
 * queued.json    since when the run waits for its turn; gone once a process has taken it
 * control.json   what the process is asked to do at the end of its step
 * log.txt        what the process printed, if a server started it
 * ```
 *
 * The lock is the system's: it goes with the process, however that ends, and a number that another
 * process has by now does not count.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { join } from "@std/path";
import {
  CheckpointError,
  clearLeftovers,
  readError,
  replaceFile,
  writeError,
} from "../io/checkpoint.ts";

/** What a run can be asked to do: wait, or save and end. */
export type RunRequest = "pause" | "stop";

/** The process of a run. */
export interface RunProcess {
  /** Its number in the system. */
  readonly pid: number;
  /** When it took the run on, in ISO form. */
  readonly started: string;
  /** When it was done with it; absent while it lives, and if it was killed. */
  readonly ended?: string;
  /** Why it could not go on, if that is how it ended. */
  readonly error?: string;
}

/** How long a process waits for one that only looked whether the lock is held. */
const PATIENCE_MS = 500;
const RETRY_MS = 20;

const fileOf = (name: string) => (folder: string) => join(folder, name);
const lockFile = fileOf("run.lock");
const processFile = fileOf("process.json");
const controlFile = fileOf("control.json");

/** Since when a run waits for its turn. */
export const queueFile: (folder: string) => string = fileOf("queued.json");
/** What a run's process printed. */
export const logFile: (folder: string) => string = fileOf("log.txt");

/** A run in the hands of this process. */
export class RunHold implements Disposable {
  readonly #folder: string;
  readonly #process: RunProcess;
  #lock: Deno.FsFile | null;

  private constructor(folder: string, lock: Deno.FsFile) {
    this.#folder = folder;
    this.#lock = lock;
    this.#process = { pid: Deno.pid, started: new Date().toISOString() };
    // Requests were for the process before.
    sendRequest(folder, null);
    writeProcess(folder, this.#process);
    removeFile(queueFile(folder));
  }

  /**
   * Takes a run on, and clears its folder of what a process left that was killed.
   *
   * @throws {CheckpointError} if another process has it, or the folder cannot be written
   */
  static async take(folder: string): Promise<RunHold> {
    const lock = await lockRun(folder);
    if (!lock) {
      const pid = readProcess(folder)?.pid;
      throw new CheckpointError(
        `Cannot go on with "${folder}": process ${pid ?? "of another"} is making this run. ` +
          "Wait until that has ended, or stop it",
      );
    }
    try {
      await clearLeftovers(folder);
      return new RunHold(folder, lock);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** What the process is asked to do; null is to go on. */
  get request(): RunRequest | null {
    return readRequest(this.#folder);
  }

  /** Lets go of the run, and leaves why where it could not be made. */
  end(error?: Error): void {
    if (!this.#lock) return;
    const ended = new Date().toISOString();
    try {
      writeProcess(this.#folder, {
        ...this.#process,
        ended,
        ...(error ? { error: error.message } : {}),
      });
      sendRequest(this.#folder, null);
    } finally {
      this.#lock.close();
      this.#lock = null;
    }
  }

  /** Same as {@linkcode RunHold.end}. */
  [Symbol.dispose](): void {
    this.end();
  }
}

/**
 * Locks a run, until the result is closed, against every process that would make it; null if one is
 * making it.
 *
 * @throws {CheckpointError} if the folder cannot be written
 */
export async function lockRun(folder: string): Promise<Deno.FsFile | null> {
  const path = lockFile(folder);
  let lock: Deno.FsFile;
  try {
    lock = Deno.openSync(path, { read: true, write: true, create: true });
  } catch (error) {
    throw writeError(path, error);
  }
  for (let waited = 0; !lock.tryLockSync(true); waited += RETRY_MS) {
    if (waited < PATIENCE_MS) await delay(RETRY_MS);
    else {
      lock.close();
      return null;
    }
  }
  return lock;
}

/**
 * Whether a process is making the run.
 *
 * @throws {Error} if that cannot be told, where too many files are open for one: not to know is not
 * to be free
 */
export function isHeld(folder: string): boolean {
  const path = lockFile(folder);
  let lock: Deno.FsFile;
  try {
    lock = Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw readError(path, error);
  }
  try {
    return !lock.tryLockSync(false);
  } finally {
    lock.close();
  }
}

/** The process that makes the run, or made it last; null if none did. */
export function readProcess(folder: string): RunProcess | null {
  const { pid, started, ended, error } = readObject(processFile(folder)) ?? {};
  const isTextOrAbsent = (value: unknown) => value === undefined || typeof value === "string";
  if (typeof pid !== "number" || typeof started !== "string") return null;
  if (!isTextOrAbsent(ended) || !isTextOrAbsent(error)) return null;
  return { pid, started, ended, error } as RunProcess;
}

/** Notes which process makes a run, or could not make it. */
export function writeProcess(folder: string, value: RunProcess): void {
  replaceFile(processFile(folder), `${JSON.stringify(value)}\n`);
}

/** What a run is asked to do; a file that says anything else asks for nothing. */
export function readRequest(folder: string): RunRequest | null {
  const request = readObject(controlFile(folder))?.["request"];
  return request === "pause" || request === "stop" ? request : null;
}

/**
 * Asks the process that holds a run to do something at the end of its step; null is to go on.
 *
 * @throws {CheckpointError} if the folder cannot be written
 */
export function sendRequest(folder: string, request: RunRequest | null): void {
  if (request === null) removeFile(controlFile(folder));
  else replaceFile(controlFile(folder), `${JSON.stringify({ request })}\n`);
}

/** The object in a small file; null if there is no such file, or something else in it. */
export function readObject(path: string): Record<string, unknown> | null {
  // Most of the time there is none, and finding that out by an error takes ten times as long.
  if (!existsSync(path)) return null;
  try {
    const value: unknown = JSON.parse(Deno.readTextFileSync(path));
    return typeof value === "object" ? value as Record<string, unknown> : null;
  } catch {
    return null;
  }
}

/** Removes a file, if it is there. */
export function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw writeError(path, error);
  }
}
