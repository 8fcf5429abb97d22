/**
 * What happens in a run, as one type that feeds the event file, the progress bar and every other
 * watcher.
 *
 * Two runs with the same configuration on the same machine have the same events but for `time` and
 * `timing`; so nothing else may depend on the clock, on paths or on the run's name.
 *
 * @module
 */

import type { MethodName } from "./config/run_config.ts";
import { JsonlWriter, readJsonl } from "../io/jsonl.ts";
import { isRecord } from "../text/json_value.ts";

/** What something took: time, the whole and parts of it by name, and memory. */
export interface Timing {
  /** Wall-clock seconds of the whole. */
  readonly seconds: number;
  /** Bytes of the GPU in use after a step. */
  readonly gpuBytes?: number;
  /** Seconds of a part. */
  readonly [part: string]: number | undefined;
}

/** What an evaluation found in one domain and split. */
export interface DomainScore {
  /** The domain. */
  readonly name: string;
  /** Which part of it: trained on, or held out in one of three ways. */
  readonly split: "train" | "composition" | "depth" | "domain";
  /** Further measures by name: `pass1`, `greedy`, `ci95`, `validity`, `similarity`, `calls` ... */
  readonly [measure: string]: unknown;
}

/** The run begins; written once, not again on resuming. */
export interface RunStartEvent {
  /** Kind of event. */
  readonly type: "run-start";
  /** What the run does after its warm-up. */
  readonly method: MethodName;
  /** The run's seed. */
  readonly seed: number;
  /** Steps of the whole run, warm-up included. */
  readonly steps: number;
  /** The adapter's description. */
  readonly adapter: string;
  /** What was given in code, in place of what the config says; absent if nothing was. */
  readonly own?: readonly ("reward" | "potential")[];
}

/** A step is done. */
export interface StepEvent {
  /** Kind of event. */
  readonly type: "step";
  /** Counted over the whole run, warm-up included; the first is 1. */
  readonly step: number;
  /** `sft` in the warm-up, too. */
  readonly method: MethodName;
  /** Measures by name. */
  readonly metrics: Readonly<Record<string, number>>;
  /** What it took. */
  readonly timing?: Timing;
}

/** An evaluation is done. */
export interface EvalEvent {
  /** Kind of event. */
  readonly type: "eval";
  /** Steps done. */
  readonly step: number;
  /** Where in the run. */
  readonly phase: "before" | "during" | "after";
  /** The scores. */
  readonly domains: readonly DomainScore[];
  /** How long it took. */
  readonly timing?: Timing;
}

/** A checkpoint is saved. */
export interface CheckpointEvent {
  /** Kind of event. */
  readonly type: "checkpoint";
  /** Steps done. */
  readonly step: number;
  /** `stop` is one that only an interruption made. */
  readonly reason: "schedule" | "stop" | "end";
}

/** The run waits, saved, as it was asked to. */
export interface PausedEvent {
  /** Kind of event. */
  readonly type: "paused";
  /** Steps done. */
  readonly step: number;
}

/** The run goes on after a pause. */
export interface ResumedEvent {
  /** Kind of event. */
  readonly type: "resumed";
  /** Steps done. */
  readonly step: number;
}

/** Something is amiss, and the run goes on. */
export interface WarningEvent {
  /** Kind of event. */
  readonly type: "warning";
  /** The step in which it happened. */
  readonly step: number;
  /** What, and what to do about it. */
  readonly message: string;
}

/** The run ends; the last event, unless the process was killed. */
export interface RunEndEvent {
  /** Kind of event. */
  readonly type: "run-end";
  /** Steps done. */
  readonly step: number;
  /** `stopped` can be resumed. */
  readonly status: "done" | "stopped" | "failed";
  /** Why, unless it is done. */
  readonly message?: string;
  /** How long the run took, without interruptions. */
  readonly timing?: Timing;
}

/** An event before it is stamped. */
export type RunEventBody =
  | RunStartEvent
  | StepEvent
  | EvalEvent
  | CheckpointEvent
  | PausedEvent
  | ResumedEvent
  | WarningEvent
  | RunEndEvent;

/** An event; `time` is when it happened, in ISO form. */
export type RunEvent = RunEventBody & { readonly time: string };

/** Called with every event, in order. */
export type EventListener = (event: RunEvent) => void;

/** Stamps events, writes them to a file and hands them to listeners. */
export class EventLog implements Disposable {
  readonly #writer: JsonlWriter | null;
  readonly #listeners = new Set<EventListener>();
  readonly #now: () => Date;

  /**
   * Opens the event file.
   *
   * @param path null keeps nothing
   * @throws {CheckpointError} if the file cannot be opened
   */
  constructor(path: string | null, now: () => Date = () => new Date()) {
    this.#writer = path === null ? null : new JsonlWriter(path);
    this.#now = now;
  }

  /**
   * Records an event.
   *
   * @throws {CheckpointError} if it cannot be written
   */
  emit(body: RunEventBody): RunEvent {
    const event: RunEvent = { time: this.#now().toISOString(), ...body };
    this.#writer?.append(event);
    for (const listener of this.#listeners) listener(event);
    return event;
  }

  /** Calls `listener` with every event from now on; the result ends that. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Goes back to the state after `step`: events of later steps and traces of the interruption are
   * dropped, as if it had not been.
   */
  rewind(step: number): void {
    this.#writer?.keep((event) => belongsTo(event as RunEvent, step));
  }

  /** Drops all events: the run begins again. */
  clear(): void {
    this.#writer?.keep(() => false);
  }

  /** Forces what was recorded to disk. */
  sync(): void {
    this.#writer?.sync();
  }

  /** Closes the file. */
  close(): void {
    this.#writer?.close();
  }

  /** Same as {@linkcode EventLog.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The events of a run so far.
 *
 * @throws {CheckpointError} if the file cannot be read
 */
export function readEvents(path: string): RunEvent[] {
  return readJsonl(path) as RunEvent[];
}

function belongsTo(event: RunEvent, step: number): boolean {
  if (event.type === "run-start") return true;
  if (event.type === "run-end" || event.type === "paused" || event.type === "resumed") return false;
  // The last checkpoint and the evaluation after it are the end, which a resumed run has to reach.
  if (event.type === "checkpoint" && event.reason !== "schedule") return false;
  if (event.type === "eval" && event.phase === "after") return false;
  return event.step <= step;
}

/** Whether a value has what is read off an event of its type: anything may stand in a file. */
export function isRunEvent(value: unknown): value is RunEvent {
  if (!isRecord(value) || Number.isNaN(Date.parse(String(value["time"])))) return false;
  const { type, step, steps, metrics, domains, message } = value;
  if (type === "run-start") return Number.isSafeInteger(steps);
  return typeof type === "string" && Number.isSafeInteger(step) &&
    (type !== "step" || isRecord(metrics)) &&
    (type !== "eval" || Array.isArray(domains) && domains.every(isRecord)) &&
    (message === undefined || typeof message === "string");
}
