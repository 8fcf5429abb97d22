/**
 * Bytes to the GPU and back.
 *
 * In Deno `mapAsync` does not return before the queue is empty. A buffer is therefore mapped as late
 * as can be: when its content is waited for, or when the next step is encoded and only has to be
 * submitted. The host does its part of a step while the GPU is still at work on the one before.
 *
 * The promise of `mapAsync` then takes another 10 ms, though the buffer is mapped already. Nobody
 * waits for it where the content can be had at once.
 *
 * @module
 */

import { type Memory, Scope } from "./memory.ts";
import { checkWithin, spans } from "./ranges.ts";
import type { Bindable, Recorder } from "./recorder.ts";

/** One buffer, or range of one, to read: its first `bytes` bytes. */
export interface ReadRequest extends Bindable {
  /** How much of it. */
  readonly bytes: number;
}

/** A read-back that was submitted. */
export interface ReadBack {
  /** Waits for it: one `ArrayBuffer` per request, in order. */
  take(): Promise<ArrayBuffer[]>;
}

/**
 * Bytes that are written before the queue is told to take them: until then there is a copy of them,
 * and a model would take its own size once more while it is loaded. 768 MiB of weights on llvmpipe
 * make for 1.18 instead of 1.77 GB at most.
 */
const WRITTEN = 2 ** 26;

/** Bytes of a staging buffer at least: read-backs of all sizes up to this share theirs. */
const LEAST_STAGING = 2 ** 16;

/** Uploads through the queue and reads back through recycled staging buffers. */
export class Transfer {
  readonly #device: GPUDevice;
  readonly #memory: Memory;
  readonly #recorder: Recorder;
  readonly #staging: Scope;
  /** Bytes written since the queue was last told to take them. */
  #written = 0;
  /** Starts the mappings of what was submitted and not asked for yet, oldest first. */
  #unmapped: (() => void)[] = [];

  constructor(device: GPUDevice, memory: Memory, recorder: Recorder) {
    this.#device = device;
    this.#memory = memory;
    this.#recorder = recorder;
    this.#staging = new Scope(
      memory,
      "staging",
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    );
  }

  /** Writes `data` at byte `offset` of `buffer`; takes effect before whatever is submitted next. */
  write(buffer: GPUBuffer, data: Uint32Array | Float32Array | Uint8Array, offset = 0): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (const { first, count } of spans(bytes.byteLength, WRITTEN)) {
      this.#write(buffer, bytes.subarray(first, first + count), offset + first);
    }
  }

  #write(buffer: GPUBuffer, bytes: Uint8Array, offset: number): void {
    const { queue } = this.#device;
    // writeBuffer takes whole words; a packed bf16 table may end in half a one.
    const whole = bytes.byteLength & ~3;
    if (whole > 0) queue.writeBuffer(buffer, offset, bytes as Uint8Array<ArrayBuffer>, 0, whole);
    if (whole < bytes.byteLength) {
      const last = new Uint8Array(4);
      last.set(bytes.subarray(whole));
      queue.writeBuffer(buffer, offset + whole, last);
    }
    this.#written += bytes.byteLength;
    if (this.#written >= WRITTEN) {
      queue.submit([]);
      this.#written = 0;
    }
  }

  /** Sends what is recorded to the queue, and begins to map what was sent before. */
  submit(): void {
    this.#recorder.submit(() => this.#map());
    this.#written = 0;
  }

  /** Submits what is recorded and copies buffers to the host, all in one staging buffer. */
  read(requests: readonly ReadRequest[]): ReadBack {
    const offsets: number[] = [];
    let total = 0;
    for (const { bytes, range } of requests) {
      checkWithin(range, bytes, "read");
      offsets.push(total);
      total += Math.ceil(bytes / 8) * 8;
    }
    const staging = this.#staging.take(Math.max(total, LEAST_STAGING), "read-back");
    requests.forEach((request, i) =>
      this.#recorder.copy(request, staging, offsets[i]!, Math.ceil(request.bytes / 4) * 4)
    );
    this.submit();
    let reading: Promise<ArrayBuffer[]> | null = null;
    this.#unmapped.push(() => {
      reading = this.#content(
        staging,
        Math.max(8, total),
        (mapped) => requests.map(({ bytes }, i) => mapped.slice(offsets[i]!, offsets[i]! + bytes)),
      );
      reading.catch(() => {}); // is heard by whoever takes it, if anybody does
    });
    return {
      take: () => {
        if (!reading) this.#map();
        return reading!;
      },
    };
  }

  #map(): void {
    for (const map of this.#unmapped.splice(0)) map();
  }

  /** What `copy` makes of the first bytes of a staging buffer, which is free again afterwards. */
  async #content<T>(
    staging: GPUBuffer,
    bytes: number,
    copy: (mapped: ArrayBuffer) => T,
  ): Promise<T> {
    const mapping = staging.mapAsync(GPUMapMode.READ, 0, bytes);
    mapping.catch(() => {}); // may be left alone
    let mapped = this.#memory.mapsAtOnce(staging) ? rangeAtOnce(staging, bytes) : null;
    if (!mapped) {
      await mapping;
      mapped = staging.getMappedRange(0, bytes);
    }
    const result = copy(mapped);
    staging.unmap();
    this.#staging.give(staging);
    return result;
  }
}

/** The first bytes of a buffer whose mapping may be pending; null where it is. */
function rangeAtOnce(buffer: GPUBuffer, bytes: number): ArrayBuffer | null {
  try {
    return buffer.getMappedRange(0, bytes);
  } catch {
    return null; // as the specification has it; Deno's `mapAsync` has waited for the queue
  }
}
