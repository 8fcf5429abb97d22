/**
 * Mentor's own format: a row is a task. `../task.schema.json` is its JSON Schema.
 *
 * @module
 */

import { isRecord, kind } from "../../text/json_value.ts";
import type { ToolSpec } from "../../text/tool_call.ts";
import { parseTypedJson } from "../../text/typed_json.ts";
import { isDeclared, type Tool } from "../../tools/tool.ts";
import { referenceAnswer } from "../bfcl/reference.ts";
import { answerTo, callsAnswer, type ExpectedCall, isCallsAnswer } from "../call_match.ts";
import {
  type Check,
  checks,
  parseNumber,
  type Reference,
  type ReferenceCall,
  type Split,
  splits,
  type Task,
} from "../task.ts";
import { byName, requireFit } from "./declarations.ts";
import { listOf, type Row, type RowContext, RowError, type TaskFormat, textOf } from "./format.ts";

/** Rows of {@linkcode rowOf}. */
export const own = {
  name: "own",
  columns: "prompt, answer",
  structured: ["tools", "expected", "world", "reference"],
  recognises: ({ prompt, completion, messages, reward_model }) =>
    typeof prompt === "string" &&
    [completion, messages, reward_model].every((other) => other === undefined),
  read: readRow,
} as const satisfies TaskFormat;

/** A task as a row, such that it is read again as the same task. */
export function rowOf(task: Task): Row {
  const { id, prompt, system, answer, check, rules, expected } = task;
  const { world, domain, split, reference } = task;
  const tools = task.tools.map((tool) => {
    const { name, description, parameters } = tool;
    return isDeclared(tool) ? { name, description, parameters } : name;
  });
  return {
    ...{ id, prompt, system, tools, answer, check, rules, expected },
    ...{ world, domain, split, reference },
  };
}

function readRow(row: Row, context: RowContext): Task {
  const prompt = textOf(row.prompt, "prompt");
  const tools = toolList(row.tools, context);
  const numeric = typeof row.answer === "number";
  const check = oneOf<Check>(row.check, "check", checks, numeric ? "number" : "exact");
  const rules = rulesOf(row.rules, check);
  const written = rules === undefined ? row.expected : typedField("expected", row, context);
  const expected = expectedCalls(written, check);
  const answer = check === "calls" && row.answer === undefined
    ? rules && expected
      ? referenceAnswer(expected, tools)
      : answerOf(row.reference, expected, tools)
    : numeric
    ? String(row.answer)
    : textOf(row.answer, "answer");
  requireAnswerable(answer, check, expected);
  const task: Task = {
    id: idOf(row.id, context.line),
    domain: row.domain === undefined ? "custom" : textOf(row.domain, "domain"),
    split: oneOf<Split>(row.split, "split", splits, "train"),
    prompt,
    tools,
    answer,
    check,
    reference: referenceOf(row.reference, tools, answer, check),
  };
  if (expected) task.expected = expected;
  if (rules) task.rules = rules;
  if (row.system !== undefined) task.system = textOf(row.system, "system");
  if (row.world !== undefined) task.world = row.world;
  return task;
}

function rulesOf(value: unknown, check: Check): Task["rules"] {
  if (value === undefined) return undefined;
  if (check !== "calls") throw new RowError(`"rules" go with "check": "calls", not "${check}"`);
  return oneOf(value, "rules", ["bfcl"] as const, "bfcl");
}

/** A field of a line whose integers and floats stay apart. */
function typedField(field: string, row: Row, { text }: RowContext): unknown {
  if (row[field] === undefined) return undefined;
  if (text === undefined) {
    throw new RowError('"rules" tell integers from floats, which only a line of JSON can');
  }
  return (parseTypedJson(text) as Row)[field];
}

/** Refuses a right answer that no answer can equal. */
function requireAnswerable(answer: string, check: Check, expected?: readonly ExpectedCall[]): void {
  const [possible, what] = check === "calls"
    ? [expected !== undefined || isCallsAnswer(answer), "a JSON list of calls"]
    : [check === "exact" || parseNumber(answer) !== null, "a number"];
  if (possible) return;
  const reason = `"answer" must be ${what} where "check" is "${check}"`;
  throw new RowError(`${reason}, got ${JSON.stringify(answer)}`, reason);
}

function idOf(value: unknown, line: number): string {
  if (value === undefined) return String(line);
  return typeof value === "number" ? String(value) : textOf(value, "id");
}

function oneOf<T extends string>(
  value: unknown,
  field: string,
  allowed: readonly T[],
  fallback: T,
): T {
  if (value === undefined) return fallback;
  const found = allowed.find((item) => item === value);
  if (found !== undefined) return found;
  const reason = `"${field}" must be one of ${allowed.join(", ")}`;
  throw new RowError(`${reason}, got ${JSON.stringify(value)}`, reason);
}

function toolList(value: unknown, { tools, declare }: RowContext): readonly Tool[] {
  if (value === undefined) return [...tools.values()];
  const found = listOf(value, "tools", "names or declarations").map((item) => {
    if (!isRecord(item)) return tools.get(item as string) ?? unknownTool(item, tools);
    const { name, description = "", parameters } = item;
    return declare({ name, description, parameters } as ToolSpec);
  });
  const twice = found.find(({ name }, i) => found.findIndex((tool) => tool.name === name) < i);
  if (twice === undefined) return found;
  throw new RowError(`"tools" has "${twice.name}" twice`, '"tools" has a tool twice');
}

function unknownTool(name: unknown, known: ReadonlyMap<string, Tool>): never {
  throw new RowError(
    `tool ${JSON.stringify(name)} is not known; known are ${[...known.keys()].join(", ")}`,
    "a tool is not known",
  );
}

/** The answer of a task that is checked by its calls. */
function answerOf(
  reference: unknown,
  expected: ExpectedCall[] | undefined,
  tools: readonly Tool[],
): string {
  if (expected) return answerTo(expected);
  const { calls } = isRecord(reference) ? reference : {};
  return callsAnswer(callList(calls, "reference.calls", byName(tools)));
}

function expectedCalls(value: unknown, check: Check): ExpectedCall[] | undefined {
  if (value === undefined) return undefined;
  if (check !== "calls") {
    throw new RowError(`"expected" goes with "check": "calls", not "${check}"`);
  }
  return listOf(value, "expected", "calls").map((call, i) => {
    const { name, arguments: allowed } = isRecord(call) ? call : {};
    if (!isRecord(allowed) || !Object.values(allowed).every(Array.isArray)) {
      throw new RowError(
        `"expected[${i}].arguments" must be an object of lists of allowed values`,
        '"expected" has arguments without lists of allowed values',
      );
    }
    return {
      name: textOf(name, `expected[${i}].name`),
      arguments: allowed as Record<string, unknown[]>,
    };
  });
}

function referenceOf(
  value: unknown,
  tools: readonly Tool[],
  answer: string,
  check: Check,
): Reference | null {
  if (value === undefined || value === null) return null;
  if (!isRecord(value)) throw new RowError(`"reference" must be an object, got ${kind(value)}`);
  const known = byName(tools);
  if (value.namesOnly !== undefined && (value.namesOnly !== true || check === "calls")) {
    throw new RowError(
      '"reference.namesOnly" must be true, where an answer is checked, or left out',
    );
  }
  const reference: Reference = {
    calls: callList(value.calls, "reference.calls", known, value.namesOnly),
    answer: value.answer === undefined ? answer : textOf(value.answer, "reference.answer"),
    ...(value.namesOnly ? { namesOnly: true } : {}),
  };
  if (value.alternatives !== undefined) {
    reference.alternatives = listOf(value.alternatives, "reference.alternatives", "lists of calls")
      .map((calls, i) =>
        callList(calls, `reference.alternatives[${i}]`, known, value.namesOnly as true | undefined)
      );
  }
  return reference;
}

function callList(
  value: unknown,
  field: string,
  known: ReadonlyMap<string, Tool>,
  namesOnly?: true,
): ReferenceCall[] {
  return listOf(value, field, "calls").map((call, i) => {
    if (!isRecord(call)) {
      throw new RowError(`"${field}[${i}]" must be an object, got ${kind(call)}`);
    }
    const name = textOf(call.name, `${field}[${i}].name`);
    const tool = known.get(name) ?? unknownTool(name, known);
    const { arguments: args, result } = call;
    if (!isRecord(args)) {
      throw new RowError(`"${field}[${i}].arguments" must be an object, got ${kind(args)}`);
    }
    if (namesOnly) {
      if (Object.keys(args).length === 0) return { name, arguments: {} };
      throw new RowError(`"${field}[${i}].arguments" must be empty where only names are known`);
    }
    requireFit(tool, args, `"${field}[${i}].arguments" of ${name}`);
    return { name, arguments: args, ...(result === undefined ? {} : { result }) };
  });
}
