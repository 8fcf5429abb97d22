/**
 * Comparing ways of training: every arm from the same model, on the same prompts, with the same
 * budget, over several seeds.
 *
 * @module
 */

import { openAdapter } from "../adapter.ts";
import { ConfigError, configJson, type RunConfig } from "../config/mod.ts";
import type { Comparison, ComparisonRun, FailedRun } from "../report/comparison.ts";
import type { OnProgress } from "../student.ts";
import { requireValidation } from "../tasks/source.ts";
import { armNames, armsNamed } from "./arms.ts";
import { Bench } from "./bench.ts";
import { contentsOf } from "./contents.ts";
import { ComparisonFolder } from "./folder.ts";
import { judgeBases, warnOfBases } from "./gate.ts";
import { type Bases, conclude, judgeHypotheses } from "./hypotheses.ts";
import {
  commandOf,
  CURVE,
  imitates,
  type Regime,
  regimeOf,
  regimeText,
  VALIDATION,
} from "./regime.ts";
import { differences, summarize } from "./statistics.ts";

/** What to compare, and how to watch it. */
export interface CompareOptions {
  /** Names of arms, or paths of config files; all arms by default. */
  readonly arms?: readonly string[];
  /** How many seeds, from that of the config on; default 5. More may be asked for later. */
  readonly seeds?: number;
  /** Aborting ends it after the step in progress; the same call goes on from there. */
  readonly signal?: AbortSignal;
  /** Called as steps and episodes end. */
  readonly onProgress?: OnProgress;
}

/** A comparison that is done, or was stopped. */
export interface CompareResult {
  /** Its folder. */
  readonly folder: string;
  /** What came out; null if it was stopped. */
  readonly comparison: Comparison | null;
}

/**
 * Runs what is not done yet of a comparison. What is done is summarised again, so that the same call
 * with the same folder gives the same result.
 *
 * @example
 * ```ts ignore
 * const { comparison } = await compare({ out: "comparison" }, { seeds: 3, arms: ["sft", "flex"] });
 * ```
 * @param input settings that all arms share; they win over the regime's own
 * @throws {ConfigError} if settings or arms are not usable, or the folder holds another comparison.
 * @throws {CheckpointError} if files cannot be read or written, or another process is at work in the
 * folder; nothing is half-written.
 */
export async function compare(
  input: Readonly<Record<string, unknown>> = {},
  { arms: list = armNames, seeds = 5, signal, onProgress }: CompareOptions = {},
): Promise<CompareResult> {
  if (!(Number.isSafeInteger(seeds) && seeds > 0)) {
    throw new ConfigError(`Cannot compare over ${seeds} seeds: give a whole number above 0`);
  }
  const regime = regimeOf(input, armsNamed(list));
  const { shared, arms } = regime;
  if (arms.some((arm) => imitates(shared, arm))) await requireValidation(shared);
  const adapter = await adapterOf(shared);
  const path = shared.out ?? "comparison";
  using folder = new ComparisonFolder(path, await settingsOf(regime, adapter));
  const bench = new Bench(folder, regime, { signal, onProgress });
  const runs: ComparisonRun[] = [];
  const failed: FailedRun[] = [];
  const bases: Bases[number][] = [];
  try {
    for (let seed = shared.seed; seed < shared.seed + seeds; seed++) {
      bases.push({ seed, domains: await bench.base(seed) });
      for (const arm of arms) {
        const run = await bench.arm(arm, seed);
        if ("failed" in run) failed.push(run);
        else runs.push(run);
      }
    }
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return { folder: path, comparison: null };
    throw error;
  }
  const hypotheses = judgeHypotheses(runs, bases);
  const gates = judgeBases(bases);
  const conclusion = [conclude(hypotheses, seeds), warnOfFailed(failed), warnOfBases(gates)];
  const comparison: Comparison = {
    regime: regimeText(regime),
    command: commandOf(input, list, seeds),
    adapter,
    seeds: bases.map(({ seed }) => seed),
    arms,
    runs,
    failed,
    base: bases.map(({ domains }) => domains),
    gates,
    summary: summarize(runs),
    differences: differences(runs),
    hypotheses,
    conclusion: conclusion.filter((sentence) => sentence !== "").join(" "),
  };
  folder.finish(comparison);
  return { folder: path, comparison };
}

/** All that decides the numbers of a seed. How many seeds there are does not. */
async function settingsOf(regime: Regime, adapter: string): Promise<Record<string, unknown>> {
  return {
    ...JSON.parse(configJson({ ...regime.shared, out: null })),
    arms: regime.arms.map(({ name, settings }) => ({ name, settings })),
    imitationRates: regime.rates,
    curve: CURVE,
    validation: VALIDATION,
    contents: await contentsOf(regime),
    adapter,
  };
}

/** The adapter's description: on another one single answers differ. */
async function adapterOf(config: RunConfig): Promise<string> {
  using gpu = await openAdapter(config);
  return gpu.info.description;
}

function warnOfFailed(failed: readonly FailedRun[]): string {
  if (failed.length === 0) return "";
  const names = failed.map(({ arm, seed }) => `${arm} with seed ${seed}`).join(", ");
  return `Training diverged in ${names}; that is left out.`;
}
