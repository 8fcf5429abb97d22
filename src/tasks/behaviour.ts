/**
 * The flawed policy whose traces the base model is pretrained on.
 *
 * A base is worth starting from if its *decisions* are wrong while its skills are sound. So this
 * policy writes valid calls, copies arguments and results without fault, and runs every tool for
 * real; but at each of several independent decisions the wrong choice is the more likely one. Being
 * right at all of them is rare (a few per cent), being right at some is common, and choosing the
 * likeliest at each is never right. Noise would not do: an argmax averages it away.
 *
 * @module
 */

import { resultText } from "../tools/tool.ts";
import {
  callTaskTool,
  type DomainTask,
  type Operand,
  resolve,
  type Step,
} from "./domains/domain.ts";
import { operationTools } from "./domains/operations.ts";
import { tableColumns } from "./domains/table.ts";
import type { Random } from "../random.ts";
import type { ReferenceCall } from "./task.ts";

/** How likely each flaw is wherever it can occur; all independent. */
export interface BehaviourKnobs {
  /** Answers a question of several steps at once, with a guess. */
  direct: number;
  /** Answers a question of one step at once, with a guess. */
  directSingle: number;
  /** Takes the wrong tool for a word: add for times, minus and less; sub for over; ... */
  tool: number;
  /** Exchanges two arguments of the same kind: conv from and to, cat a and b, diff from and to. */
  order: number;
  /** Reads the column beside the right one. */
  column: number;
  /** Counts days forward where "before" asks for backward. */
  sign: number;
  /** Reads the first number or text of the prompt again where the last result belongs. */
  carry: number;
  /** After a step that is not the last, answers with its result. */
  premature: number;
  /** Calls a tool where the answer stands in the prompt, and answers with the result. */
  needless: number;
}

/** What the committed base is made with. */
export const flawedBehaviour: Readonly<BehaviourKnobs> = {
  direct: 0.3,
  directSingle: 0.8,
  tool: 0.6,
  order: 0.6,
  column: 0.6,
  sign: 0.6,
  carry: 0.4,
  premature: 0.6,
  needless: 0.6,
};

/**
 * A policy that is right still more rarely: 2.6 % of its answers where tools are needed, while 42 %
 * are wrong with at least one call of the reference among theirs (measured on 12,000 tasks). What a
 * reward of outcomes alone can learn from is rare here, and what a denser one sees is common.
 */
export const rareBehaviour: Readonly<BehaviourKnobs> = {
  direct: 0.4,
  directSingle: 0.85,
  tool: 0.8,
  order: 0.8,
  column: 0.8,
  sign: 0.8,
  carry: 0.7,
  premature: 0.8,
  needless: 0.8,
};

/** The policies that a base can be made of, by name. */
export const behaviours = { flawed: flawedBehaviour, rare: rareBehaviour } as const;

/** No flaw at all: the trace is the gold reference. */
export const flawlessBehaviour: Readonly<BehaviourKnobs> = {
  direct: 0,
  directSingle: 0,
  tool: 0,
  order: 0,
  column: 0,
  sign: 0,
  carry: 0,
  premature: 0,
  needless: 0,
};

/** A call with what the model sees of it. */
export interface BehaviourCall extends ReferenceCall {
  /** The result as text. */
  text: string;
}

/** What the policy did. */
export interface Behaviour {
  /** In order, executed. */
  calls: BehaviourCall[];
  /** Its final answer, right or wrong. */
  answer: string;
}

/** The tool that is taken for a word by mistake; words that are not here are read rightly. */
const mistakenTools: Readonly<Record<string, string>> = {
  times: "add",
  minus: "add",
  less: "add",
  over: "sub",
  rev: "dup",
  dup: "rev",
};

/** The two arguments of a tool that are easily exchanged. */
const confusable: Readonly<Record<string, readonly [string, string]>> = {
  conv: ["from", "to"],
  cat: ["a", "b"],
  diff: ["from", "to"],
};

/**
 * Acts on a task with the flaws given, {@linkcode flawedBehaviour} where not.
 */
export function behave(
  task: DomainTask,
  random: Random,
  knobs: Partial<BehaviourKnobs> = {},
): Behaviour {
  const p = { ...flawedBehaviour, ...knobs };
  const calls: BehaviourCall[] = [];
  const call = (name: string, args: Record<string, unknown>): boolean => {
    const { status, result, text } = callTaskTool(task, name, args);
    if (status === "ok") calls.push({ name, arguments: args, result, text });
    return status === "ok";
  };
  if (task.plan.length === 0) {
    const [a, b] = [...task.prompt.matchAll(/\d+/g)].map(Number);
    if (random.chance(p.needless)) call(random.pick(["add", "sub"]), { a, b });
    return { calls, answer: calls[0]?.text ?? task.answer };
  }
  if (random.chance(task.plan.length === 1 ? p.directSingle : p.direct)) {
    return { calls, answer: guess(task, random) };
  }
  const first = Object.values(task.plan[0]?.operands ?? {});
  for (const [i, step] of task.plan.entries()) {
    if (i > 0 && random.chance(p.premature)) break;
    const results = calls.map((call) => call.result);
    const { tool, operands } = slip(step, [...first, ...Object.values(step.operands)], p, random);
    if (!call(tool, resolve({ ...step, operands }, results))) {
      return { calls, answer: guess(task, random) };
    }
  }
  return { calls, answer: resultText(calls.at(-1)?.result) };
}

/** A step as the policy understands it. `sources` are the operands that `carry` may read again. */
function slip(
  step: Step,
  sources: readonly Operand[],
  p: BehaviourKnobs,
  random: Random,
): { tool: string; operands: Record<string, Operand> } {
  let tool = step.tool;
  const operands: Record<string, Operand> = { ...step.operands };
  const mistaken = mistakenTools[step.word];
  if (mistaken !== undefined && random.chance(p.tool)) tool = mistaken;
  for (const [name, operand] of Object.entries(operands)) {
    if ("step" in operand && random.chance(p.carry)) {
      operands[name] = reread(step, sources) ?? operand;
    }
  }
  const pair = confusable[step.tool];
  if (pair !== undefined && random.chance(p.order)) {
    const [a, b] = pair;
    [operands[a], operands[b]] = [operands[b] as Operand, operands[a] as Operand];
  }
  const { col, n } = operands;
  if (col !== undefined && "prompt" in col && random.chance(p.column)) {
    const next = (tableColumns.indexOf(String(col.prompt)) + 1) % tableColumns.length;
    operands.col = { prompt: tableColumns[next] as string };
  }
  if (step.word === "before" && n !== undefined && "prompt" in n && random.chance(p.sign)) {
    operands.n = { prompt: -Number(n.prompt) };
  }
  return { tool, operands };
}

/** The first value in the prompt of the kind that the step takes: a number to calculate with. */
function reread(step: Step, sources: readonly Operand[]): Operand | undefined {
  const kind = operationTools[step.word] === undefined ? "string" : "number";
  return sources.find((operand) => "prompt" in operand && typeof operand.prompt === kind);
}

/** An answer of the right form, and not the right answer. */
function guess(task: DomainTask, random: Random): string {
  while (true) {
    const answer = task.check === "number" ? String(random.int(10, 999)) : scramble(task, random);
    if (answer !== task.answer) return answer;
  }
}

/** The characters of the answer's form in another order or number: letters stay letters. */
function scramble(task: DomainTask, random: Random): string {
  const date = /^[a-z]{3}\d{1,2}(-[a-z]{3})?$/.exec(task.answer);
  if (date !== null) {
    const month = random.pick("jan feb mar apr may jun jul aug sep oct nov dec".split(" "));
    const day = date[1] && `-${random.pick("mon tue wed thu fri sat sun".split(" "))}`;
    return `${month}${random.int(1, 28)}${day ?? ""}`;
  }
  const letters = [...task.prompt.replaceAll(/\b(rev|dup|join|then)\b|\s/g, "")];
  return random.shuffle(letters).join("");
}
