/**
 * The adapter and device: requested limits and features, errors, and the parts that hang on them.
 *
 * @module
 */

import {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  OutOfMemoryError,
} from "./errors.ts";
import { turnEventLoop } from "./event_loop.ts";
import { grantedFeatures, requestDevice, SUBGROUPS } from "./features.ts";
import { KernelCache, type KernelName, type Specialisation } from "./kernels.ts";
import { limitsOf } from "./limits.ts";
import { Memory, type MemoryReport, type Owner, Scope } from "./memory.ts";
import { type GpuSpan, type ProfileDetail, Profiler } from "./profiler.ts";
import { checkWithin, offsetOf } from "./ranges.ts";
import { type Bindable, Recorder, type RecorderStats } from "./recorder.ts";
import { rehearsalDevice } from "./rehearsal.ts";
import { type ReadBack, type ReadRequest, Transfer } from "./transfer.ts";
import { checkTuning, deviceClass, supports, type Tuning, tunings } from "./tuning.ts";

/** Who the adapter is. */
export interface GpuInfo {
  /** Name or PCI id. */
  readonly vendor: string;
  /** As the driver describes it. */
  readonly description: string;
  /** A software adapter such as llvmpipe or SwiftShader. */
  readonly software: boolean;
  /** Fewest lanes that run together and can share registers; 0 where the adapter does not say. */
  readonly subgroupSize: number;
  /** Optional features that were requested and granted. */
  readonly features: readonly string[];
  /** Limits of the device, as requested. */
  readonly limits: Readonly<Record<string, number>>;
}

/** How to open a GPU. */
export interface GpuOptions {
  /** Largest sum of live buffer bytes; no limit by default. */
  readonly memoryBudget?: number;
  /** Which adapter to prefer where there are several. */
  readonly powerPreference?: "low-power" | "high-performance";
  /**
   * Most bytes of one buffer that a dispatch may see, to try what happens where the adapter allows
   * less than this one. Larger tables are worked on range by range.
   */
  readonly largestBinding?: number;
  /** Workgroup shapes and kernels; those of the adapter's class by default. */
  readonly tuning?: Tuning;
  /** Take timestamps for {@linkcode Gpu.profile}: of every dispatch, or of every submit. */
  readonly profile?: ProfileDetail;
}

const STORAGE = 0x80 | 0x04 | 0x08; // GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST

/** Most bytes that `readEach` reads at a time, but for a single larger buffer: 64 MiB. */
const READ_TOGETHER = 2 ** 26;

/** Scratch of a size that was not wanted between so many read-backs is given up. */
const KEPT_READS = 4096;

/** An open device. `using gpu = await Gpu.open()` closes it at the end of the block. */
export class Gpu implements Disposable {
  /** Who the adapter is and what it can do. */
  readonly info: GpuInfo;
  /** Workgroup shapes that suit the adapter. */
  readonly tuning: Tuning;
  /** Most bytes of one buffer that a dispatch may see. */
  readonly largestBinding: number;
  readonly #device: GPUDevice;
  readonly #memory: Memory;
  readonly #kernels: KernelCache;
  readonly #recorder: Recorder;
  readonly #profiler: Profiler | null;
  readonly #transfer: Transfer;
  readonly #activations: Scope;
  readonly #uploads: Scope;
  readonly #errors: Error[] = [];
  #lost: DeviceLostError | null = null;
  #closed = false;

  private constructor(device: GPUDevice, info: GpuInfo, enable: string, options: GpuOptions) {
    this.#device = device;
    this.info = info;
    this.tuning = options.tuning ?? tunings[deviceClass(info)];
    // Kept to by the recorder: a device is never granted less than WebGPU's default of 128 MiB.
    this.largestBinding = Math.min(
      options.largestBinding ?? Infinity,
      info.limits.maxStorageBufferBindingSize!,
    );
    const report = (error: Error) => this.#errors.push(error);
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const message = error.message.trim();
      report(
        error instanceof GPUOutOfMemoryError
          ? new OutOfMemoryError(`The GPU is out of memory: ${message}\n${this.#memory.table()}`)
          : new GpuValidationError(`The GPU rejected a command: ${message}`),
      );
    });
    device.lost.then(({ reason, message }) => {
      if (this.#closed) return;
      this.#lost = new DeviceLostError(
        `The GPU device was lost (${reason}): ${message}; restart, and resume from the last checkpoint`,
      );
    });
    this.#memory = new Memory(device, options.memoryBudget ?? Infinity);
    this.#kernels = new KernelCache(device, enable, this.tuning, report);
    const { profile } = options;
    this.#profiler = profile ? new Profiler(device, this.#memory, profile) : null;
    this.#recorder = new Recorder(
      device,
      this.#memory,
      this.#kernels.paramsLayout,
      this.largestBinding,
      this.#profiler,
    );
    this.#transfer = new Transfer(device, this.#memory, this.#recorder);
    this.#activations = new Scope(this.#memory, "activations", STORAGE);
    this.#uploads = new Scope(this.#memory, "staging", STORAGE);
  }

  /**
   * Opens the best adapter with its own limits.
   *
   * @throws {GpuUnavailableError} if no adapter answers or it lacks a limit that the kernels need, or
   * timestamps that a profile needs.
   * @throws {RangeError} if kernels can't work with the tuning.
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    const { powerPreference = "high-performance" } = options;
    if (options.tuning) checkTuning(options.tuning);
    const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference });
    if (!adapter) {
      throw new GpuUnavailableError(
        "Cannot open a GPU: no WebGPU adapter answered. On Debian or Ubuntu install a Vulkan driver: " +
          "`apt-get install -y mesa-vulkan-drivers` (runs without a GPU too); with an NVIDIA card install " +
          "its driver (in a container set NVIDIA_DRIVER_CAPABILITIES=all); `vulkaninfo --summary` lists what is there",
      );
    }
    const limits = limitsOf(adapter);
    if (options.profile && !adapter.features.has("timestamp-query")) {
      throw new GpuUnavailableError(
        `Cannot profile: adapter "${adapter.info.description}" has no timestamp queries; ` +
          "open it without a profile",
      );
    }
    const device = await requestDevice(adapter, limits);
    const features = grantedFeatures(device);
    const { vendor, description, isFallbackAdapter, subgroupMinSize } = adapter.info;
    const software = isFallbackAdapter || /llvmpipe|swiftshader|lavapipe/i.test(description);
    const subgroupSize = subgroupMinSize ?? 0;
    const info = { vendor, description, software, subgroupSize, features, limits };
    if (options.tuning && !supports(info, options.tuning)) {
      device.destroy();
      throw new GpuUnavailableError(
        `Cannot use adapter "${description}" with this tuning: it takes subgroups of 8 lanes or ` +
          "64-bit integers, which this adapter does not have; leave the tuning out, or make one for " +
          "this adapter with ./mentor bench tune",
      );
    }
    // Runtimes that list the feature want it declared in every module that uses it; Deno does neither.
    const enable = adapter.features.has(SUBGROUPS) ? "enable subgroups;" : "";
    return new Gpu(device, info, enable, options);
  }

  /**
   * A GPU like this one that only counts: nothing is stored on it, nothing runs, and whatever is read
   * from it is zero.
   */
  rehearse(): Gpu {
    return new Gpu(rehearsalDevice(this.info), this.info, "", {
      tuning: this.tuning,
      largestBinding: this.largestBinding,
    });
  }

  /** Live and peak bytes by owner. */
  memory(): MemoryReport {
    return this.#memory.report();
  }

  /** Submits, dispatches and bind groups so far. */
  stats(): RecorderStats {
    return { ...this.#recorder.stats };
  }

  /**
   * Waits for the GPU and returns when it worked since the last call, oldest first.
   *
   * @throws {TypeError} if the device was opened without `profile`.
   */
  async profile(): Promise<GpuSpan[]> {
    if (!this.#profiler) {
      throw new TypeError('Cannot profile: open the GPU with { profile: "kernels" }');
    }
    this.submit();
    const { requests, spans } = this.#profiler.take();
    return spans(await this.read(...requests));
  }

  /** A buffer that lives until `free`; its content is zero. */
  allocate(bytes: number, owner: Owner, label: string): GPUBuffer {
    return this.#memory.create(bytes, owner, STORAGE, label);
  }

  /** Destroys buffers from `allocate`. */
  free(buffers: Iterable<GPUBuffer>): void {
    for (const buffer of buffers) this.#memory.destroy(buffer);
    this.#recorder.forget();
  }

  /** A buffer of this step; `endStep` takes it back. Its content is undefined. */
  scratch(bytes: number, label: string): GPUBuffer {
    return this.#activations.take(bytes, label);
  }

  /** Gives a buffer from `scratch` back before the end of the step. */
  release(buffer: GPUBuffer): void {
    this.#activations.give(buffer);
  }

  /** A buffer of this step that holds `data`. Unlike `scratch` it is not reused before a submit. */
  upload(data: Uint32Array | Float32Array, label: string): GPUBuffer {
    const buffer = this.#uploads.take(data.byteLength, label);
    this.#transfer.write(buffer, data);
    return buffer;
  }

  /**
   * Writes into a buffer from `allocate`, or a range of one; takes effect before whatever is submitted
   * next.
   *
   * @throws {RangeError} if it would reach beyond the range.
   */
  write(
    target: GPUBuffer | Bindable,
    data: Uint32Array | Float32Array | Uint8Array,
    offset = 0,
  ): void {
    const whole: Bindable = "buffer" in target ? target : { buffer: target };
    checkWithin(whole.range, offset + data.byteLength, "write");
    this.#transfer.write(whole.buffer, data, offsetOf(whole) + offset);
  }

  /**
   * Records one dispatch of `name`'s entry point `entry`.
   *
   * @throws {TypeError} if a binding or param does not fit the shader.
   */
  dispatch(
    name: KernelName,
    entry: string,
    work: {
      readonly bindings: Readonly<Record<string, Bindable>>;
      readonly params?: Readonly<Record<string, number>>;
      readonly workgroups: readonly [number, number?, number?];
    } & Specialisation,
  ): void {
    const kernel = this.#kernels.get(name, entry, work);
    this.#recorder.dispatch(kernel, work.bindings, work.params ?? {}, work.workgroups);
  }

  /**
   * Records what `work` does.
   *
   * @returns what `work` returns, and a function that records the same dispatches once more in this
   * step, for a fraction of what they cost the host before. What was put meanwhile into scratch that
   * they had given back is overwritten
   */
  capture<T>(work: () => T): { readonly result: T; readonly again: () => void } {
    return this.#recorder.capture(work);
  }

  /** Sends the recorded step to the queue without waiting for it. */
  submit(): void {
    this.#raise();
    this.#transfer.submit();
    this.#uploads.reset();
  }

  /** Submits, and lets the next step have this step's scratch buffers. */
  endStep(): void {
    this.submit();
    this.#activations.reset();
  }

  /** Lets what is recorded next reuse the scratch buffers; for micro-batches inside one submit. */
  recycle(): void {
    this.#activations.reset();
  }

  /** Drops the recorded step, after an error on the host. */
  discard(): void {
    this.#recorder.discard();
    this.#uploads.reset();
    this.#activations.reset();
  }

  /**
   * Submits and reads buffers back in one go.
   *
   * @throws {GpuValidationError} if the device rejected anything submitted before.
   * @throws {DeviceLostError} if the device went away.
   */
  async read(...requests: ReadRequest[]): Promise<ArrayBuffer[]> {
    return await this.readBack(...requests).take();
  }

  /**
   * Reads many buffers, as few at a time as it takes to keep what they pass through small; nothing
   * may be recorded meanwhile that changes them.
   *
   * @returns the content of each, in order
   */
  async *readEach(requests: readonly ReadRequest[]): AsyncGenerator<ArrayBuffer, void> {
    let group: ReadRequest[] = [];
    let bytes = 0;
    for (const [i, request] of requests.entries()) {
      group.push(request);
      bytes += request.bytes;
      const next = requests[i + 1]?.bytes ?? Infinity;
      if (bytes + next <= READ_TOGETHER) continue;
      yield* await this.read(...group);
      [group, bytes] = [[], 0];
    }
  }

  /**
   * Submits, to read buffers later: while the host waits for nothing it can record the next step.
   * `take` throws what {@linkcode Gpu.read} does.
   */
  readBack(...requests: ReadRequest[]): ReadBack {
    const reading = this.#transfer.read(requests);
    this.#uploads.reset();
    if (this.#activations.evict(KEPT_READS)) this.#recorder.forget();
    return {
      take: async () => {
        let result: ArrayBuffer[];
        try {
          // While the GPU works; what it had to complain about has come as an event then, too.
          await turnEventLoop();
          result = await reading.take();
        } catch (error) {
          await this.settle();
          throw error;
        }
        this.#raise();
        return result;
      },
    };
  }

  /** Submits, waits until the queue is idle and throws whatever the device had to complain about. */
  async settle(): Promise<void> {
    this.#transfer.submit();
    this.#uploads.reset();
    await this.#device.queue.onSubmittedWorkDone();
    // WebGPU delivers errors as events: one turn of the event loop after the work they belong to.
    await turnEventLoop();
    this.#raise();
  }

  /** Destroys the device and everything on it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#device.destroy();
  }

  /** Same as {@linkcode Gpu.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #raise(): void {
    // The first error is the cause; what follows are its consequences. A lost device stays lost,
    // and whatever else is said about it is a consequence too.
    const [first] = this.#errors.splice(0);
    const error = this.#lost ?? first;
    if (error) throw error;
  }
}
