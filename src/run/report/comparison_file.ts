/**
 * Reading `comparison.json`.
 *
 * @module
 */

import * as v from "valibot";
import { type Comparison, measureNames, scopes } from "./comparison.ts";

/** JSON has null for what is no number, such as the ends of an interval of one seed. */
const number = v.pipe(v.nullable(v.number()), v.transform((value) => value ?? NaN));
const interval = v.object({ mean: number, low: number, high: number });

const measures = <T>(schema: v.GenericSchema<unknown, T>) =>
  v.object(
    Object.fromEntries(measureNames.map((name) => [name, schema])) as Record<
      typeof measureNames[number],
      typeof schema
    >,
  );

const domains = v.array(v.object({
  name: v.string(),
  split: v.string(),
  measures: measures(number),
  partial: v.exactOptional(number),
  outcomes: v.array(v.array(v.picklist([0, 1]))),
}));

const schema = v.object({
  regime: v.string(),
  command: v.exactOptional(v.string()),
  adapter: v.string(),
  seeds: v.array(v.number()),
  arms: v.array(v.object({
    name: v.string(),
    description: v.string(),
    settings: v.record(v.string(), v.unknown()),
  })),
  runs: v.array(v.object({
    arm: v.string(),
    seed: v.number(),
    seconds: number,
    steps: number,
    prompts: number,
    optimizerTokens: number,
    learningRate: v.exactOptional(v.number()),
    curve: v.array(v.object({
      step: v.number(),
      rollouts: v.number(),
      pass1: v.object({ train: number, "held-out": number }),
      reward: v.nullable(v.number()),
    })),
    domains,
  })),
  failed: v.exactOptional(
    v.array(v.object({ arm: v.string(), seed: v.number(), failed: v.string() })),
  ),
  base: v.array(domains),
  gates: v.exactOptional(v.array(v.object({
    ...{ seed: v.number(), validity: number, pass1: number, partial: number },
    passed: v.boolean(),
  }))),
  summary: v.array(
    v.object({ arm: v.string(), scope: v.picklist(scopes), measures: measures(interval) }),
  ),
  differences: v.array(v.object({
    arm: v.string(),
    against: v.string(),
    scope: v.picklist(scopes),
    pass1: interval,
    bootstrap: v.exactOptional(interval),
    seeds: v.array(number),
  })),
  hypotheses: v.array(v.object({
    id: v.string(),
    statement: v.string(),
    estimate: interval,
    unit: v.string(),
    verdict: v.picklist(["supported", "contradicted", "undecided"]),
    seeds: v.exactOptional(v.number()),
    note: v.exactOptional(v.string()),
  })),
  conclusion: v.string(),
});

/**
 * The comparison that a file holds.
 *
 * @param text the file's contents
 * @throws {SyntaxError} if it is no comparison, naming the first thing that is wrong
 */
export function parseComparison(text: string): Comparison {
  const result = v.safeParse(schema, JSON.parse(text));
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue);
  throw new SyntaxError(`${place === null ? "" : `${place}: `}${issue.message}`);
}
