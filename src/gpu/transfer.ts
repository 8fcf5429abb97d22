/**
 * Bytes to the GPU and back.
 *
 * A read-back in Deno costs at least 10 ms whatever its size, so callers ask for everything they
 * want in one `read`, and may have several in flight.
 *
 * @module
 */

import { type Memory, Scope } from "./memory.ts";
import type { Bindable, Recorder } from "./recorder.ts";

/** One buffer to read: its first `bytes` bytes. */
export interface ReadRequest extends Bindable {
  /** How much of it. */
  readonly bytes: number;
}

/** Uploads through the queue and reads back through recycled staging buffers. */
export class Transfer {
  readonly #device: GPUDevice;
  readonly #recorder: Recorder;
  readonly #staging: Scope;

  constructor(device: GPUDevice, memory: Memory, recorder: Recorder) {
    this.#device = device;
    this.#recorder = recorder;
    this.#staging = new Scope(
      memory,
      "staging",
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    );
  }

  /** Writes `data` at byte `offset` of `buffer`; takes effect before whatever is submitted next. */
  write(buffer: GPUBuffer, data: Uint32Array | Float32Array | Uint8Array, offset = 0): void {
    // writeBuffer takes whole words; a packed bf16 table may end in half a one.
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const whole = bytes.byteLength & ~3;
    if (whole > 0) {
      this.#device.queue.writeBuffer(buffer, offset, bytes as Uint8Array<ArrayBuffer>, 0, whole);
    }
    if (whole < bytes.byteLength) {
      const last = new Uint8Array(4);
      last.set(bytes.subarray(whole));
      this.#device.queue.writeBuffer(buffer, offset + whole, last);
    }
  }

  /**
   * Submits what is recorded and copies buffers to the host, all in one staging buffer.
   *
   * @returns one `ArrayBuffer` per request, in order
   */
  async read(requests: readonly ReadRequest[]): Promise<ArrayBuffer[]> {
    const offsets: number[] = [];
    let total = 0;
    for (const { bytes } of requests) {
      offsets.push(total);
      total += Math.ceil(bytes / 8) * 8;
    }
    const staging = this.#staging.take(total, "read-back");
    requests.forEach(({ buffer, bytes }, i) =>
      this.#recorder.copy(buffer, staging, offsets[i]!, Math.ceil(bytes / 4) * 4)
    );
    this.#recorder.submit();
    await staging.mapAsync(GPUMapMode.READ, 0, Math.max(8, total));
    const mapped = staging.getMappedRange(0, Math.max(8, total));
    const result = requests.map(({ bytes }, i) => mapped.slice(offsets[i]!, offsets[i]! + bytes));
    staging.unmap();
    this.#staging.give(staging);
    return result;
  }
}
