/**
 * What requests and answers look like; `/openapi.json` is made of these.
 *
 * @module
 */

import { resolver } from "hono-openapi";
import * as v from "valibot";
import { runStates } from "../../run/state.ts";

/** A run's name: no dot stands first, and nothing in it leads to another folder. */
export const runId = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, "a run's name has letters, digits, ., _ and -"),
);

/** Which run a path is about. */
export const runParam = v.object({ id: runId });

/** The most that a step or a line can be. */
export const MAX_STEP = Number.MAX_SAFE_INTEGER;

/** A whole number in a query. */
export const count = (least: number, most: number) =>
  v.pipe(
    v.string(),
    v.regex(/^\d{1,16}$/, "a whole number is expected"),
    v.transform(Number),
    v.number(),
    v.minValue(least),
    v.maxValue(most),
  );

/** Which part of the list of runs is asked for. */
export const listQuery = v.object({
  limit: v.optional(v.pipe(count(1, 500), v.description("Runs on a page; 50 if absent"))),
  after: v.optional(v.pipe(runId, v.description("The last run of the page before"))),
  state: v.optional(v.pipe(v.picklist(runStates), v.description(runStates.join(", ")))),
});

const time = v.pipe(v.string(), v.description("ISO 8601"));

/** A run as lists have it. */
export const runSummary = v.object({
  id: v.string(),
  state: v.picklist(runStates),
  request: v.pipe(
    v.nullable(v.picklist(["pause", "stop"])),
    v.description("What the run was asked to do at the end of its step"),
  ),
  created: time,
  started: v.pipe(v.nullable(time), v.description("When its last process took it on")),
  ended: v.pipe(v.nullable(time), v.description("When that was done with it")),
  step: v.pipe(v.number(), v.integer(), v.description("Steps done")),
  steps: v.pipe(v.nullable(v.number()), v.description("Steps of the whole run, once it has begun")),
  method: v.nullable(v.string()),
  reward: v.nullable(v.string()),
  seed: v.nullable(v.number()),
  message: v.pipe(v.nullable(v.string()), v.description("Why it failed, or what is damaged")),
});

/** A run as its own page has it. */
export const runDetail = v.object({
  ...runSummary.entries,
  config: v.pipe(v.nullable(v.record(v.string(), v.unknown())), v.description("All settings")),
  checkpoints: v.pipe(v.array(v.number()), v.description("Steps of which a checkpoint is there")),
  model: v.pipe(v.boolean(), v.description("Whether the trained model is there")),
  lastWords: v.pipe(
    v.nullable(v.string()),
    v.description("The end of what its process printed, unless it is well"),
  ),
});

/** A page of runs. */
export const runPage = v.object({
  runs: v.array(runSummary),
  next: v.pipe(v.nullable(v.string()), v.description("`after` of the next page; null on the last")),
});

/** What went wrong. */
export const problem = v.object({
  type: v.string(),
  title: v.string(),
  status: v.number(),
  detail: v.string(),
  errors: v.optional(v.array(v.object({ path: v.string(), message: v.string() }))),
});

/** A curve, column by column. */
export const curve = v.object({
  name: v.string(),
  step: v.array(v.number()),
  time: v.pipe(v.array(v.number()), v.description("Milliseconds since 1970")),
  value: v.array(v.number()),
  min: v.optional(v.array(v.number())),
  max: v.optional(v.array(v.number())),
});

/** An answer in JSON, for a route's description. */
export function answer(description: string, schema: v.GenericSchema) {
  return { description, content: { "application/json": { schema: resolver(schema) } } };
}

/** Answers of a route that something is wrong with a request, for its description. */
export function problems(...statuses: number[]) {
  const meaning: Readonly<Record<number, string>> = {
    400: "Something in the request is not valid; `errors` says what",
    404: "There is no such thing",
    409: "The run is not in a state for that",
    415: "The body is not JSON",
    416: "The file has no such bytes",
    503: "Too much is going on; try again later",
  };
  return Object.fromEntries([400, ...statuses].map((status) => [status, {
    description: meaning[status]!,
    content: { "application/problem+json": { schema: resolver(problem) } },
  }]));
}

/** What is there of optional things. */
export function defined<T extends object>(
  values: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
