/**
 * An answer that the benchmark allows.
 *
 * @module
 */

import type { JsonSchema } from "../../text/json_schema.ts";
import type { ToolSpec } from "../../text/tool_call.ts";
import { formatTypedJson } from "../../text/typed_json.ts";
import { callsAnswer, type ExpectedCall } from "../call_match.ts";

/**
 * The calls wanted with the first value allowed for each argument, as a JSON list. An argument that
 * may be left out stands there all the same if the function has it and a value for it is named.
 */
export function referenceAnswer(
  wanted: readonly ExpectedCall[],
  tools: readonly ToolSpec[],
): string {
  return callsAnswer(wanted.map(({ name, arguments: allowed }) => {
    const spec = tools.find((tool) => tool.name === name);
    const { properties = {}, required = [] } = spec?.parameters ?? {};
    const args = Object.entries(allowed).flatMap(([key, values]) => {
      const schema = Object.hasOwn(properties, key) ? properties[key] : undefined;
      // Null is a value like others; "" is one only where the argument cannot be left out.
      const named = values.filter((each) => each !== "");
      const [first] = required.includes(key) ? [...named, ""] : named;
      return schema && first !== undefined ? [[key, instance(first, schema)]] : [];
    });
    const written = Object.fromEntries(args);
    return { name, arguments: written, json: formatTypedJson(written) };
  }));
}

/** A dict among the values allowed is a template, with values allowed for each of its keys. */
function instance(value: unknown, schema: JsonSchema): unknown {
  if (schema.type === "object") return filled(value);
  const { items } = schema;
  const ofDicts = typeof items === "object" && items.type === "object";
  return ofDicts && Array.isArray(value) ? value.map(filled) : value;
}

function filled(template: unknown): unknown {
  if (typeof template !== "object" || template === null || Array.isArray(template)) return template;
  return Object.fromEntries(
    Object.entries(template).flatMap(([key, values]) => {
      const value = (values as readonly unknown[]).find((each) => each !== "");
      return value === undefined ? [] : [[key, value]];
    }),
  );
}
