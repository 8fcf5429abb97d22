/**
 * What a long training run costs beside the GPU's work: JavaScript heap, memory that does not come
 * back, buffers, and time in which the GPU waits.
 *
 *     deno run -A bench/steady.ts [--steps 500] [--json]
 *
 * Updates of the committed base model on about 2,000 tokens, as many as a mini-batch of the
 * embedded recipe has, in a process of its own: the heap of this one holds what ran before. The
 * batches of the warm-up come again and again; what batches of other sizes take is measured behind
 * that.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { fromFileUrl } from "@std/path";
import { compactChat, Decoder, Gpu, GpuUnavailableError, Tokenizer } from "../mod.ts";
import { Learner, type Update } from "../src/rl/learner.ts";
import type { MaskedSequence } from "../src/rl/packing.ts";
import { flawedTrace } from "../src/rl/pretrain.ts";
import { type Allocator, heapProfile } from "./heap_profile.ts";
import { adamw, trainStep } from "./models.ts";
import { lines } from "./peers/protocol.ts";
import { renderTable } from "./report.ts";
import { median } from "./statistics.ts";

/** What was made on the GPU during some steps. */
export interface Created {
  readonly buffers: number;
  readonly bytes: number;
  readonly bindGroups: number;
}

/** What was measured. */
export interface SteadyReport {
  /** As the driver describes it. */
  readonly adapter: string;
  /** Steps of the main run, those of the warm-up included. */
  readonly steps: number;
  readonly warmup: number;
  /** Mean per step. */
  readonly tokensPerStep: number;
  readonly medianMs: number;
  readonly heap: {
    /** Sum of all increases of the used heap from step to step, per step. */
    readonly allocatedPerStep: number;
    /** The same of memory that the heap only points to: typed arrays, mapped buffers. */
    readonly externalPerStep: number;
    /** What a full collection leaves after the run more than after the warm-up, per step. */
    readonly retainedPerStep: number;
    /** What is allocated by a sampling profile of the heap, to check the first number. */
    readonly sampledPerStep: number;
    /** The largest parts of that. */
    readonly allocators: readonly Allocator[];
  };
  /** Of the process, the memory of a software adapter's buffers included. */
  readonly residentSet: { readonly afterWarmup: number; readonly atEnd: number };
  /** Per step. */
  readonly submits: number;
  readonly dispatches: number;
  /** Made after the warm-up, for batches that had been seen. */
  readonly created: Created;
  /** Made behind that, while batches grew from half of their size to one and a half. */
  readonly createdWhileGrowing: Created;
  /** Share of the time in which the GPU works, null where the adapter has no timestamps. */
  readonly busy: {
    /** Each step waits for the numbers of the one before it. */
    readonly inTurn: number;
    /** Two in flight, as the mini-batches of a step of GRPO are. */
    readonly inPairs: number;
  } | null;
}

/** How to measure. */
export interface SteadyOptions {
  readonly steps?: number;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

/** What is to hold, as in {@linkcode misses}. */
const TARGETS = { heapPerStep: 1e6, residentChange: 0.02 };
/** Sequences per step; 41 tokens long on average. */
const SEQUENCES = 48;
const WARMUP = 100;
/** Steps under a profile of the heap, and of the GPU. */
const PROFILED = 60;
const LEARNING_RATE = 2.5e-4;
/**
 * V8 doubles its young generation when it sees fit, up to three times 16 MB: that would be a change of
 * the resident set of which no step is the cause.
 */
const V8 = "--expose-gc,--max-semi-space-size=4";

/**
 * Runs `steps` steps in a process of their own.
 *
 * @throws {RangeError} if there are fewer than two steps: one is to warm up, one to measure.
 * @throws {Error} if that process fails; its messages are on stderr.
 */
export async function steady(
  { steps = 500, onProgress = () => {} }: SteadyOptions = {},
): Promise<SteadyReport> {
  if (!Number.isInteger(steps) || steps < 2) {
    throw new RangeError(`Cannot measure ${steps} steps: a steady state takes two or more`);
  }
  const path = (file: string) => fromFileUrl(new URL(file, import.meta.url));
  const flags = ["run", "-A", "--no-prompt", "--config", path("../deno.json")];
  const child = new Deno.Command(Deno.execPath(), {
    args: [...flags, `--v8-flags=${V8}`, path("steady.ts"), "--child", `--steps=${steps}`],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let report: SteadyReport | undefined;
  for await (const line of lines(child.stdout)) {
    const message = JSON.parse(line) as { progress: string } | { report: SteadyReport };
    if ("progress" in message) onProgress(message.progress);
    else report = message.report;
  }
  const { code } = await child.status;
  if (!report) throw new Error(`Cannot measure a steady state: the process ended with ${code}`);
  return report;
}

/** What exceeds its target, for people; empty where all is well. */
export function misses({ heap, residentSet, created, submits }: SteadyReport): string[] {
  const found: string[] = [];
  if (heap.allocatedPerStep > TARGETS.heapPerStep) {
    found.push(`${kilobytes(heap.allocatedPerStep)} of heap per step, the target is 1,000 kB`);
  }
  const change = residentSet.atEnd / residentSet.afterWarmup - 1;
  if (Math.abs(change) > TARGETS.residentChange) {
    found.push(`the resident set changed by ${percent(change)}, the target is 2 %`);
  }
  if (created.buffers + created.bindGroups > 0) found.push(`${made(created)}, the target is 0`);
  if (submits !== 1) found.push(`${submits} submits per step, the target is 1`);
  return found;
}

/** The whole measurement, in the process that is made for it. */
async function measure(steps: number, say: (text: string) => void): Promise<SteadyReport> {
  const warmup = Math.min(WARMUP, Math.floor(steps / 2));
  const known = makeBatches(0, warmup);
  const tokens = known.flat().reduce((sum, { ids }) => sum + ids.length, 0);
  const main = await mainRun(known, steps, say);
  say("timestamps of the GPU");
  const busy = await gpuBusy(known.slice(0, PROFILED));
  return { steps, warmup, tokensPerStep: tokens / warmup, ...main, busy };
}

/** A batch of `sequences(step)` traces for each of `count` steps, as pretraining has them. */
function makeBatches(
  seed: number,
  count: number,
  sequences: (step: number) => number = () => SEQUENCES,
): MaskedSequence[][] {
  const chat = compactChat(Tokenizer.bytes());
  const trace = (step: number, i: number) => flawedTrace(chat, seed, 2 * step * SEQUENCES + i);
  return Array.from(
    { length: count },
    (_, step) => Array.from({ length: sequences(step) }, (_, i) => trace(step, i)),
  );
}

async function mainRun(
  known: readonly MaskedSequence[][],
  steps: number,
  say: (text: string) => void,
): Promise<Omit<SteadyReport, "steps" | "warmup" | "tokensPerStep" | "busy">> {
  using gpu = await Gpu.open();
  using model = await loadBase(gpu);
  using learner = new Learner(model, adamw);
  const warmup = known.length;
  const count = steps - warmup;
  const train = async (batches: readonly MaskedSequence[][]) => {
    for (const batch of batches) await trainStep(learner, batch, LEARNING_RATE).metrics();
  };
  say(`${warmup} steps of warm-up`);
  await train(known);
  const before = state(gpu);

  const times = new Float64Array(count);
  let [allocated, external] = [0, 0];
  let last = Deno.memoryUsage();
  for (let step = 0; step < count; step++) {
    if (step % 100 === 0) say(`step ${warmup + step} of ${steps}`);
    const start = performance.now();
    await trainStep(learner, known[step % warmup]!, LEARNING_RATE).metrics();
    times[step] = performance.now() - start;
    const now = Deno.memoryUsage();
    allocated += Math.max(0, now.heapUsed - last.heapUsed);
    external += Math.max(0, now.external - last.external);
    last = now;
  }
  const after = state(gpu);

  say("a profile of the heap");
  const again = known.slice(0, PROFILED);
  const profile = await heapProfile(again.length, () => train(again));
  say("batches of other sizes");
  const growing = makeBatches(1, warmup, (step) => Math.ceil(SEQUENCES * (0.5 + step / warmup)));
  const beforeGrowing = state(gpu);
  await train(growing);
  return {
    adapter: gpu.info.description,
    medianMs: median([...times]),
    heap: {
      allocatedPerStep: allocated / count,
      externalPerStep: external / count,
      retainedPerStep: (after.heapUsed - before.heapUsed) / count,
      ...profile,
    },
    residentSet: { afterWarmup: before.rss, atEnd: after.rss },
    submits: (after.submits - before.submits) / count,
    dispatches: (after.dispatches - before.dispatches) / count,
    created: createdBetween(before, after),
    createdWhileGrowing: createdBetween(beforeGrowing, state(gpu)),
  };
}

/** Resident set, then heap after a full collection, and what the GPU counts. */
function state(gpu: Gpu) {
  const { rss } = Deno.memoryUsage();
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed } = Deno.memoryUsage();
  return { rss, heapUsed, ...gpu.stats(), ...gpu.memory() };
}

function createdBetween(
  before: ReturnType<typeof state>,
  after: ReturnType<typeof state>,
): Created {
  return {
    buffers: after.created - before.created,
    bytes: after.liveBytes - before.liveBytes,
    bindGroups: after.bindGroups - before.bindGroups,
  };
}

function loadBase(gpu: Gpu): Promise<Decoder> {
  return Decoder.load(gpu, fromFileUrl(new URL("../assets/base-nano", import.meta.url)));
}

/** Not every adapter has timestamps. */
async function openProfiled(): Promise<Gpu | null> {
  try {
    return await Gpu.open({ profile: "submits" });
  } catch (error) {
    if (error instanceof GpuUnavailableError) return null;
    throw error;
  }
}

/** Shares of the time in which the GPU worked, from timestamps around each submit. */
async function gpuBusy(batches: readonly MaskedSequence[][]): Promise<SteadyReport["busy"]> {
  using gpu = await openProfiled();
  if (!gpu) return null;
  using model = await loadBase(gpu);
  using learner = new Learner(model, adamw);
  const share = async (inFlight: number) => {
    await gpu.profile();
    const start = performance.now();
    const running: Update[] = [];
    for (const batch of batches) {
      running.push(trainStep(learner, batch, LEARNING_RATE));
      if (running.length === inFlight) await running.shift()!.metrics();
    }
    for (const update of running) await update.metrics();
    const wall = performance.now() - start;
    const spans = await gpu.profile();
    return spans.reduce((sum, { start, end }) => sum + end - start, 0) / wall;
  };
  await share(2); // warm-up
  return { inTurn: await share(1), inPairs: await share(2) };
}

const kilobytes = (bytes: number) =>
  `${(bytes / 1000).toLocaleString("en-US", { maximumFractionDigits: 1 })} kB`;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

const made = ({ buffers, bytes, bindGroups }: Created) =>
  `${buffers} buffers (${kilobytes(bytes)}) and ${bindGroups} bind groups made`;

/** The report as a table. */
export function renderSteady(report: SteadyReport): string {
  const { steps, warmup, heap, residentSet, busy } = report;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const found = misses(report);
  const rows = [
    ["run", `${steps} steps of ${report.tokensPerStep.toFixed(0)} tokens on ${report.adapter}`],
    ["step", `${report.medianMs.toFixed(1)} ms`],
    ["GPU busy", busy ? `${percent(busy.inTurn)}, ${percent(busy.inPairs)} in pairs` : "unknown"],
    [
      "heap per step",
      `${kilobytes(heap.allocatedPerStep)} (${kilobytes(heap.sampledPerStep)} by sampling)`,
    ],
    ...heap.allocators.map(({ where, bytesPerStep }) => [
      "",
      `${kilobytes(bytesPerStep).padStart(8)} ${where}`,
    ]),
    ["of it kept", kilobytes(heap.retainedPerStep)],
    ["outside of it", kilobytes(heap.externalPerStep)],
    [
      "resident set",
      `${megabytes(residentSet.afterWarmup)} after ${warmup} steps, ` +
      `${megabytes(residentSet.atEnd)} after ${steps}`,
    ],
    ["per step", `${report.submits} submits, ${report.dispatches.toFixed(1)} dispatches`],
    ["after warm-up", made(report.created)],
    ["other sizes", made(report.createdWhileGrowing)],
    ["targets", found.length > 0 ? `missed: ${found.join("; ")}` : "met"],
  ];
  return renderTable(rows, []);
}

if (import.meta.main) {
  const { child, json, steps } = parseArgs(Deno.args, {
    boolean: ["child", "json"],
    string: ["steps"],
  });
  const count = steps === undefined ? 500 : Number(steps);
  if (child) {
    const print = (message: object) => console.log(JSON.stringify(message));
    print({ report: await measure(count, (progress) => print({ progress })) });
  } else {
    const report = await steady({ steps: count, onProgress: (text) => console.error(text) });
    console.log(json ? JSON.stringify(report, null, 2) : renderSteady(report));
  }
}
