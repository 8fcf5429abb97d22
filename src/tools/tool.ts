/**
 * Tools: a JSON Schema, a function, and limits on what the function may cost.
 *
 * A fault of a tool (it throws, hangs, returns 10 MB or something that is not JSON) never becomes
 * an exception of the rollout: it becomes a text that the model sees and can react to.
 *
 * @module
 */

import { type JsonSchema, validateArguments } from "../text/json_schema.ts";
import { isRecord } from "../text/json_value.ts";
import type { ToolSpec } from "../text/tool_call.ts";

/** What a tool may know besides its arguments. */
export interface ToolContext {
  /** The task's private state (a price list, a table ...); the model sees it only through tools. */
  world: unknown;
  /**
   * The same object in all calls of an episode, and another one in the next: what a tool remembers
   * of an episode can hang on it in a WeakMap. Absent outside of episodes.
   */
  episode?: object;
  /** Fires when the call timed out or the caller gave up; long-running tools should obey it. */
  signal: AbortSignal;
}

/** A tool that a model can call. Make one with {@linkcode tool}. */
export interface Tool extends ToolSpec {
  /** Runs the tool on arguments that satisfy `parameters`; may throw, may be asynchronous. */
  execute(args: Record<string, unknown>, context: ToolContext): unknown | Promise<unknown>;
  /** Milliseconds until an asynchronous call is given up. */
  timeoutMs: number;
  /** Longest result text, in UTF-8 bytes; longer ones keep head and tail. */
  maxResultBytes: number;
  /** Whether calling twice with the same arguments may be useful (it is never counted as a repeat). */
  stateful: boolean;
}

/** What {@linkcode tool} takes; limits are optional. */
export interface ToolOptions {
  /** Letters, digits, "_", "." and "-", beginning with a letter or "_", at most 64. */
  name: string;
  /** One sentence for the model. */
  description: string;
  /** JSON Schema of type "object"; the order of its `properties` is the order of positional calls. */
  parameters: JsonSchema;
  /** See {@linkcode Tool.execute}. */
  execute(args: Record<string, unknown>, context: ToolContext): unknown | Promise<unknown>;
  /** Default 5000. */
  timeoutMs?: number;
  /** Default 2048, at least 64. */
  maxResultBytes?: number;
  /** Default false. */
  stateful?: boolean;
}

/** How one call ended. */
export interface ToolOutcome {
  /** "bad-arguments": the tool was not run; "failed": it threw, timed out or returned no JSON. */
  status: "ok" | "bad-arguments" | "failed";
  /** The value returned; where the text had to be cut, the cut text, so that records stay small. */
  result?: unknown;
  /** What the model sees; begins with "error: " unless the status is "ok". */
  text: string;
  /** Why the tool could not be run at all, where that is so. */
  unavailable?: ToolUnavailableError;
}

/**
 * What a tool needs cannot be had (its process died, its server is gone): nobody's call is to blame,
 * and an episode in which that happens says nothing about the student.
 */
export class ToolUnavailableError extends Error {
  /** Tells this error from others. */
  override name = "ToolUnavailableError";
  /** Whether there is no hope: this ends a run, and not just an episode. */
  readonly permanent: boolean;

  /** Says what is gone; by default it is not `permanent`, and the next call may find it again. */
  constructor(message: string, options: ErrorOptions & { permanent?: boolean } = {}) {
    super(message, options);
    this.permanent = options.permanent ?? false;
  }
}

const TOOL_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;
const SCHEMA_TYPES = new Set<unknown>(
  ["string", "number", "integer", "boolean", "array", "object", "null"],
);
/** The longest `timeoutMs`, for tools that end by themselves. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
const MIN_RESULT_BYTES = 64;

/**
 * Defines a tool.
 *
 * @throws {TypeError} on a bad name, a schema that is not an object schema, or no `execute`
 * @throws {RangeError} on limits out of range
 *
 * @example
 * ```ts
 * const add = tool({
 *   name: "add",
 *   description: "Adds two numbers",
 *   parameters: {
 *     type: "object",
 *     properties: { a: { type: "number" }, b: { type: "number" } },
 *     required: ["a", "b"],
 *   },
 *   execute: ({ a, b }) => (a as number) + (b as number),
 * });
 * (await callTool(add, { a: 2, b: 3 }, {})).text; // "5"
 * ```
 */
export function tool(options: ToolOptions): Tool {
  const { name, description, parameters, execute } = options;
  const { timeoutMs = 5000, maxResultBytes = 2048, stateful = false } = options;
  if (typeof name !== "string" || !TOOL_NAME.test(name)) {
    throw new TypeError(
      `Cannot define tool ${JSON.stringify(name)}: a name has 1 to 64 letters, digits, "_", "." ` +
        `or "-" and begins with a letter or "_"`,
    );
  }
  if (typeof description !== "string") {
    throw new TypeError(`Cannot define tool "${name}": description must be a string`);
  }
  if (typeof execute !== "function") {
    throw new TypeError(`Cannot define tool "${name}": execute must be a function`);
  }
  const problem = schemaProblem(parameters);
  if (problem !== null) throw new TypeError(`Cannot define tool "${name}": ${problem}`);
  if (!(timeoutMs > 0 && timeoutMs <= LONGEST_TIMER_MS)) {
    throw new RangeError(
      `Cannot define tool "${name}": timeoutMs must be in (0, ${LONGEST_TIMER_MS}], got ${timeoutMs}`,
    );
  }
  if (!(Number.isSafeInteger(maxResultBytes) && maxResultBytes >= MIN_RESULT_BYTES)) {
    throw new RangeError(
      `Cannot define tool "${name}": maxResultBytes must be an integer of at least ` +
        `${MIN_RESULT_BYTES}, got ${maxResultBytes}`,
    );
  }
  return Object.freeze({
    name,
    description,
    parameters,
    execute,
    timeoutMs,
    maxResultBytes,
    stateful,
  });
}

/**
 * A tool of which only the description is known, as most data sets have them: it can be offered and
 * called, and a call of it can be compared with the teacher's, but not run.
 *
 * @throws as {@linkcode tool} does
 */
export function declaredTool(spec: ToolSpec): Tool {
  const { name, description, parameters } = spec;
  return tool({ name, description, parameters, execute: refuseToRun });
}

/** Whether a tool is only declared: see {@linkcode declaredTool}. */
export function isDeclared({ execute }: Tool): boolean {
  return execute === refuseToRun;
}

function refuseToRun(): never {
  throw new Error("this tool is only declared; it cannot be run");
}

/** What is wrong with the top level of a tool's schema, or null. */
function schemaProblem(schema: unknown): string | null {
  if (!isRecord(schema)) return "parameters must be a JSON Schema object";
  if (schema.type !== "object") {
    return `parameters must have type "object", got ${JSON.stringify(schema.type)}`;
  }
  const properties = schema.properties ?? {};
  if (!isRecord(properties)) return "parameters.properties must be an object of schemas";
  for (const [key, value] of Object.entries(properties)) {
    if (!isRecord(value)) return `parameters.properties.${key} must be a schema object`;
    const unknown = [value.type ?? []].flat().find((type) => !SCHEMA_TYPES.has(type));
    if (unknown !== undefined) {
      return `parameters.properties.${key} has type ${
        JSON.stringify(unknown)
      }; JSON Schema knows ` +
        [...SCHEMA_TYPES].join(", ");
    }
  }
  const required = schema.required ?? [];
  if (!Array.isArray(required)) return "parameters.required must be a list of names";
  for (const key of required) {
    if (typeof key !== "string" || !Object.hasOwn(properties, key)) {
      return `parameters.required names ${JSON.stringify(key)}, which is not in properties`;
    }
  }
  return null;
}

/**
 * Calls a tool. Whatever the tool does ends as an outcome; the tool gets a copy of the arguments.
 *
 * A call that does not settle within `timeoutMs` fails and its signal fires. That works for
 * asynchronous tools only: JavaScript cannot interrupt a function that never returns, so a tool
 * whose code is not trusted belongs in the subprocess sandbox.
 *
 * @throws the reason of `context.signal` if the caller aborts; nothing else
 */
export async function callTool(
  tool: Tool,
  args: Record<string, unknown>,
  context: { world?: unknown; episode?: object; signal?: AbortSignal },
): Promise<ToolOutcome> {
  context.signal?.throwIfAborted();
  const problem = validateArguments(tool.parameters, args);
  if (problem !== null) return failure(tool, "bad-arguments", problem);
  const controller = new AbortController();
  const { world, episode } = context;
  try {
    const returned = tool.execute(structuredClone(args), {
      ...{ world, signal: controller.signal },
      ...(episode ? { episode } : {}),
    });
    return success(
      tool,
      isThenable(returned)
        ? await inTime(tool, Promise.resolve(returned), controller, context.signal)
        : returned,
    );
  } catch (error) {
    context.signal?.throwIfAborted();
    const failed = failure(tool, "failed", errorText(error));
    return error instanceof ToolUnavailableError ? { ...failed, unavailable: error } : failed;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

/** What a call under way comes to, unless its time is up or the caller aborts before. */
async function inTime(
  { name, timeoutMs }: Tool,
  running: Promise<unknown>,
  controller: AbortController,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  // Both may reject after the race is decided; that is nobody's error.
  interrupted.catch(() => {});
  running.catch(() => {});
  const stop = (reason: unknown) => {
    reject(reason);
    controller.abort(reason);
  };
  const timedOut = new Error(`${name} timed out after ${timeoutMs} ms`);
  const timer = setTimeout(() => stop(timedOut), timeoutMs);
  const onAbort = () => stop(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort(); // by the tool itself
  try {
    return await Promise.race([running, interrupted]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * Calls a tool that is known to be synchronous, such as those of the built-in domains.
 *
 * @throws {TypeError} if the tool returns a promise
 */
export function callToolSync(
  tool: Tool,
  args: Record<string, unknown>,
  context: { world?: unknown },
): ToolOutcome {
  const problem = validateArguments(tool.parameters, args);
  if (problem !== null) return failure(tool, "bad-arguments", problem);
  let result: unknown;
  try {
    const signal = new AbortController().signal;
    result = tool.execute(structuredClone(args), { world: context.world, signal });
  } catch (error) {
    return failure(tool, "failed", errorText(error));
  }
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new TypeError(`Cannot call tool "${tool.name}" synchronously: it returned a promise`);
  }
  try {
    return success(tool, result);
  } catch (error) {
    return failure(tool, "failed", errorText(error));
  }
}

/**
 * The text of a result: strings as they are (the empty one as `""`, so that the model sees
 * something), everything else as JSON; `undefined` is "null" and a number that JSON lacks its name.
 *
 * @throws {TypeError} on values that are not JSON (cycles, BigInt)
 */
export function resultText(result: unknown): string {
  if (typeof result === "string") return result === "" ? '""' : result;
  if (typeof result === "number" && !Number.isFinite(result)) return String(result);
  return JSON.stringify(result) ?? "null";
}

function success(tool: Tool, result: unknown): ToolOutcome {
  let text: string;
  try {
    text = resultText(result);
  } catch (error) {
    throw new Error(`${tool.name} returned a value that is not JSON (${errorText(error)})`);
  }
  const cut = truncate(text, tool.maxResultBytes);
  return { status: "ok", result: cut === text ? result : cut, text: cut };
}

function failure(tool: Tool, status: "bad-arguments" | "failed", message: string): ToolOutcome {
  return { status, text: truncate(`error: ${message}`, tool.maxResultBytes) };
}

/** The message of whatever was thrown; a thrown value's own conversions may throw as well. */
function errorText(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message || error.name : error);
  } catch {
    return "the tool threw a value without a text";
  }
}

/** Keeps head and tail of a text longer than `limit` UTF-8 bytes, with a marker between them. */
function truncate(text: string, limit: number): string {
  // A UTF-16 unit is at most 3 bytes of UTF-8, so short texts need no counting.
  if (text.length * 3 <= limit) return text;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= limit) return text;
  const marker = (cut: number) => `...[${cut} bytes cut]...`;
  const room = limit - marker(bytes.length).length;
  const head = atBoundary(bytes, Math.ceil(room / 2), -1);
  const tail = atBoundary(bytes, bytes.length - Math.floor(room / 2), 1);
  const decoder = new TextDecoder();
  return decoder.decode(bytes.subarray(0, head)) + marker(tail - head) +
    decoder.decode(bytes.subarray(tail));
}

/** Moves a position out of the middle of a UTF-8 character, in the direction given. */
function atBoundary(bytes: Uint8Array, position: number, direction: -1 | 1): number {
  while (((bytes[position] ?? 0) & 0xc0) === 0x80) position += direction;
  return position;
}
