/**
 * The pieces of a comparison: the base of a seed, and the runs of an arm.
 *
 * @module
 */

import { join } from "@std/path";
import { LogitsError } from "../../model/decode_slots.ts";
import type { Evaluation } from "../../rl/evaluate.ts";
import { DivergedError } from "../../rl/learner.ts";
import { ToolUnavailableError } from "../../tools/tool.ts";
import { type RunConfig, valueAt } from "../config/mod.ts";
import { readEvents, type RunEvent } from "../events.ts";
import { evaluate } from "../evaluate.ts";
import { makeBase } from "../pretrain.ts";
import type {
  ComparisonArm,
  ComparisonRun,
  DomainMeasures,
  FailedRun,
} from "../report/comparison.ts";
import { RunFolder } from "../store.ts";
import type { OnProgress } from "../student.ts";
import { train } from "../train.ts";
import { accountOf } from "./account.ts";
import { armConfig, CURVE, imitates, matchedSteps, type Regime, VALIDATION } from "./regime.ts";
import type { ComparisonFolder } from "./folder.ts";

/** How to watch and stop the work. */
export interface BenchOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/**
 * Does one piece of a comparison at a time, and keeps what came out. Aborting ends a piece with the
 * signal's reason; done again it goes on from there.
 */
export class Bench {
  readonly #folder: ComparisonFolder;
  readonly #regime: Regime;
  readonly #options: BenchOptions;

  constructor(folder: ComparisonFolder, regime: Regime, options: BenchOptions) {
    this.#folder = folder;
    this.#regime = regime;
    this.#options = options;
  }

  /** The scores of the model that a seed's arms start from. */
  async base(seed: number): Promise<DomainMeasures[]> {
    const kept = this.#folder.result<DomainMeasures[]>(seed, "base");
    if (kept) return kept;
    this.#stopIfAborted();
    const { given, shared } = this.#regime;
    if (!given && !isModel(this.#folder.base(seed))) {
      // Judged at length below.
      const evaluation = { ...shared.evaluation, prompts: this.#prompts(CURVE.prompts) };
      const config = { ...shared, seed, out: null, evaluation };
      const { signal } = this.#options;
      await makeBase(config, this.#folder.base(seed), this.#progress(seed, "base"), signal);
    }
    const scores = await this.#measure(this.#start(seed), seed, "base");
    this.#folder.keep(seed, "base", scores);
    return scores;
  }

  /** What came out of an arm with a seed. Training that diverges would do so again: that is kept. */
  async arm(arm: ComparisonArm, seed: number): Promise<ComparisonRun | FailedRun> {
    const kept = this.#folder.result<ComparisonRun | FailedRun>(seed, arm.name);
    if (kept) return kept;
    this.#stopIfAborted();
    let run: ComparisonRun | FailedRun;
    try {
      run = imitates(this.#regime.shared, arm)
        ? await this.#imitate(arm, seed)
        : await this.#reinforce(arm, seed);
    } catch (error) {
      if (!isDiverged(error)) throw error;
      run = { arm: arm.name, seed, failed: error.message };
    }
    this.#folder.keep(seed, arm.name, run);
    return run;
  }

  async #reinforce(arm: ComparisonArm, seed: number): Promise<ComparisonRun> {
    const path = this.#folder.run(seed, arm.name);
    const config = armConfig(this.#regime.shared, arm, this.#training(seed, path));
    const events = await this.#train(config, path, seed, arm.name);
    const domains = await this.#measure(join(path, "model"), seed, arm.name);
    return { arm: arm.name, ...accountOf(config, events), domains };
  }

  /** Trains at each learning rate, and takes the checkpoint that does best on validation prompts. */
  async #imitate(arm: ComparisonArm, seed: number): Promise<ComparisonRun> {
    const { shared, rates } = this.#regime;
    const matched = matchedSteps(armConfig(shared, arm));
    const own = valueAt(arm.settings, "sft.learningRate") as number | undefined;
    let best: { pass1: number; run: Omit<ComparisonRun, "domains">; model: string } | null = null;
    let failure: Error | null = null;
    let seconds = 0;
    for (const learningRate of own === undefined ? rates : [own]) {
      const path = this.#folder.run(seed, `${arm.name}-${learningRate}`);
      const training = this.#training(seed, path, matched);
      const config = armConfig(shared, arm, { ...training, sft: { learningRate } });
      try {
        const events = await this.#train(config, path, seed, arm.name);
        seconds += accountOf(config, events).seconds;
        for (const step of candidates(path, config)) {
          const model = RunFolder.open(path).checkpoint(step);
          const { pass1 } = await this.#validate(model, seed, arm.name);
          if (best && best.pass1 >= pass1) continue;
          const run = { arm: arm.name, ...accountOf(config, events, step), learningRate };
          best = { pass1, run, model };
        }
      } catch (error) {
        if (!isDiverged(error)) throw error;
        failure = error;
      }
    }
    if (!best) throw failure!;
    const domains = await this.#measure(best.model, seed, arm.name);
    return { ...best.run, seconds, domains };
  }

  /** Settings of a run of its own. */
  #training(seed: number, out: string, steps = this.#regime.shared.steps) {
    const every = Math.max(1, Math.round(steps / CURVE.points));
    return {
      ...{ seed, out, steps, warmupSft: 0, from: this.#start(seed) },
      evaluation: {
        ...this.#regime.shared.evaluation,
        prompts: this.#prompts(CURVE.prompts),
        everySteps: every,
      },
      checkpoint: { everySteps: every },
    };
  }

  /** Trains, or goes on with it. */
  async #train(config: RunConfig, path: string, seed: number, arm: string): Promise<RunEvent[]> {
    const done = finishedEvents(path);
    if (done) return done;
    this.#stopIfAborted();
    const progress = this.#progress(seed, arm);
    const resume = hasCheckpoint(path);
    // A run without a checkpoint is begun again.
    if (!resume) removeFolder(path);
    const { signal } = this.#options;
    const { status } = await train(
      resume ? { resume: path, tuning: config.tuning } : { ...config },
      {
        ...(signal ? { signal } : {}),
        onEvent: (event) => {
          if (event.type === "step") progress("train", event.step, config.steps);
        },
      },
    );
    if (status !== "done") throw signal!.reason;
    return readEvents(join(path, "events.jsonl"));
  }

  /** What a model does on the evaluation prompts. */
  async #measure(model: string, seed: number, arm: string): Promise<DomainMeasures[]> {
    const { rows, outcomes } = await this.#evaluate(model, seed, arm);
    return rows.map(({ name, split, partial, ...row }, i) => ({
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
      partial,
      outcomes: outcomes[i] as (0 | 1)[][],
    }));
  }

  /** pass@1 on prompts of the domains trained on that neither training nor evaluation sees. */
  async #validate(model: string, seed: number, arm: string): Promise<{ pass1: number }> {
    const { splits } = await this.#evaluate(model, seed, arm, this.#prompts(VALIDATION));
    return splits.find(({ split }) => split === "train")!;
  }

  async #evaluate(
    from: string,
    seed: number,
    arm: string,
    validation?: number,
  ): Promise<Evaluation> {
    const { signal } = this.#options;
    const found = await evaluate({ ...this.#regime.shared, seed, from, out: null }, {
      onProgress: this.#progress(seed, arm),
      ...(validation === undefined ? {} : { validation }),
      ...(signal ? { signal } : {}),
    });
    if (found.outage === null) return found;
    throw new ToolUnavailableError(
      `Cannot compare models on different prompts: ${found.outage}. ` +
        "Once the tool can be had again, the same command goes on from here",
    );
  }

  /** Prompts per domain and split of a brief evaluation: at most those of the last one. */
  #prompts(most: number): number {
    return Math.min(most, this.#regime.shared.evaluation.prompts);
  }

  #start(seed: number): string {
    return this.#regime.given ? this.#regime.shared.from : this.#folder.base(seed);
  }

  #stopIfAborted(): void {
    this.#options.signal?.throwIfAborted();
  }

  #progress(seed: number, arm: string): OnProgress {
    return (what, done, total) =>
      this.#options.onProgress?.(`seed ${seed} ${arm}: ${what}`, done, total);
  }
}

/** Whether training or sampling ran into something that is no number. */
function isDiverged(error: unknown): error is Error {
  return error instanceof DivergedError || error instanceof LogitsError;
}

/**
 * The steps to choose from: those that were due, and the last. Where a run was interrupted there may
 * be a checkpoint besides, which must not change what is chosen.
 */
export function candidates(
  path: string,
  { steps, checkpoint: { everySteps } }: RunConfig,
): number[] {
  return RunFolder.open(path).checkpoints()
    .filter((step) => step % everySteps === 0 || step === steps);
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
