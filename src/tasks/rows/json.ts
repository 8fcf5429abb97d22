/**
 * Rows as JSON: an object per line, or a list of objects.
 *
 * @module
 */

import { isRecord, kind } from "../../text/json_value.ts";
import { TaskFormatError } from "../task.ts";
import type { RowOrFault, Rows } from "./row.ts";

/** The rows of a JSON text: one that begins with `[` is a list, any other has an object per line. */
export function jsonRows(text: string, source: string): Rows {
  return /^\ufeff?\s*\[/.test(text)
    ? { rows: jsonList(text, source), unit: "row" }
    : { rows: jsonLines(text) };
}

/** The objects of a text that has one per line; blank lines are skipped. */
export function* jsonLines(text: string): Generator<RowOrFault> {
  let line = 0;
  let start = text.startsWith("\ufeff") ? 1 : 0;
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    const raw = text.slice(start, end < 0 ? text.length : end).trim();
    start = end < 0 ? text.length : end + 1;
    line++;
    if (raw === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(raw);
    } catch (error) {
      // The engine counts lines from this one, which would contradict the file's.
      const message = (error as Error).message.replace(/ \(line 1 column \d+\)$/, "");
      const fault = `not valid JSON: ${message}`;
      yield { line, fault, reason: "not valid JSON" };
      continue;
    }
    yield rowOf(value, line, raw);
  }
}

/**
 * The objects of a JSON list, numbered from 1.
 *
 * @throws {TaskFormatError} with the line of the object at which the text stops being JSON
 */
function* jsonList(text: string, source: string): Generator<RowOrFault> {
  let list: unknown[];
  try {
    list = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    const { message } = error as Error;
    const told = / at position (\d+)/.exec(message)?.[1];
    const line =
      text.slice(0, told === undefined ? faultIn(text) : Number(told)).split("\n").length;
    throw new TaskFormatError(source, line, `not valid JSON: ${message}`);
  }
  for (const [i, value] of list.entries()) yield rowOf(value, i + 1);
}

/** Where in a list the first element begins that is not JSON; the engine does not always say. */
function faultIn(text: string): number {
  let [depth, start] = [0, 0];
  let end = text.indexOf("[") + 1;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (quoted) {
      if (character === "\\") i++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === "{" || character === "[") {
      if (++depth !== 2) continue;
      // What stands between elements is commas, or elements that have no brackets.
      const between = text.slice(end, i).replace(/^\s*,/, "").replace(/,\s*$/, "");
      if (!isJson(`[${between}]`)) return end + text.slice(end, i).search(/[^\s,]|$/);
      start = i;
    } else if ((character === "}" || character === "]") && --depth === 1) {
      end = i + 1;
      if (!isJson(text.slice(start, end))) return start;
    }
  }
  return depth > 1 ? start : text.length;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function rowOf(value: unknown, line: number, text?: string): RowOrFault {
  if (isRecord(value)) return { line, value, ...(text ? { text } : {}) };
  const reason = "expected a JSON object";
  return { line, fault: `${reason}, got ${kind(value)}`, reason };
}
