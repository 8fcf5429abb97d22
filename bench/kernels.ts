/**
 * How near every kernel comes to what the adapter can do: the bandwidth of a copy, or the rate of
 * multiply-adds in registers, whichever bounds it.
 *
 *     deno run -A bench/kernels.ts
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

/** Recordings of a workload; the median of their times counts. */
const REPETITIONS = 9;

/**
 * Measures every kernel.
 *
 * @returns a row each, `limit` its share of the roofline
 */
export async function kernels(
  { onProgress }: { onProgress?: (done: number, total: number, what: string) => void } = {},
): Promise<{ roofline: Roofline; rows: BenchRow[] }> {
  using gpu = await Gpu.open({ profile: "kernels" });
  const roofline = await measureRoofline(gpu);
  const rows: BenchRow[] = [];
  const all = [...products.map((product) => productWorkload(gpu, product)), ...workloads(gpu)];
  for (const [i, workload] of all.entries()) {
    onProgress?.(i, all.length, Object.keys(workload.costs)[0]!);
    rows.push(...await measure(gpu, workload, roofline));
  }
  onProgress?.(all.length, all.length, "");
  return { roofline, rows };
}

/** Bandwidth and rate of this adapter, now. */
export async function measureRoofline(gpu: Gpu): Promise<Roofline> {
  const count = 2 ** 22; // 16 MiB each: beyond the caches of most cores
  const [x, y] = ["x", "y"].map((label) => ({
    buffer: gpu.allocate(4 * count, "other", `roofline ${label}`),
  }));
  const [lanes, iterations] = [65_536, 256];
  try {
    const times = await durations(gpu, () => {
      copy(gpu, x!, y!, count);
      multiplyAdd(gpu, y!, lanes, iterations);
    });
    const seconds = (label: string) => median(times.get(label)!) / 1000;
    return {
      bandwidth: 8 * count / seconds("roofline.copy"),
      flops: 2 * MULTIPLY_ADDS * lanes * iterations / seconds("roofline.multiply_add"),
    };
  } finally {
    gpu.free([x!.buffer, y!.buffer]);
  }
}

/** Rows of one workload's kernels. */
export async function measure(
  gpu: Gpu,
  { shape, costs, record }: Workload,
  roofline: Roofline,
  repetitions = REPETITIONS,
): Promise<BenchRow[]> {
  const times = await durations(gpu, record, repetitions);
  return Object.entries(costs).map(([label, { bytes, flops }]) => {
    const all = times.get(label);
    if (!all) throw new TypeError(`Cannot measure "${label}": ${[...times.keys()]} ran instead`);
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
      limit: 1000 * Math.max(copying, computing) / ms,
    };
  });
}

/** Time of each dispatch by kernel, after a warm-up that compiles. */
async function durations(
  gpu: Gpu,
  record: () => void,
  repetitions = REPETITIONS,
): Promise<Map<string, number[]>> {
  record();
  await gpu.profile();
  for (let i = 0; i < repetitions; i++) record();
  const times = new Map<string, number[]>();
  for (const { name, start, end } of await gpu.profile()) {
    const found = times.get(name);
    if (found) found.push(end - start);
    else times.set(name, [end - start]);
  }
  return times;
}
