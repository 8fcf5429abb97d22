/**
 * A run's events, put together as its pages need them. It grows with the run, so that a page that is
 * shown again takes in what is new alone.
 *
 * @module
 */

import * as v from "valibot";
import type { EvalEvent, RunEvent, StepEvent } from "../events.ts";
import { isNumber, type Maybe } from "./format.ts";

/** What one method reports under one name. */
export interface Column {
  readonly steps: number[];
  readonly values: Maybe[];
  /** How many of the values are no numbers. */
  gaps: number;
}

/** How many steps tell how fast the run is just now. */
const RECENT = 20;

/** Over how many steps speed is taken: some are submitted ahead, and their times even out. */
const BURST = 5;

/** What has happened in a run. */
export class RunHistory {
  /** All events but steps. */
  readonly landmarks: RunEvent[] = [];
  /** Numbers of the steps, by name and method, each in the order in which it came up. */
  readonly columns: Map<string, Map<string, Column>> = new Map();
  readonly #recent: StepEvent[] = [];

  /** @param events as they are in the file */
  constructor(events: readonly RunEvent[] = []) {
    events.forEach((event) => this.add(event));
  }

  /** Takes in the next event. */
  add(event: RunEvent): void {
    if (event.type !== "step") {
      this.landmarks.push(event);
      return;
    }
    this.#recent.push(event);
    if (this.#recent.length > RECENT) this.#recent.shift();
    for (const [name, value] of Object.entries(event.metrics ?? {})) this.#put(event, name, value);
    for (const [part, value] of Object.entries(event.timing ?? {})) {
      this.#put(event, `timing/${part}`, value);
    }
    const speed = tokensPerSecond(this.#sinceMethod().slice(-BURST));
    if (isNumber(speed)) this.#put(event, "tokens_per_second", speed);
  }

  /** Steps done. */
  get step(): number {
    return this.#recent.at(-1)?.step ?? 0;
  }

  /** The evaluations, in order. */
  get evaluations(): EvalEvent[] {
    return this.landmarks.filter((event) => event.type === "eval");
  }

  /** Seconds of a step, as they are just now; NaN before there is one. */
  get secondsPerStep(): number {
    const recent = this.#sinceMethod();
    return secondsOf(recent) / recent.length;
  }

  /** Tokens that are sampled, read and learnt from in a second, just now; NaN if that is not known. */
  get tokensPerSecond(): number {
    return tokensPerSecond(this.#sinceMethod());
  }

  /** The last of the values of that name; undefined if there is none. */
  latest(name: string): Maybe {
    const method = this.#recent.at(-1)?.method;
    return method === undefined ? undefined : this.columns.get(name)?.get(method)?.values.at(-1);
  }

  /** The last steps that were made by the same method: a warm-up has a pace of its own. */
  #sinceMethod(): StepEvent[] {
    const method = this.#recent.at(-1)?.method;
    return this.#recent.filter((event) => event.method === method);
  }

  #put({ step, method }: StepEvent, name: string, value: Maybe): void {
    let byMethod = this.columns.get(name);
    if (!byMethod) this.columns.set(name, byMethod = new Map());
    let column = byMethod.get(method);
    if (!column) byMethod.set(method, column = { steps: [], values: [], gaps: 0 });
    column.steps.push(step);
    column.values.push(value);
    if (!isNumber(value)) column.gaps++;
  }
}

const step = v.pipe(v.number(), v.finite());
const text = v.string();
const number = v.number();

/** What pages read of each type; a number that is only shown may be missing. */
const readable = v.variant("type", [
  v.object({
    ...{ type: v.literal("run-start"), method: v.optional(text), adapter: v.optional(text) },
    ...{ seed: v.optional(number), steps: v.optional(number) },
  }),
  v.object({ type: v.literal("step"), step, method: text }),
  v.object({
    ...{ type: v.literal("eval"), step },
    domains: v.array(v.object({ name: text, split: text })),
  }),
  v.object({ type: v.literal("warning"), step, message: text }),
  v.object({ type: v.literal("run-end"), status: text, message: v.optional(text) }),
  v.object({ type: v.picklist(["checkpoint", "paused", "resumed"]), step }),
]);

/** Whether a line of the event file has what pages read of it. */
export function isEvent(value: unknown): value is RunEvent {
  return v.is(readable, value);
}

function secondsOf(steps: readonly StepEvent[]): number {
  return steps.reduce((sum, { timing }) => sum + (timing?.seconds ?? NaN), 0);
}

function tokensPerSecond(steps: readonly StepEvent[]): number {
  const tokens = steps.reduce((sum, { metrics }) => sum + (metrics?.["num_tokens"] ?? NaN), 0);
  return tokens / secondsOf(steps);
}
