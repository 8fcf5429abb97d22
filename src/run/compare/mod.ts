/**
 * Comparing ways of training: every arm from the same model, on the same prompts, with the same
 * budget, over several seeds.
 *
 * @module
 */

import { join } from "@std/path";
import type { Evaluation } from "../../rl/evaluate.ts";
import { ConfigError, configJson, resolveConfig, type RunConfig } from "../config.ts";
import { readEvents, type RunEvent } from "../events.ts";
import { evaluate } from "../evaluate.ts";
import { makeBase } from "../pretrain.ts";
import type {
  Comparison,
  ComparisonArm,
  ComparisonRun,
  DomainMeasures,
} from "../report/comparison.ts";
import { RunFolder } from "../store.ts";
import type { OnProgress } from "../student.ts";
import { train } from "../train.ts";
import { accountOf } from "./account.ts";
import { armNames, armsNamed, imitationRates, regime, regimeText } from "./arms.ts";
import { ComparisonFolder } from "./folder.ts";
import { conclude, judgeHypotheses } from "./hypotheses.ts";
import { differences, summarize } from "./statistics.ts";

/** What to compare, and how to watch it. */
export interface CompareOptions {
  /** Names of arms, or paths of config files; all arms by default. */
  readonly arms?: readonly string[];
  /** How many seeds, from that of the config on; default 5. */
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

/** Evaluations on the way: prompts per domain and split, and how many times. */
const CURVE = { prompts: 8, points: 10 };
/** Prompts per domain on which imitation's learning rate and end are chosen. */
const VALIDATION = 24;

/**
 * Runs what is not done yet of a comparison.
 *
 * @example
 * ```ts ignore
 * const { comparison } = await compare({ out: "comparison" }, { seeds: 3, arms: ["sft", "flex"] });
 * ```
 * @param input settings that all arms share; they win over the regime's own
 * @throws {ConfigError} if settings or arms are not usable, or the folder holds another comparison.
 * @throws {CheckpointError} if files cannot be read or written; nothing is half-written.
 */
export async function compare(
  input: Readonly<Record<string, unknown>> = {},
  { arms: list = armNames, seeds = 5, signal, onProgress }: CompareOptions = {},
): Promise<CompareResult> {
  if (!(Number.isSafeInteger(seeds) && seeds > 0)) {
    throw new ConfigError(`Cannot compare over ${seeds} seeds: give a whole number above 0`);
  }
  const arms = armsNamed(list);
  const shared = resolveConfig({ preset: regime, flags: input });
  const given = input.from !== undefined;
  // Every arm is resolved before the first one runs.
  for (const arm of arms) armConfig(shared, arm, {});
  const numbers = Array.from({ length: seeds }, (_, i) => shared.seed + i);
  const folder = new ComparisonFolder(shared.out ?? "comparison", {
    ...JSON.parse(configJson({ ...shared, out: null })),
    arms,
    seeds: numbers,
  });
  const bench = new Bench(folder, shared, given, signal, onProgress);
  const [runs, bases]: [ComparisonRun[], DomainMeasures[][]] = [[], []];
  for (const seed of numbers) {
    const base = await bench.base(seed);
    if (!base) return { folder: folder.path, comparison: null };
    bases.push(base);
    for (const arm of arms) {
      const run = await bench.arm(arm, seed);
      if (!run) return { folder: folder.path, comparison: null };
      runs.push(run);
    }
  }
  const hypotheses = judgeHypotheses(
    runs,
    bases.map((domains, i) => ({ seed: numbers[i]!, domains })),
  );
  const comparison: Comparison = {
    regime: regimeText,
    adapter: adapterOf(folder, numbers[0]!, arms[0]!),
    seeds: numbers,
    arms,
    runs,
    base: bases,
    summary: summarize(runs),
    differences: differences(runs),
    hypotheses,
    conclusion: conclude(hypotheses, seeds),
  };
  folder.finish(comparison);
  return { folder: folder.path, comparison };
}

/** Does one piece of a comparison at a time, and keeps what came out. */
class Bench {
  readonly #folder: ComparisonFolder;
  readonly #shared: RunConfig;
  /** Whether the model to start from was given; else each seed makes its own. */
  readonly #given: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: OnProgress | undefined;

  constructor(
    folder: ComparisonFolder,
    shared: RunConfig,
    given: boolean,
    signal: AbortSignal | undefined,
    onProgress: OnProgress | undefined,
  ) {
    this.#folder = folder;
    this.#shared = shared;
    this.#given = given;
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  /** The scores of the model that a seed's arms start from; null if stopped before that is made. */
  async base(seed: number): Promise<DomainMeasures[] | null> {
    const kept = this.#folder.result<DomainMeasures[]>(seed, "base");
    if (kept) return kept;
    if (this.#signal?.aborted) return null;
    if (!this.#given && !isModel(this.#folder.base(seed))) {
      const config = { ...this.#shared, seed, out: null };
      // Judged at length below.
      const briefly = {
        ...config,
        evaluation: { ...config.evaluation, prompts: this.#prompts(CURVE.prompts) },
      };
      await makeBase(briefly, this.#folder.base(seed), this.#progress(seed, "base"));
    }
    const scores = await this.#measure(this.#start(seed), seed, "base");
    this.#folder.keep(seed, "base", scores);
    return scores;
  }

  /** What came out of an arm with a seed; null if stopped before its end. */
  async arm(arm: ComparisonArm, seed: number): Promise<ComparisonRun | null> {
    const kept = this.#folder.result<ComparisonRun>(seed, arm.name);
    if (kept) return kept;
    const imitates = armConfig(this.#shared, arm, {}).method === "sft";
    const run = imitates ? await this.#imitate(arm, seed) : await this.#reinforce(arm, seed);
    if (run) this.#folder.keep(seed, arm.name, run);
    return run;
  }

  async #reinforce(arm: ComparisonArm, seed: number): Promise<ComparisonRun | null> {
    const path = this.#folder.run(seed, arm.name);
    const config = armConfig(this.#shared, arm, this.#training(seed, path));
    const events = await this.#train(config, path, seed, arm.name);
    if (!events) return null;
    const domains = await this.#measure(join(path, "model"), seed, arm.name);
    return { arm: arm.name, ...accountOf(config, events), domains };
  }

  /** Trains at each learning rate, and takes the checkpoint that does best on validation prompts. */
  async #imitate(arm: ComparisonArm, seed: number): Promise<ComparisonRun | null> {
    const { steps, rollout, sft } = armConfig(this.#shared, arm, {});
    // As many training sequences as there are episodes in the other arms.
    const matched = Math.ceil(steps * rollout.prompts * rollout.group / sft.batch);
    const rates = arm.settings.sft === undefined ? imitationRates : [sft.learningRate];
    let best: { pass1: number; run: ComparisonRun; model: string } | null = null;
    for (const learningRate of rates) {
      const path = this.#folder.run(seed, `${arm.name}-${learningRate}`);
      const training = this.#training(seed, path, matched);
      const config = armConfig(this.#shared, arm, { ...training, sft: { ...sft, learningRate } });
      const events = await this.#train(config, path, seed, arm.name);
      if (!events) return null;
      const account = accountOf(config, events);
      for (const step of RunFolder.open(path).checkpoints()) {
        const model = RunFolder.open(path).checkpoint(step);
        const { pass1 } = await this.#validate(model, seed, arm.name);
        if (best && best.pass1 >= pass1) continue;
        const curve = account.curve.filter((point) => point.step <= step);
        const run = { arm: arm.name, ...account, steps: step, curve, domains: [] };
        best = { pass1, run, model };
      }
    }
    const domains = await this.#measure(best!.model, seed, arm.name);
    return { ...best!.run, domains };
  }

  /** Settings of a run of its own. */
  #training(seed: number, out: string, steps = this.#shared.steps): Record<string, unknown> {
    const every = Math.max(1, Math.round(steps / CURVE.points));
    return {
      ...{ seed, out, steps, warmupSft: 0, from: this.#start(seed) },
      evaluation: {
        ...this.#shared.evaluation,
        prompts: this.#prompts(CURVE.prompts),
        everySteps: every,
      },
      checkpoint: { everySteps: every },
    };
  }

  /** Trains, or goes on with it; null if that was stopped. */
  async #train(
    config: RunConfig,
    path: string,
    seed: number,
    arm: string,
  ): Promise<RunEvent[] | null> {
    const done = finishedEvents(path);
    if (done) return done;
    if (this.#signal?.aborted) return null;
    const progress = this.#progress(seed, arm);
    const resume = hasCheckpoint(path);
    // A run without a checkpoint is begun again.
    if (!resume) removeFolder(path);
    const { status } = await train(
      resume ? { resume: path, tuning: config.tuning } : { ...config },
      {
        ...(this.#signal ? { signal: this.#signal } : {}),
        onEvent: (event) => {
          if (event.type === "step") progress("train", event.step, config.steps);
        },
      },
    );
    return status === "done" ? readEvents(join(path, "events.jsonl")) : null;
  }

  /** What a model does on the evaluation prompts. */
  async #measure(model: string, seed: number, arm: string): Promise<DomainMeasures[]> {
    const evaluation = await this.#evaluate(model, seed, arm, this.#prompts(Infinity));
    return evaluation.rows.map(({ name, split, ...row }, i) => ({
      name,
      split,
      measures: {
        pass1: row.pass1,
        greedy: row.greedy,
        validity: row.validity,
        similarity: row.similarity,
        calls: row.calls,
        toolF1: row.toolF1,
      },
      outcomes: evaluation.outcomes[i] as (0 | 1)[][],
    }));
  }

  /** pass@1 on prompts of the domains trained on that neither training nor evaluation sees. */
  async #validate(model: string, seed: number, arm: string): Promise<{ pass1: number }> {
    const { splits } = await this.#evaluate(
      model,
      seed,
      arm,
      this.#prompts(VALIDATION),
      "validation",
    );
    return splits.find(({ split }) => split === "train")!;
  }

  #evaluate(
    from: string,
    seed: number,
    arm: string,
    prompts: number,
    suite: "evaluation" | "validation" = "evaluation",
  ): Promise<Evaluation> {
    const { evaluation } = this.#shared;
    const config = { ...this.#shared, seed, from, evaluation: { ...evaluation, prompts } };
    return evaluate({ ...config, out: null }, { onProgress: this.#progress(seed, arm), suite });
  }

  /** Prompts per domain and split of an evaluation: at most those of the last one. */
  #prompts(most: number): number {
    return Math.min(most, this.#shared.evaluation.prompts);
  }

  #start(seed: number): string {
    return this.#given ? this.#shared.from : this.#folder.base(seed);
  }

  #progress(seed: number, arm: string): OnProgress {
    return (what, done, total) => this.#onProgress?.(`seed ${seed} ${arm}: ${what}`, done, total);
  }
}

/** The config of an arm: the shared one, the arm's own settings, and what the occasion asks for. */
function armConfig(
  shared: RunConfig,
  { name, settings }: ComparisonArm,
  own: Readonly<Record<string, unknown>>,
): RunConfig {
  try {
    return resolveConfig({ preset: shared, file: settings, flags: own });
  } catch (error) {
    throw new ConfigError(`Arm "${name}": ${(error as Error).message}`, { cause: error });
  }
}

/** The events of a run that is done; null if it isn't. */
function finishedEvents(path: string): RunEvent[] | null {
  try {
    const events = readEvents(join(path, "events.jsonl"));
    const last = events.at(-1);
    return last?.type === "run-end" && last.status === "done" ? events : null;
  } catch {
    return null;
  }
}

function hasCheckpoint(path: string): boolean {
  try {
    return RunFolder.open(path).checkpoints().length > 0;
  } catch {
    return false;
  }
}

function removeFolder(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function isModel(path: string): boolean {
  try {
    return Deno.statSync(join(path, "config.json")).isFile;
  } catch {
    return false;
  }
}

function adapterOf(folder: ComparisonFolder, seed: number, arm: ComparisonArm): string {
  const names = [arm.name, ...imitationRates.map((rate) => `${arm.name}-${rate}`)];
  for (const name of names) {
    const start = finishedEvents(folder.run(seed, name))?.find(({ type }) => type === "run-start");
    if (start?.type === "run-start") return start.adapter;
  }
  return "unknown";
}
