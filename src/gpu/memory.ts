/**
 * Where GPU memory comes from: counted allocations, and scopes that hand the same buffers out in
 * the same order every step.
 *
 * @module
 */

import { OutOfMemoryError } from "./errors.ts";

/** Who holds a buffer; the rows of the out-of-memory table. */
export type Owner =
  | "weights"
  | "gradients"
  | "optimizer"
  | "activations"
  | "kv cache"
  | "staging"
  | "other";

/** Live and peak bytes, in all and by owner. */
export interface MemoryReport {
  /** Bytes of all buffers that exist. */
  readonly liveBytes: number;
  /** Most that ever existed at once. */
  readonly peakBytes: number;
  /** Buffers that exist. */
  readonly buffers: number;
  /** Buffers created since the device was opened; constant in steady state. */
  readonly created: number;
  /** Live bytes by what they are for. */
  readonly byOwner: Readonly<Record<string, number>>;
}

const MiB = 2 ** 20;

/** Counts every buffer of a device and refuses what exceeds the budget. */
export class Memory {
  readonly #device: GPUDevice;
  readonly #budget: number;
  readonly #held = new Map<GPUBuffer, Owner>();
  #live = 0;
  #peak = 0;
  #created = 0;

  constructor(device: GPUDevice, budget: number) {
    this.#device = device;
    this.#budget = budget;
  }

  /**
   * Creates a buffer of at least `bytes` bytes (a multiple of 4, never empty).
   *
   * @throws {OutOfMemoryError} if it exceeds the device's largest buffer or the budget.
   */
  create(bytes: number, owner: Owner, usage: number, label: string): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    const largest = this.#device.limits.maxBufferSize;
    if (size > largest || this.#live + size > this.#budget) {
      const reason = size > largest
        ? `the device's largest buffer is ${(largest / MiB).toFixed(1)} MiB`
        : `the budget is ${(this.#budget / MiB).toFixed(1)} MiB`;
      throw new OutOfMemoryError(
        `Cannot allocate ${(size / MiB).toFixed(1)} MiB for "${label}" (${owner}): ${reason}\n` +
          `${this.table()}\nLower the token budget, the slots or the context, or choose a smaller model`,
      );
    }
    const buffer = this.#device.createBuffer({ size, usage, label });
    this.#held.set(buffer, owner);
    this.#live += size;
    this.#peak = Math.max(this.#peak, this.#live);
    this.#created++;
    return buffer;
  }

  /** Destroys a buffer; a second call is a no-op. */
  destroy(buffer: GPUBuffer): void {
    if (!this.#held.delete(buffer)) return;
    this.#live -= buffer.size;
    buffer.destroy();
  }

  /** The numbers, for events, `doctor` and tests. */
  report(): MemoryReport {
    const byOwner: Record<string, number> = {};
    for (const [buffer, owner] of this.#held) {
      byOwner[owner] = (byOwner[owner] ?? 0) + buffer.size;
    }
    return {
      liveBytes: this.#live,
      peakBytes: this.#peak,
      buffers: this.#held.size,
      created: this.#created,
      byOwner,
    };
  }

  /** The numbers as a table, largest owner first. */
  table(): string {
    const rows = Object.entries(this.report().byOwner).sort((a, b) => b[1] - a[1]);
    rows.push(["total", this.#live]);
    return rows.map(([owner, bytes]) =>
      `  ${owner.padEnd(12)} ${(bytes / MiB).toFixed(1).padStart(10)} MiB`
    ).join("\n");
  }
}

/** Rounds up to a quarter of a power of two, so that steps of similar size share their buffers. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const quarter = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

/**
 * A pool that forgets everything at `reset()`: a step that asks for the same sizes in the same
 * order as the last one gets the same buffers, so bind groups stay valid and nothing is created.
 */
export class Scope {
  readonly #memory: Memory;
  readonly #owner: Owner;
  readonly #usage: number;
  readonly #all = new Map<number, GPUBuffer[]>();
  readonly #free = new Map<number, GPUBuffer[]>();
  /** The time at the last use of each size, counted in calls of `evict`. */
  readonly #lastUse = new Map<number, number>();
  #now = 0;

  constructor(memory: Memory, owner: Owner, usage: number) {
    this.#memory = memory;
    this.#owner = owner;
    this.#usage = usage;
  }

  /** A buffer of at least `bytes` bytes, its content undefined. */
  take(bytes: number, label: string): GPUBuffer {
    const size = sizeClass(bytes);
    this.#lastUse.set(size, this.#now);
    const free = this.#free.get(size);
    const recycled = free?.pop();
    if (recycled) return recycled;
    const buffer = this.#memory.create(size, this.#owner, this.#usage, label);
    const all = this.#all.get(size);
    if (all) all.push(buffer);
    else this.#all.set(size, [buffer]);
    return buffer;
  }

  /** Gives one buffer back before the end of the step. */
  give(buffer: GPUBuffer): void {
    const free = this.#free.get(buffer.size);
    if (free) free.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
  }

  /** Takes every buffer back, in an order that does not depend on what happened in the step. */
  reset(): void {
    for (const [size, buffers] of this.#all) this.#free.set(size, buffers.toReversed());
  }

  /**
   * Destroys the buffers of sizes that were not asked for since `age` calls of this: batches grow and
   * shrink in the course of a run, and each size has buffers of its own. To be called when nothing is
   * recorded.
   *
   * @returns whether there were any
   */
  evict(age: number): boolean {
    this.#now++;
    const stale = [...this.#lastUse].filter(([, last]) => this.#now - last > age);
    for (const [size] of stale) {
      for (const buffer of this.#all.get(size) ?? []) this.#memory.destroy(buffer);
      for (const map of [this.#all, this.#free, this.#lastUse]) map.delete(size);
    }
    return stale.length > 0;
  }

  /** Destroys every buffer. */
  destroy(): void {
    for (const buffers of this.#all.values()) {
      for (const buffer of buffers) this.#memory.destroy(buffer);
    }
    for (const map of [this.#all, this.#free, this.#lastUse]) map.clear();
  }
}
