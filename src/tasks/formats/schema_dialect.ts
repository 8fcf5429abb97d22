/**
 * The ways in which data sets describe arguments, as JSON Schema.
 *
 * Beside JSON Schema itself there is a form with Python's names of types (`dict`, `float`,
 * `List[int]`), and a flat one, `{"city": {"type": "str, optional", "description": "..."}}`.
 *
 * @module
 */

import type { JsonSchema } from "../../text/json_schema.ts";
import { isRecord } from "../../text/json_value.ts";

const types: Readonly<Record<string, string>> = {
  ...{ str: "string", string: "string", text: "string" },
  ...{ int: "integer", integer: "integer", long: "integer" },
  ...{ float: "number", double: "number", number: "number" },
  ...{ bool: "boolean", boolean: "boolean" },
  ...{ list: "array", array: "array", tuple: "array", set: "array", sequence: "array" },
  ...{ dict: "object", object: "object", mapping: "object" },
  ...{ none: "null", null: "null" },
};

/** Keywords that hold a schema, or a list of them. */
const containers = new Set(["items", "additionalProperties", "anyOf", "oneOf", "allOf"]);

/** The schema of a tool's arguments; where nothing is said of them, there are none. */
export function jsonSchemaOf(parameters: unknown): JsonSchema {
  if (!isRecord(parameters)) return { type: "object", properties: {} };
  // In the flat form these would be arguments, and so be described by an object.
  if (typeof parameters.type === "string") return translated(parameters);
  if (isRecord(parameters.properties) && typeof parameters.properties.type !== "string") {
    return { ...translated(parameters), type: "object" };
  }
  const described = Object.entries(parameters)
    .map(([name, value]) => [name, isRecord(value) ? value : {}] as const);
  return {
    type: "object",
    properties: Object.fromEntries(described.map(([name, each]) => [name, translated(each)])),
    required: described.flatMap(([name, each]) => isOptional(each) ? [] : [name]),
  };
}

/** An argument with a default may be left out, whatever else is said of it. */
function isOptional({ type, default: fallback, required }: Record<string, unknown>): boolean {
  return fallback !== undefined || required === false ||
    (typeof type === "string" && /\boptional\b/i.test(type));
}

/** Keyword by keyword, in their order: models are shown the result. */
function translated(schema: Record<string, unknown>): JsonSchema {
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === "type") Object.assign(result, typed(value));
    else if (keyword === "required") {
      // Some have `true` or null here, which means nothing in JSON Schema.
      const { properties } = schema;
      const known = (name: unknown) => isRecord(properties) && Object.hasOwn(properties, `${name}`);
      if (Array.isArray(value)) result.required = value.filter(known);
    } else if (keyword === "enum") {
      if (Array.isArray(value)) result.enum = value;
    } else if (keyword === "properties" && isRecord(value)) {
      const entries = Object.entries(value)
        .map(([name, each]) => [name, isRecord(each) ? translated(each) : {}]);
      result.properties = Object.fromEntries(entries);
    } else if (containers.has(keyword)) {
      result[keyword] = Array.isArray(value) ? value.map(nested) : nested(value);
    } else result[keyword] = value;
  }
  return result;
}

/** A schema inside of another; `true` and `false` are schemas, too. */
function nested(value: unknown): JsonSchema | boolean {
  return isRecord(value) ? translated(value) : value !== false;
}

/** The keywords that a type stands for; none where its name is not known. */
function typed(type: unknown): { type?: string | string[]; items?: JsonSchema } {
  if (Array.isArray(type)) {
    const names = type.flatMap((each) => typed(each).type ?? []);
    return names.length === type.length ? { type: names } : {};
  }
  if (typeof type !== "string") return {};
  const text = type.replace(/,?\s*\boptional\b(?!\[)|,?\s*default\b.*$/gi, "").trim();
  const [, outer = text, inner] = /^(\w+)\[(.*)\]$/s.exec(text) ?? [];
  const name = outer.toLowerCase();
  if (name === "optional" && inner !== undefined) return typed(inner);
  if (name === "union" && inner !== undefined) return typed(parts(inner));
  const known = Object.hasOwn(types, name) ? types[name] : undefined;
  if (known === undefined) return {};
  const single = inner !== undefined && known === "array" && parts(inner).length === 1;
  return { type: known, ...(single ? { items: typed(inner) } : {}) };
}

/** Splits at the commas that are not inside of brackets. */
function parts(text: string): string[] {
  return text.split(/,(?![^[]*\])/).map((part) => part.trim());
}
