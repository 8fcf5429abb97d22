/**
 * What the built-in domains have in common: a prompt drawn with the plan that solves it, and a
 * reference made by running that plan with the very tools that the student gets.
 *
 * @module
 */

import { callToolSync, resultText, type Tool, type ToolOutcome } from "../../tools/tool.ts";
import type { Random } from "../../random.ts";
import type { Check, Reference, ReferenceCall, Split, Task } from "../task.ts";

/** Where an argument comes from: read in the prompt, or the result of an earlier step. */
export type Operand = { readonly prompt: string | number } | { readonly step: number };

/** One step of a solution. */
export interface Step {
  /** The word in the prompt that asks for it; what a flawed policy misreads. */
  readonly word: string;
  /** Name of the right tool. */
  readonly tool: string;
  /** The right arguments. */
  readonly operands: Readonly<Record<string, Operand>>;
}

/** A task of a built-in domain: it always has a reference, and the plan behind it. */
export interface DomainTask extends Task {
  /** What running the plan gave. */
  reference: Reference;
  /** In order; the last result is the answer. Empty where the answer is read in the prompt. */
  plan: readonly Step[];
}

/** A prompt and how to solve it. */
export interface Draft {
  /** What the user says. */
  prompt: string;
  /** See {@linkcode DomainTask}. */
  plan: readonly Step[];
  /** State for the tools. */
  world?: unknown;
  /** The answer of an empty plan. */
  answer?: string;
}

/** A family of tasks. */
export interface Domain {
  /** Its row in result tables. */
  readonly name: string;
  /** Offered with every task. */
  readonly tools: readonly Tool[];
  /** The splits it can draw. */
  readonly splits: readonly Split[];
  /** Draws a task, or null where the numbers drawn do not work out. */
  draw(random: Random, split: Split): Draft | null;
}

/** Shorthand for {@linkcode Operand}: read in the prompt. */
export function fromPrompt(value: string | number): Operand {
  return { prompt: value };
}

/** Shorthand for {@linkcode Operand}: the result of step `step`, counted from 0. */
export function fromStep(step: number): Operand {
  return { step };
}

/** Share of one-step tasks among those of one or two steps. */
export const singleStepShare = 0.2;

/**
 * Draws the operation words of a chain: a head, then operations.
 *
 * Training chains have one or two words and never a pair (word, next word) that is held out;
 * `composition` chains are exactly such a pair; `depth` chains have three words and no such pair,
 * so that the two kinds of novelty are measured apart. Null: drawn in vain, draw again.
 */
export function drawWords(
  random: Random,
  split: Split,
  heads: readonly string[],
  operations: readonly string[],
  heldOut: readonly (readonly [string, string])[],
): string[] | null {
  if (split === "composition") {
    return [...random.pick(heldOut.filter(([first]) => heads.includes(first)))];
  }
  const length = split === "depth" ? 3 : random.chance(singleStepShare) ? 1 : 2;
  const words = [random.pick(heads)];
  while (words.length < length) words.push(random.pick(operations));
  const held = heldOut.some(([a, b]) => words.some((word, i) => word === a && words[i + 1] === b));
  return held ? null : words;
}

/** The arguments of a step, given the results so far. */
export function resolve(step: Step, results: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(step.operands).map(([name, operand]) => [
      name,
      "step" in operand ? results[operand.step] : operand.prompt,
    ]),
  );
}

/**
 * Calls one of a task's tools, which in the built-in domains are synchronous.
 *
 * @throws {RangeError} if the task has no such tool
 */
export function callTaskTool(
  task: Pick<Task, "id" | "tools" | "world">,
  name: string,
  args: Record<string, unknown>,
): ToolOutcome {
  const tool = task.tools.find((tool) => tool.name === name);
  if (tool === undefined) throw new RangeError(`Cannot call "${name}": task "${task.id}" lacks it`);
  return callToolSync(tool, args, { world: task.world });
}

/**
 * Makes the task of a draft; running the plan gives the reference and the answer.
 *
 * @throws {Error} if the plan does not run, which is a mistake in the domain
 */
export function buildTask(domain: Domain, split: Split, id: string, draft: Draft): DomainTask {
  const { prompt, plan, world } = draft;
  const tools = domain.tools;
  const calls: ReferenceCall[] = [];
  for (const step of plan) {
    const args = resolve(step, calls.map((call) => call.result));
    const outcome = callTaskTool({ id, tools, world }, step.tool, args);
    if (outcome.status !== "ok") {
      throw new Error(`Cannot solve "${prompt}": ${step.tool} answers ${outcome.text}`);
    }
    calls.push({ name: step.tool, arguments: args, result: outcome.result });
  }
  const last = calls.at(-1);
  const answer = last === undefined ? draft.answer : resultText(last.result);
  if (answer === undefined) throw new Error(`Cannot solve "${prompt}": no plan and no answer`);
  const check: Check = /^-?\d+$/.test(answer) ? "number" : "exact";
  return {
    id,
    domain: domain.name,
    split,
    prompt,
    tools,
    ...(world === undefined ? {} : { world }),
    answer,
    check,
    reference: { calls, answer },
    plan,
  };
}
