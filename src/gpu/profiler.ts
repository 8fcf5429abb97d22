/**
 * When the GPU did what, from timestamp queries.
 *
 * WebGPU takes timestamps at the ends of a pass only. Per kernel, therefore, each dispatch gets a
 * pass of its own, which costs 40-60 us a dispatch under llvmpipe; per submit, a step stays the one
 * pass that it is, and the measurement costs nothing worth mentioning.
 *
 * @module
 */

import type { Memory } from "./memory.ts";
import type { ReadRequest } from "./transfer.ts";

/** What a span of GPU time stands for: one dispatch, or everything in one submit. */
export type ProfileDetail = "kernels" | "submits";

/** A stretch of time in which the GPU worked, on the host's clock (`performance.now()`), in ms. */
export interface GpuSpan {
  /** The kernel's label, or `submit`. */
  readonly name: string;
  /** When it began. */
  readonly start: number;
  /** When it ended. */
  readonly end: number;
}

/** Most timestamps in one query set. */
const CAPACITY = 4096;

/** When a submit was made, on the host's clock, ms. */
interface Submit {
  /** Its first timestamp, among those of its set. */
  readonly first: number;
  time: number;
}

/** Passes whose timestamps a buffer holds, or will. */
interface Resolved {
  readonly names: readonly string[];
  readonly submits: readonly Submit[];
  readonly buffer: GPUBuffer;
}

/** Writes timestamps around passes, which stay on the GPU until somebody asks for them. */
export class Profiler {
  /** What each span stands for. */
  readonly detail: ProfileDetail;
  readonly #memory: Memory;
  readonly #set: GPUQuerySet;
  /** Buffers for timestamps that are not in use. */
  readonly #free: GPUBuffer[] = [];
  #names: string[] = [];
  #submits: Submit[] = [];
  /** The submit that passes are recorded for. */
  #next: Submit | null = null;
  #resolved: Resolved[] = [];
  /** What the next submit resolves. */
  #resolving: Resolved | null = null;
  /** Host time minus GPU time, ms. */
  #offset = -Infinity;

  constructor(device: GPUDevice, memory: Memory, detail: ProfileDetail) {
    this.#memory = memory;
    this.detail = detail;
    this.#set = device.createQuerySet({ type: "timestamp", count: CAPACITY });
  }

  /** Whether no further pass fits before a submit. */
  get full(): boolean {
    return 2 * this.#names.length === CAPACITY;
  }

  /** The timestamps of the next pass. */
  pass(name: string): GPUComputePassTimestampWrites {
    const first = 2 * this.#names.length;
    this.#names.push(name);
    if (!this.#next) this.#submits.push(this.#next = { first, time: Infinity });
    return {
      querySet: this.#set,
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
  }

  /** To be called when a step's passes are encoded. */
  resolve(encoder: GPUCommandEncoder): void {
    if (this.full) this.#collect();
    if (!this.#resolving) return;
    const { names, buffer } = this.#resolving;
    encoder.resolveQuerySet(this.#set, 0, 2 * names.length, buffer, 0);
    this.#resolving = null;
  }

  /** Has the set of timestamps resolved with the next submit; what follows begins a new one. */
  #collect(): void {
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    const buffer = this.#free.pop() ??
      this.#memory.create(CAPACITY * 8, "staging", usage, "timestamps");
    this.#resolving = { names: this.#names, submits: this.#submits, buffer };
    this.#resolved.push(this.#resolving);
    [this.#names, this.#submits] = [[], []];
  }

  /** To be called right before a step is submitted. */
  submitting(): void {
    if (this.#next) this.#next.time = performance.now();
    this.#next = null;
  }

  /** Forgets passes that were dropped before they were submitted. */
  discard(): void {
    if (!this.#next) return;
    this.#names.length = this.#next.first / 2;
    this.#submits.pop();
    this.#next = null;
  }

  /**
   * Every span of what was submitted since the last call, oldest first.
   *
   * @returns what to read, behind whatever was submitted, and what becomes of the contents
   */
  take(): {
    readonly requests: readonly ReadRequest[];
    readonly spans: (contents: readonly ArrayBuffer[]) => GpuSpan[];
  } {
    if (this.#names.length > 0) this.#collect();
    const resolved = this.#resolved.splice(0);
    // They are read before anything else is resolved into them.
    this.#free.push(...resolved.map(({ buffer }) => buffer));
    return {
      requests: resolved.map(({ names, buffer }) => ({ buffer, bytes: names.length * 16 })),
      spans: (contents) => this.#spans(resolved, contents),
    };
  }

  #spans(resolved: readonly Resolved[], contents: readonly ArrayBuffer[]): GpuSpan[] {
    const spans: GpuSpan[] = [];
    resolved.forEach(({ names, submits }, i) => {
      const times = Array.from(new BigUint64Array(contents[i]!), (time) => Number(time) / 1e6);
      names.forEach((name, n) => {
        const [start, end] = [times[2 * n]!, times[2 * n + 1]!];
        spans.push({ name, start, end: Math.max(start, end) });
      });
      // Work never starts before it is submitted, and starts at once where the queue is idle: the
      // largest difference seen is the difference between the clocks.
      const ahead = submits.map(({ first, time }) => time - times[first]!);
      this.#offset = Math.max(this.#offset, ...ahead);
    });
    const offset = this.#offset;
    return spans.sort((a, b) => a.start - b.start)
      .map(({ name, start, end }) => ({ name, start: start + offset, end: end + offset }));
  }
}
