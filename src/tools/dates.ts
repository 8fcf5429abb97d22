/**
 * Tools that reckon with dates of the Gregorian calendar. None of them knows what day it is.
 *
 * @module
 */

import { type Tool, tool } from "./tool.ts";

const DAY_MS = 86_400_000;
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const isoDate = { type: "string", description: "A date as YYYY-MM-DD" } as const;

const addDays = tool({
  name: "add_days",
  description: "Returns the date so many days after a date, or before it if days is negative",
  parameters: {
    type: "object",
    properties: { date: isoDate, days: { type: "integer" } },
    required: ["date", "days"],
    additionalProperties: false,
  },
  execute: ({ date, days }) => format(parse(date) + (days as number) * DAY_MS),
});

const addMonths = tool({
  name: "add_months",
  description:
    "Returns the date so many months after a date, or before it if months is negative; " +
    "the 31st becomes the last day of a shorter month",
  parameters: {
    type: "object",
    properties: { date: isoDate, months: { type: "integer" } },
    required: ["date", "months"],
    additionalProperties: false,
  },
  execute({ date, months }) {
    const start = new Date(parse(date));
    const month = start.getUTCFullYear() * 12 + start.getUTCMonth() + (months as number);
    const [first, next] = [month, month + 1].map((n) => timeOf(Math.floor(n / 12), n % 12, 1));
    const length = Math.round((next! - first!) / DAY_MS);
    return format(first! + (Math.min(start.getUTCDate(), length) - 1) * DAY_MS);
  },
});

const daysBetween = tool({
  name: "days_between",
  description: "Returns the number of days from one date to another, negative if that is earlier",
  parameters: {
    type: "object",
    properties: { from: isoDate, to: isoDate },
    required: ["from", "to"],
    additionalProperties: false,
  },
  execute: ({ from, to }) => Math.round((parse(to) - parse(from)) / DAY_MS),
});

const weekday = tool({
  name: "weekday",
  description: "Returns the day of the week of a date",
  parameters: {
    type: "object",
    properties: { date: isoDate },
    required: ["date"],
    additionalProperties: false,
  },
  execute: ({ date }) => WEEKDAYS[new Date(parse(date)).getUTCDay()],
});

/** What reckons with dates. */
export const dateTools: readonly Tool[] = [addDays, addMonths, daysBetween, weekday];

/** Milliseconds at the start of a date, which is one of the years 1 to 9999. */
function parse(value: unknown): number {
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value as string)?.map(Number) ?? [];
  const time = timeOf(year ?? NaN, (month ?? NaN) - 1, day ?? NaN);
  // The 30th of February would be the 1st of March.
  if (!(year! > 0) || new Date(time).getUTCDate() !== day || !(month! >= 1 && month! <= 12)) {
    throw new RangeError(`no date ${value}; dates are written as 2024-02-29`);
  }
  return time;
}

function format(time: number): string {
  const year = new Date(time).getUTCFullYear();
  // NaN, where the time is beyond what a Date holds, is outside, too.
  if (!(year >= 1 && year <= 9999)) throw new RangeError("the date is not in the years 1 to 9999");
  return new Date(time).toISOString().slice(0, 10);
}

/** `Date.UTC` without its ideas about years of two digits. @param month from 0 */
function timeOf(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month, day);
}
