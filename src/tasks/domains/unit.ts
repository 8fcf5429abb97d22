/**
 * Units: "37 ft to in plus 20". Both directions occur, so that the order of `from` and `to` has to
 * be read in the prompt.
 *
 * @module
 */

import { toHundredths } from "../../tools/calculator.ts";
import { tool } from "../../tools/tool.ts";
import { type Domain, drawWords, fromPrompt, fromStep, type Step } from "./domain.ts";
import { arithmetic, drawChain, heldOutOperations } from "./operations.ts";

/** [larger unit, smaller unit, how many smaller make a larger one] */
const conversions = [
  ["ft", "in", 12],
  ["yd", "ft", 3],
  ["m", "cm", 100],
  ["cm", "mm", 10],
  ["hr", "min", 60],
  ["min", "sec", 60],
  ["day", "hr", 24],
  ["wk", "day", 7],
  ["lb", "oz", 16],
  ["gal", "pt", 8],
] as const;

const unitName = { type: "string", enum: [...new Set(conversions.flatMap(([a, b]) => [a, b]))] };

const conv = tool({
  name: "conv",
  description: "Converts n from one unit to another, rounded to two decimals",
  parameters: {
    type: "object",
    properties: { n: { type: "number" }, from: unitName, to: unitName },
    required: ["n", "from", "to"],
    additionalProperties: false,
  },
  execute: ({ n, from, to }) => {
    for (const [large, small, factor] of conversions) {
      if (from === large && to === small) return toHundredths((n as number) * factor);
      if (from === small && to === large) return toHundredths((n as number) / factor);
    }
    throw new RangeError(`cannot convert ${from} to ${to}`);
  },
});

/** Trained on a conversion and a conversion with one operation; held out: multiplying one. */
export const unit: Domain = {
  name: "unit",
  tools: [conv, ...arithmetic.all],
  splits: ["train", "composition", "depth"],
  draw(random, split) {
    const heldOut = [["to", "times"] as const, ...heldOutOperations];
    const words = drawWords(random, split, ["to"], ["plus", "minus", "times", "over"], heldOut);
    if (words === null) return null;
    const [large, small, factor] = random.pick(conversions);
    const count = random.int(2, Math.min(99, Math.floor(999 / factor)));
    const down = random.chance(0.5);
    const [n, from, to, value] = down
      ? [count, large, small, count * factor]
      : [count * factor, small, large, count];
    const first: Step = {
      word: "to",
      tool: "conv",
      operands: { n: fromPrompt(n), from: fromPrompt(from), to: fromPrompt(to) },
    };
    const chain = drawChain(random, words.slice(1), value, fromStep(0), 1);
    return chain &&
      { prompt: `${n} ${from} to ${to}${chain.text}`, plan: [first, ...chain.steps] };
  },
};
