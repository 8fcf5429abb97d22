/**
 * Chains of arithmetic that read from left to right: "34 plus 8 times 3" is 126.
 *
 * Every value on the way is an integer in 0..999, operands of times and over are in 2..9 and those
 * of plus and minus in 10..99: enough answers that guessing does not pay, and short texts.
 *
 * @module
 */

import { calculator, toHundredths } from "../../tools/calculator.ts";
import type { Random } from "../../random.ts";
import { fromPrompt, fromStep, type Operand, type Step } from "./domain.ts";

/** The arithmetic tools of the built-in domains. */
export const arithmetic = calculator(toHundredths);

/** The tool that each operation word asks for. */
export const operationTools: Readonly<Record<string, "add" | "sub" | "mul" | "div">> = {
  plus: "add",
  minus: "sub",
  less: "sub",
  times: "mul",
  over: "div",
};

/** Ordered pairs of operations held out of training, in every domain that chains operations. */
export const heldOutOperations: readonly (readonly [string, string])[] = [
  ["times", "minus"],
  ["times", "less"],
  ["minus", "times"],
  ["less", "times"],
  ["over", "plus"],
  ["plus", "over"],
];

const LARGEST = 999;
const SMALLEST_QUOTIENT = 10;

/** A chain: the words to append to the prompt, and its steps. */
export interface Chain {
  /** Such as " plus 8 times 3". */
  text: string;
  /** In order. */
  steps: Step[];
}

/**
 * Draws the operands of a chain of operations.
 *
 * @param words such as ["plus", "times"]; may be empty
 * @param value what the chain starts from
 * @param first where the first step reads that value
 * @param offset number of steps before the chain
 * @returns null if an operation has no operand that keeps to the limits
 */
export function drawChain(
  random: Random,
  words: readonly string[],
  value: number,
  first: Operand,
  offset: number,
): Chain | null {
  const chain: Chain = { text: "", steps: [] };
  let left = first;
  for (const word of words) {
    const operand = drawOperand(random, word, value);
    if (operand === null) return null;
    const tool = operationTools[word] as "add" | "sub" | "mul" | "div";
    chain.text += ` ${word} ${operand}`;
    chain.steps.push({ word, tool, operands: { a: left, b: fromPrompt(operand) } });
    left = fromStep(offset + chain.steps.length - 1);
    value = apply(tool, value, operand);
  }
  return chain;
}

/** A number that a chain beginning with this operation may start from. */
export function drawStart(random: Random, word: string): number {
  if (word === "over") return random.int(2, 9) * random.int(SMALLEST_QUOTIENT, 99);
  return random.int(10, word === "minus" ? 199 : 99);
}

function drawOperand(random: Random, word: string, value: number): number | null {
  const within = (low: number, high: number) => low <= high ? random.int(low, high) : null;
  switch (operationTools[word]) {
    case "add":
      return within(10, Math.min(99, LARGEST - value));
    case "sub":
      return within(10, Math.min(99, value));
    case "mul":
      return value === 0 ? null : within(2, Math.min(9, Math.floor(LARGEST / value)));
    case "div": {
      const divisors = [2, 3, 4, 5, 6, 7, 8, 9].filter((d) =>
        value % d === 0 && value / d >= SMALLEST_QUOTIENT
      );
      return divisors.length === 0 ? null : random.pick(divisors);
    }
    default:
      throw new RangeError(`Cannot draw an operand: "${word}" is no operation`);
  }
}

function apply(tool: "add" | "sub" | "mul" | "div", a: number, b: number): number {
  switch (tool) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "div":
      return a / b;
  }
}
