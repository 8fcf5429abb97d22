/**
 * Gathers a whole step into one compute pass and one submit.
 *
 * @module
 */

import type { Kernel } from "./kernels.ts";
import type { Memory } from "./memory.ts";
import type { Profiler } from "./profiler.ts";
import { offsetOf } from "./ranges.ts";

/** Some bytes of a buffer. */
export interface BufferRange {
  /** Of the first, a multiple of 256. */
  readonly offset: number;
  /** How many. */
  readonly size: number;
}

/** A buffer, anything that owns one (a tensor), or a byte range of one. */
export interface Bindable {
  /** What is bound. */
  readonly buffer: GPUBuffer;
  /** The whole buffer when absent. */
  readonly range?: BufferRange;
}

/** Counters that tests and the bench read. */
export interface RecorderStats {
  /** Submits so far. */
  submits: number;
  /** Dispatches so far. */
  dispatches: number;
  /** Bind groups created so far, those of params aside; constant in steady state. */
  bindGroups: number;
}

/** A dispatch as it goes into a pass. */
interface Dispatch {
  readonly kernel: Kernel;
  readonly group: GPUBindGroup;
  /** The words of its window. */
  readonly params: Uint32Array;
  readonly workgroups: readonly [number, number, number];
}

interface Copy {
  source: GPUBuffer;
  sourceOffset: number;
  target: GPUBuffer;
  targetOffset: number;
  bytes: number;
}

/** Bytes between two params windows: the default alignment of uniform offsets in WebGPU. */
const WINDOW = 256;
/** Words of a window. */
const WORDS = WINDOW / 4;
/** Dispatches per submit before it is split; no step of a small model comes near it. */
const WINDOWS = 8192;

/** Records dispatches and copies, and submits them together. */
export class Recorder {
  readonly stats: RecorderStats = { submits: 0, dispatches: 0, bindGroups: 0 };
  readonly #device: GPUDevice;
  readonly #profiler: Profiler | null;
  readonly #largestBinding: number;
  readonly #ring: GPUBuffer;
  readonly #ringBytes = new ArrayBuffer(WINDOW * WINDOWS);
  readonly #ringU32 = new Uint32Array(this.#ringBytes);
  readonly #ringF32 = new Float32Array(this.#ringBytes);
  readonly #paramsLayout: GPUBindGroupLayout;
  /**
   * A bind group for each window that was ever in use. One for all, with dynamic offsets, would be
   * simpler; but under Mesa's lavapipe a dynamic offset costs a buffer per dispatch, 10 us and more.
   */
  readonly #windows: GPUBindGroup[] = [];
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #ids = new WeakMap<GPUBuffer, number>();
  #nextId = 0;
  #window = 0;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #copies: Copy[] = [];
  /** Gathers what is recorded while `capture` is at work. */
  #captured: Dispatch[] | null = null;

  /** @param largestBinding bytes that a dispatch may see of one buffer */
  constructor(
    device: GPUDevice,
    memory: Memory,
    paramsLayout: GPUBindGroupLayout,
    largestBinding: number,
    profiler: Profiler | null = null,
  ) {
    this.#device = device;
    this.#largestBinding = largestBinding;
    this.#profiler = profiler;
    this.#ring = memory.create(
      this.#ringBytes.byteLength,
      "staging",
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      "params ring",
    );
    this.#paramsLayout = paramsLayout;
  }

  /**
   * Records one dispatch; nothing runs before `submit()`.
   *
   * @param bindings a buffer for each storage variable of the entry point, by its WGSL name
   * @param params a number for each member of its params struct
   * @param workgroups counts in x, y, z
   * @throws {TypeError} if a binding or param is missing or unknown.
   */
  dispatch(
    kernel: Kernel,
    bindings: Readonly<Record<string, Bindable>>,
    params: Readonly<Record<string, number>>,
    workgroups: readonly [number, number?, number?],
  ): void {
    const [x, y = 1, z = 1] = workgroups;
    if (x * y * z === 0) return;
    const group = this.#group(kernel, bindings);
    const window = this.#params(kernel, params);
    this.#issue(kernel, group, window, x, y, z);
    if (!this.#captured) return;
    const words = this.#ringU32.slice(window * WORDS, window * WORDS + kernel.entry.params.length);
    this.#captured.push({ kernel, group, params: words, workgroups: [x, y, z] });
  }

  /**
   * Records what `work` does.
   *
   * @returns what `work` returns, and a function that records the same dispatches once more
   * @throws {TypeError} if another capture is under way.
   */
  capture<T>(work: () => T): { readonly result: T; readonly again: () => void } {
    if (this.#captured) throw new TypeError("Cannot capture: another capture is under way");
    const captured: Dispatch[] = this.#captured = [];
    let result: T;
    try {
      result = work();
    } finally {
      this.#captured = null;
    }
    const again = () => {
      for (const { kernel, group, params, workgroups: [x, y, z] } of captured) {
        const window = this.#nextWindow();
        this.#ringU32.set(params, window * WORDS);
        this.#issue(kernel, group, window, x, y, z);
      }
    };
    return { result, again };
  }

  #issue(
    kernel: Kernel,
    group: GPUBindGroup,
    window: number,
    x: number,
    y: number,
    z: number,
  ): void {
    const pass = this.#pass ?? this.#begin(kernel.label);
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, group);
    pass.setBindGroup(1, this.#windows[window]!);
    pass.dispatchWorkgroups(x, y, z);
    this.stats.dispatches++;
    if (this.#profiler?.detail === "kernels") {
      pass.end();
      this.#pass = null;
    }
  }

  #begin(label: string): GPUComputePassEncoder {
    const profiler = this.#profiler;
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#pass = this.#encoder.beginComputePass(
      profiler
        ? { timestampWrites: profiler.pass(profiler.detail === "kernels" ? label : "submit") }
        : undefined,
    );
  }

  /** Records a copy that runs after the step's dispatches, for read-backs. */
  copy(source: Bindable, target: GPUBuffer, targetOffset: number, bytes: number): void {
    const sourceOffset = offsetOf(source);
    this.#copies.push({ source: source.buffer, sourceOffset, target, targetOffset, bytes });
  }

  /** Whether anything waits for `submit()`. */
  get pending(): boolean {
    return this.#encoder !== null || this.#copies.length > 0;
  }

  /**
   * Sends everything recorded to the queue; does not wait for it.
   *
   * @param before is called when everything is encoded
   */
  submit(before?: () => void): void {
    if (!this.pending) return;
    this.#device.queue.writeBuffer(this.#ring, 0, this.#ringBytes, 0, this.#window * WINDOW);
    const encoder = this.#encoder ?? this.#device.createCommandEncoder();
    this.#pass?.end();
    this.#profiler?.resolve(encoder);
    for (const { source, sourceOffset, target, targetOffset, bytes } of this.#copies) {
      encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes);
    }
    const commands = encoder.finish();
    before?.();
    this.#profiler?.submitting();
    this.#device.queue.submit([commands]);
    this.#encoder = null;
    this.#pass = null;
    this.#copies = [];
    this.#window = 0;
    this.stats.submits++;
  }

  /** Drops what was recorded, so that a failed step leaves nothing behind. */
  discard(): void {
    this.#pass?.end();
    this.#encoder?.finish();
    this.#profiler?.discard();
    this.#encoder = null;
    this.#pass = null;
    this.#copies = [];
    this.#window = 0;
  }

  /** Forgets cached bind groups; call after buffers that they may name were destroyed. */
  forget(): void {
    this.#groups.clear();
  }

  #nextWindow(): number {
    // Split rather than fail: past this many dispatches one more submit costs nothing.
    if (this.#window === WINDOWS || this.#profiler?.full) this.submit();
    const window = this.#window++;
    this.#windows[window] ??= this.#windowGroup(window);
    return window;
  }

  #windowGroup(window: number): GPUBindGroup {
    const resource = { buffer: this.#ring, offset: window * WINDOW, size: WINDOW };
    return this.#device.createBindGroup({
      label: "params",
      layout: this.#paramsLayout,
      entries: [{ binding: 0, resource }],
    });
  }

  /** @returns the window that holds them */
  #params(kernel: Kernel, params: Readonly<Record<string, number>>): number {
    const { params: fields } = kernel.entry;
    const window = this.#nextWindow();
    const base = window * WORDS;
    for (let i = 0; i < fields.length; i++) {
      const { name, type } = fields[i]!;
      const value = params[name];
      if (value === undefined) {
        throw new TypeError(`Cannot dispatch "${kernel.label}": param "${name}" is missing`);
      }
      if (type === "u32") this.#ringU32[base + i] = value;
      else this.#ringF32[base + i] = value;
    }
    if (Object.keys(params).length > fields.length) {
      const extra = Object.keys(params).filter((key) => !fields.some(({ name }) => name === key));
      throw new TypeError(`Cannot dispatch "${kernel.label}": unknown params ${extra.join(", ")}`);
    }
    return window;
  }

  #group(kernel: Kernel, bindings: Readonly<Record<string, Bindable>>): GPUBindGroup {
    let key = `${kernel.id}`;
    for (const { name } of kernel.entry.storage) {
      const bound = bindings[name];
      if (!bound) {
        throw new TypeError(`Cannot dispatch "${kernel.label}": binding "${name}" is missing`);
      }
      let id = this.#ids.get(bound.buffer);
      if (id === undefined) this.#ids.set(bound.buffer, id = this.#nextId++);
      key += bound.range ? ` ${id}:${bound.range.offset}:${bound.range.size}` : ` ${id}`;
    }
    if (Object.keys(bindings).length > kernel.entry.storage.length) {
      const known = kernel.entry.storage.map(({ name }) => name);
      const extra = Object.keys(bindings).filter((name) => !known.includes(name));
      throw new TypeError(
        `Cannot dispatch "${kernel.label}": unknown bindings ${extra.join(", ")}`,
      );
    }
    const cached = this.#groups.get(key);
    if (cached) return cached;
    const group = this.#device.createBindGroup({
      label: kernel.label,
      layout: kernel.storageLayout,
      entries: kernel.entry.storage.map(({ name, binding }) => {
        const { buffer, range } = bindings[name]!;
        const size = range?.size ?? buffer.size;
        if (size > this.#largestBinding) {
          throw new RangeError(
            `Cannot dispatch "${kernel.label}": binding "${name}" has ${size} bytes, the device sees at ` +
              `most ${this.#largestBinding} at once; use fewer tokens or slots, or a smaller model`,
          );
        }
        return { binding, resource: { buffer, ...range } };
      }),
    });
    this.stats.bindGroups++;
    this.#groups.set(key, group);
    return group;
  }
}

/** Workgroups for `count` of them, folded into two dimensions past the limit of one. */
export function grid(count: number): [number, number] {
  const limit = 65535;
  if (count <= limit) return [count, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y];
}
