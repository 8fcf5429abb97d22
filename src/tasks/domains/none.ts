/**
 * Questions whose answer stands in the prompt: "say 473 not 52". The reference has no calls; these
 * tasks teach when not to call a tool.
 *
 * @module
 */

import type { Domain } from "./domain.ts";
import { arithmetic } from "./operations.ts";

/** The arithmetic tools are offered and useless. */
export const none: Domain = {
  name: "none",
  tools: arithmetic.all,
  splits: ["train"],
  draw(random) {
    const answer = random.int(100, 999);
    const other = random.int(10, 99);
    const prompt = random.pick([
      `say ${answer} not ${other}`,
      `not ${other} say ${answer}`,
      `skip ${other} say ${answer}`,
    ]);
    return { prompt, plan: [], answer: String(answer) };
  },
};
