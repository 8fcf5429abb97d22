/**
 * Text: "rev kamo then dup". The whole domain is held out of training.
 *
 * @module
 */

import { type Tool, tool } from "../../tools/tool.ts";
import type { Random } from "../../random.ts";
import { type Domain, type Draft, fromPrompt, fromStep, singleStepShare } from "./domain.ts";
import { arithmetic, drawChain } from "./operations.ts";

/** Longest text that the tools take; repeated doubling stops here. */
const LONGEST = 100;

function textTool<Name extends string>(
  name: string,
  description: string,
  names: readonly Name[],
  apply: (args: Record<Name, string>) => string | number,
): Tool {
  const text = { type: "string", maxLength: LONGEST };
  return tool({
    name,
    description,
    parameters: {
      type: "object",
      properties: Object.fromEntries(names.map((name) => [name, text])),
      required: names,
      additionalProperties: false,
    },
    execute: (args) => apply(args as Record<Name, string>),
  });
}

const rev = textTool("rev", "Reverses a text", ["s"], ({ s }) => [...s].reverse().join(""));
const dup = textTool("dup", "Repeats a text once", ["s"], ({ s }) => s + s);
const cat = textTool("cat", "Joins two texts", ["a", "b"], ({ a, b }) => a + b);
const len = textTool("len", "Counts the characters of a text", ["s"], ({ s }) => [...s].length);

/** One or two steps; `len` occurs before an operation only, since lengths are easily guessed. */
export const string: Domain = {
  name: "string",
  tools: [rev, dup, cat, len, arithmetic.add, arithmetic.mul],
  splits: ["domain"],
  draw(random) {
    const first = random.weighted([["rev", 2], ["dup", 2], ["join", 2], ["len", 1]]);
    const word = drawWord(random);
    if (first === "len") return drawLength(random, word);
    const other = drawWord(random);
    const draft: Draft = first === "join"
      ? {
        prompt: `join ${word} ${other}`,
        plan: [{
          word: first,
          tool: "cat",
          operands: { a: fromPrompt(word), b: fromPrompt(other) },
        }],
      }
      : {
        prompt: `${first} ${word}`,
        plan: [{ word: first, tool: first, operands: { s: fromPrompt(word) } }],
      };
    return random.chance(singleStepShare) ? draft : addStep(random, draft);
  },
};

/** Appends "then rev", "then dup" or "then join WORD" to a one-step draft. */
function addStep(random: Random, draft: Draft): Draft {
  const word = random.pick(["rev", "dup", "join"]);
  if (word !== "join") {
    const step = { word, tool: word, operands: { s: fromStep(0) } };
    return { prompt: `${draft.prompt} then ${word}`, plan: [...draft.plan, step] };
  }
  const other = drawWord(random);
  const step = { word, tool: "cat", operands: { a: fromStep(0), b: fromPrompt(other) } };
  return { prompt: `${draft.prompt} then join ${other}`, plan: [...draft.plan, step] };
}

function drawLength(random: Random, word: string): Draft | null {
  const chain = drawChain(random, [random.pick(["plus", "times"])], word.length, fromStep(0), 1);
  return chain && {
    prompt: `len ${word}${chain.text}`,
    plan: [{ word: "len", tool: "len", operands: { s: fromPrompt(word) } }, ...chain.steps],
  };
}

/** Three or four letters, consonants and vowels in turn. */
function drawWord(random: Random): string {
  return Array.from(
    { length: random.int(3, 4) },
    (_, i) => random.pick([...(i % 2 === 0 ? "bdfgklmnprstvz" : "aeiou")]),
  ).join("");
}
