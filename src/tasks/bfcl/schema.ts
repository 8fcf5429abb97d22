/**
 * The benchmark's dialect of JSON Schema, whose types have the names of Python's.
 *
 * @module
 */

import type { JsonSchema } from "../../text/json_schema.ts";
import { isRecord } from "../../text/json_value.ts";

/** JSON Schema of each type; what may be anything is not restricted. */
const types: Readonly<Record<string, JsonSchema>> = {
  string: { type: "string" },
  integer: { type: "integer" },
  // Told apart from integers by the benchmark's rules, and so by the schema that models see.
  float: { type: "number", format: "float" },
  boolean: { type: "boolean" },
  array: { type: "array" },
  tuple: { type: "array" },
  dict: { type: "object" },
  any: {},
};

/**
 * Translates a schema. `required` says what may be left out, so that the dialect's `optional` goes;
 * every other keyword stays.
 *
 * @throws {SyntaxError} naming a type that the dialect of Python functions does not have
 */
export function toJsonSchema(dialect: unknown, path = "parameters"): JsonSchema {
  if (!isRecord(dialect)) throw new SyntaxError(`"${path}" must be a schema`);
  const { type, optional: _, properties, items, ...rest } = dialect;
  const known = typeof type === "string" && Object.hasOwn(types, type) ? types[type] : undefined;
  if (known === undefined) {
    throw new SyntaxError(
      `"${path}" has type ${JSON.stringify(type)}; known are ${Object.keys(types).join(", ")}`,
    );
  }
  return {
    ...known,
    ...rest,
    ...(properties === undefined ? {} : { properties: translateAll(properties, path) }),
    ...(items === undefined ? {} : { items: toJsonSchema(items, `${path}.items`) }),
  };
}

function translateAll(properties: unknown, path: string): Record<string, JsonSchema> {
  if (!isRecord(properties)) throw new SyntaxError(`"${path}.properties" must be an object`);
  return Object.fromEntries(
    Object.entries(properties).map(([name, each]) => [name, toJsonSchema(each, `${path}.${name}`)]),
  );
}
