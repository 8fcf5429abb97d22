/**
 * Dates of a year of 365 days that begins on a Monday and repeats, written as "mar3":
 * "14 after mar3", "days mar3 to may9 less 20". The whole domain is held out of training.
 *
 * @module
 */

import { tool } from "../../tools/tool.ts";
import type { Random } from "../../random.ts";
import { type Domain, type Draft, fromPrompt, fromStep, type Step } from "./domain.ts";
import { arithmetic, drawChain } from "./operations.ts";

const months = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const weekdays = "mon tue wed thu fri sat sun".split(" ");
const YEAR = 365;

/** Day of the year from 0; throws on what is no date. */
function parseDate(text: unknown): number {
  const [, name, digits] = /^([a-z]{3})(\d{1,2})$/.exec(String(text)) ?? [];
  const month = months.indexOf(name ?? "");
  const day = Number(digits);
  if (month < 0 || day < 1 || day > (lengths[month] as number)) {
    throw new RangeError(`no date ${text}`);
  }
  return lengths.slice(0, month).reduce((a, b) => a + b, 0) + day - 1;
}

function formatDate(day: number): string {
  let left = ((day % YEAR) + YEAR) % YEAR;
  let month = 0;
  while (left >= (lengths[month] as number)) left -= lengths[month++] as number;
  return `${months[month]}${left + 1}`;
}

const dateText = { type: "string" };

const addDays = tool({
  name: "addDays",
  description: "Returns the date n days after a date, or before it if n is negative",
  parameters: {
    type: "object",
    properties: { date: dateText, n: { type: "integer" } },
    required: ["date", "n"],
    additionalProperties: false,
  },
  execute: ({ date, n }) => formatDate(parseDate(date) + (n as number)),
});

const diff = tool({
  name: "diff",
  description: "Returns the number of days from one date to another",
  parameters: {
    type: "object",
    properties: { from: dateText, to: dateText },
    required: ["from", "to"],
    additionalProperties: false,
  },
  execute: ({ from, to }) => parseDate(to) - parseDate(from),
});

const weekday = tool({
  name: "weekday",
  description: "Returns a date with its day of the week",
  parameters: {
    type: "object",
    properties: { date: dateText },
    required: ["date"],
    additionalProperties: false,
  },
  // The date stays in the answer: one of seven days alone would be guessed too easily.
  execute: ({ date }) => `${date}-${weekdays[parseDate(date) % 7]}`,
});

/** One or two steps. */
export const date: Domain = {
  name: "date",
  tools: [addDays, diff, weekday, arithmetic.add, arithmetic.sub, arithmetic.mul],
  splits: ["domain"],
  draw(random) {
    const template = random.weighted([
      [drawAfter, 2],
      [drawSpan, 3],
      [drawUntil, 3],
      [drawWeekday, 2],
    ]);
    return template(random);
  },
};

/** "14 after mar3" */
function drawAfter(random: Random): Draft {
  const { prompt, step } = drawShift(random, 0);
  return { prompt, plan: [step] };
}

/** "14 after mar3 to may9" */
function drawUntil(random: Random): Draft {
  const { prompt, step, day } = drawShift(random, 160);
  const to = formatDate(day + random.int(10, 150));
  const operands = { from: fromStep(0), to: fromPrompt(to) };
  return { prompt: `${prompt} to ${to}`, plan: [step, { word: "to", tool: "diff", operands }] };
}

/** "weekday 14 after mar3" */
function drawWeekday(random: Random): Draft {
  const { prompt, step } = drawShift(random, 0);
  const naming = { word: "weekday", tool: "weekday", operands: { date: fromStep(0) } };
  return { prompt: `weekday ${prompt}`, plan: [step, naming] };
}

/** "14 after mar3" or "14 before mar3", with at least `rest` days of the year behind the result. */
function drawShift(random: Random, rest: number): { prompt: string; step: Step; day: number } {
  const n = random.int(10, 99);
  const start = random.int(99, YEAR - 100 - rest);
  const word = random.pick(["after", "before"]);
  const shift = word === "after" ? n : -n;
  const from = formatDate(start);
  return {
    prompt: `${n} ${word} ${from}`,
    step: { word, tool: "addDays", operands: { date: fromPrompt(from), n: fromPrompt(shift) } },
    day: start + shift,
  };
}

/** "days mar3 to may9", mostly with an operation behind. */
function drawSpan(random: Random): Draft | null {
  const start = random.int(0, 150);
  const days = random.int(10, 200);
  const [from, to] = [formatDate(start), formatDate(start + days)];
  const words = random.chance(0.2) ? [] : [random.pick(["plus", "less", "times"])];
  const chain = drawChain(random, words, days, fromStep(0), 1);
  const operands = { from: fromPrompt(from), to: fromPrompt(to) };
  return chain && {
    prompt: `days ${from} to ${to}${chain.text}`,
    plan: [{ word: "to", tool: "diff", operands }, ...chain.steps],
  };
}
