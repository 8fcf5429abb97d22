/**
 * The main job: from a config to a trained student, its folder and its numbers.
 *
 * @module
 */

import { join } from "@std/path";
import type { Gpu } from "../gpu/device.ts";
import type { ProfileDetail } from "../gpu/profiler.ts";
import { JsonlWriter } from "../io/jsonl.ts";
import { LogitsError } from "../model/decode_slots.ts";
import { warmupCosine } from "../optim/schedule.ts";
import type { Generator } from "../model/generator.ts";
import { StepsAhead } from "../rl/ahead.ts";
import { type GrpoContext, grpoStep } from "../rl/grpo.ts";
import { DivergedError, Learner } from "../rl/learner.ts";
import { mentorReward } from "../rl/reward.ts";
import { demonstration, sftStep } from "../rl/sft.ts";
import { openAdapter } from "./adapter.ts";
import { restoreOptimizer, saveCheckpoint } from "./checkpoint.ts";
import { resolveConfig, type RunConfig, warmupSteps } from "./config.ts";
import { episodeRecord } from "./episode_record.ts";
import { type EventListener, EventLog, readEvents, type RunEventBody } from "./events.ts";
import { compareEvaluations, type DomainResult, evaluateTasks, openGenerator } from "./evaluate.ts";
import { requireFit } from "./plan.ts";
import { pretrainStudent } from "./pretrain.ts";
import { type Phases, type Profile, RunProfile, unprofiled } from "./profile.ts";
import { RunFolder } from "./store.ts";
import { loadStudent, newStudent, referencePolicy, saveStudent, type Student } from "./student.ts";
import { openTasks, type TaskSource } from "./tasks.ts";

/** How to watch and stop a run. */
export interface TrainOptions {
  /** Aborting finishes the step, saves a checkpoint and ends the run as stopped. */
  readonly signal?: AbortSignal;
  /** Called with every event. */
  readonly onEvent?: EventListener;
  /** Called while something long goes on between events. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
  /** Folder of runs that are not told where to go. */
  readonly runs?: string;
  /** Measure where the time goes, by kernel or by submit; leaves `profile.json` in the folder. */
  readonly profile?: ProfileDetail;
}

/** What a run came to. */
export interface RunResult {
  /** The run's folder. */
  readonly run: string;
  /** `stopped` can be resumed. */
  readonly status: "done" | "stopped";
  /** Wall-clock time of this process's part. */
  readonly seconds: number;
  /** The seed it was run with. */
  readonly seed: number;
  /** Most bytes of the GPU that it took at once. */
  readonly peakBytes: number;
  /** Folder of the trained model, or of the checkpoint to go on from. */
  readonly model: string;
  /** Scores before and after; empty without evaluation, or if it was stopped. */
  readonly domains: readonly DomainResult[];
  /** Where the time went, if that was asked for. */
  readonly profile?: Profile;
}

/**
 * Trains a student as the config says; see `./mentor train --help` for every setting.
 *
 * @example
 * ```ts ignore
 * const result = await train({ steps: 20, seed: 1 }, { onEvent: console.log });
 * ```
 * @throws {ConfigError} if the config is not usable.
 * @throws {CheckpointError} if files cannot be read or written; nothing is half-written.
 * @throws {DivergedError} if loss or gradient stop being numbers; the last checkpoint is kept.
 * @throws {GpuUnavailableError} if no adapter will do, or it cannot be profiled as asked.
 */
export async function train(
  input: Readonly<Record<string, unknown>> = {},
  options: TrainOptions = {},
): Promise<RunResult> {
  const given = resolveConfig({ flags: input });
  const folder = given.resume ? RunFolder.open(given.resume) : null;
  // Workgroup shapes belong to the machine rather than to the run.
  const config = folder ? { ...folder.config, tuning: given.tuning } : given;
  using gpu = await openAdapter(config, { profile: options.profile });
  const resumeAt = folder ? folder.lastCheckpoint() : 0;
  const { from, size, seed, lora, dtype, chat } = config;
  const { onProgress } = options;
  if (!folder) await requireFit(gpu, config, options.onProgress);
  const loading = { train: true, lora, chat, dtype, seed, onProgress };
  using student = folder
    ? await loadStudent(gpu, folder.checkpoint(resumeAt), loading)
    : from === "scratch"
    ? newStudent(gpu, size, seed)
    : await loadStudent(gpu, from, loading);
  const tasks = await openTasks(config, student.chat, student.model.config.maxPositions);
  // Everything that can be wrong with the input has been found out: only now is a folder made.
  const run = folder ?? RunFolder.create(config, options.runs);
  using profile = options.profile
    ? new RunProfile(gpu, options.profile, join(run.path, "profile.json"))
    : null;
  const phases = profile ?? unprofiled;
  const result = await new Run(gpu, config, student, tasks, run, resumeAt, options, phases)
    .execute();
  return profile ? { ...result, profile: await profile.finish() } : result;
}

/** A run in progress. */
class Run {
  readonly #gpu: Gpu;
  readonly #config: RunConfig;
  readonly #student: Student;
  readonly #tasks: TaskSource;
  readonly #folder: RunFolder;
  readonly #options: TrainOptions;
  readonly #phases: Phases;
  readonly #events: EventLog;
  readonly #episodes: JsonlWriter;
  readonly #generator: Generator;
  readonly #learner: Learner;
  readonly #imitation: StepsAhead;
  readonly #started = performance.now();
  #step: number;
  readonly #resumed: boolean;

  constructor(
    gpu: Gpu,
    config: RunConfig,
    student: Student,
    tasks: TaskSource,
    folder: RunFolder,
    resumeAt: number,
    options: TrainOptions,
    phases: Phases,
  ) {
    this.#gpu = gpu;
    this.#config = config;
    this.#student = student;
    this.#tasks = tasks;
    this.#folder = folder;
    this.#options = options;
    this.#phases = phases;
    this.#resumed = resumeAt > 0;
    this.#step = resumeAt;
    this.#events = new EventLog(folder.events);
    this.#episodes = new JsonlWriter(folder.episodes);
    if (options.onEvent) this.#events.listen(options.onEvent);
    this.#generator = openGenerator(student, config, tasks);
    const { betas, epsilon, weightDecay, gradClip } = config.optimizer;
    this.#learner = new Learner(student.model, {
      betas,
      epsilon,
      weightDecay,
      gradClip: gradClip === 0 ? Infinity : gradClip,
      checkpoints: config.recompute === "blocks",
    });
    const { sft: { batch, learningRate }, tokenBudget } = config;
    this.#imitation = new StepsAhead((step) => {
      const shown = tasks.draw(step, 0, batch);
      const sequences = shown.map((task) => demonstration(student.chat, task, task.reference!));
      return sftStep(this.#learner, sequences, { learningRate, tokenBudget });
    });
  }

  async execute(): Promise<RunResult> {
    try {
      const result = await this.#run();
      this.#end(result.status);
      return result;
    } catch (cause) {
      const error = this.#explain(cause as Error);
      this.#end("failed", error.message);
      throw error;
    } finally {
      this.#events.close();
      this.#episodes.close();
      this.#generator[Symbol.dispose]();
      this.#learner[Symbol.dispose]();
    }
  }

  /** Names the step in which training went wrong, and what is left of it. */
  #explain(error: Error): Error {
    if (!(error instanceof DivergedError || error instanceof LogitsError)) return error;
    const last = this.#folder.checkpoints().at(-1);
    const kept = last === undefined
      ? "no checkpoint was due yet"
      : `the last good checkpoint is "${this.#folder.checkpoint(last)}"`;
    return new DivergedError(`Step ${this.#step + 1}: ${error.message}; ${kept}`, { cause: error });
  }

  async #run(): Promise<RunResult> {
    const { method, seed, steps, from } = this.#config;
    const warmup = method === "sft" ? 0 : warmupSteps(this.#config);
    const total = warmup + steps;
    if (this.#resumed) {
      await restoreOptimizer(this.#folder.checkpoint(this.#step), this.#learner);
      this.#events.rewind(this.#step);
      this.#episodes.keep((line) => (line as { step: number }).step <= this.#step);
    } else {
      const adapter = this.#gpu.info.description;
      this.#events.emit({ type: "run-start", method, seed, steps: total, adapter });
      for (const message of this.#tasks.notes) {
        this.#events.emit({ type: "warning", step: 0, message });
      }
      if (from === "scratch") {
        await this.#phases.span(
          "pretrain",
          () => pretrainStudent(this.#student, this.#config, this.#options.onProgress),
        );
      }
      await this.#evaluate("before");
    }

    using reference = await referencePolicy(this.#gpu, this.#student.model, this.#config);
    const context: Omit<GrpoContext, "draw"> = {
      learner: this.#learner,
      generator: this.#generator,
      chat: this.#student.chat,
      reward: mentorReward({ preset: this.#config.reward }),
      reference,
      onEpisode: (episode, group, sample) => {
        const place = { step: this.#step + 1, group, sample };
        this.#episodes.append(episodeRecord(episode, place, this.#student.tokenizer));
      },
      span: (name, work) => this.#phases.span(name, work),
    };
    const imitated = method === "sft" ? total : warmup;
    while (this.#step < total) {
      await this.#phases.step(this.#step + 1, async () => {
        const started = performance.now();
        const imitate = this.#step < imitated;
        const { metrics, parts } = imitate
          ? await this.#imitate(imitated)
          : await this.#reinforce(context, (this.#step - warmup) / steps);
        this.#step++;
        this.#emit({
          type: "step",
          step: this.#step,
          method: imitate ? "sft" : "grpo",
          metrics,
          timing: { seconds: (performance.now() - started) / 1000, ...parts },
        });
      });
      if (this.#step === total) break;
      if (this.#options.signal?.aborted && !this.#imitation.isAhead) return await this.#stop();
      const { checkpoint, evaluation } = this.#due(this.#step);
      if (checkpoint) await this.#checkpoint("schedule");
      if (evaluation) await this.#evaluate("during");
    }
    await saveStudent(this.#student, this.#folder.model);
    await this.#checkpoint("end");
    await this.#evaluate("after");
    return this.#result("done", this.#folder.model);
  }

  /** @param end the first step that is no imitation any more */
  async #imitate(end: number): Promise<StepOutcome> {
    const next = this.#step + 1;
    const { checkpoint, evaluation } = this.#due(next);
    const goesOn = next < end && !checkpoint && !evaluation && !this.#options.signal?.aborted;
    const { loss, entropy, grad_norm } = await this.#phases.span(
      "update",
      () => this.#imitation.step(this.#step, goesOn),
    );
    return { metrics: { loss, entropy: entropy!, grad_norm }, parts: {} };
  }

  /** What is due when so many steps are done. */
  #due(step: number): { checkpoint: boolean; evaluation: boolean } {
    const every = (steps: number) => steps > 0 && step % steps === 0;
    return {
      checkpoint: every(this.#config.checkpoint.everySteps),
      evaluation: every(this.#config.evaluation.everySteps),
    };
  }

  async #reinforce(context: Omit<GrpoContext, "draw">, progress: number): Promise<StepOutcome> {
    const { rollout, grpo, optimizer, tokenBudget, seed } = this.#config;
    const { temperature, topK, topP, maxCalls, prompts, group } = rollout;
    const step = this.#step;
    let drawn = 0;
    const draw = (count: number) => {
      const tasks = this.#tasks.draw(step, drawn, count);
      drawn += count;
      return tasks;
    };
    const { metrics, seconds: parts } = await grpoStep(
      { ...context, draw },
      prompts,
      {
        temperature,
        topK,
        topP,
        seed,
        maxTokens: this.#tasks.maxTokens,
        maxCalls,
        stream: `${seed}/step/${step}`,
      },
      {
        group,
        miniBatches: grpo.miniBatches,
        clipLow: grpo.clipLow,
        clipHigh: grpo.clipHigh,
        klCoefficient: grpo.klCoef,
        stdFloor: grpo.stdFloor,
        resampleDead: grpo.resampleDead,
        learningRate: warmupCosine(progress, 1, {
          peak: optimizer.learningRate,
          warmup: 0,
          floor: optimizer.finalRate,
        }),
        tokenBudget,
      },
      progress,
    );
    return { metrics, parts };
  }

  async #evaluate(phase: "before" | "during" | "after"): Promise<void> {
    if (this.#tasks.evaluation.length === 0) return;
    const started = performance.now();
    const name = `evaluate ${phase}`;
    const { rows } = await this.#phases.span(name, () =>
      evaluateTasks(
        this.#generator,
        this.#student,
        this.#config,
        this.#tasks,
        (done, total) => this.#options.onProgress?.(name, done, total),
      ));
    this.#emit({
      type: "eval",
      step: this.#step,
      phase,
      domains: rows.map((row) => ({ ...row })),
      timing: { seconds: (performance.now() - started) / 1000 },
    });
  }

  async #checkpoint(reason: "schedule" | "stop" | "end"): Promise<void> {
    const folder = this.#folder.checkpoint(this.#step);
    await this.#phases.span(
      "checkpoint",
      () => saveCheckpoint(folder, this.#student, this.#learner, this.#step),
    );
    this.#emit({ type: "checkpoint", step: this.#step, reason });
  }

  async #stop(): Promise<RunResult> {
    await this.#checkpoint(this.#due(this.#step).checkpoint ? "schedule" : "stop");
    return this.#result("stopped", this.#folder.checkpoint(this.#step));
  }

  #emit(event: RunEventBody): void {
    this.#events.emit(event);
  }

  #end(status: "done" | "stopped" | "failed", message?: string): void {
    this.#emit({
      type: "run-end",
      step: this.#step,
      status,
      ...(message === undefined ? {} : { message }),
      timing: { seconds: this.#seconds },
    });
    this.#events.sync();
    this.#episodes.sync();
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  #result(status: "done" | "stopped", model: string): RunResult {
    return {
      run: this.#folder.path,
      status,
      seconds: this.#seconds,
      seed: this.#config.seed,
      peakBytes: this.#gpu.memory().peakBytes,
      model,
      domains: compareEvaluations(readEvents(this.#folder.events)),
    };
  }
}

/** Metrics of a step, and how long its parts took. */
interface StepOutcome {
  readonly metrics: Readonly<Record<string, number>>;
  readonly parts: Readonly<Record<string, number>>;
}
