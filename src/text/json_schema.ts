/**
 * JSON Schema for tool arguments (draft 2020-12).
 *
 * @module
 */

import { type Schema, Validator } from "@cfworker/json-schema";

/** A JSON Schema. Only the keywords that this project itself reads are named. */
export interface JsonSchema {
  /** The type or types allowed. */
  readonly type?: string | readonly string[];
  /** What it is, for the model. */
  readonly description?: string;
  /** By argument name; their order is the order of arguments in positional call formats. */
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  /** Names of the properties that must be there. */
  readonly required?: readonly string[];
  /** The only values allowed. */
  readonly enum?: readonly unknown[];
  /** What leaving it out amounts to; not filled in. */
  readonly default?: unknown;
  /** Schema of array elements. */
  readonly items?: JsonSchema | boolean;
  /** Schema of the properties not named; `false` forbids them. */
  readonly additionalProperties?: JsonSchema | boolean;
  /** Any other keyword. */
  readonly [keyword: string]: unknown;
}

const containers = new Set([
  "properties",
  "additionalProperties",
  "patternProperties",
  "items",
  "prefixItems",
  "unevaluatedProperties",
  "unevaluatedItems",
  "allOf",
  "$ref",
]);

const validators = new WeakMap<JsonSchema, Validator>();

/**
 * Checks arguments against a schema.
 *
 * @returns null if they conform, otherwise one short line that says where and why not
 */
export function validateArguments(schema: JsonSchema, args: unknown): string | null {
  try {
    let validator = validators.get(schema);
    if (validator === undefined) {
      validator = new Validator(schema as Schema, "2020-12");
      validators.set(schema, validator);
    }
    const { valid, errors } = validator.validate(args);
    if (valid) return null;
    // These keywords only say that something inside is wrong; the fault itself comes after them.
    const fault = errors.find(({ keyword }) => !containers.has(keyword)) ?? errors[0]!;
    return describe(fault.instanceLocation, fault.keyword, fault.error);
  } catch (error) {
    // Values that are no JSON, or nested deeper than the stack: not valid either way.
    return (error as Error).message;
  }
}

function describe(location: string, keyword: string, error: string): string {
  const path = location.replace(/^#\/?/, "").split("/").map(unescapePointer).join(".");
  if (keyword === "false") return `${path}: there is no such argument`;
  const text = error.replace(/^Instance /, "").replace(/\.$/, "").replace(/\. /g, "; ");
  return path === "" ? text : `${path}: ${text}`;
}

function unescapePointer(segment: string): string {
  return decodeURIComponent(segment).replaceAll("~1", "/").replaceAll("~0", "~");
}
