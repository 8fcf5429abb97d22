/**
 * The scripted teacher of the built-in domains. With default knobs it is perfect; the knobs make
 * it a teacher with a capacity of its own, whose trajectories are not what the student needs.
 *
 * @module
 */

import { resultText } from "../tools/tool.ts";
import { callTaskTool, type DomainTask, resolve } from "./domains/domain.ts";
import type { Random } from "../random.ts";
import type { Reference, ReferenceCall } from "./task.ts";

/** Probabilities, each 0 by default. */
export interface TeacherKnobs {
  /** An add or sub is done in the head and not called: the capacity gap, student to teacher. */
  mental?: number;
  /** A calculation is checked by its inverse, a call that the answer does not need. */
  verify?: number;
  /** A calculation that allows it has its arguments the other way round. */
  style?: number;
  /** The reference is wrong: one number is misread on the way. */
  noise?: number;
}

const commutative = new Set(["add", "mul"]);
const mentalTools = new Set(["add", "sub"]);
const inverses: Readonly<Record<string, string>> = {
  add: "sub",
  sub: "add",
  mul: "div",
  div: "mul",
};

/**
 * Solves a task by running its tools.
 *
 * @returns the calls made and the answer, which is right unless `noise` struck
 */
export function teach(task: DomainTask, knobs: TeacherKnobs, random: Random): Reference {
  const { mental = 0, verify = 0, style = 0, noise = 0 } = knobs;
  const calls: ReferenceCall[] = [];
  const results: unknown[] = [];
  const misread = random.chance(noise) ? random.int(0, Math.max(0, task.plan.length - 1)) : -1;
  const call = (name: string, args: Record<string, unknown>, record: boolean): unknown => {
    const outcome = callTaskTool(task, name, args);
    if (outcome.status !== "ok") return outcome.text;
    if (record) calls.push({ name, arguments: args, result: outcome.result });
    return outcome.result;
  };
  for (const [i, step] of task.plan.entries()) {
    let args = resolve(step, results);
    if (random.chance(style) && commutative.has(step.tool)) args = { a: args.b, b: args.a };
    if (i === misread) args = misreadOne(args, random);
    const inHead = mentalTools.has(step.tool) && random.chance(mental);
    const result = call(step.tool, args, !inHead);
    results.push(result);
    const inverse = inverses[step.tool];
    if (!inHead && inverse !== undefined && random.chance(verify)) {
      call(inverse, { a: result, b: args.b }, true);
    }
  }
  if (results.length > 0) return { calls, answer: resultText(results.at(-1)) };
  return { calls, answer: misread < 0 ? task.answer : `${task.answer}0` };
}

/** Changes one argument; the last digit of a number, or the last letter of a text. */
function misreadOne(args: Record<string, unknown>, random: Random): Record<string, unknown> {
  const numbers = Object.keys(args).filter((name) => typeof args[name] === "number");
  const name = random.pick(numbers.length > 0 ? numbers : Object.keys(args));
  const value = args[name];
  const wrong = typeof value === "number" ? value + random.int(1, 9) : `${value}s`;
  return { ...args, [name]: wrong };
}
