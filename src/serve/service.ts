/**
 * What the routes work on: the index, the supervisor and the feeds of one folder of runs, and
 * tools.
 *
 * @module
 */

import { join } from "@std/path";
import { removeDeleted } from "../run/delete.ts";
import { type Allowed, liesIn } from "./allowed.ts";
import type { StartChild } from "./child.ts";
import { EventFeed } from "./event_feed.ts";
import { RunIndex, type RunRow } from "./index/run_index.ts";
import { isLive } from "../run/state.ts";
import { CallableTools } from "../run/tools/callable.ts";
import { Problem } from "./problem.ts";
import { Supervisor } from "./supervisor.ts";

/** What runs are served, and how they are made. */
export interface ServiceOptions {
  /** The folder of the runs. */
  readonly runs: string;
  /** How many runs may be made at the same time. */
  readonly parallel: number;
  /** What requests may name. */
  readonly allowed: Allowed;
  /** Where models lie that are offered to talk to; runs that hold one stay. */
  readonly offered?: readonly string[];
  /** Starts the process of a run; a test may have another. */
  readonly start?: StartChild;
  /** Called before a run takes the GPU, which it then does. */
  readonly clear?: () => Promise<void>;
  /** Told of what went wrong while nobody asked for anything. */
  readonly onError: (error: Error) => void;
}

/** What follows the events of a run. */
interface Watch {
  readonly feed: EventFeed;
  /** Aborted when it is over for all who watch: the run is deleted, or the server ends. */
  readonly signal: AbortSignal;
}

/** The runs of a folder; nothing is opened before it is needed. */
export class RunService implements AsyncDisposable {
  readonly options: ServiceOptions;
  /** What requests may call by itself. */
  readonly tools: CallableTools;
  /** Aborted when the server ends. */
  readonly ending = new AbortController();
  /** How many clients watch events. */
  streams = 0;
  readonly #watches = new Map<string, Watch & { readonly gone: AbortController }>();
  #parts: { readonly index: RunIndex; readonly supervisor: Supervisor } | null = null;

  constructor(options: ServiceOptions) {
    this.options = options;
    this.tools = new CallableTools(options.allowed.tools);
  }

  get index(): RunIndex {
    return this.#open().index;
  }

  get supervisor(): Supervisor {
    return this.#open().supervisor;
  }

  /** A run's row. @throws {Problem} 404 if there is none of that name */
  run(id: string): RunRow & { readonly config: string | null } {
    const row = this.index.get(id);
    if (row) return row;
    throw new Problem(404, `There is no run "${id}"`);
  }

  /** The folder of a run. @throws {Problem} 404 if there is none of that name */
  folder(id: string): string {
    return join(this.options.runs, this.run(id).id);
  }

  /** The events of a run as they are written. @throws {Problem} 404 if there is none of that name */
  watch(id: string): Watch {
    const folder = this.folder(id);
    let watch = this.#watches.get(id);
    if (!watch) {
      const isOver = () => {
        const state = this.index.get(id)?.state ?? "damaged";
        return !isLive(state) && state !== "queued";
      };
      const feed = new EventFeed(folder, isOver, () => this.#watches.delete(id));
      const gone = new AbortController();
      const signal = AbortSignal.any([this.ending.signal, gone.signal]);
      watch = { feed, gone, signal };
      this.#watches.set(id, watch);
    }
    return watch;
  }

  /**
   * Deletes a run that no process is making, and ends the streams of its events.
   *
   * @throws {Problem} 404 if there is none of that name, 409 if it is being made or a model of it is
   * offered
   */
  async delete(id: string): Promise<void> {
    const folder = join(this.options.runs, id);
    const model = this.options.offered?.find((place) => liesIn(place, folder));
    if (model !== undefined) {
      throw new Problem(
        409,
        `Cannot delete run "${id}": its model "${model}" is offered; start the server without it first`,
      );
    }
    await this.supervisor.delete(id, () => this.#watches.get(id)?.gone.abort());
  }

  /** Looks after the runs from now on, also without requests. */
  open(): void {
    this.#open();
  }

  /**
   * Ends the streams and the calls of tools, and stops to look after the runs.
   *
   * @param stopRuns whether to end the runs, too, each saved after its step; else they go on
   */
  async close({ stopRuns = false } = {}): Promise<void> {
    this.ending.abort();
    await this.tools[Symbol.asyncDispose]();
    if (!this.#parts) return;
    const { index, supervisor } = this.#parts;
    if (stopRuns) await supervisor.stopAll();
    supervisor.close();
    this.#parts = null;
    index.close();
  }

  /** Same as {@linkcode RunService.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open() {
    if (this.#parts) return this.#parts;
    if (this.ending.signal.aborted) throw new Problem(503, "The server is shutting down");
    const { runs, parallel, start, clear, onError } = this.options;
    const index = new RunIndex(runs);
    const supervisor = new Supervisor(index, {
      ...{ parallel, onError },
      ...(start ? { start } : {}),
      ...(clear ? { clear } : {}),
    });
    this.#parts = { index, supervisor };
    supervisor.open();
    removeDeleted(runs).catch(onError);
    return this.#parts;
  }
}
