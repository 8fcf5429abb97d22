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
  queueFile,
  readObject,
  readProcess,
  removeFile,
  type RunRequest,
  sendRequest,
  writeProcess,
} from "../run/control.ts";
import { isLive, type RunState } from "../run/state.ts";
import { RunFolder } from "../run/store.ts";
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
  /** Keeps the places in the queue apart that were given in one millisecond. */
  #last = 0;

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

  /** The runs that have the GPU, or are about to; a paused one has not. */
  onGpu(): string[] {
    const live = (["running", "stopping"] as const).flatMap((state) => this.#inState(state));
    return [...this.#starting, ...live];
  }

  /** The runs that wait for their turn, the next one first. */
  queue(): string[] {
    return this.#index.list({ limit: -1, state: "queued" })
      .map(({ id }) => ({
        id,
        place: Number(readObject(queueFile(this.#path(id)))?.["place"] ?? 0),
      }))
      .sort((a, b) => a.place - b.place || (a.id < b.id ? -1 : 1))
      .map(({ id }) => id);
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

  /** Stops looking after the runs, which go on by themselves. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Asks all runs that are being made to save and end, and waits until they have. */
  async stopAll(): Promise<void> {
    this.#parallel = 0;
    const making = [...this.#starting, ...this.#live()];
    await Promise.all(making.map(async (id) => {
      try {
        await this.stop(id);
      } catch (error) {
        // It ended by itself meanwhile.
        if (!(error instanceof Problem)) throw error;
      }
    }));
    this.close();
    while (this.#live().length > 0) {
      await delay(START_POLL_MS);
      this.#index.refresh();
    }
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

  #enqueue(id: string): void {
    this.#last = Math.max(this.#last + 1, Date.now());
    replaceFile(queueFile(this.#path(id)), `${JSON.stringify({ place: this.#last })}\n`);
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
    if (state === undefined) throw new Problem(404, `There is no run "${id}"`);
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
    try {
      await this.#clear();
      const child = await this.#start(folder);
      const exit = child.exit.then(({ code, signal }) => {
        this.#exits.delete(exit);
        this.#starting.delete(id);
        const took = readProcess(folder)?.pid === child.pid;
        if (took) return;
        const how = signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
        this.#gaveUp(folder, child.pid, started, `The process ${how} before it took the run on`);
      }).catch(this.#onError);
      this.#exits.add(exit);
      while (
        this.#isOpen && this.#starting.has(id) && readProcess(folder)?.pid !== child.pid
      ) await delay(START_POLL_MS);
    } catch (error) {
      this.#gaveUp(folder, 0, started, `Cannot start a process: ${(error as Error).message}`);
    } finally {
      this.#starting.delete(id);
      if (this.#isOpen) this.#index.refreshRun(id);
    }
  }

  /** Leaves why a run could not be started, unless another process has it. */
  #gaveUp(folder: string, pid: number, started: string, error: string): void {
    if (isHeld(folder)) return;
    writeProcess(folder, { pid, started, ended: new Date().toISOString(), error });
    removeFile(queueFile(folder));
  }
}
