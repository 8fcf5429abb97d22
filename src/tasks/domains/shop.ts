/**
 * A shop: "cost of pen less 12". Prices are drawn anew for every task and only `look` knows them,
 * so they cannot be memorised.
 *
 * @module
 */

import { tool } from "../../tools/tool.ts";
import { type Domain, drawWords, fromPrompt, fromStep, type Step } from "./domain.ts";
import { arithmetic, drawChain, heldOutOperations } from "./operations.ts";

const items = [
  ..."pen mug hat cap bag cup box fan jar key lamp map net pad pot rug saw tie toy van".split(" "),
  ..."axe bed bell belt bike bowl coat desk doll drum fork glue kite knob ring rope soap sofa"
    .split(" "),
  ..."tent vase".split(" "),
];

/** Items in a shop. */
const SHELF = 4;

const look = tool({
  name: "look",
  description: "Returns the price of an item",
  parameters: {
    type: "object",
    properties: { item: { type: "string" } },
    required: ["item"],
    additionalProperties: false,
  },
  execute: ({ item }, { world }) => {
    const { prices } = world as { prices: Record<string, number> };
    if (!Object.hasOwn(prices, item as string)) throw new RangeError(`no item ${item}`);
    return prices[item as string];
  },
});

/** Trained on a look-up and a look-up with one operation; held out: dividing a price. */
export const shop: Domain = {
  name: "shop",
  tools: [look, ...arithmetic.all],
  splits: ["train", "composition", "depth"],
  draw(random, split) {
    const heldOut = [["cost", "over"] as const, ...heldOutOperations];
    const words = drawWords(random, split, ["cost"], ["plus", "less", "times", "over"], heldOut);
    if (words === null) return null;
    const shelf = random.shuffle(items).slice(0, SHELF);
    const prices = Object.fromEntries(shelf.map((item) => [item, random.int(20, 400)]));
    const item = shelf[0] as string;
    const first: Step = { word: "cost", tool: "look", operands: { item: fromPrompt(item) } };
    const chain = drawChain(random, words.slice(1), prices[item] as number, fromStep(0), 1);
    return chain && {
      prompt: `cost of ${item}${chain.text}`,
      plan: [first, ...chain.steps],
      world: { prices },
    };
  },
};
