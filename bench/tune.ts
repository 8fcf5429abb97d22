/**
 * Searches the knobs of src/gpu/tuning.ts on this adapter. Nothing is tuned silently: the result is
 * printed, and stored where it is told.
 *
 *     ./mentor bench tune --save FILE
 *
 * @module
 */

import { Gpu } from "../src/gpu/device.ts";
import type { GpuInfo } from "../src/gpu/device.ts";
import { GpuValidationError } from "../src/gpu/errors.ts";
import { deviceClass, type MatmulTile, type Tuning, tunings } from "../src/gpu/tuning.ts";
import { fastest } from "./kernels.ts";
import { renderTable } from "./report.ts";
import { products, productWorkload, workloads } from "./workloads.ts";

/** One setting of one knob. */
export interface Variant {
  /** Which part of the table it changes. */
  readonly knob:
    | "matmul"
    | "matmulSmall"
    | "workgroups"
    | "wide"
    | "lanes"
    | "rowLanes"
    | "partialRows";
  readonly name: string;
  readonly change: Partial<Tuning>;
}

/** How fast each variant of a knob is. */
export interface KnobResult {
  readonly knob: Variant["knob"];
  /** Names of what was measured. */
  readonly shapes: readonly string[];
  /** Fewest milliseconds by shape; null where the adapter refused or the variant took too long. */
  readonly variants: readonly {
    readonly variant: Variant;
    readonly ms: readonly (number | null)[];
  }[];
  /** Index of the variant with the least geometric mean. */
  readonly best: number;
  /** Of each shape, the time of the fastest variant over that of the default: 1 where it is best. */
  readonly defaultShare: readonly number[];
}

/** The whole search. */
export interface TuneResult {
  readonly adapter: string;
  readonly date: string;
  /** The table's row with the best of every knob. */
  readonly tuning: Tuning;
  readonly knobs: readonly KnobResult[];
}

/** Each round measures every variant; the fastest of all rounds counts. */
const ROUNDS = 5;
const REPETITIONS = 5;
/** A variant this many times slower than the best on a shape is not measured on the others. */
const HOPELESS = 8;

/** Every knob's settings for an adapter; the default comes first. */
export function space(info: GpuInfo): Variant[] {
  const base: Tuning = tunings[deviceClass(info)];
  const variants: Variant[] = [];
  const add = (knob: Variant["knob"], name: string, change: Partial<Tuning>) => {
    variants.push({ knob, name, change });
  };
  if (base.simd) {
    for (const simdBlocks of [4, 2, 1]) {
      add("matmul", `registers, ${8 * simdBlocks} x 32`, { simd: true, simdBlocks });
    }
    if (base.readBits === 64) add("matmul", "registers, reads of 32 bits", { readBits: 32 });
  }
  for (const tile of tiles(info)) {
    const { lanesM, lanesN, blocksM, blocksN, depth } = tile;
    const name = `${4 * lanesM * blocksM} x ${4 * lanesN * blocksN} x ${depth}, lanes ` +
      `${lanesM} x ${lanesN}`;
    const lanes = lanesM * lanesN;
    if (base.simd) add("matmul", name, { simd: false, matmul: tile });
    else if (info.software || lanes >= 64) add("matmul", name, { matmul: tile });
    if (!base.simd && lanes <= 64) add("matmulSmall", name, { matmulSmall: tile });
  }
  if (!info.software) {
    for (const workgroups of [64, 128, 256, 512]) {
      add("workgroups", `${workgroups} workgroups`, { workgroups });
    }
    for (const rowLanes of [1, 16, 32, 64]) add("rowLanes", `${rowLanes} lanes`, { rowLanes });
  }
  for (const wide of [64, 128, 256, 512]) add("wide", `${wide} lanes`, { wide });
  if (!base.simd) {
    for (const lanes of [8, 32, 64, 128]) add("lanes", `${lanes} lanes`, { lanes });
  }
  for (const partialRows of [16, 32, 64, 128, 256, 512]) {
    add("partialRows", `${partialRows} rows`, { partialRows });
  }
  const isDefault = ({ change }: Variant) => isPart(change, base);
  return [...new Set(variants.map(({ knob }) => knob))].flatMap((knob) => {
    const own = variants.filter((variant) => variant.knob === knob);
    const first = own.find(isDefault)!;
    const rest = own.filter((variant) => variant !== first);
    return [{ ...first, name: `${first.name} (default)` }, ...rest];
  });
}

/** Whether `whole` has everything that is in `part`. */
function isPart(part: unknown, whole: unknown): boolean {
  if (typeof part !== "object" || part === null) return part === whole;
  return Object.entries(part).every(([key, value]) =>
    isPart(value, (whole as Record<string, unknown>)[key])
  );
}

/** Tiles that the adapter's limits allow; few where barriers are slow, since none is any good. */
function tiles({ software, limits }: GpuInfo): MatmulTile[] {
  const lanes = software ? [[1, 8], [8, 8]] : [[2, 32], [8, 8], [8, 16], [16, 16]];
  const found: MatmulTile[] = [];
  for (const [lanesM, lanesN] of lanes as [number, number][]) {
    for (const [blocksM, blocksN] of [[1, 1], [2, 1], [2, 2]] as const) {
      for (const depth of software ? [16] : [8, 16, 32]) {
        const bytes = 16 * depth * (lanesM * blocksM + lanesN * blocksN + 2);
        if (bytes > limits["maxComputeWorkgroupStorageSize"]!) continue;
        if (lanesM * lanesN > limits["maxComputeInvocationsPerWorkgroup"]!) continue;
        found.push({ lanesM, lanesN, blocksM, blocksN, depth });
      }
    }
  }
  return found;
}

/** Measures every variant of every knob. */
export async function tune(
  { onProgress }: { onProgress?: (done: number, total: number, what: string) => void } = {},
): Promise<TuneResult> {
  using probe = await Gpu.open();
  const { info } = probe;
  const base = tunings[deviceClass(info)];
  const variants = space(info);
  const knobs: KnobResult[] = [];
  let done = 0;
  for (const knob of new Set(variants.map(({ knob }) => knob))) {
    const own = variants.filter((variant) => variant.knob === knob);
    const shapes = shapesOf(knob, probe);
    const least = shapes.map(() => Infinity);
    const results = own.map((variant) => ({ variant, ms: shapes.map((): number | null => null) }));
    // In turn, since the machine may do something else for a while.
    for (let round = 0; round < ROUNDS; round++) {
      for (const { variant, ms } of results) {
        onProgress?.(done++, ROUNDS * variants.length, `${knob}: ${variant.name}`);
        if (round === 0 || !ms.includes(null)) await takeTimes(knob, variant, base, ms, least);
      }
    }
    knobs.push(resultOf(knob, shapes, results));
  }
  onProgress?.(done, done, "");
  const tuning = Object.assign(
    { ...base },
    ...knobs.map(({ variants, best }) => variants[best]!.variant.change),
  );
  return { adapter: info.description, date: new Date().toISOString(), tuning, knobs };
}

/** The workloads that tell a knob's settings apart. */
function workloadsOf(knob: Variant["knob"], gpu: Gpu) {
  if (ofProducts(knob)) {
    // Those that have tiles of several rows.
    const { simd, fewRows } = tunings[deviceClass(gpu.info)];
    return products.filter(([, , M]) => M > (simd ? 16 : fewRows))
      .map((product) => productWorkload(gpu, product));
  }
  const labels = {
    wide: /^(glu|rope|adamw|select|embedding)/,
    lanes: /^(rmsnorm|attention|lm_head|sample)/,
    rowLanes: /^(rmsnorm.(forward|backward_x)|lm_head.accumulate)/,
    partialRows: /^rmsnorm.backward_w/,
  }[knob];
  return workloads(gpu).flatMap((workload) => {
    const costs = Object.entries(workload.costs).filter(([label]) => labels.test(label));
    return costs.length > 0 ? [{ ...workload, costs: Object.fromEntries(costs) }] : [];
  });
}

function shapesOf(knob: Variant["knob"], gpu: Gpu): string[] {
  return workloadsOf(knob, gpu).flatMap(({ shape, costs }) =>
    Object.keys(costs).map((label) => ofProducts(knob) ? shape : label)
  );
}

/** Whether a knob says how matrix products are made. */
function ofProducts(knob: Variant["knob"]): knob is "matmul" | "matmulSmall" | "workgroups" {
  return ["matmul", "matmulSmall", "workgroups"].includes(knob);
}

/** Brings the times of every shape up to date, and those of the best variant so far. */
async function takeTimes(
  knob: Variant["knob"],
  { change }: Variant,
  base: Tuning,
  times: (number | null)[],
  least: number[],
): Promise<void> {
  const tuning = { ...base, ...change };
  using gpu = await Gpu.open({ profile: "kernels", tuning });
  let shape = 0;
  for (const workload of workloadsOf(knob, gpu)) {
    let found: number[];
    try {
      found = await fastest(gpu, workload, REPETITIONS);
    } catch (error) {
      if (!(error instanceof GpuValidationError)) throw error;
      return; // the adapter refuses this shape of workgroup
    }
    for (const ms of found) {
      times[shape] = Math.min(times[shape] ?? Infinity, ms);
      least[shape] = Math.min(least[shape]!, ms);
      if (ms > HOPELESS * least[shape]!) return;
      shape++;
    }
  }
}

function resultOf(
  knob: Variant["knob"],
  shapes: readonly string[],
  variants: readonly { variant: Variant; ms: readonly (number | null)[] }[],
): KnobResult {
  // What switches `simd` off switches attention, too, which is not measured with it: never the best.
  const means = variants.map(({ variant, ms }) =>
    variant.change.simd === false
      ? Infinity
      : ms.reduce<number>((sum, one) => sum + Math.log(one ?? Infinity), 0)
  );
  const least = shapes.map((_, i) => Math.min(...variants.map(({ ms }) => ms[i] ?? Infinity)));
  return {
    knob,
    shapes,
    variants,
    best: means.indexOf(Math.min(...means)),
    defaultShare: least.map((ms, i) => ms / (variants[0]!.ms[i] ?? Infinity)),
  };
}

/** Every knob as a table of milliseconds. */
export function renderTuning({ adapter, knobs, tuning }: TuneResult): string {
  const parts = knobs.map(({ knob, shapes, variants, best, defaultShare }) => {
    const head = ["ms", ...shapes.map((_, i) => `(${i + 1})`), ""];
    const rows = variants.map(({ variant, ms }, i) => [
      variant.name,
      ...ms.map((one) => one === null ? "-" : one.toPrecision(3)),
      i === best ? "<- best" : "",
    ]);
    const share = ["default / best", ...defaultShare.map((s) => `${(100 * s).toFixed(0)} %`), ""];
    const legend = shapes.map((shape, i) => `  (${i + 1}) ${shape}`).join("\n");
    const columns = shapes.map((_, i) => i + 1);
    return `${knob}\n${renderTable([head, ...rows, share], columns)}\n${legend}`;
  });
  return `${parts.join("\n\n")}\n\nbest on ${adapter}: ${JSON.stringify(tuning)}\n` +
    "with --save FILE, ./mentor train --tuning FILE and eval, generate and pretrain use it";
}
