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

/**
 * Deno aborts where a buffer's range is asked for before its first mapping was awaited. Buffers for
 * reading back are therefore mapped once as they are made, up to this size: while that lasts, it takes
 * as much memory again.
 */
const MAPPED_WHEN_MADE = 64 * MiB;

/** Counts every buffer of a device and refuses what exceeds the budget. */
export class Memory {
  readonly #device: GPUDevice;
  readonly #budget: number;
  readonly #held = new Map<GPUBuffer, Owner>();
  /** Buffers that were mapped when they were made. */
  readonly #mapped = new WeakSet<GPUBuffer>();
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
    const mappedAtCreation = (usage & GPUBufferUsage.MAP_READ) !== 0 && size <= MAPPED_WHEN_MADE;
    const buffer = this.#device.createBuffer({ size, usage, label, mappedAtCreation });
    if (mappedAtCreation) this.#unmap(buffer);
    this.#held.set(buffer, owner);
    this.#live += size;
    this.#peak = Math.max(this.#peak, this.#live);
    this.#created++;
    return buffer;
  }

  #unmap(buffer: GPUBuffer): void {
    try {
      buffer.unmap();
      this.#mapped.add(buffer);
    } catch {
      // The device is lost or out of memory, and whoever reads from the buffer is told so.
    }
  }

  /** Whether the range of a buffer may be asked for right behind `mapAsync`. */
  mapsAtOnce(buffer: GPUBuffer): boolean {
    return this.#mapped.has(buffer);
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
 * How much larger a buffer may be than what was asked for. Batches of all sizes then share buffers,
 * and a run takes little more than its largest batch.
 */
const LARGEST_FIT = 4;

/** A buffer of a pool. Its size stands here because to ask the buffer costs a call into the runtime. */
interface Pooled {
  readonly buffer: GPUBuffer;
  readonly size: number;
  /** The time of its last use, counted in calls of `evict`. */
  lastUse: number;
}

/**
 * A pool that forgets everything at `reset()`: a step that asks for the same sizes in the same
 * order as the last one gets the same buffers, so bind groups stay valid and nothing is created.
 *
 * A request is met by what this step has given back, if it is of the very size; or else by the
 * oldest buffer that fits and that this step has not had; or else by a new one. What a step creates
 * is younger than all it found, so its repetition finds the same, and then what it created, in turn.
 */
export class Scope {
  readonly #memory: Memory;
  readonly #owner: Owner;
  readonly #usage: number;
  /** Every buffer, the oldest first. */
  #all: Pooled[] = [];
  /** What this step has not had yet, the oldest first. */
  #unused: Pooled[] = [];
  /** What this step had and gave back, by size. */
  readonly #given = new Map<number, Pooled[]>();
  readonly #byBuffer = new Map<GPUBuffer, Pooled>();
  #now = 0;

  constructor(memory: Memory, owner: Owner, usage: number) {
    this.#memory = memory;
    this.#owner = owner;
    this.#usage = usage;
  }

  /** A buffer of at least `bytes` bytes, its content undefined. */
  take(bytes: number, label: string): GPUBuffer {
    const size = sizeClass(bytes);
    const pooled = this.#given.get(size)?.pop() ?? this.#oldest(size) ?? this.#create(size, label);
    pooled.lastUse = this.#now;
    return pooled.buffer;
  }

  #oldest(size: number): Pooled | undefined {
    const at = this.#unused.findIndex((one) => one.size >= size && one.size <= LARGEST_FIT * size);
    return at < 0 ? undefined : this.#unused.splice(at, 1)[0];
  }

  #create(size: number, label: string): Pooled {
    const buffer = this.#memory.create(size, this.#owner, this.#usage, label);
    const pooled = { buffer, size, lastUse: this.#now };
    this.#all.push(pooled);
    this.#byBuffer.set(buffer, pooled);
    return pooled;
  }

  /** Gives one buffer back before the end of the step; does nothing with one that is not of this pool. */
  give(buffer: GPUBuffer): void {
    const pooled = this.#byBuffer.get(buffer);
    if (!pooled) return;
    const given = this.#given.get(pooled.size);
    if (given) given.push(pooled);
    else this.#given.set(pooled.size, [pooled]);
  }

  /** Takes every buffer back. */
  reset(): void {
    this.#given.clear();
    this.#unused = [...this.#all];
  }

  /**
   * Destroys the buffers that were not used since `age` calls of this: batches grow and shrink in the
   * course of a run. To be called when nothing is recorded.
   *
   * @returns whether there were any
   */
  evict(age: number): boolean {
    this.#now++;
    const isStale = ({ lastUse }: Pooled) => this.#now - lastUse > age;
    const stale = this.#all.filter(isStale);
    if (stale.length === 0) return false;
    for (const { buffer } of stale) {
      this.#memory.destroy(buffer);
      this.#byBuffer.delete(buffer);
    }
    this.#all = this.#all.filter((one) => !isStale(one));
    this.#unused = this.#unused.filter((one) => !isStale(one));
    return true;
  }

  /** Destroys every buffer. */
  destroy(): void {
    for (const { buffer } of this.#all) this.#memory.destroy(buffer);
    [this.#all, this.#unused] = [[], []];
    for (const map of [this.#given, this.#byBuffer]) map.clear();
  }
}
