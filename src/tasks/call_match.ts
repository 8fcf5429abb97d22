/**
 * Tasks that are solved by calls rather than by an answer: which calls will do.
 *
 * @module
 */

import type { ParsedCall } from "../text/tool_call.ts";

/** A call that a task expects. */
export interface ExpectedCall {
  /** The tool's name. */
  readonly name: string;
  /** The values allowed for each argument; "" among them means that it may be left out. */
  readonly arguments: Readonly<Record<string, readonly unknown[]>>;
}

/** A call as an answer has it. */
export interface MadeCall {
  /** The tool's name. */
  readonly name: string;
  /** Its arguments. */
  readonly arguments: Readonly<Record<string, unknown>>;
  /** The arguments as JSON, where that tells more: `5.0`, which is a float. */
  readonly json?: string;
}

/** The calls of a turn as the answer to a task: a JSON list. */
export function callsAnswer(calls: readonly MadeCall[]): string {
  const written = calls.map(({ name, arguments: args, json = JSON.stringify(args) }) =>
    `{"name":${JSON.stringify(name)},"arguments":${json}}`
  );
  return `[${written.join(",")}]`;
}

/**
 * The same of calls as a model wrote them. One whose arguments cannot be told is a call without a
 * name, and a turn of which nothing can be read calls nothing.
 */
export function parsedAnswer(calls: readonly ParsedCall[]): string {
  if (calls.every(({ status }) => status === "malformed")) return callsAnswer([]);
  return callsAnswer(
    calls.map(({ arguments: args, ...call }) =>
      args === null ? { name: "", arguments: {} } : { ...call, arguments: args }
    ),
  );
}

/** The first answer that will do. */
export function answerTo(expected: readonly ExpectedCall[]): string {
  return callsAnswer(expected.map(({ name, arguments: allowed }) => {
    const first = Object.entries(allowed).map(([key, values]) => [key, values[0]]);
    return { name, arguments: Object.fromEntries(first.filter(([, value]) => value !== "")) };
  }));
}

/**
 * Whether the calls of `answer` are those expected, in any order.
 *
 * @param expected the calls, or an answer that has them with one value for each argument
 */
export function matchesCalls(expected: readonly ExpectedCall[] | string, answer: string): boolean {
  const wanted = typeof expected === "string" ? readCalls(expected)?.map(only) : expected;
  const made = readCalls(answer);
  if (!wanted || !made || wanted.length !== made.length) return false;
  return assignable(wanted, made);
}

/** Whether each expected call can have one of its own: a bipartite matching, by augmenting paths. */
function assignable(wanted: readonly ExpectedCall[], made: readonly MadeCall[]): boolean {
  const fits = wanted.map((each) => made.map((call) => matches(each, call)));
  /** For each call that was made, which expected one has it. */
  const owners: (number | undefined)[] = [];
  const place = (each: number, seen: Set<number>): boolean =>
    made.some((_, i) => {
      if (!fits[each]![i] || seen.has(i)) return false;
      seen.add(i);
      const owner = owners[i];
      if (owner !== undefined && !place(owner, seen)) return false;
      owners[i] = each;
      return true;
    });
  return wanted.every((_, each) => place(each, new Set()));
}

function matches({ name, arguments: allowed }: ExpectedCall, made: MadeCall): boolean {
  if (made.name !== name) return false;
  const given = Object.keys(made.arguments);
  if (!given.every((key) => Object.hasOwn(allowed, key))) return false;
  return Object.entries(allowed).every(([key, values]) =>
    Object.hasOwn(made.arguments, key)
      ? values.some((value) => equal(value, made.arguments[key]))
      : values.includes("")
  );
}

/** Equality of JSON values; the order of an object's keys does not matter. */
function equal(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return a === b;
  const keys = Object.keys(a);
  return Array.isArray(a) === Array.isArray(b) && keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && equal(Reflect.get(a, key), Reflect.get(b, key)));
}

function only({ name, arguments: args }: MadeCall): ExpectedCall {
  const lists = Object.entries(args).map(([key, value]) => [key, [value]]);
  return { name, arguments: Object.fromEntries(lists) };
}

/** Whether a text is a JSON list of calls. */
export function isCallsAnswer(text: string): boolean {
  return readCalls(text) !== null;
}

/** Null if the text is no list of calls. */
function readCalls(text: string): MadeCall[] | null {
  try {
    const calls = JSON.parse(text);
    return Array.isArray(calls) && calls.every(isCall) ? calls : null;
  } catch {
    return null;
  }
}

function isCall(value: unknown): value is MadeCall {
  const call = value as MadeCall | null;
  return typeof call?.name === "string" && typeof call.arguments === "object" &&
    call.arguments !== null;
}
