/**
 * Who makes runs and when: a queue, one process per run, and what is asked of them.
 *
 * All of it is in the folders of the runs (`run/control.ts`), so that a server that starts finds the
 * queue of the one before, and the runs that are still alive.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { join } from "@std/path";
import { replaceFile } from "../io/checkpoint.ts";
import type { RunConfig } from "../run/config/mod.ts";
import {
  isHeld,
  lockRun,
  queueFile,
  readObject,
  readProcess,
  readRequest,
  removeFile,
  type RunRequest,
  sendRequest,
  writeProcess,
} from "../run/control.ts";
import { hideRun, removeHidden } from "../run/delete.ts";
import { isLive, type RunState } from "../run/state.ts";
import { findRun, RunFolder } from "../run/store.ts";
import { type StartChild, startTraining } from "./child.ts";
import type { RunIndex } from "./index/run_index.ts";
import { Problem } from "./problem.ts";

/** How often folders are looked at. */
const TICK_MS = 500;

/** How long a request waits for a process that was started to take its run on. */
const START_MS = 15_000;
const START_POLL_MS = 25;

/** Starts runs one after the other, and passes on what is asked of them. */
export class Supervisor {
  readonly #index: RunIndex;
  /** How many runs may be made at the same time; none once the server ends. */
  #parallel: number;
  readonly #start: StartChild;
  readonly #onError: (error: Error) => void;
  readonly #clear: () => Promise<void>;
  /** Runs whose processes were started, and may not have taken them on yet. */
  readonly #starting = new Set<string>();
  /** Ends of the processes that this server started. */
  readonly #exits = new Set<Promise<void>>();
  #timer: ReturnType<typeof setInterval> | null = null;

  /** @param parallel how many runs may be made at the same time */
  constructor(
    index: RunIndex,
    { parallel = 1, start = startTraining, clear = () => Promise.resolve(), onError }: {
      parallel?: number;
      start?: StartChild;
      /** Called before a run takes the GPU, which it then does. */
      clear?: () => Promise<void>;
      /** Told of what went wrong while nobody asked for anything. */
      onError: (error: Error) => void;
    },
  ) {
    this.#index = index;
    this.#parallel = parallel;
    this.#start = start;
    this.#clear = clear;
    this.#onError = onError;
  }

  /** Begins to look after the runs. */
  open(): void {
    if (this.#isOpen) return;
    this.tick();
    this.#timer = setInterval(() => {
      try {
        this.tick();
      } catch (error) {
        // A full disk, for one, may have room again the next time.
        this.#onError(error as Error);
      }
    }, TICK_MS);
  }

  /** Looks at all folders once, and starts what can be started. */
  tick(): void {
    this.#index.refresh();
    const making = new Set([...this.#starting, ...this.#live()]);
    for (const id of this.queue()) {
      if (making.size >= this.#parallel) break;
      if (making.has(id)) continue;
      making.add(id);
      this.#begin(id).catch(this.#onError);
    }
  }

  /** The runs that have the GPU, or are about to; a paused one has not until it is told to go on. */
  onGpu(): string[] {
    const waits = (id: string) => readRequest(this.#path(id)) === "pause";
    const paused = this.#inState("paused").filter((id) => !waits(id));
    return [
      ...this.#starting,
      ...this.#inState("running"),
      ...this.#inState("stopping"),
      ...paused,
    ];
  }

  /** The runs that wait for their turn, the next one first. */
  queue(): string[] {
    return this.#places().map(({ id }) => id);
  }

  /** Makes the folder of a new run and puts it into the queue. @returns its name */
  create(config: RunConfig): string {
    const { id } = RunFolder.create(config, this.#index.root);
    this.#enqueue(id);
    return id;
  }

  /**
   * Asks a run to wait at the end of its step, saved.
   *
   * @throws {Problem} 409 if it is not being made, 503 if its process takes long to start
   */
  async pause(id: string): Promise<void> {
    await this.#require(id, "pause", ["running", "paused"]);
    this.#ask(id, "pause");
  }

  /**
   * Lets a run go on: one that waits, and one that ended early, for which it is put into the queue.
   *
   * @throws {Problem} 409 if it is in the queue, or finished
   */
  async resume(id: string): Promise<void> {
    const state = await this.#require(id, "resume", [
      ...["running", "paused", "stopped", "interrupted", "failed"] as const,
    ]);
    if (!isLive(state)) return this.#enqueue(id);
    this.#starting.add(id);
    try {
      await this.#clear();
      this.#ask(id, null);
    } finally {
      this.#starting.delete(id);
    }
  }

  /**
   * Asks a run to save and end after its step; one that is in the queue leaves it.
   *
   * @throws {Problem} 409 if it has ended
   */
  async stop(id: string): Promise<void> {
    const state = await this.#require(id, "stop", ["queued", "running", "paused", "stopping"]);
    if (state === "queued") {
      removeFile(queueFile(this.#path(id)));
      this.#index.refreshRun(id);
    } else this.#ask(id, "stop");
  }

  /**
   * Deletes a run that no process is making.
   *
   * @param onGone called as soon as nobody sees it any more; its files are removed after that
   * @throws {Problem} 404 if there is none of that name, 409 if it is being made, 503 if its process takes long to start
   */
  async delete(id: string, onGone: () => void): Promise<void> {
    await this.#require(id, "delete", [
      ...["queued", "finished", "stopped", "failed", "interrupted", "damaged"] as const,
    ]);
    using lock = await lockRun(this.#path(id));
    // A damaged one may be in the making as well.
    if (!lock) {
      throw new Problem(409, `Cannot delete run "${id}": a process is making it; stop that first`);
    }
    // Somebody else may have deleted it while this waited for the lock.
    if (!findRun(this.#index.root, id)) throw missing(id);
    const hidden = hideRun(this.#path(id));
    this.#index.refreshRun(id);
    onGone();
    await removeHidden(hidden);
  }

  /** Stops looking after the runs, which go on by themselves. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Asks all runs that are being made to save and end, and waits until they have. */
  async stopAll(): Promise<void> {
    this.#parallel = 0;
    // Those that are only starting, or were told to go on at this moment, are asked in their time.
    while (this.#starting.size + this.#live().length > 0) {
      const asked = this.#inState("stopping");
      for (const id of this.#live()) {
        if (asked.includes(id) || this.#starting.has(id)) continue;
        if (isHeld(this.#path(id))) this.#ask(id, "stop");
      }
      await delay(START_POLL_MS);
      this.#index.refresh();
    }
    this.close();
    await Promise.all(this.#exits);
  }

  get #isOpen(): boolean {
    return this.#timer !== null;
  }

  #path(id: string): string {
    return join(this.#index.root, id);
  }

  #live(): string[] {
    return (["running", "paused", "stopping"] as const).flatMap((state) => this.#inState(state));
  }

  #inState(state: RunState): string[] {
    return this.#index.list({ limit: -1, state }).map(({ id }) => id);
  }

  /** Who waits where, the next one first. */
  #places(): { id: string; place: number }[] {
    return this.#inState("queued").map((id) => {
      const { place } = readObject(queueFile(this.#path(id))) ?? {};
      return { id, place: typeof place === "number" ? place : 0 };
    }).sort((a, b) => a.place - b.place || (a.id < b.id ? -1 : 1));
  }

  #enqueue(id: string): void {
    // Behind the last one, also where the clock was put back since.
    const place = Math.max(Date.now(), (this.#places().at(-1)?.place ?? 0) + 1);
    replaceFile(queueFile(this.#path(id)), `${JSON.stringify({ place })}\n`);
    this.#index.refreshRun(id);
  }

  /** The state of a run, once its process has taken it on if that was started. */
  async #require(id: string, action: string, allowed: readonly RunState[]): Promise<RunState> {
    for (let waited = 0; this.#starting.has(id) && waited < START_MS; waited += START_POLL_MS) {
      await delay(START_POLL_MS);
    }
    if (this.#starting.has(id)) {
      throw new Problem(503, `Run "${id}" is only starting; try again later`, {
        headers: { "retry-after": "5" },
      });
    }
    this.#index.refreshRun(id);
    const state = this.#index.get(id)?.state;
    if (state === undefined) throw missing(id);
    if (allowed.includes(state)) return state;
    throw new Problem(
      409,
      `Cannot ${action} run "${id}": it is ${state}, and has to be ${allowed.join(" or ")}`,
    );
  }

  /** Puts a request before the process that has the run; what was asked before that is dropped. */
  #ask(id: string, request: RunRequest | null): void {
    const folder = this.#path(id);
    if (!isHeld(folder)) {
      this.#index.refreshRun(id);
      throw new Problem(409, `Cannot ask anything of run "${id}": its process has ended`);
    }
    sendRequest(folder, request);
    this.#index.refreshRun(id);
  }

  async #begin(id: string): Promise<void> {
    const folder = this.#path(id);
    this.#starting.add(id);
    const started = new Date().toISOString();
    // The process before may have had the number that the system gives to the next.
    const before = readProcess(folder)?.started;
    const hasTaken = (pid: number) => {
      const process = readProcess(folder);
      return process?.pid === pid && process.started !== before;
    };
    try {
      await this.#clear();
      const child = await this.#start(folder);
      const exit = child.exit.then(({ code, signal }) => {
        this.#exits.delete(exit);
        this.#starting.delete(id);
        if (hasTaken(child.pid)) return;
        const how = signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
        this.#gaveUp(id, child.pid, started, `The process ${how} before it took the run on`);
      }).catch(this.#onError);
      this.#exits.add(exit);
      while (this.#isOpen && this.#starting.has(id) && !hasTaken(child.pid)) {
        await delay(START_POLL_MS);
      }
    } catch (error) {
      this.#gaveUp(id, 0, started, `Cannot start a process: ${(error as Error).message}`);
    } finally {
      this.#starting.delete(id);
      if (this.#isOpen) this.#index.refreshRun(id);
    }
  }

  /** Leaves why a run could not be started, unless another process has it, or it is deleted. */
  #gaveUp(id: string, pid: number, started: string, error: string): void {
    const folder = this.#path(id);
    if (isHeld(folder) || !findRun(this.#index.root, id)) return;
    writeProcess(folder, { pid, started, ended: new Date().toISOString(), error });
    removeFile(queueFile(folder));
  }
}

function missing(id: string): Problem {
  return new Problem(404, `There is no run "${id}"`);
}
