/**
 * JSON whose integers and floats stay apart, as they do in Python: `5` is the bigint 5n and `5.0`
 * the number 5. Who compares what a model wrote with what Python's `json` would have read needs to
 * know which it was, and `JSON.parse` makes one of both.
 *
 * @module
 */

/** `JSON.parse` with the third argument of revivers, which the type library does not have yet. */
const parseWithSource = JSON.parse as (
  text: string,
  reviver: (key: string, value: unknown, context?: { source?: string }) => unknown,
) => unknown;

/**
 * Reads JSON, integers as bigints. Where the engine does not show a reviver the source of a number,
 * every whole number is an integer.
 *
 * @throws {SyntaxError} on anything but JSON, and on numbers that JavaScript's cannot hold
 */
export function parseTypedJson(text: string): unknown {
  return parseWithSource(text, (_key, value, context) => {
    if (typeof value !== "number") return value;
    // 1e999 would be Infinity, which no JSON text can hold.
    if (!Number.isFinite(value)) throw new SyntaxError("number too large");
    const source = context?.source ?? String(value);
    return /^-?\d+$/.test(source) ? BigInt(source) : value;
  });
}

/** Writes what {@linkcode parseTypedJson} reads; `undefined` is left out of objects. */
export function formatTypedJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return Number.isInteger(value) ? wholeFloat(value) : `${value}`;
  if (Array.isArray(value)) return `[${value.map(formatTypedJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${
    entries.map(([key, each]) => `${JSON.stringify(key)}:${formatTypedJson(each)}`).join(",")
  }}`;
}

/** "5.0", "-0.0", "1e+21": never the form of an integer. */
function wholeFloat(value: number): string {
  const text = Object.is(value, -0) ? "-0" : String(value);
  return text.includes("e") ? text : `${text}.0`;
}

/** The same value in JavaScript's own numbers. */
export function untyped(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(untyped);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, untyped(each)]));
}
