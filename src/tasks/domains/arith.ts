/**
 * Arithmetic, from left to right: "34 plus 8 times 3".
 *
 * @module
 */

import { type Domain, drawWords, fromPrompt } from "./domain.ts";
import { arithmetic, drawChain, drawStart, heldOutOperations } from "./operations.ts";

const words = ["plus", "minus", "times", "over"];

/** Trained on one and two operations; the pairs of `heldOutOperations` are held out. */
export const arith: Domain = {
  name: "arith",
  tools: arithmetic.all,
  splits: ["train", "composition", "depth"],
  draw(random, split) {
    const chosen = drawWords(random, split, words, words, heldOut);
    if (chosen === null) return null;
    const start = drawStart(random, chosen[0] as string);
    const chain = drawChain(random, chosen, start, fromPrompt(start), 0);
    return chain && { prompt: start + chain.text, plan: chain.steps };
  },
};

/** "less" is not a word of this domain. */
const heldOut = heldOutOperations.filter((pair) => pair.every((word) => words.includes(word)));
