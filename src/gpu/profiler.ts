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

interface Pending {
  readonly names: readonly string[];
  readonly staging: GPUBuffer;
  /** Host time at which the work was submitted, ms. */
  submitted: number;
}

/** Writes timestamps around passes and reads them back on request. */
export class Profiler {
  /** What each span stands for. */
  readonly detail: ProfileDetail;
  readonly #device: GPUDevice;
  readonly #memory: Memory;
  readonly #set: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  #names: string[] = [];
  #pending: Pending[] = [];
  #spans: GpuSpan[] = [];
  /** Host time minus GPU time, ms. */
  #offset = -Infinity;

  constructor(device: GPUDevice, memory: Memory, detail: ProfileDetail) {
    this.#device = device;
    this.#memory = memory;
    this.detail = detail;
    this.#set = device.createQuerySet({ type: "timestamp", count: CAPACITY });
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    this.#resolved = memory.create(CAPACITY * 8, "staging", usage, "timestamps");
  }

  /** Whether no further pass fits before a submit. */
  get full(): boolean {
    return 2 * this.#names.length === CAPACITY;
  }

  /** The timestamps of the next pass. */
  pass(name: string): GPUComputePassTimestampWrites {
    const first = 2 * this.#names.length;
    this.#names.push(name);
    return {
      querySet: this.#set,
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
  }

  /** To be called when a step's passes are encoded. */
  resolve(encoder: GPUCommandEncoder): void {
    const names = this.#names;
    if (names.length === 0) return;
    const bytes = names.length * 16;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = this.#memory.create(bytes, "staging", usage, "timestamps read-back");
    encoder.resolveQuerySet(this.#set, 0, 2 * names.length, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    this.#pending.push({ names, staging, submitted: Infinity });
    this.#names = [];
  }

  /** To be called right before a step is submitted. */
  submitting(): void {
    const last = this.#pending.at(-1);
    if (last?.submitted === Infinity) last.submitted = performance.now();
  }

  /** Forgets passes that were dropped before they were submitted. */
  discard(): void {
    this.#names = [];
  }

  /** Waits for what was submitted, and returns every span since the last call, oldest first. */
  async take(): Promise<GpuSpan[]> {
    const pending = this.#pending.splice(0);
    await Promise.all(pending.map(async ({ staging, names, submitted }) => {
      await staging.mapAsync(GPUMapMode.READ);
      const times = new BigUint64Array(staging.getMappedRange());
      names.forEach((name, i) => {
        const [start, end] = [Number(times[2 * i]) / 1e6, Number(times[2 * i + 1]) / 1e6];
        this.#spans.push({ name, start, end: Math.max(start, end) });
      });
      // Work never starts before it is submitted, and starts at once where the queue is idle: the
      // largest difference seen is the difference between the clocks.
      this.#offset = Math.max(this.#offset, submitted - Number(times[0]) / 1e6);
      this.#memory.destroy(staging);
    }));
    const spans = this.#spans.splice(0).sort((a, b) => a.start - b.start);
    return spans.map(({ name, start, end }) => ({
      name,
      start: start + this.#offset,
      end: end + this.#offset,
    }));
  }
}
