/**
 * Whether one argument is what the Berkeley Function Calling Leaderboard allows: its type, then its
 * value.
 *
 * These are the rules of the benchmark's own checker (`ast_checker.py` of bfcl-eval), which compares
 * Python values: integers, floats and booleans are types of their own, and `==` is Python's. So
 * numbers come as {@linkcode parseTypedJson} reads them. The odd ones are kept, as scores would not
 * be the benchmark's otherwise; docs/benchmarks.md lists them.
 *
 * @module
 */

import type { JsonSchema } from "../../text/json_schema.ts";
import { isRecord } from "../../text/json_value.ts";

/** Types as Python has them. */
type Type = "str" | "int" | "float" | "bool" | "list" | "dict" | "none";

/** What is wrong with an argument, in the benchmark's words. */
export type ValueError =
  | "type_error:simple"
  | "type_error:nested"
  | "value_error:string"
  | "value_error:list/tuple"
  | "value_error:dict_key"
  | "value_error:dict_value"
  | "value_error:list_dict_count"
  | "value_error:others"
  | "dict_checker:unclear"
  | "list_dict_checker:unclear";

/** Python's types by JSON Schema's; what may be anything is a text. */
const types: Readonly<Record<string, Type>> = {
  string: "str",
  integer: "int",
  number: "float",
  boolean: "bool",
  array: "list",
  object: "dict",
};

/**
 * Compares an argument with the values allowed.
 *
 * @param value of the call
 * @param allowed values; `""` among them means that the argument may be left out
 * @param schema of the argument
 * @returns null if it is allowed
 */
export function valueError(
  value: unknown,
  allowed: readonly unknown[],
  schema: JsonSchema,
): ValueError | null {
  const type = typeOf(schema);
  const items = schema.type === "array" && typeof schema.items === "object"
    ? typeOf(schema.items)
    : null;
  // Python takes an integer where it wants a float, and not the other way round.
  const given = type === "float" && typeof value === "bigint" ? Number(value) : value;
  const problem = typeError(given, allowed, type, items);
  if (problem !== null) return problem;
  // Where the first allowed value is of another type than the schema's, it stands for itself: such as
  // null, or the name of a variable.
  const first = firstType(allowed);
  if (first === null || first === type) {
    if (type === "dict") return dictError(given, allowed);
    if (type === "list" && items === "dict") return dictsError(given as unknown[], allowed);
    if (type === "str") {
      return includes(allowed.map(normalised), normalised(given)) ? null : "value_error:string";
    }
    if (type === "list") {
      const wanted = allowed.map((each) => listOf(each).map(normalised));
      return includes(wanted, (given as unknown[]).map(normalised))
        ? null
        : "value_error:list/tuple";
    }
  }
  return includes(allowed, given) ? null : "value_error:others";
}

/** The type is the schema's, or else that of the first allowed value. */
function typeError(
  value: unknown,
  allowed: readonly unknown[],
  type: Type,
  items: Type | null,
): ValueError | null {
  const given = typeOfValue(value);
  const first = firstType(allowed);
  if (given !== type) return given === first ? null : "type_error:simple";
  if (items === null) return null;
  // An allowed value that is no list, such as the "" of an optional argument, allows any items.
  const conforms = allowed.some((each) =>
    !Array.isArray(each) ||
    (value as unknown[]).every((item) => typeError(item, each, items, null) === null)
  );
  if (conforms) return null;
  return given === first ? "type_error:nested" : "type_error:simple";
}

/** A dict has the keys and values of one of those allowed, each of which lists values by key. */
function dictError(value: unknown, allowed: readonly unknown[]): ValueError | null {
  let problem: ValueError = "dict_checker:unclear";
  for (const template of allowed) {
    if (!isRecord(template) || !isRecord(value)) continue;
    const found = entriesError(value, template);
    if (found === null) return null;
    problem = found;
  }
  return problem;
}

function entriesError(
  value: Readonly<Record<string, unknown>>,
  template: Readonly<Record<string, unknown>>,
): ValueError | null {
  const missing = Object.entries(template).some(([key, each]) =>
    !Object.hasOwn(value, key) && !listOf(each).includes("")
  );
  if (missing) return "value_error:dict_key";
  for (const [key, each] of Object.entries(value)) {
    if (!Object.hasOwn(template, key)) return "value_error:dict_key";
    const wanted = listOf(template[key]).map(normalised);
    if (!includes(wanted, normalised(each))) return "value_error:dict_value";
  }
  return null;
}

/** A list of dicts, in the order of one of those allowed. */
function dictsError(value: readonly unknown[], allowed: readonly unknown[]): ValueError | null {
  let problem: ValueError = "list_dict_checker:unclear";
  for (const each of allowed) {
    const templates = listOf(each);
    if (templates.length !== value.length) {
      problem = "value_error:list_dict_count";
      continue;
    }
    const found = value.map((dict, i) => dictError(dict, [templates[i]]))
      .find((error) => error !== null);
    if (found === undefined) return null;
    problem = found;
  }
  return problem;
}

function typeOf(schema: JsonSchema): Type {
  return types[String(schema.type)] ?? "str";
}

function typeOfValue(value: unknown): Type {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return "list";
  const names = { string: "str", bigint: "int", number: "float", boolean: "bool", object: "dict" };
  return names[typeof value as keyof typeof names] as Type;
}

function firstType(allowed: readonly unknown[]): Type | null {
  const first = allowed.find((value) => value !== "");
  return first === undefined ? null : typeOfValue(first);
}

/** Texts are compared without case, space, some punctuation, and the kind of quotes. */
function normalised(value: unknown): unknown {
  if (typeof value !== "string") return value;
  return value.replaceAll(/[ ,./\-_*^]/g, "").toLowerCase().replaceAll("'", '"');
}

/** Python's list(): a text is the list of its characters, so that "" is an empty list. */
function listOf(value: unknown): unknown[] {
  if (typeof value === "string") return [...value];
  return Array.isArray(value) ? value : [];
}

function includes(values: readonly unknown[], value: unknown): boolean {
  return values.some((each) => equal(each, value));
}

/** Python's ==: 1, 1.0 and True are equal. */
function equal(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((each, i) => equal(each, b[i]));
  }
  if (isRecord(a) && isRecord(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length &&
      keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
  }
  const [x, y] = [numeric(a), numeric(b)];
  return x !== null && y !== null ? x == y : a === b;
}

function numeric(value: unknown): number | bigint | null {
  if (typeof value === "boolean") return Number(value);
  return typeof value === "number" || typeof value === "bigint" ? value : null;
}
