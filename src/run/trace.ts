/**
 * A profile as a file for ui.perfetto.dev and chrome://tracing.
 *
 * @module
 */

import type { GpuSpan } from "../gpu/profiler.ts";
import { temporaryName, writeError } from "../io/checkpoint.ts";

/** Events in a trace file at most: 17 MB, or some 60 steps of the default run by kernel. */
const TRACE_LIMIT = 200_000;

/** Processes of a trace, each with a thread of the same name. */
const processes = { host: 1, GPU: 2 } as const;

/**
 * Writes spans in Chrome's trace event format, for ui.perfetto.dev and chrome://tracing. The file
 * grows under a temporary name and gets its own by a rename. Whatever writes throws a
 * `CheckpointError` where it cannot.
 */
export class TraceWriter implements Disposable {
  /** Where the file will lie. */
  readonly path: string;
  readonly #limit: number;
  readonly #temporary: string;
  #file!: Deno.FsFile;
  #open = false;
  #text = "";
  #separator = '{"traceEvents":[\n';
  #events = 0;
  #dropped = 0;
  /** When the last span in each thread of the GPU ends, in ns. */
  readonly #lanes: number[] = [];

  /** Opens the temporary file. Events past `limit` are counted only. */
  constructor(path: string, limit: number = TRACE_LIMIT) {
    this.path = path;
    this.#limit = limit;
    this.#temporary = temporaryName(path);
    this.#attempt(() => {
      this.#file = Deno.openSync(this.#temporary, { write: true, createNew: true });
      this.#open = true;
    });
    for (const [name, pid] of Object.entries(processes)) {
      this.#append({ ph: "M", name: "process_name", pid, args: { name } });
      this.#append({ ph: "M", name: "thread_name", pid, tid: 1, args: { name } });
    }
  }

  /** Events that did not fit. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds spans; those of the host contain each other or lie apart, the GPU's are in order. */
  add(process: keyof typeof processes, spans: readonly GpuSpan[]): void {
    const fitting = spans.slice(0, this.#limit - this.#events);
    this.#events += fitting.length;
    this.#dropped += spans.length - fitting.length;
    for (const { name, start, end } of fitting) {
      // Whole nanoseconds, so that rounding makes no neighbours overlap.
      const [from, to] = [Math.round(start * 1e6), Math.round(end * 1e6)];
      const tid = process === "GPU" ? this.#lane(from, to) : 1;
      const [ts, dur] = [from / 1000, (to - from) / 1000];
      this.#append({ ph: "X", name, pid: processes[process], tid, ts, dur });
    }
    this.#attempt(() => this.#flush());
  }

  /** Ends the file, with `about` and the number of events in its metadata, and gives it its name. */
  finish(about: Readonly<Record<string, string>> = {}): void {
    const counts = { events: this.#events, limit: this.#limit, dropped: this.#dropped };
    this.#text += `\n],"otherData":${JSON.stringify({ ...about, ...counts })}}\n`;
    this.#attempt(() => {
      this.#flush();
      this.#file.syncSync();
      Deno.renameSync(this.#temporary, this.path);
      this.#file.close();
      this.#open = false;
    });
  }

  /** Removes the temporary file, unless the trace is finished. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
    Deno.removeSync(this.#temporary);
  }

  /** The first thread that is free: spans that overlap would be drawn as if one called the other. */
  #lane(from: number, to: number): number {
    let lane = this.#lanes.findIndex((end) => end <= from);
    if (lane < 0) lane = this.#lanes.length;
    this.#lanes[lane] = to;
    return lane + 1;
  }

  #append(event: Readonly<Record<string, unknown>>): void {
    this.#text += `${this.#separator}${JSON.stringify(event)}`;
    this.#separator = ",\n";
  }

  #flush(): void {
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = "";
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw writeError(this.path, error);
    }
  }
}
