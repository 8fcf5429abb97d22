/**
 * Request bodies of OpenAI's API, as far as they are understood. Fields that are not known are
 * ignored, as clients send many; those that would change the result and can't be followed are
 * refused.
 *
 * @module
 */

import * as v from "valibot";
import { BodyError, jsonDepth, requestText } from "../../io/http.ts";
import { ApiError } from "./errors.ts";

/** Bytes of a body: a conversation as long as any context. */
const MAX_BODY = 2 ** 22;

/** Objects and lists within each other; a template that writes them goes as deep on the stack. */
export const MAX_DEPTH = 128;

const between = (least: number, most: number) =>
  v.nullish(v.pipe(v.number(), v.minValue(least), v.maxValue(most)));
const flag = v.nullish(v.boolean());

/** A field that counts only where it says what is done anyway. */
function only<T extends v.GenericSchema>(schema: T, holds: (value: v.InferOutput<T>) => boolean) {
  return v.nullish(v.pipe(schema, v.check(holds, "This server does not support it")));
}

/** Longer than any mark that a text ends with: each piece of text is searched for its beginning. */
const stopString = v.pipe(v.string(), v.nonEmpty(), v.maxLength(1000));

/** How tokens are drawn and when they end, in both kinds of requests. */
const drawing = {
  model: v.string(),
  n: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(128))),
  max_tokens: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(1))),
  temperature: between(0, 2),
  top_p: between(0, 1),
  seed: v.nullish(v.pipe(v.number(), v.safeInteger())),
  stop: v.nullish(
    v.lazy((input) =>
      typeof input === "string" ? stopString : v.pipe(v.array(stopString), v.maxLength(4))
    ),
  ),
  stream: flag,
  stream_options: v.nullish(v.object({ include_usage: flag })),
  frequency_penalty: only(v.number(), (value) => value === 0),
  presence_penalty: only(v.number(), (value) => value === 0),
  logit_bias: only(v.record(v.string(), v.number()), (bias) => Object.keys(bias).length === 0),
};

/** Text, or parts that are all text. */
const content = v.lazy((input) =>
  typeof input === "string"
    ? v.string()
    : v.array(v.object({ type: v.literal("text"), text: v.string() }))
);
const toolName = v.pipe(v.string(), v.regex(/^[A-Za-z_][\w.-]{0,63}$/));
const named = v.object({ type: v.literal("function"), function: v.object({ name: toolName }) });

const message = v.variant("role", [
  v.object({ role: v.picklist(["system", "developer", "user"]), content }),
  v.object({
    role: v.literal("assistant"),
    content: v.nullish(content),
    tool_calls: v.nullish(v.array(v.object({
      id: v.string(),
      type: v.literal("function"),
      function: v.object({ name: toolName, arguments: v.string() }),
    }))),
  }),
  v.object({ role: v.literal("tool"), tool_call_id: v.string(), content }),
]);

const tool = v.object({
  type: v.literal("function"),
  function: v.object({
    name: toolName,
    description: v.nullish(v.string()),
    parameters: v.nullish(v.record(v.string(), v.unknown())),
  }),
});

/** The body of `POST /v1/chat/completions`. */
export const chatRequest = v.object({
  ...drawing,
  messages: v.pipe(v.array(message), v.minLength(1)),
  max_completion_tokens: drawing.max_tokens,
  logprobs: flag,
  top_logprobs: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(20))),
  tools: v.nullish(v.pipe(v.array(tool), v.maxLength(128))),
  tool_choice: v.nullish(
    v.lazy((input) => typeof input === "string" ? v.picklist(["none", "auto", "required"]) : named),
  ),
  parallel_tool_calls: flag,
  response_format: only(v.object({ type: v.string() }), ({ type }) => type === "text"),
});
/** What {@linkcode chatRequest} makes of a body. */
export type ChatRequest = v.InferOutput<typeof chatRequest>;

const id = v.pipe(v.number(), v.integer(), v.minValue(0));

/** The body of `POST /v1/completions`. */
export const completionRequest = v.object({
  ...drawing,
  prompt: v.lazy((input) => {
    if (!Array.isArray(input)) return v.string();
    if (typeof input[0] === "string") return v.array(v.string());
    return Array.isArray(input[0]) ? v.pipe(v.array(v.array(id)), v.minLength(1)) : v.array(id);
  }),
  logprobs: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(20))),
  echo: only(v.boolean(), (echo) => !echo),
  suffix: only(v.string(), (suffix) => suffix === ""),
  best_of: only(v.number(), (best) => best === 1),
});
/** What {@linkcode completionRequest} makes of a body. */
export type CompletionRequest = v.InferOutput<typeof completionRequest>;

/** What both kinds of requests say of drawing tokens. */
export type DrawingRequest = Omit<CompletionRequest, "prompt" | "logprobs">;

/**
 * Reads a body.
 *
 * @throws {ApiError} that names the first field that is wrong
 */
export async function readBody<T extends v.GenericSchema>(
  request: Request,
  schema: T,
): Promise<v.InferOutput<T>> {
  const text = await requestText(request, MAX_BODY).catch((error) => {
    throw error instanceof BodyError ? new ApiError(error.status, error.message) : error;
  });
  if (text === null) throw new ApiError(413, `The body has more than ${MAX_BODY} bytes`);
  if (jsonDepth(text) > MAX_DEPTH) {
    throw new ApiError(400, `The body is nested more than ${MAX_DEPTH} levels deep`);
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `The body is not JSON: ${(error as Error).message}`);
  }
  const { success, output, issues } = v.safeParse(schema, body, { abortEarly: true });
  if (success) return output;
  const [{ message, path = [] }] = issues;
  const param = path.map(({ key }, i) =>
    typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`
  ).join("");
  throw new ApiError(400, `Invalid ${param ? `'${param}'` : "body"}: ${message}`, {
    ...(param ? { param } : {}),
    code: "invalid_value",
  });
}
