/**
 * The four arithmetic tools, used by the built-in domains and by GSM8K's annotations.
 *
 * @module
 */

import { type Tool, tool } from "./tool.ts";

/** The arithmetic tools by name, and in the order in which they are offered. */
export interface Calculator {
  /** `add a b` */
  add: Tool;
  /** `sub a b` */
  sub: Tool;
  /** `mul a b` */
  mul: Tool;
  /** `div a b`; division by zero fails */
  div: Tool;
  /** All four. */
  all: readonly Tool[];
}

/**
 * Makes the four arithmetic tools.
 *
 * @param round what becomes of a raw result; by default float dust is removed by rounding to 12
 * significant digits, so that 0.1 + 0.2 is 0.3
 */
export function calculator(round: (x: number) => number = withoutDust): Calculator {
  const binary = (
    name: string,
    description: string,
    apply: (a: number, b: number) => number,
  ): Tool =>
    tool({
      name,
      description,
      parameters: {
        type: "object",
        properties: { a: { type: "number" }, b: { type: "number" } },
        required: ["a", "b"],
        additionalProperties: false,
      },
      execute: (args) => {
        const result = round(apply(args.a as number, args.b as number));
        if (!Number.isFinite(result)) throw new RangeError("the result is too large");
        return result;
      },
    });
  const add = binary("add", "Returns a + b", (a, b) => a + b);
  const sub = binary("sub", "Returns a - b", (a, b) => a - b);
  const mul = binary("mul", "Returns a * b", (a, b) => a * b);
  const div = binary("div", "Returns a / b", (a, b) => {
    if (b === 0) throw new RangeError("division by zero");
    return a / b;
  });
  return { add, sub, mul, div, all: [add, sub, mul, div] };
}

/** Rounds to 12 significant digits; -0 becomes 0. */
export function withoutDust(x: number): number {
  return Number(x.toPrecision(12)) + 0;
}

/** Rounds to two decimals: results of the built-in domains stay short in a model's context. */
export function toHundredths(x: number): number {
  return withoutDust(Math.round(x * 100) / 100);
}
