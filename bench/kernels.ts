/**
 * How near every kernel comes to what the adapter can do: the bandwidth of a copy, or the rate of
 * multiply-adds in registers, whichever bounds it.
 *
 *     ./mentor bench kernels
 *
 * @module
 */

import { Gpu } from "../src/gpu/device.ts";
import { copy, MULTIPLY_ADDS, multiplyAdd } from "../src/ops/roofline.ts";
import type { BenchRow } from "./report.ts";
import { median, spread } from "./statistics.ts";
import { products, productWorkload, type Workload, workloads } from "./workloads.ts";

/** What the adapter can do at most. */
export interface Roofline {
  /** Bytes a second of a copy, reads and writes counted. */
  readonly bandwidth: number;
  /** Floating-point operations a second of multiply-adds. */
  readonly flops: number;
}

/** Recordings of a workload. */
const REPETITIONS = 9;

/**
 * Measures every kernel, and the roofline before each of them.
 *
 * @returns a row each, `limit` its share of the roofline: the fastest of its repetitions against the
 * fastest copy or multiply-adds of all, since what else the machine does can only slow them down
 */
export async function kernels(
  { onProgress }: { onProgress?: (done: number, total: number, what: string) => void } = {},
): Promise<{ roofline: Roofline; rows: BenchRow[] }> {
  using gpu = await Gpu.open({ profile: "kernels" });
  using probe = new RooflineProbe(gpu);
  const all = [...products.map((product) => productWorkload(gpu, product)), ...workloads(gpu)];
  const found: [Workload, Map<string, number[]>][] = [];
  for (const [i, workload] of all.entries()) {
    onProgress?.(i, all.length, Object.keys(workload.costs)[0]!);
    await probe.measure();
    found.push([workload, await durations(gpu, workload.record)]);
  }
  onProgress?.(all.length, all.length, "");
  const { roofline } = probe;
  return {
    roofline,
    rows: found.flatMap(([workload, times]) => rowsOf(workload, times, roofline)),
  };
}

/** Finds what the adapter can do, the better the more often it measures. */
class RooflineProbe implements Disposable {
  readonly #gpu: Gpu;
  readonly #x: { readonly buffer: GPUBuffer };
  readonly #y: { readonly buffer: GPUBuffer };
  readonly #lanes: number;
  #roofline: Roofline = { bandwidth: 0, flops: 0 };

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.#lanes = gpu.info.software ? FEW_LANES : MANY_LANES;
    const bytes = 4 * COPIED;
    this.#x = { buffer: gpu.allocate(bytes, "other", "roofline x") };
    this.#y = { buffer: gpu.allocate(bytes, "other", "roofline y") };
  }

  /** The best so far. */
  get roofline(): Roofline {
    return this.#roofline;
  }

  async measure(): Promise<void> {
    const times = await durations(this.#gpu, () => {
      copy(this.#gpu, this.#x, this.#y, COPIED);
      multiplyAdd(this.#gpu, this.#y, this.#lanes, ITERATIONS);
    }, 3);
    const seconds = (label: string) => Math.min(...times.get(label)!) / 1000;
    const { bandwidth, flops } = this.#roofline;
    this.#roofline = {
      bandwidth: Math.max(bandwidth, 8 * COPIED / seconds("roofline.copy")),
      flops: Math.max(
        flops,
        2 * MULTIPLY_ADDS * this.#lanes * ITERATIONS / seconds("roofline.multiply_add"),
      ),
    };
  }

  [Symbol.dispose](): void {
    this.#gpu.free([this.#x.buffer, this.#y.buffer]);
  }
}

/** Numbers that are copied, 16 MiB: beyond the caches of most cores. */
const COPIED = 2 ** 22;
/** Lanes that multiply and add on few cores and on a GPU, and how often each does all of it. */
const [FEW_LANES, MANY_LANES, ITERATIONS] = [2 ** 16, 2 ** 20, 256];

/** Milliseconds of the fastest dispatch of each kernel whose cost the workload states. */
export async function fastest(
  gpu: Gpu,
  { costs, record }: Workload,
  repetitions: number,
): Promise<number[]> {
  const times = await durations(gpu, record, repetitions);
  return Object.keys(costs).map((label) => Math.min(...timesOf(times, label)));
}

/** @throws {TypeError} if another kernel ran in its place: the workload is out of date. */
function timesOf(times: ReadonlyMap<string, readonly number[]>, label: string): readonly number[] {
  const found = times.get(label);
  if (found) return found;
  throw new TypeError(`Cannot measure "${label}": ${[...times.keys()]} ran instead`);
}

function rowsOf(
  { shape, costs }: Workload,
  times: ReadonlyMap<string, readonly number[]>,
  roofline: Roofline,
): BenchRow[] {
  return Object.entries(costs).map(([label, { bytes, flops }]) => {
    const all = timesOf(times, label);
    const ms = median(all);
    const [copying, computing] = [bytes / roofline.bandwidth, flops / roofline.flops];
    const bound = copying > computing;
    return {
      work: label,
      shape,
      contender: "mentor",
      medianMs: ms,
      spread: spread(all),
      rate: (bound ? bytes : flops) / ms / 1e6,
      unit: bound ? "GB/s" : "GFLOP/s",
      ratioToMentor: 1,
      limit: 1000 * Math.max(copying, computing) / Math.min(...all),
    };
  });
}

/**
 * A GPU that has had little to do lowers its clock: an H100 then took two to five times as long, and
 * 30 ms of work did not always bring it back. This long, in ms, it is at work before what counts.
 */
const WARM_UP = 200;

/** Time of each dispatch by kernel, after a warm-up that compiles. */
async function durations(
  gpu: Gpu,
  record: () => void,
  repetitions = REPETITIONS,
): Promise<Map<string, number[]>> {
  record();
  const first = await gpu.profile();
  const once = first.reduce((sum, { start, end }) => sum + end - start, 0);
  const warm = gpu.info.software ? 0 : Math.ceil(WARM_UP / Math.max(once, 0.01));
  for (let i = 0; i < warm; i++) {
    record();
    gpu.submit(); // or what is uploaded would add up
  }
  for (let i = 0; i < repetitions; i++) record();
  const times = new Map<string, number[]>();
  for (const { name, start, end } of (await gpu.profile()).slice(warm * first.length)) {
    const found = times.get(name);
    if (found) found.push(end - start);
    else times.set(name, [end - start]);
  }
  return times;
}
