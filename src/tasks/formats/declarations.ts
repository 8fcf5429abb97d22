/**
 * Tools as rows declare them.
 *
 * Data sets name tools more freely than chat formats do ("Market Trends API"): what is no letter,
 * digit, `_`, `.` or `-` becomes `_`.
 *
 * @module
 */

import { validateArguments } from "../../text/json_schema.ts";
import { isRecord } from "../../text/json_value.ts";
import { declaredTool, type Tool } from "../../tools/tool.ts";
import { jsonOf, listOf, type RowContext, RowError } from "./format.ts";
import { jsonSchemaOf } from "./schema_dialect.ts";

/** Makes each tool once, however many rows declare it. */
export class ToolShelf {
  readonly #implementations: ReadonlyMap<string, Tool>;
  readonly #declared = new Map<string, Tool>();

  /** @param implementations that stand in for declarations of the same name */
  constructor(implementations: readonly Tool[]) {
    this.#implementations = byName(implementations);
  }

  /** See {@linkcode RowContext.declare}. */
  readonly declare: RowContext["declare"] = ({ name, description, parameters }) => {
    const implementation = this.#implementations.get(name);
    if (implementation) return implementation;
    const key = JSON.stringify([name, description, parameters]);
    let tool = this.#declared.get(key);
    if (!tool) {
      try {
        tool = declaredTool({ name, description, parameters });
      } catch (error) {
        throw new RowError((error as Error).message, "the declaration of a tool is malformed");
      }
      this.#declared.set(key, tool);
    }
    return tool;
  };
}

/** Tools by name. */
export function byName(tools: readonly Tool[]): Map<string, Tool> {
  return new Map(tools.map((tool) => [tool.name, tool]));
}

/**
 * The tools of a list of declarations, in OpenAI's form or in that of its `function` alone; their
 * schemas may have Python's names of types.
 *
 * @throws {RowError} if one is malformed, or two have the same name
 */
export function declaredTools(
  value: unknown,
  field: string,
  { declare }: RowContext,
): Tool[] {
  const tools = new Map<string, Tool>();
  for (const item of listOf(jsonOf(value, field), field, "declarations")) {
    const { function: inner = item } = isRecord(item) ? item : {};
    const { name, description, parameters } = isRecord(inner) ? inner : {};
    if (typeof name !== "string" || name === "") {
      throw new RowError(`"${field}" has a declaration without a name`);
    }
    const tool = declare({
      name: toolName(name),
      description: typeof description === "string" ? description : "",
      parameters: jsonSchemaOf(jsonOf(parameters, `${field}.parameters`)),
    });
    // Some rows declare a tool twice.
    if ((tools.get(tool.name) ?? tool) !== tool) {
      throw new RowError(
        `"${field}" has two different tools named "${tool.name}"`,
        `"${field}" has two different tools of one name`,
      );
    }
    tools.set(tool.name, tool);
  }
  return [...tools.values()];
}

/** A data set's name of a tool as one that chat formats can write. */
export function toolName(name: string): string {
  return name.trim().replaceAll(/[^A-Za-z0-9_.-]/g, "_").replace(/^(?=[^A-Za-z_])/, "_")
    .slice(0, 64);
}

/**
 * The tool that a row calls.
 *
 * @throws {RowError} if it offers none of that name
 */
export function calledTool(name: string, known: ReadonlyMap<string, Tool>): Tool {
  const tool = known.get(name);
  if (tool) return tool;
  throw new RowError(
    `"${name}" is called, which is not among the tools`,
    "a tool is called that is not among the tools",
  );
}

/**
 * Refuses arguments that a tool's schema does, and those that are not what the file has.
 *
 * @param what they are, for messages
 * @throws {RowError} saying where they do not fit
 */
export function requireFit(tool: Tool, args: Record<string, unknown>, what: string): void {
  const problem = validateArguments(tool.parameters, args);
  if (problem !== null) {
    throw new RowError(`${what}: ${problem}`, "a call breaks its tool's schema");
  }
  if (!isInexact(args)) return;
  const reason = "an integer is too large for its digits to be kept";
  throw new RowError(`${what}: ${reason}`, reason);
}

/** Whether an integer beyond 2^53 has lost digits, as far as can be told: 9.46e15 has none to lose. */
function isInexact(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).some(isInexact);
  if (typeof value !== "number") return false;
  return !Number.isSafeInteger(value) && /^-?\d{16,}$/.test(String(value).replace(/0+$/, ""));
}
