/**
 * `./mentor bench`: how fast this machine is, and how near to what it could be.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { Gpu } from "../src/gpu/device.ts";
import { Progress } from "../src/run/progress.ts";
import { compareWithBaseline, readReport } from "./baseline.ts";
import { kernels } from "./kernels.ts";
import { peers } from "./peers.ts";
import { recipe } from "./recipe.ts";
import { type BenchReport, type BenchRow, renderRows } from "./report.ts";
import { renderTuning, tune } from "./tune.ts";

/** What `./mentor bench --help` prints. */
export const usage = `Usage: ./mentor bench [kernels|step|rollout|peers|tune|all] [flags]

  kernels   every kernel against a copy and multiply-adds in registers on this adapter
  step      a training step of a small GPT beside jax-js, tfjs and PyTorch, and a GRPO step of the
            embedded recipe by its parts
  rollout   decoding 1, 16 and 64 sequences with a key/value cache, beside PyTorch
  peers     everything that other libraries can do, too
  tune      searches the knobs of the device class on this adapter, and prints the best
  all       kernels, a GRPO step and peers; the default

  --json            one document on stdout
  --save FILE       keeps the numbers (or, of tune, the table's row), as JSON
  --baseline FILE   compares with numbers that were kept
  --quiet           no progress

The libraries come from npm at the first run; PyTorch is taken if python3 has it. Contenders run in
turn, so that a busy machine slows all of them. Timings are medians.`;

const STEP = ["step"];
const ROLLOUT = ["decode:1", "decode:16", "decode:64"];

/** Every part of the bench, in the order in which they run. */
const parts: Readonly<Record<string, readonly ("kernels" | "recipe" | "peers")[]>> = {
  kernels: ["kernels"],
  step: ["recipe", "peers"],
  rollout: ["peers"],
  peers: ["peers"],
  all: ["kernels", "recipe", "peers"],
};

/**
 * Runs one command line.
 *
 * @returns the exit code: 0 done, 1 failed, 2 bad usage
 */
export async function main(args: readonly string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    boolean: ["json", "quiet", "help"],
    string: ["save", "baseline"],
    alias: { help: "h" },
    unknown: (arg, key) => key === undefined ? true : (unknown.push(arg), false),
  });
  if (flags.help) {
    console.log(usage);
    return 0;
  }
  const [what = "all", ...rest] = flags._.map(String);
  if (unknown.length > 0 || rest.length > 0 || !(what in parts || what === "tune")) {
    console.error(`Cannot bench ${[what, ...rest, ...unknown].join(" ")}\n\n${usage}`);
    return 2;
  }
  try {
    const { json, quiet, save, baseline } = flags;
    const result = what === "tune"
      ? await runTune(quiet)
      : await runParts(what, quiet, baseline ?? null);
    if (save) await Deno.writeTextFile(save, `${JSON.stringify(result.document, null, 2)}\n`);
    console.log(json ? JSON.stringify(result.document, null, 2) : result.text);
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}

/** What was measured, for machines and for people. */
interface Outcome {
  readonly document: unknown;
  readonly text: string;
}

async function runTune(quiet: boolean): Promise<Outcome> {
  const document = await tune({ onProgress: bar("tune", quiet) });
  return { document, text: renderTuning(document) };
}

async function runParts(what: string, quiet: boolean, file: string | null): Promise<Outcome> {
  // Read first: a wrong name should not cost ten minutes.
  const baseline = file === null ? null : await readReport(file);
  const rows: BenchRow[] = [];
  const skipped: { work: string; contender: string; reason: string }[] = [];
  const notes: string[] = [];
  for (const part of parts[what]!) {
    if (part === "kernels") {
      const { roofline, rows: found } = await kernels({ onProgress: bar("kernels", quiet) });
      rows.push(...found);
      notes.push(
        `copy ${(roofline.bandwidth / 1e9).toFixed(1)} GB/s, ` +
          `multiply-adds ${(roofline.flops / 1e9).toFixed(0)} GFLOP/s`,
      );
    } else if (part === "recipe") {
      rows.push(...await recipe({ onProgress: bar("recipe", quiet) }));
    } else {
      const works = what === "step" ? STEP : what === "rollout" ? ROLLOUT : undefined;
      const onProgress = (text: string) => quiet ? undefined : console.error(text);
      const found = await peers({ works, onProgress });
      rows.push(...found.rows);
      skipped.push(...found.skipped);
    }
  }
  const document: BenchReport = {
    adapter: await adapterName(),
    date: new Date().toISOString(),
    rows,
    skipped,
  };
  const lines = [`${document.adapter}, ${document.date.slice(0, 10)}`, ...notes, renderRows(rows)];
  for (const { work, contender, reason } of skipped) {
    lines.push(`skipped: ${contender} at ${work}: ${reason}`);
  }
  if (baseline) lines.push("", compareWithBaseline(document, baseline));
  return { document, text: lines.join("\n") };
}

async function adapterName(): Promise<string> {
  using gpu = await Gpu.open();
  return gpu.info.description;
}

/** A callback that draws a bar. */
function bar(label: string, quiet: boolean) {
  let shown: Progress | null = null;
  return (done: number, total: number, what: string) => {
    shown ??= new Progress({ label, total, quiet });
    shown.update(done, what === "" ? {} : { now: what });
    if (done === total) shown.finish();
  };
}

if (import.meta.main) Deno.exit(await main(Deno.args));
