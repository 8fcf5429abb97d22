/**
 * What this machine offers, and whether every kernel is right on it.
 *
 * @module
 */

import { Gpu, type GpuOptions } from "../gpu/device.ts";
import { DeviceLostError } from "../gpu/errors.ts";
import { type Packed, usableType } from "../model/stored_types.ts";
import { type KernelCheck, kernelChecks } from "../ops/checks/mod.ts";

/** How one kernel did. */
export interface KernelReport {
  /** The check's name. */
  readonly name: string;
  /** Sizes and situations tried. */
  readonly cases: number;
  /** Largest error against the f64 reference; null where a result was plainly wrong or none came. */
  readonly worstRelativeError: number | null;
  /** Largest error that f32 arithmetic excuses. */
  readonly tolerance: number;
  /** Whether the error is within it. */
  readonly ok: boolean;
  /** What went wrong, where something did. */
  readonly problem?: string;
}

/** What `./mentor doctor --json` prints. */
export interface DoctorReport {
  /** As the driver describes it. */
  readonly adapter: string;
  /** Name or PCI id. */
  readonly vendor: string;
  /** Whether the adapter computes on the CPU. */
  readonly software: boolean;
  /** Optional features that we use. */
  readonly features: readonly string[];
  /** Limits that we raise, as granted. */
  readonly limits: Readonly<Record<string, number>>;
  /** One row per check. */
  readonly kernels: readonly KernelReport[];
  /** Types of two bytes in which weights that are not trained can be kept: every number was tried. */
  readonly storedTypes: readonly string[];
  /** What is wrong with the driver but not with the kernels. */
  readonly warnings: readonly string[];
  /** Whether every kernel is right. */
  readonly ok: boolean;
}

/** How to examine a machine. */
export interface DoctorOptions extends GpuOptions {
  /** What to run; every kernel's check by default. */
  readonly checks?: readonly KernelCheck[];
  /** Called as each kernel is done: a driver that has not compiled them yet takes a minute or two. */
  readonly onKernel?: (report: KernelReport) => void;
}

/**
 * Opens a GPU and runs every kernel against its f64 reference.
 *
 * @throws {GpuUnavailableError} if there is no usable adapter.
 * @throws {DeviceLostError} if the device goes away meanwhile.
 */
export async function doctor(
  { checks = kernelChecks, onKernel = () => {}, ...options }: DoctorOptions = {},
): Promise<DoctorReport> {
  using gpu = await Gpu.open(options);
  const kernels: KernelReport[] = [];
  for (const check of checks) {
    const report = await examine(gpu, check);
    kernels.push(report);
    onKernel(report);
  }
  const { description, vendor, software, features, limits } = gpu.info;
  const storedTypes: Packed[] = [];
  for (const dtype of packedTypes) {
    if (await usableType(gpu, dtype) === dtype) storedTypes.push(dtype);
  }
  return {
    adapter: description,
    vendor,
    software,
    features,
    limits,
    kernels,
    storedTypes,
    warnings: [...typeWarnings(storedTypes), ...await warnings(gpu)],
    ok: kernels.every(({ ok }) => ok),
  };
}

async function examine(gpu: Gpu, check: KernelCheck): Promise<KernelReport> {
  const { name, cases, tolerance } = check;
  try {
    const { worst, where } = await check.run(gpu);
    await gpu.settle();
    const ok = worst <= tolerance;
    const worstRelativeError = Number.isFinite(worst) ? worst : null;
    const report = { name, cases, worstRelativeError, tolerance, ok };
    return ok ? report : { ...report, problem: where };
  } catch (error) {
    if (error instanceof DeviceLostError) throw error;
    gpu.discard();
    // What the failed kernel has left over would be held against the next one.
    await gpu.settle().catch(() => {});
    const problem = error instanceof Error ? error.message : String(error);
    return { name, cases, worstRelativeError: null, tolerance, ok: false, problem };
  }
}

const packedTypes: readonly Packed[] = ["bf16", "f16"];

/** @param right types that are unpacked as they should be */
function typeWarnings(right: readonly Packed[]): string[] {
  return packedTypes.filter((dtype) => !right.includes(dtype)).map((dtype) =>
    `This driver gets weights of ${dtype} wrong. Models that come in it are kept as f32, which takes ` +
    "twice their memory; a newer driver may do better"
  );
}

async function warnings(gpu: Gpu): Promise<string[]> {
  const found: string[] = [];
  const rows = 70_000;
  const ones = gpu.upload(new Float32Array(4 * rows).fill(1), "ones");
  const sums = gpu.scratch(16, "sums");
  gpu.dispatch("reduce", "fold_rows", {
    constants: { LANES: gpu.tuning.lanes },
    bindings: { x: { buffer: ones }, y: { buffer: sums } },
    params: { rows, width: 4, beta: 0 },
    workgroups: [1],
  });
  const [content] = await gpu.read({ buffer: sums, bytes: 4 });
  gpu.endStep();
  const [iterations] = new Float32Array(content!);
  if (iterations !== rows) {
    found.push(
      `This driver ends the loops of a shader after ${iterations} iterations and computes on with ` +
        "what it has (llvmpipe of Mesa 22 does). Kernels split what they can, but training on " +
        "sequences of more than some 8,000 tokens, or 250 with heads wider than 64, needs a newer one",
    );
  }
  return found;
}

const MiB = 2 ** 20;

/** The report as text for a terminal. */
export function renderDoctor(report: DoctorReport): string {
  const { adapter, software, features, limits, kernels, storedTypes } = report;
  const lines = [
    `adapter   ${adapter}${software ? " (software: runs on the CPU)" : ""}`,
    `features  ${features.join(", ") || "none that are used"}`,
    `weights   ${["f32", ...storedTypes].join(", ")}`,
  ];
  Object.entries(limits).forEach(([name, value], i) => {
    const shown = /Buffer(Binding)?Size$/.test(name) ? `${Math.floor(value / MiB)} MiB` : value;
    lines.push(`${i === 0 ? "limits    " : "          "}${name} ${shown}`);
  });
  const width = Math.max(6, ...kernels.map(({ name }) => name.length));
  lines.push("", `${"kernel".padEnd(width)}  cases  worst error  tolerance`);
  for (const kernel of kernels) lines.push(renderKernel(kernel, width));
  lines.push("");
  for (const warning of report.warnings) lines.push(`Warning: ${warning}`, "");
  const wrong = kernels.filter(({ ok }) => !ok);
  lines.push(
    wrong.length === 0
      ? `All ${kernels.length} kernels agree with their f64 references`
      : `${wrong.length} of ${kernels.length} kernels are wrong on this machine: ${
        wrong.map(({ name }) => name).join(", ")
      }. Update the driver; if that does not help, please report this output`,
  );
  return lines.join("\n");
}

/** One line of the table; `width` is the longest name's. */
export function renderKernel(
  { name, cases, worstRelativeError, tolerance, ok, problem }: KernelReport,
  width: number,
): string {
  const error = worstRelativeError === null ? "wrong" : worstRelativeError.toExponential(1);
  const columns = [
    name.padEnd(width),
    String(cases).padStart(5),
    error.padStart(11),
    tolerance.toExponential(1).padStart(9),
    ok ? "ok" : `WRONG (${problem?.split("\n")[0]})`,
  ];
  return columns.join("  ");
}
