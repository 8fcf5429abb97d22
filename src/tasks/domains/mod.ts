/**
 * The built-in domains: procedural, unbounded and seeded.
 *
 * Evaluation is apart from training by construction: a hash of the prompt alone puts every prompt
 * that can ever be drawn on one side or the other, whatever the seed, domain, split or world.
 *
 * @module
 */

import { resultText } from "../../tools/tool.ts";
import { hashText, Random } from "../../random.ts";
import type { Split } from "../task.ts";
import { arith } from "./arith.ts";
import { date } from "./date.ts";
import { buildTask, type Domain, type DomainTask } from "./domain.ts";
import { none } from "./none.ts";
import { shop } from "./shop.ts";
import { string } from "./string.ts";
import { table } from "./table.ts";
import { unit } from "./unit.ts";

export type { DomainTask, Operand, Step } from "./domain.ts";

const registry: ReadonlyMap<string, Domain> = new Map(
  [arith, shop, unit, table, none, string, date].map((domain) => [domain.name, domain]),
);

/** Every domain. */
export const domainNames: readonly string[] = [...registry.keys()];

/** The domains with a training split. */
export const trainDomains: readonly string[] = [...registry.values()]
  .filter((domain) => domain.splits.includes("train")).map((domain) => domain.name);

/** One domain in one split: a row of a result table. */
export interface Family {
  /** Name of a domain. */
  domain: string;
  /** One of its splits. */
  split: Split;
}

/** Every domain in every split that it has; the corpus of the base model draws from all. */
export const families: readonly Family[] = [...registry.values()].flatMap((domain) =>
  domain.splits.map((split) => ({ domain: domain.name, split }))
);

/** What a task is drawn for. */
export type Purpose = "train" | "eval";

/** One prompt in eight is for evaluation only. */
const EVAL_SHARE = 8;

/** On which side a prompt is; no task of one purpose has a prompt of the other. */
export function promptPurpose(prompt: string): Purpose {
  return hashText(prompt) % EVAL_SHARE === 0 ? "eval" : "train";
}

/**
 * Whether a prompt for evaluation is one to choose models by, and not one to report on: half of them
 * are. Of files alone; the built-in domains have as many prompts as it takes for both.
 */
export function isForValidation(prompt: string): boolean {
  return hashText(prompt) % (2 * EVAL_SHARE) === EVAL_SHARE;
}

/** Names one task of an endless stream. */
export interface TaskKey {
  /** Names the stream. */
  seed: number | string;
  /** Position in the stream, from 0. */
  index: number;
}

/** More draws than any domain needs; reaching it means that a domain cannot draw a split. */
const MAX_DRAWS = 10_000;

/**
 * Draws a task; the same arguments give the same task on every machine.
 *
 * @throws {RangeError} if there is no such domain, or it has no such split
 *
 * @example
 * ```ts
 * const task = generateTask("arith", "train", { seed: 7, index: 0 });
 * task.prompt; // such as "34 plus 8 times 3"
 * ```
 */
export function generateTask(
  domainName: string,
  split: Split,
  key: TaskKey,
  purpose: Purpose = "train",
): DomainTask {
  const domain = registry.get(domainName);
  if (domain === undefined) {
    throw new RangeError(
      `Cannot draw a task: no domain "${domainName}", there are ${domainNames.join(", ")}`,
    );
  }
  if (!domain.splits.includes(split)) {
    throw new RangeError(
      `Cannot draw a task: domain "${domainName}" has no split "${split}", only ` +
        domain.splits.join(", "),
    );
  }
  const id = `${domainName}-${split}-${purpose}-${key.seed}-${key.index}`;
  const random = new Random(id);
  for (let i = 0; i < MAX_DRAWS; i++) {
    const draft = domain.draw(random, split);
    if (draft === null || promptPurpose(draft.prompt) !== purpose) continue;
    const task = buildTask(domain, split, id, draft);
    if (needsEveryStep(task)) return task;
  }
  throw new Error(`Cannot draw a task of ${domainName}/${split} in ${MAX_DRAWS} attempts`);
}

/**
 * Whether the answer comes of the last step alone: it does not stand in the prompt, and is not the
 * result of an earlier step ("pen times 2 over 2"), where stopping too early would be right.
 */
function needsEveryStep(task: DomainTask): boolean {
  if (task.plan.length === 0) return true;
  const known = task.reference.calls.slice(0, -1).map((call) => resultText(call.result));
  return ![...known, ...task.prompt.split(" ")].includes(task.answer);
}

/** The tasks that one family is measured on. */
export interface SuitePart extends Family {
  /** All different in prompt or world. */
  tasks: DomainTask[];
}

/** So many draws in a row without a new task mean that there is none left. */
const MAX_REPEATS = 1000;

/** So many evaluation tasks of a family at least do validation tasks keep away from. */
const KEPT_APART = 128;

/**
 * The fixed evaluation tasks: `perSplit` of every family, with prompts that no training task has.
 *
 * @throws {RangeError} if `perSplit` is not a positive integer or exceeds the tasks there are
 */
export function evaluationSuite(perSplit: number): SuitePart[] {
  return suite(families, "suite", perSplit);
}

/**
 * Tasks to choose by, where several models are at hand: `perSplit` of every family with a training
 * split, none of which is in a training task or among the first `evaluated` evaluation tasks of its
 * family (128 of them at least, so that fewer do not change which these are).
 *
 * @throws {RangeError} as `evaluationSuite`
 */
export function validationSuite(perSplit: number, evaluated = KEPT_APART): SuitePart[] {
  const trained = families.filter(({ split }) => split === "train");
  const apart = suite(trained, "suite", Math.max(KEPT_APART, evaluated), { all: false });
  return suite(trained, "validation", perSplit, {
    taken: new Set(apart.flatMap(({ tasks }) => tasks.map(contentOf))),
  });
}

/** Two tasks with the same content are the same task. */
function contentOf({ prompt, world }: DomainTask): string {
  return JSON.stringify([prompt, world]);
}

/**
 * @param all whether it is an error if there are fewer
 * @param taken contents that none of them is to have
 */
function suite(
  parts: readonly Family[],
  seed: string,
  perSplit: number,
  { all = true, taken = new Set() }: { all?: boolean; taken?: ReadonlySet<string> } = {},
): SuitePart[] {
  if (!Number.isSafeInteger(perSplit) || perSplit < 1) {
    throw new RangeError(`Cannot draw evaluation tasks: perSplit must be >= 1, got ${perSplit}`);
  }
  return parts.map(({ domain, split }) => {
    const distinct = new Map<string, DomainTask>();
    for (let index = 0, repeats = 0; distinct.size < perSplit; index++) {
      const task = generateTask(domain, split, { seed, index }, "eval");
      const content = contentOf(task);
      repeats = distinct.has(content) || taken.has(content) ? repeats + 1 : 0;
      if (repeats === MAX_REPEATS) {
        if (!all) break;
        throw new RangeError(
          `Cannot draw ${perSplit} evaluation tasks of ${domain}/${split}: there are only ` +
            distinct.size,
        );
      }
      if (repeats === 0) distinct.set(content, task);
    }
    return { domain, split, tasks: [...distinct.values()] };
  });
}
