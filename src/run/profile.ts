/**
 * Where the time of a run goes: spans of the GPU and of the host, added up.
 *
 * The GPU's spans are read after every step and every phase outside of steps, added up and
 * forgotten, so that many steps need no more memory than few. Reading them takes time of its own,
 * which no total includes.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { GpuSpan, ProfileDetail } from "../gpu/profiler.ts";
import { TraceWriter } from "./trace.ts";

/** What one kernel took. */
export interface KernelTime {
  /** The kernel's label; `submit` if every submit was timed. */
  readonly name: string;
  /** How often it ran. */
  readonly calls: number;
  /** Its time in all, in ms. */
  readonly ms: number;
  /** Its mean time, in microseconds. */
  readonly meanUs: number;
  /** Its part of the GPU's time, from 0 to 1. */
  readonly share: number;
}

/** What one phase of a run took on the host's clock, GPU work that it waits for included. */
export interface PhaseTime {
  /** `rollout`, `scoring`, `update`, `checkpoint` ...; `other` is what no phase covers. */
  readonly name: string;
  /** How often it came, in the whole run. */
  readonly calls: number;
  /** Its time in the whole run, in ms. */
  readonly ms: number;
  /** Its part of the profile's seconds, from 0 to 1: none of what comes before or after the steps. */
  readonly share: number;
}

/** Where the time went, from the start of the first step to the end of the last. */
export interface Profile {
  /** What the GPU's clock was read for: every dispatch, or every submit. */
  readonly detail: ProfileDetail;
  /** Steps done; 0 if there were none, and then the rest is about everything that was done. */
  readonly steps: number;
  /** Wall-clock time between the first and the last step. */
  readonly seconds: number;
  /** Share of it in which the GPU worked. */
  readonly gpuBusy: number;
  /** Share of it in which the GPU did not: it waited for the host, or was between two passes. */
  readonly hostShare: number;
  /** The most expensive first. */
  readonly kernels: readonly KernelTime[];
  /** In the order in which they first came. */
  readonly phases: readonly PhaseTime[];
  /** The trace file, and how many events did not fit; null if none was wanted. */
  readonly trace: { readonly path: string; readonly dropped: number } | null;
}

/** Is told which part of a run is under way. */
export interface Phases {
  /** Does `work` as the phase `name`. */
  span<T>(name: string, work: () => T | Promise<T>): Promise<T>;
  /** Does `work` as the training step `number`. */
  step<T>(number: number, work: () => Promise<T>): Promise<T>;
}

/** Measures nothing. */
export const unprofiled: Phases = {
  span: async (_name, work) => await work(),
  step: (_number, work) => work(),
};

/** Spans added up by name; none is kept. */
export class Tally {
  readonly #rows = new Map<string, { calls: number; ms: number }>();
  #busy = 0;
  #until = -Infinity;

  /** Adds a span; those of one tally come in the order of their starts. */
  add({ name, start, end }: GpuSpan): void {
    let row = this.#rows.get(name);
    if (row === undefined) this.#rows.set(name, row = { calls: 0, ms: 0 });
    row.calls++;
    row.ms += end - start;
    this.#busy += Math.max(0, end - Math.max(start, this.#until));
    this.#until = Math.max(this.#until, end);
  }

  /** Milliseconds in which at least one span was under way. */
  get busy(): number {
    return this.#busy;
  }

  /** Calls and milliseconds by name, in the order in which the names first came. */
  rows(): { name: string; calls: number; ms: number }[] {
    return Array.from(this.#rows, ([name, row]) => ({ name, ...row }));
  }
}

/** Totals over `seconds`, of the GPU's and the host's spans in them. */
export function summarize(
  seconds: number,
  gpu: Tally,
  host: Tally,
): Pick<Profile, "seconds" | "gpuBusy" | "hostShare" | "kernels" | "phases"> {
  const part = (value: number, whole: number) => whole > 0 ? value / whole : 0;
  const [kernels, phases] = [gpu.rows(), host.rows()];
  const gpuTime = kernels.reduce((sum, { ms }) => sum + ms, 0);
  const phaseTime = phases.reduce((sum, { ms }) => sum + ms, 0);
  const other = { name: "other", calls: 1, ms: Math.max(0, 1000 * seconds - phaseTime) };
  const gpuBusy = part(gpu.busy, 1000 * seconds);
  return {
    seconds,
    gpuBusy,
    hostShare: 1 - gpuBusy,
    kernels: kernels.sort((a, b) => b.ms - a.ms).map(({ name, calls, ms }) => (
      { name, calls, ms, meanUs: 1000 * ms / calls, share: part(ms, gpuTime) }
    )),
    phases: [...phases, other].map((row) => ({ ...row, share: part(row.ms, 1000 * seconds) })),
  };
}

/** The profile of a run in progress, on a GPU that was opened with `profile`. */
export class RunProfile implements Phases, Disposable {
  readonly #gpu: Gpu;
  readonly #detail: ProfileDetail;
  readonly #trace: TraceWriter | null;
  /** Phases of the whole run. */
  readonly #phases = new Tally();
  /** What came since the first step; before it, since the beginning. */
  #since: { start: number; gpu: Tally; host: Tally };
  /** As of the end of the last step. */
  #summary: ReturnType<typeof summarize> | null = null;
  #steps = 0;
  #depth = 0;
  /** Milliseconds spent on reading timestamps. */
  #reading = 0;

  /**
   * Starts the clock.
   *
   * @param path of the trace file that `finish` leaves; null is none
   * @throws {CheckpointError} if the file cannot be written
   */
  constructor(gpu: Gpu, detail: ProfileDetail, path: string | null) {
    this.#gpu = gpu;
    this.#detail = detail;
    this.#trace = path === null ? null : new TraceWriter(path);
    this.#since = { start: this.#clock(), gpu: new Tally(), host: new Tally() };
  }

  /** Does `work` as the phase `name`. */
  async span<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const result = await this.#time(name, work, this.#phases, this.#since.host);
    // Inside of a step the GPU is left alone: it may have work that waits for more.
    if (this.#depth === 0) await this.#read();
    return result;
  }

  /** Does `work` as the training step `number`. */
  async step<T>(number: number, work: () => Promise<T>): Promise<T> {
    if (this.#steps === 0) {
      await this.#read();
      this.#since = { start: this.#clock(), gpu: new Tally(), host: new Tally() };
    }
    const result = await this.#time(`step ${number}`, work);
    const seconds = (this.#clock() - this.#since.start) / 1000;
    await this.#read();
    this.#steps++;
    this.#summary = summarize(seconds, this.#since.gpu, this.#since.host);
    return result;
  }

  /**
   * Ends the measurement and puts the trace file in its place.
   *
   * @throws {CheckpointError} if the file cannot be written
   */
  async finish(): Promise<Profile> {
    const seconds = (this.#clock() - this.#since.start) / 1000;
    await this.#read();
    const summary = this.#summary ?? summarize(seconds, this.#since.gpu, this.#since.host);
    const shares = new Map(summary.phases.map(({ name, share }) => [name, share]));
    const trace = this.#trace;
    trace?.finish({ adapter: this.#gpu.info.description, detail: this.#detail });
    return {
      detail: this.#detail,
      steps: this.#steps,
      ...summary,
      phases: [
        ...this.#phases.rows().map((row) => ({ ...row, share: shares.get(row.name) ?? 0 })),
        { ...summary.phases.at(-1)!, calls: Math.max(1, this.#steps) },
      ],
      trace: trace && { path: trace.path, dropped: trace.dropped },
    };
  }

  /** Leaves no trace file, unless it is finished. */
  [Symbol.dispose](): void {
    this.#trace?.[Symbol.dispose]();
  }

  async #time<T>(name: string, work: () => T | Promise<T>, ...tallies: Tally[]): Promise<T> {
    const start = performance.now();
    this.#depth++;
    try {
      return await work();
    } finally {
      this.#depth--;
      const span = { name, start, end: performance.now() };
      for (const tally of tallies) tally.add(span);
      this.#trace?.add("host", [span]);
    }
  }

  /** Milliseconds, on a clock that stands still while timestamps are read. */
  #clock(): number {
    return performance.now() - this.#reading;
  }

  async #read(): Promise<void> {
    const start = performance.now();
    const spans = await this.#gpu.profile();
    for (const span of spans) this.#since.gpu.add(span);
    this.#trace?.add("GPU", spans);
    const end = performance.now();
    this.#trace?.add("host", [{ name: "read timestamps", start, end }]);
    this.#reading += end - start;
  }
}
