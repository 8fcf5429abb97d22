/**
 * Task files: one JSON object per line.
 *
 * @module
 */

import { validateArguments } from "../text/json_schema.ts";
import type { ToolSpec } from "../text/tool_call.ts";
import { declaredTool, isDeclared, type Tool } from "../tools/tool.ts";
import { answerTo, callsAnswer, type ExpectedCall } from "./call_match.ts";
import {
  type Check,
  checks,
  type Reference,
  type ReferenceCall,
  type Split,
  splits,
  type Task,
  TaskFormatError,
} from "./task.ts";

/** Where tasks come from and which tools they may name. */
export interface ParseTasksOptions {
  /** Name of the file, for messages. */
  source: string;
  /** Every tool that a line may name. */
  tools: readonly Tool[];
  /** Stop after this many tasks; the lines behind are not looked at. */
  limit?: number;
}

/**
 * Reads a task file. Blank lines are skipped; fields that the format does not know are ignored.
 *
 * One line, as a JSON Schema (what is not required has the default stated):
 *
 * ```json
 * {
 *   "type": "object",
 *   "required": ["prompt", "answer"],
 *   "properties": {
 *     "id": { "type": ["string", "integer"], "description": "unique; default: the line number" },
 *     "prompt": { "type": "string", "minLength": 1, "description": "what the user says" },
 *     "system": { "type": "string", "minLength": 1, "description": "added to the system message" },
 *     "tools": { "type": "array", "description": "names, or declarations; default: all",
 *       "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/declaration" }] } },
 *     "answer": { "type": ["string", "number"], "description": "not needed if check is calls" },
 *     "check": { "enum": ["exact", "number", "last-number", "calls"], "description": "default: by the type of answer" },
 *     "expected": { "type": "array", "items": { "$ref": "#/$defs/expectedCall" },
 *       "description": "for check calls: which calls solve the task; default: the reference's" },
 *     "world": { "description": "any JSON; private state handed to the tools" },
 *     "domain": { "type": "string", "description": "default: custom" },
 *     "split": { "enum": ["train", "composition", "depth", "domain"], "description": "default: train" },
 *     "reference": {
 *       "type": ["object", "null"],
 *       "required": ["calls"],
 *       "properties": {
 *         "calls": { "type": "array", "items": { "$ref": "#/$defs/call" } },
 *         "answer": { "type": "string", "description": "default: the task's" },
 *         "alternatives": { "type": "array", "items": {
 *           "type": "array", "items": { "$ref": "#/$defs/call" } } }
 *       }
 *     }
 *   },
 *   "$defs": {
 *     "call": {
 *       "type": "object",
 *       "required": ["name", "arguments"],
 *       "properties": {
 *         "name": { "type": "string" }, "arguments": { "type": "object" }, "result": {}
 *       }
 *     },
 *     "declaration": {
 *       "type": "object",
 *       "required": ["name", "parameters"],
 *       "properties": {
 *         "name": { "type": "string" }, "description": { "type": "string" },
 *         "parameters": { "type": "object", "description": "a JSON Schema of type object" }
 *       }
 *     },
 *     "expectedCall": {
 *       "type": "object",
 *       "required": ["name", "arguments"],
 *       "properties": {
 *         "name": { "type": "string" },
 *         "arguments": { "type": "object", "additionalProperties": { "type": "array" },
 *           "description": "the values allowed; an empty text among them: may be left out" }
 *       }
 *     }
 *   }
 * }
 * ```
 *
 * @throws {TaskFormatError} naming file, line and what is wrong
 * @throws {RangeError} if `limit` is not a positive integer
 */
export function parseTasks(text: string, options: ParseTasksOptions): Task[] {
  const { source, limit } = options;
  const tools = byName(options.tools);
  const tasks: Task[] = [];
  const seen = new Map<string, number>();
  for (const { line, value } of jsonLines(text, source, limit)) {
    const task = new TaskLine(source, line, tools).task(value);
    const earlier = seen.get(task.id);
    if (earlier !== undefined) {
      throw new TaskFormatError(source, line, `id "${task.id}" was used on line ${earlier} before`);
    }
    seen.set(task.id, line);
    tasks.push(task);
  }
  return tasks;
}

/**
 * Writes tasks as a task file, a line each, such that {@linkcode parseTasks} reads them again.
 *
 * @param more further fields of a line, which readers ignore
 * @throws {RangeError} if a task has the rules of a benchmark, for which the format has no place
 */
export function formatTasks(
  tasks: readonly Task[],
  more: (task: Task) => Readonly<Record<string, unknown>> = () => ({}),
): string {
  return tasks.map((task) => {
    if (task.rules !== undefined) {
      throw new RangeError(
        `Cannot write task "${task.id}" as a line: it is compared by the rules of ${task.rules}, ` +
          "which a task file cannot say; keep the files of the benchmark",
      );
    }
    const { id, prompt, system, answer, check, expected, world, domain, split, reference } = task;
    const tools = task.tools.map((tool) => {
      const { name, description, parameters } = tool;
      return isDeclared(tool) ? { name, description, parameters } : name;
    });
    return JSON.stringify({
      ...{ id, prompt, system, tools, answer, check, expected, world, domain, split, reference },
      ...more(task),
    });
  }).map((line) => line + "\n").join("");
}

/**
 * The JSON objects of a JSONL text with their line numbers and texts, at most `limit` of them.
 *
 * @throws {TaskFormatError} on a line that is not a JSON object
 * @throws {RangeError} if `limit` is not a positive integer
 */
export function* jsonLines(
  text: string,
  source: string,
  limit: number = Infinity,
): Generator<{ line: number; text: string; value: Record<string, unknown> }> {
  if (limit !== Infinity && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw new RangeError(
      `Cannot read ${source}: limit must be a positive integer, got ${limit}`,
    );
  }
  let line = 0;
  let count = 0;
  let start = text.startsWith("\ufeff") ? 1 : 0;
  while (start < text.length && count < limit) {
    const end = text.indexOf("\n", start);
    const raw = text.slice(start, end < 0 ? text.length : end).trim();
    start = end < 0 ? text.length : end + 1;
    line++;
    if (raw === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(raw);
    } catch (error) {
      throw new TaskFormatError(source, line, `not valid JSON: ${(error as Error).message}`);
    }
    if (!isRecord(value)) {
      throw new TaskFormatError(source, line, `expected a JSON object, got ${kind(value)}`);
    }
    count++;
    yield { line, text: raw, value };
  }
}

/** Reads the fields of one line; every complaint carries the line. */
class TaskLine {
  readonly #source: string;
  readonly #line: number;
  readonly #tools: ReadonlyMap<string, Tool>;

  constructor(source: string, line: number, tools: ReadonlyMap<string, Tool>) {
    this.#source = source;
    this.#line = line;
    this.#tools = tools;
  }

  task(value: Record<string, unknown>): Task {
    const prompt = this.#text(value.prompt, "prompt");
    const tools = this.#toolList(value.tools);
    const numeric = typeof value.answer === "number";
    const check = this.#oneOf<Check>(value.check, "check", checks, numeric ? "number" : "exact");
    const expected = this.#expected(value.expected, check);
    const answer = check === "calls" && value.answer === undefined
      ? this.#callsOf(value.reference, expected, tools)
      : numeric
      ? String(value.answer)
      : this.#text(value.answer, "answer");
    const task: Task = {
      id: this.#id(value.id),
      domain: value.domain === undefined ? "custom" : this.#text(value.domain, "domain"),
      split: this.#oneOf<Split>(value.split, "split", splits, "train"),
      prompt,
      tools,
      answer,
      check,
      reference: this.#reference(value.reference, tools, answer),
      origin: { source: this.#source, line: this.#line },
    };
    if (expected) task.expected = expected;
    if (value.system !== undefined) task.system = this.#text(value.system, "system");
    if (value.world !== undefined) task.world = value.world;
    return task;
  }

  #fail(problem: string): never {
    throw new TaskFormatError(this.#source, this.#line, problem);
  }

  #text(value: unknown, field: string): string {
    if (value === undefined) this.#fail(`"${field}" is missing`);
    if (typeof value !== "string") this.#fail(`"${field}" must be a string, got ${kind(value)}`);
    if (value === "") this.#fail(`"${field}" is empty`);
    return value;
  }

  #id(value: unknown): string {
    if (value === undefined) return String(this.#line);
    return typeof value === "number" ? String(value) : this.#text(value, "id");
  }

  #oneOf<T extends string>(
    value: unknown,
    field: string,
    allowed: readonly T[],
    fallback: T,
  ): T {
    if (value === undefined) return fallback;
    const found = allowed.find((item) => item === value);
    if (found !== undefined) return found;
    return this.#fail(
      `"${field}" must be one of ${allowed.join(", ")}, got ${JSON.stringify(value)}`,
    );
  }

  #toolList(value: unknown): readonly Tool[] {
    if (value === undefined) return [...this.#tools.values()];
    if (!Array.isArray(value)) {
      this.#fail(`"tools" must be a list of names or declarations, got ${kind(value)}`);
    }
    return value.map((item) =>
      isRecord(item)
        ? this.#declared(item)
        : this.#tools.get(item) ?? this.#unknownTool(item, this.#tools)
    );
  }

  /** A tool that the line describes: the one of that name, if it can be run. */
  #declared({ name, description = "", parameters }: Record<string, unknown>): Tool {
    const known = this.#tools.get(name as string);
    if (known) return known;
    try {
      return declaredTool({ name, description, parameters } as ToolSpec);
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  /** The answer of a task that is checked by its calls. */
  #callsOf(
    reference: unknown,
    expected: ExpectedCall[] | undefined,
    tools: readonly Tool[],
  ): string {
    if (expected) return answerTo(expected);
    const { calls } = isRecord(reference) ? reference : {};
    return callsAnswer(this.#calls(calls, "reference.calls", byName(tools)));
  }

  #expected(value: unknown, check: Check): ExpectedCall[] | undefined {
    if (value === undefined) return undefined;
    if (check !== "calls") this.#fail(`"expected" goes with "check": "calls", not "${check}"`);
    if (!Array.isArray(value)) this.#fail(`"expected" must be a list of calls, got ${kind(value)}`);
    return value.map((call, i) => {
      const { name, arguments: allowed } = isRecord(call) ? call : {};
      if (!isRecord(allowed) || !Object.values(allowed).every(Array.isArray)) {
        this.#fail(`"expected[${i}].arguments" must be an object of lists of allowed values`);
      }
      return {
        name: this.#text(name, `expected[${i}].name`),
        arguments: allowed as Record<string, unknown[]>,
      };
    });
  }

  #unknownTool(name: unknown, known: ReadonlyMap<string, Tool>): never {
    return this.#fail(
      `tool ${JSON.stringify(name)} is not known; known are ${[...known.keys()].join(", ")}`,
    );
  }

  #reference(value: unknown, tools: readonly Tool[], answer: string): Reference | null {
    if (value === undefined || value === null) return null;
    if (!isRecord(value)) this.#fail(`"reference" must be an object, got ${kind(value)}`);
    const known = byName(tools);
    const reference: Reference = {
      calls: this.#calls(value.calls, "reference.calls", known),
      answer: value.answer === undefined ? answer : this.#text(value.answer, "reference.answer"),
    };
    if (value.alternatives !== undefined) {
      if (!Array.isArray(value.alternatives)) {
        this.#fail(`"reference.alternatives" must be a list, got ${kind(value.alternatives)}`);
      }
      reference.alternatives = value.alternatives.map((calls, i) =>
        this.#calls(calls, `reference.alternatives[${i}]`, known)
      );
    }
    return reference;
  }

  #calls(value: unknown, field: string, known: ReadonlyMap<string, Tool>): ReferenceCall[] {
    if (!Array.isArray(value)) this.#fail(`"${field}" must be a list of calls, got ${kind(value)}`);
    return value.map((call, i) => {
      if (!isRecord(call)) this.#fail(`"${field}[${i}]" must be an object, got ${kind(call)}`);
      const name = this.#text(call.name, `${field}[${i}].name`);
      const tool = known.get(name) ?? this.#unknownTool(name, known);
      if (!isRecord(call.arguments)) {
        this.#fail(`"${field}[${i}].arguments" must be an object, got ${kind(call.arguments)}`);
      }
      const problem = validateArguments(tool.parameters, call.arguments);
      if (problem !== null) this.#fail(`"${field}[${i}].arguments" of ${name}: ${problem}`);
      return {
        name,
        arguments: call.arguments,
        ...(call.result === undefined ? {} : { result: call.result }),
      };
    });
  }
}

function byName(tools: readonly Tool[]): Map<string, Tool> {
  return new Map(tools.map((tool) => [tool.name, tool]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kind(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  return Array.isArray(value)
    ? "a list"
    : `${/^[aeiou]/.test(typeof value) ? "an" : "a"} ${typeof value}`;
}
