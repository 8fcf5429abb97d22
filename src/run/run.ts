/**
 * A run in progress: its steps, what is saved and measured between them, and how it ends.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Gpu } from "../gpu/device.ts";
import { JsonlWriter } from "../io/jsonl.ts";
import type { Generator } from "../model/generator.ts";
import { Learner } from "../rl/learner.ts";
import { Outages } from "../rl/outages.ts";
import { mentorReward } from "../rl/reward.ts";
import { Watchdog } from "../rl/watchdog.ts";
import { ToolUnavailableError } from "../tools/tool.ts";
import { type RunAuxiliaries, staysClose } from "./auxiliary.ts";
import { restoreOptimizers, saveCheckpoint, type Trained } from "./checkpoint.ts";
import { type RunConfig, warmupSteps } from "./config/mod.ts";
import type { RunHold, RunRequest } from "./control.ts";
import { episodeRecord } from "./episode_record.ts";
import { EventLog, readEvents, type RunEvent, type RunEventBody } from "./events.ts";
import { compareEvaluations, evaluateTasks, openGenerator } from "./evaluate.ts";
import { explainFailure } from "./failure.ts";
import { imitation, type Method, openMethod, type Workshop } from "./methods.ts";
import { learnerOptions } from "./options.ts";
import { ownParts } from "./own_parts.ts";
import { pretrainStudent } from "./pretrain.ts";
import type { Phases } from "./profile.ts";
import type { RunFolder } from "./store.ts";
import { saveStudent, type Student } from "./student.ts";
import { reportTelemetry } from "./telemetry.ts";
import { TensorBoardLog } from "./tensorboard.ts";
import type { TaskSource } from "./tasks/source.ts";
import type { RunResult, TrainOptions } from "./train.ts";

/** Where a run is made, and from which checkpoint it goes on. */
export interface Place {
  readonly folder: RunFolder;
  readonly hold: RunHold;
  readonly resumeAt: number | null;
}

/** How often a run that waits looks whether it may go on. */
const PAUSE_POLL_MS = 500;

/** A run in progress, from its first step or from a checkpoint. */
export class Run {
  readonly #gpu: Gpu;
  readonly #config: RunConfig;
  readonly #student: Student;
  readonly #auxiliaries: RunAuxiliaries;
  readonly #tasks: TaskSource;
  readonly #folder: RunFolder;
  readonly #hold: RunHold;
  readonly #options: TrainOptions;
  readonly #phases: Phases;
  readonly #events: EventLog;
  readonly #episodes: JsonlWriter;
  readonly #generator: Generator;
  readonly #learner: Learner;
  readonly #watchdog = new Watchdog();
  readonly #outages = new Outages();
  /** Those who write down more of the run than it does itself. */
  readonly #followers = new DisposableStack();
  readonly #started = performance.now();
  #step: number;
  /** The step whose checkpoint was saved last. */
  #saved: number | null = null;
  readonly #resumed: boolean;

  constructor(
    gpu: Gpu,
    config: RunConfig,
    student: Student,
    auxiliaries: RunAuxiliaries,
    tasks: TaskSource,
    { folder, hold, resumeAt }: Place,
    options: TrainOptions,
    phases: Phases,
  ) {
    this.#gpu = gpu;
    this.#config = config;
    this.#student = student;
    this.#auxiliaries = auxiliaries;
    this.#tasks = tasks;
    this.#folder = folder;
    this.#hold = hold;
    this.#options = options;
    this.#phases = phases;
    this.#resumed = resumeAt !== null;
    this.#step = resumeAt ?? 0;
    this.#events = new EventLog(folder.events);
    this.#episodes = new JsonlWriter(folder.episodes);
    if (options.onEvent) this.#events.listen(options.onEvent);
    this.#generator = openGenerator(student, config, tasks);
    const { head, critic } = auxiliaries;
    const shared = head && !critic ? { extra: head.parameters } : {};
    this.#learner = new Learner(student.model, { ...learnerOptions(config), ...shared });
  }

  async execute(): Promise<RunResult> {
    try {
      const result = await this.#run();
      this.#end(result.status);
      return result;
    } catch (cause) {
      const isKept = this.#step === 0 || this.#folder.checkpoints().at(-1) === this.#step;
      // Where a tool is gone, the weights are as good as ever.
      if (cause instanceof ToolUnavailableError && !isKept) await this.#checkpoint("stop");
      const error = explainFailure(cause as Error, this.#step + 1, this.#folder);
      this.#end("failed", error.message);
      throw error;
    } finally {
      this.#events.close();
      this.#followers.dispose();
      this.#episodes.close();
      this.#generator[Symbol.dispose]();
      this.#learner[Symbol.dispose]();
    }
  }

  async #run(): Promise<RunResult> {
    const warmup = warmupSteps(this.#config);
    const total = warmup + this.#config.steps;
    if (this.#resumed) {
      await restoreOptimizers(this.#folder.checkpoint(this.#step), this.#trained);
      this.#events.rewind(this.#step);
      this.#episodes.keep((line) => (line as { step: number }).step <= this.#step);
      await this.#follow();
    } else await this.#begin(total);

    const workshop = this.#workshop();
    const method = openMethod(workshop);
    const courses = method.name === "sft" ? [{ method, first: 0, end: total }] : [
      { method: imitation(workshop), first: 0, end: warmup },
      { method, first: warmup, end: total },
    ];
    const past = this.#resumed ? readEvents(this.#folder.events) : [];
    for (const event of past) {
      if (event.type !== "step") continue;
      courses.find(({ end }) => event.step <= end)?.method.replay(event.metrics);
      this.#watchdog.observe(event.metrics);
    }
    if (this.#resumed && this.#step < total) await this.#settle(past);
    while (this.#step < total) {
      const { method, first, end } = courses.find(({ end }) => this.#step < end)!;
      if (warmup > 0 && first === warmup) await this.#keepStart(warmup);
      await this.#advance(method, first, end);
      if (this.#step === total) break;
      if (!method.isAhead && await this.#mustStop()) return await this.#stop();
      await this.#settle();
    }
    await saveStudent(this.#student, this.#folder.model);
    await this.#checkpoint("end");
    await this.#evaluate("after");
    return this.#result("done", this.#folder.model);
  }

  /** What comes before the first step. */
  async #begin(steps: number): Promise<void> {
    // A process that was killed before its first checkpoint left some.
    this.#events.clear();
    this.#episodes.keep(() => false);
    const { method, seed, from } = this.#config;
    const adapter = this.#gpu.info.description;
    const own = ownParts(this.#options);
    const given = own.length > 0 ? { own } : {};
    this.#events.emit({ type: "run-start", method, seed, steps, adapter, ...given });
    await this.#follow();
    this.#tasks.notes.forEach((message) => this.#warn(message));
    if (from === "scratch") {
      await this.#phases.span(
        "pretrain",
        () => pretrainStudent(this.#student, this.#config, this.#options.onProgress),
      );
    }
    await this.#evaluate("before");
  }

  /** Lets others follow the run from here on, once its events are what they are to go on from. */
  async #follow(): Promise<void> {
    const report = await reportTelemetry(this.#folder.id);
    if (report) this.#events.listen(report);
    if (!this.#config.tensorboard) return;
    const past = readEvents(this.#folder.events);
    const warn = (message: string) => this.#warn(message);
    const log = this.#followers.use(new TensorBoardLog(this.#folder.tensorboard, past, warn));
    this.#events.listen((event) => log.append(event));
  }

  #workshop(): Workshop {
    const { reward, potential = null } = this.#options;
    return {
      config: this.#config,
      student: this.#student,
      tasks: this.#tasks,
      learner: this.#learner,
      generator: this.#generator,
      auxiliaries: this.#auxiliaries,
      reward: reward ?? mentorReward({ preset: this.#config.reward }),
      potential,
      onEpisode: (episode, group, sample) => {
        const place = { step: this.#step + 1, group, sample };
        this.#episodes.append(episodeRecord(episode, place, this.#student.tokenizer));
        this.#outages.observe(episode);
      },
      span: (name, work) => this.#phases.span(name, work),
    };
  }

  get #trained(): Trained {
    const { head, critic } = this.#auxiliaries;
    return { learner: this.#learner, head, critic };
  }

  /** Keeps what the warm-up left, which the method starts from, where it is to stay close to that. */
  async #keepStart(warmup: number): Promise<void> {
    if (!staysClose(this.#config) || this.#auxiliaries.reference) return;
    const { reference } = this.#folder;
    if (this.#step === warmup) await saveStudent(this.#student, reference);
    await this.#auxiliaries.openReference(reference);
  }

  /** Makes the next step, one of those from `first` to `end` that the method makes. */
  async #advance(method: Method, first: number, end: number): Promise<void> {
    await this.#phases.step(this.#step + 1, async () => {
      const started = performance.now();
      const step = this.#step;
      const { checkpoint, evaluation } = this.#due(step + 1);
      const goesOn = step + 1 < end && !checkpoint && !evaluation && this.#request === null;
      const progress = (step - first) / (end - first);
      const { metrics, parts } = await method.step({ step, progress, goesOn });
      this.#step++;
      const seconds = (performance.now() - started) / 1000;
      const timing = { seconds, ...parts, gpuBytes: this.#gpu.memory().liveBytes };
      this.#emit({ type: "step", step: this.#step, method: method.name, metrics, timing });
      this.#watchdog.observe(metrics).forEach((message) => this.#warn(message));
      this.#warn(this.#outages.endStep());
    });
  }

  /** What is due when so many steps are done. */
  #due(step: number): { checkpoint: boolean; evaluation: boolean } {
    const every = (steps: number) => steps > 0 && step % steps === 0;
    return {
      checkpoint: every(this.#config.checkpoint.everySteps),
      evaluation: every(this.#config.evaluation.everySteps),
    };
  }

  /** Saves and evaluates where that is due. @param past what was done before an interruption */
  async #settle(past: readonly RunEvent[] = []): Promise<void> {
    const { checkpoint, evaluation } = this.#due(this.#step);
    const done = past.filter((event) => event.type !== "run-start" && event.step === this.#step);
    const lacks = (type: RunEvent["type"]) => !done.some((event) => event.type === type);
    if (checkpoint && lacks("checkpoint")) await this.#checkpoint("schedule");
    if (evaluation && lacks("eval")) await this.#evaluate("during");
  }

  async #evaluate(phase: "before" | "during" | "after"): Promise<void> {
    if (this.#tasks.evaluation.length === 0) return;
    const started = performance.now();
    const name = `evaluate ${phase}`;
    const { rows, outage } = await this.#phases.span(name, () =>
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
    this.#warn(outage);
  }

  async #checkpoint(reason: "schedule" | "stop" | "end"): Promise<void> {
    await this.#save();
    this.#emit({ type: "checkpoint", step: this.#step, reason });
  }

  /** Saves the state after this step, unless a pause did. */
  async #save(): Promise<void> {
    if (this.#saved === this.#step) return;
    const folder = this.#folder.checkpoint(this.#step);
    await this.#phases.span(
      "checkpoint",
      () => saveCheckpoint(folder, this.#student, this.#trained, this.#step),
    );
    this.#saved = this.#step;
  }

  /** What somebody wants at the end of a step. */
  get #request(): RunRequest | null {
    return this.#options.signal?.aborted ? "stop" : this.#hold.request;
  }

  /** Waits, with everything saved, while the run is paused. */
  async #mustStop(): Promise<boolean> {
    if (this.#request === "pause") {
      await this.#save();
      this.#emit({ type: "paused", step: this.#step });
      this.#events.sync();
      while (this.#request === "pause") {
        await delay(PAUSE_POLL_MS);
      }
      if (this.#request === null) this.#emit({ type: "resumed", step: this.#step });
    }
    return this.#request === "stop";
  }

  async #stop(): Promise<RunResult> {
    await this.#checkpoint(this.#due(this.#step).checkpoint ? "schedule" : "stop");
    return this.#result("stopped", this.#folder.checkpoint(this.#step));
  }

  #emit(event: RunEventBody): void {
    this.#events.emit(event);
  }

  #warn(message: string | null): void {
    if (message !== null) this.#emit({ type: "warning", step: this.#step, message });
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
