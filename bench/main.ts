/**
 * `./mentor bench`: how fast this machine is, and how near to what it could be.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { dirname } from "@std/path";
import { Gpu } from "../src/gpu/device.ts";
import { GpuUnavailableError } from "../src/gpu/errors.ts";
import { Progress } from "../src/run/progress.ts";
import { compareWithBaseline, readReport } from "./baseline.ts";
import { checkpoints, renderCheckpoints } from "./checkpoints.ts";
import { kernels } from "./kernels.ts";
import { peers } from "./peers.ts";
import { recipe } from "./recipe.ts";
import { growth, renderGrowth, writeGrowthPlots } from "./growth.ts";
import { load } from "./load/load.ts";
import { renderLoad } from "./load/report.ts";
import { renderSandbox, sandbox } from "./sandbox.ts";
import { serving } from "./serving.ts";
import { renderSteady, steady } from "./steady.ts";
import {
  type BenchReport,
  type BenchRow,
  renderRows,
  renderSkipped,
  type Skipped,
} from "./report.ts";
import { taskFiles } from "./task_files.ts";
import { renderTuning, tune } from "./tune.ts";

/** What `./mentor bench --help` prints. */
export const usage = `Usage: ./mentor bench [PART] [WORK...] [flags]
       ./mentor bench models FILE.gguf... [flags]

  kernels   every kernel against a copy and multiply-adds in registers on this adapter
  step      a training step of a small GPT beside jax-js, tfjs and PyTorch, and a GRPO step of the
            embedded recipe by its parts
  rollout   decoding 1, 16 and 64 sequences with a key/value cache, beside PyTorch
  peers     everything that other libraries can do, too, or the works named: matmul:N, rmsnorm,
            attention, lmhead, adamw, step, decode:N
  growth    a step's time against tokens, sequence length, layers, width and vocabulary
  serving   completions over HTTP, 1, 8 and 32 at a time, beside the generator that makes them
  load      the server under load: what 200 clients that watch a run cost its training, and how long
            1,000 requests/s take meanwhile, beside an app that does nothing; four minutes
  steady    500 steps: JavaScript heap, resident memory, allocations, and how busy the GPU is
  tune      searches the knobs of the device class on this adapter, and prints the best
  sandbox   starting Python and JavaScript, calling them, and what comes of hostile code
  models    the GGUF files named, beside llama.cpp: perplexity, greedy tokens, time to the first
            token and tokens/s
  data      10,000 tasks, and the task files named: read, checked, and their references run
  all       kernels, step, rollout, peers, growth and steady, 10 to 14 minutes on two cores; the
            default

  --json            one document on stdout
  --save FILE       keeps the numbers as JSON
  --baseline FILE   compares with numbers of kernels, steps and rollouts that were kept
  --plots FOLDER    where growth draws its curves, as SVG
  --quick           fewer points and repetitions in growth, load, sandbox and models, 200 steps in steady
  --quiet           no progress

The libraries come from npm at the first run; PyTorch is taken if python3 has it. Contenders run in
turn, so that a busy machine slows all of them. Timings are medians; of kernels' shares, growth and
tune the fastest.`;

const partNames = [
  "kernels",
  "recipe",
  "peers",
  "growth",
  "serving",
  "load",
  "steady",
  "tune",
  "sandbox",
  "models",
  "data",
] as const;
type Part = typeof partNames[number];

/** What each word stands for, in the order in which it runs. */
const selections: Readonly<Record<string, readonly Part[]>> = {
  kernels: ["kernels"],
  step: ["recipe", "peers"],
  rollout: ["peers"],
  peers: ["peers"],
  growth: ["growth"],
  serving: ["serving"],
  load: ["load"],
  steady: ["steady"],
  tune: ["tune"],
  sandbox: ["sandbox"],
  models: ["models"],
  data: ["data"],
  all: ["kernels", "recipe", "peers", "growth", "steady"],
};

/** Works of the peers that a word stands for; the others stand for all. */
const works: Readonly<Record<string, readonly string[]>> = {
  step: ["step"],
  rollout: ["decode:1", "decode:16", "decode:64"],
};

/**
 * Runs one command line.
 *
 * @returns the exit code: 0 done, 1 failed, 2 bad usage
 */
export async function main(args: readonly string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    boolean: ["json", "quiet", "quick", "help"],
    string: ["save", "baseline", "plots"],
    alias: { help: "h" },
    unknown: (arg, key) => key === undefined ? true : (unknown.push(arg), false),
  });
  if (flags.help) {
    console.log(usage);
    return 0;
  }
  const [what = "all", ...named] = flags._.map(String);
  const tooMany = named.length > 0 && !["peers", "models", "data"].includes(what);
  const tooFew = named.length === 0 && what === "models";
  if (unknown.length > 0 || tooMany || tooFew || !Object.hasOwn(selections, what)) {
    const missing = tooFew ? ": name GGUF files" : "";
    console.error(`Cannot bench ${[what, ...named, ...unknown].join(" ")}${missing}\n\n${usage}`);
    return 2;
  }
  try {
    const { json, save, baseline } = flags;
    // Read first: a wrong name should not cost ten minutes.
    const then = baseline === undefined ? null : await readReport(baseline);
    if (save) await Deno.stat(dirname(save));
    if (flags.plots) await Deno.mkdir(flags.plots, { recursive: true });
    const bench = new Bench(named.length > 0 ? named : works[what], flags);
    for (const part of selections[what]!) await bench.run(part);
    const { document, text } = await bench.finish();
    console.log(json ? JSON.stringify(document, null, 2) : text);
    if (then) (json ? console.error : console.log)(`\n${compareWithBaseline(document, then)}`);
    if (save) await Deno.writeTextFile(save, `${JSON.stringify(document, null, 2)}\n`);
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}

/** Gathers what the parts find. */
class Bench {
  /** Works of the peers, all by default; or the files of models or tasks. */
  readonly #works: readonly string[] | undefined;
  readonly #flags: { readonly quiet: boolean; readonly quick: boolean; readonly plots?: string };
  readonly #rows: BenchRow[] = [];
  readonly #skipped: Skipped[] = [];
  readonly #documents: Partial<Record<Part, unknown>> = {};
  readonly #notes: string[] = [];
  readonly #texts: string[] = [];

  constructor(
    works: readonly string[] | undefined,
    flags: { readonly quiet: boolean; readonly quick: boolean; readonly plots?: string },
  ) {
    this.#works = works;
    this.#flags = flags;
  }

  /** Does a part; without the timestamps that some need, it is skipped. */
  async run(part: Part): Promise<void> {
    try {
      await this.#run(part);
    } catch (error) {
      if (!(error instanceof GpuUnavailableError)) throw error;
      this.#skipped.push({ work: part, contender: "mentor", reason: error.message });
    }
  }

  async #run(part: Part): Promise<void> {
    const { quick, plots } = this.#flags;
    switch (part) {
      case "kernels": {
        const { roofline, rows } = await kernels({ onProgress: this.#bar("kernels") });
        const [copied, computed] = [roofline.bandwidth / 1e9, roofline.flops / 1e9];
        this.#rows.push(...rows);
        this.#notes.push(
          `copy ${copied.toFixed(1)} GB/s, multiply-adds ${computed.toFixed(0)} GFLOP/s`,
        );
        break;
      }
      case "recipe":
        this.#rows.push(...await recipe({ onProgress: this.#bar("recipe") }));
        break;
      case "peers": {
        const found = await peers({ works: this.#works, onProgress: this.#say });
        this.#rows.push(...found.rows);
        this.#skipped.push(...found.skipped);
        break;
      }
      case "growth": {
        const report = await growth({ quick, onProgress: this.#say });
        this.#documents.growth = report;
        this.#texts.push(renderGrowth(report));
        if (plots) { for (const path of await writeGrowthPlots(report, plots)) this.#say(path); }
        break;
      }
      case "serving": {
        const repetitions = quick ? 3 : 7;
        this.#rows.push(...await serving({ repetitions, onProgress: this.#bar("serving") }));
        break;
      }
      case "load": {
        const report = await load({ quick, onProgress: this.#say });
        this.#documents.load = report;
        this.#texts.push(renderLoad(report));
        break;
      }
      case "steady": {
        const report = await steady({ steps: quick ? 200 : 500, onProgress: this.#say });
        this.#documents.steady = report;
        this.#texts.push(renderSteady(report));
        break;
      }
      case "tune": {
        const report = await tune({ onProgress: this.#bar("tune") });
        this.#documents.tune = report;
        this.#texts.push(renderTuning(report));
        break;
      }
      case "sandbox": {
        const reports = await sandbox({ repetitions: quick ? 2 : 5, onProgress: this.#say });
        this.#documents.sandbox = reports;
        this.#texts.push(renderSandbox(reports));
        break;
      }
      case "models": {
        const files = this.#works ?? [];
        const repetitions = quick ? 2 : 5;
        const found = await checkpoints({ files, repetitions, onProgress: this.#say });
        this.#documents.models = found.reports;
        this.#skipped.push(...found.skipped);
        this.#texts.push(renderCheckpoints(found.reports));
        break;
      }
      case "data":
        this.#rows.push(...await taskFiles({ files: this.#works, onProgress: this.#say }));
    }
  }

  async finish(): Promise<{ document: BenchReport; text: string }> {
    using gpu = await Gpu.open();
    const document: BenchReport = {
      adapter: gpu.info.description,
      date: new Date().toISOString(),
      rows: this.#rows,
      skipped: this.#skipped,
      ...this.#documents,
    };
    const skipped = renderSkipped(this.#skipped);
    const head = [`${document.adapter}, ${document.date.slice(0, 10)}`, ...this.#notes].join("\n");
    const rows = this.#rows.length > 0 ? [renderRows(this.#rows)] : [];
    const table = rows.length + skipped.length > 0 ? [[...rows, ...skipped].join("\n")] : [];
    return { document, text: [head, ...table, ...this.#texts].join("\n\n") };
  }

  readonly #say = (text: string): void => {
    if (!this.#flags.quiet) console.error(text);
  };

  /** A callback that draws a bar. */
  #bar(label: string) {
    const { quiet } = this.#flags;
    let shown: Progress | null = null;
    return (done: number, total: number, what: string) => {
      shown ??= new Progress({ label, total, quiet });
      shown.update(done, what === "" ? {} : { now: what });
      if (done === total) shown.finish();
    };
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
