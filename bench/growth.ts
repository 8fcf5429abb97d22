/**
 * How the cost of a training step grows with tokens, sequence length, depth, width and vocabulary.
 *
 *     deno run -A bench/growth.ts [--quick] [--json] [--out docs/plots]
 *
 * Each sweep changes one of them, times a whole step (forward, backward, clipping, AdamW, and the
 * read-back of its loss), and fits the exponent e of cost ~ x^e, to be held against the expected.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { join } from "@std/path";
import { Gpu } from "../src/gpu/device.ts";
import { DeviceLostError, GpuUnavailableError, OutOfMemoryError } from "../src/gpu/errors.ts";
import {
  attentionTime,
  type Cost,
  type Expected,
  FEW_TOKENS,
  measureStep,
  type StepCost,
  type StepWork,
  type SweepName,
  SWEEPS,
  TimeLimitError,
} from "./models.ts";
import { linePlot, type Point, type Reference, type Series } from "./plot.ts";
import { renderTable } from "./report.ts";

/** One point of a sweep. */
export interface GrowthRow {
  readonly sweep: SweepName;
  /** The value of what is swept. */
  readonly x: number;
  /** Wall time of the fastest step: what else a machine does only adds to it, and bends curves. */
  readonly fastestMs: number;
  /** (slowest - fastest) / median of the repetitions. */
  readonly spread: number;
  /** Most bytes of GPU memory that existed at once. */
  readonly bytes: number;
  /** Those of them that only a step needs. */
  readonly activationBytes: number;
  /** GPU time of attention's kernels and their share of all; in the sweep of the length alone. */
  readonly attention?: { readonly ms: number; readonly share: number };
}

/** A point that was not measured, and why. */
export interface SkippedPoint {
  readonly sweep: SweepName;
  readonly x: number;
  readonly reason: string;
}

/** The exponent of a cost in what is swept. */
export interface Fit extends Expected {
  readonly sweep: SweepName;
  readonly of: Cost;
  /** Least squares over all points on logarithmic axes; null where there are fewer than two. */
  readonly exponent: number | null;
  /** The same over the upper half of the points. */
  readonly lastHalf: number | null;
}

/** Everything that was measured. */
export interface GrowthReport {
  /** As the driver describes it. */
  readonly adapter: string;
  readonly rows: readonly GrowthRow[];
  readonly skipped: readonly SkippedPoint[];
  readonly fits: readonly Fit[];
}

/** How to measure. */
export interface GrowthOptions {
  /** Half of the points and fewer repetitions. */
  readonly quick?: boolean;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

const FULL = { repetitions: 9, limitMs: 30_000 };
const QUICK = { repetitions: 3, limitMs: 10_000 };
/** Share of the free memory of the machine that buffers may take: a software adapter's are there. */
const MEMORY_SHARE = 0.7;

/**
 * Runs every sweep.
 *
 * @throws {GpuUnavailableError} if no adapter answers.
 */
export async function growth(
  { quick = false, onProgress = () => {} }: GrowthOptions = {},
): Promise<GrowthReport> {
  const adapter = await describeAdapter();
  const memoryBudget = Math.floor(Deno.systemMemoryInfo().available * MEMORY_SHARE);
  const limits = { ...(quick ? QUICK : FULL), memoryBudget };
  const rows: GrowthRow[] = [];
  const skipped: SkippedPoint[] = [];
  for (const sweep of SWEEPS) {
    const { name } = sweep;
    const found = await climb(name, quick ? sweep.quick : sweep.values, async (x) => {
      onProgress(`${name} ${x.toLocaleString("en-US")}`);
      const work = sweep.work(x);
      const cost = await measureStep(work, limits);
      const attention = sweep.fits.attention ? await attentionIfTold(work) : undefined;
      return { ...cost, ...attention ? { attention } : {} };
    });
    rows.push(...found.rows);
    skipped.push(...found.skipped);
  }
  return { adapter, rows, skipped, fits: fitAll(rows) };
}

async function describeAdapter(): Promise<string> {
  using gpu = await Gpu.open();
  return gpu.info.description;
}

/** Not every adapter has timestamps. */
async function attentionIfTold(work: StepWork): Promise<GrowthRow["attention"]> {
  try {
    return await attentionTime(work);
  } catch (error) {
    if (error instanceof GpuUnavailableError) return undefined;
    throw error;
  }
}

/**
 * Measures the points of one sweep in ascending order. What fails for want of memory or time is
 * skipped, and so is everything above it.
 */
export async function climb(
  sweep: SweepName,
  values: readonly number[],
  measure: (x: number) => Promise<StepCost & Pick<GrowthRow, "attention">>,
): Promise<{ rows: GrowthRow[]; skipped: SkippedPoint[] }> {
  const rows: GrowthRow[] = [];
  const skipped: SkippedPoint[] = [];
  for (const x of values) {
    if (skipped.length > 0) {
      skipped.push({ sweep, x, reason: `${skipped[0]!.x} was too much already` });
      continue;
    }
    try {
      const { peakBytes, ...cost } = await measure(x);
      rows.push({ sweep, x, bytes: peakBytes, ...cost });
    } catch (error) {
      const known = [OutOfMemoryError, DeviceLostError, TimeLimitError];
      if (!known.some((kind) => error instanceof kind)) throw error;
      skipped.push({ sweep, x, reason: (error as Error).message.split("\n")[0]! });
    }
  }
  return { rows, skipped };
}

/**
 * The e of y ~ x^e by least squares on logarithmic axes.
 *
 * @returns null where there are fewer than two different x
 */
export function fitExponent(points: readonly Point[]): number | null {
  if (new Set(points.map(([x]) => x)).size < 2) return null;
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const [mx, my] = [mean(logs.map(([x]) => x)), mean(logs.map(([, y]) => y))];
  const covariance = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  const variance = logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  return covariance / variance;
}

/** The fits of every sweep that has rows. */
export function fitAll(rows: readonly GrowthRow[]): Fit[] {
  return SWEEPS.flatMap(({ name: sweep, fits }) =>
    (Object.entries(fits) as [Cost, Expected][]).flatMap(([of, expected]) => {
      const points = pointsOf(rows, sweep, of);
      if (points.length === 0) return [];
      const half = points.slice(-Math.max(2, Math.ceil(points.length / 2)));
      return [{
        sweep,
        of,
        exponent: fitExponent(points),
        lastHalf: fitExponent(half),
        ...expected,
      }];
    })
  );
}

function pointsOf(rows: readonly GrowthRow[], sweep: SweepName, of: Cost): Point[] {
  return rows.filter((row) => row.sweep === sweep).flatMap((row) => {
    const y = {
      step: row.fastestMs,
      attention: row.attention?.ms,
      activations: row.activationBytes,
    };
    return y[of] ? [[row.x, y[of]] as const] : [];
  });
}

/**
 * Writes a chart of each sweep into `folder`, and one of the memory that the vocabulary takes.
 *
 * @returns the paths of the files
 */
export async function writeGrowthPlots(report: GrowthReport, folder: string): Promise<string[]> {
  await Deno.mkdir(folder, { recursive: true });
  const paths: string[] = [];
  for (const [name, svg] of growthPlots(report)) {
    const path = join(folder, name);
    await Deno.writeTextFile(path, svg);
    paths.push(path);
  }
  return paths;
}

/** The charts by file name; a sweep without rows has none. */
export function growthPlots({ rows, adapter }: GrowthReport): Map<string, string> {
  // "llvmpipe (LLVM 15.0.6, 256 bits)"
  const shortName = adapter.split(" (")[0]!;
  const plots = new Map<string, string>();
  for (const { name, label, fits } of SWEEPS) {
    const own = rows.filter((row) => row.sweep === name);
    if (own.length === 0) continue;
    const draw = (what: string, yLabel: string, series: Series[], reference: Reference) =>
      linePlot({
        title: `${what} on ${shortName}`,
        xLabel: label,
        yLabel,
        series,
        reference,
        xTicks: own.map(({ x }) => x),
      });
    const steps = { name: "whole step", points: pointsOf(rows, name, "step") };
    const attention = { name: "attention", points: pointsOf(rows, name, "attention") };
    const series = attention.points.length > 0 ? [steps, attention] : [steps];
    const [least, exponent] = (fits.attention ?? fits.step)!.expected;
    const whose = fits.attention ? " of attention" : "";
    plots.set(
      `growth-${name}.svg`,
      draw("Time of a training step", "ms", series, {
        name: `expected slope${whose}: ${least < exponent ? "at most " : ""}${exponent}`,
        exponent,
        through: series.at(-1)!.points.at(-1)!,
      }),
    );
    if (!fits.activations) continue;
    const mebibytes = (bytes: (row: GrowthRow) => number) =>
      own.map((row) => [row.x, bytes(row) / 2 ** 20] as const);
    plots.set(
      `growth-${name}-memory.svg`,
      draw("Memory of a training step", "MiB", [
        { name: "activations", points: mebibytes(({ activationBytes }) => activationBytes) },
        { name: "with weights and optimizer", points: mebibytes(({ bytes }) => bytes) },
      ], {
        name: "all logits at once",
        exponent: 1,
        through: mebibytes(({ x }) => x * FEW_TOKENS * 4).at(-1)!,
      }),
    );
  }
  return plots;
}

/** The report as two tables: what was measured, and the exponents. */
export function renderGrowth({ rows, skipped, fits }: GrowthReport): string {
  const header = [
    "sweep",
    "x",
    "ms",
    "spread",
    "peak MiB",
    "activations MiB",
    "attention ms",
    "share",
  ];
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  const measured = renderTable([
    header,
    ...rows.map(({ sweep, x, fastestMs, spread, bytes, activationBytes, attention }) => [
      sweep,
      x.toLocaleString("en-US"),
      fastestMs.toFixed(1),
      `${(100 * spread).toFixed(0)} %`,
      mebibytes(bytes),
      mebibytes(activationBytes),
      attention?.ms.toFixed(1) ?? "",
      attention ? `${(100 * attention.share).toFixed(0)} %` : "",
    ]),
  ], [1, 2, 3, 4, 5, 6, 7]);
  const exponent = (value: number | null) => value?.toFixed(2) ?? "-";
  const fitted = renderTable([
    ["sweep", "of", "exponent", "last half", "expected", "why"],
    ...fits.map((fit) => [
      fit.sweep,
      fit.of,
      exponent(fit.exponent),
      exponent(fit.lastHalf),
      [...new Set(fit.expected)].join(" to "),
      fit.why,
    ]),
  ], [2, 3]);
  const reasons = skipped.map(({ sweep, x, reason }) => `${sweep} ${x} skipped: ${reason}`);
  return [measured, "", fitted, ...reasons].join("\n");
}

if (import.meta.main) {
  const { quick, json, out } = parseArgs(Deno.args, {
    boolean: ["quick", "json"],
    string: ["out"],
  });
  const report = await growth({ quick, onProgress: (text) => console.error(text) });
  console.log(json ? JSON.stringify(report, null, 2) : renderGrowth(report));
  if (out) { for (const path of await writeGrowthPlots(report, out)) console.error(path); }
}
