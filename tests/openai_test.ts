// The official clients against the routes below /v1: what they understand, and what they are told.

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { Listener } from "../src/serve/listener.ts";
import { inferenceRoutes } from "../src/serve/openai/mod.ts";
import { offered } from "./served_models.ts";

const { engine, scripted } = offered();
const server = await Listener.open(inferenceRoutes(engine).fetch, {
  host: "127.0.0.1",
  port: 0,
});
Deno.test.afterAll(async () => {
  await server.close();
  await engine[Symbol.asyncDispose]();
});

// deno-lint-ignore no-explicit-any
type Result = any;

/** What the clients got, by scenario. */
const results: Record<string, Result> = await (async () => {
  const folder = fromFileUrl(new URL("./clients", import.meta.url));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", "--config", `${folder}/deno.json`, "--frozen"],
      ...[`${folder}/run.ts`, `${server.url}/v1`],
    ],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
})();

function resultOf(name: string): Result {
  const result = results[name];
  assert(result !== undefined && !result?.failed, result?.failed);
  return result;
}

Deno.test("openai: models are listed, and described by id", () => {
  const { ids, one } = resultOf("models");
  assertEquals(ids, ["scripted", "nano"]);
  assertEquals([one.id, one.object, one.owned_by], ["scripted", "model", "mentor"]);
});

Deno.test("openai: an answer in one piece and piece by piece is the same", () => {
  const whole = resultOf("whole");
  const [{ message, finish_reason, logprobs }] = whole.choices;
  assertEquals(message, { role: "assistant", content: "Hello, Zürich 😀!", refusal: null });
  assertEquals([finish_reason, logprobs, whole.object], ["stop", null, "chat.completion"]);
  const chunks = resultOf("streamed");
  const text = chunks.map(({ choices: [choice] }: Result) => choice?.delta.content ?? "").join("");
  assertEquals(text, message.content);
  assert(chunks.length > 10, "it comes in pieces");
  assertEquals(chunks[0].choices[0].delta.role, "assistant");
  assertEquals(chunks.at(-2).choices[0].finish_reason, "stop");
  assertEquals(chunks.at(-1).choices, []);
  assertEquals(chunks.at(-1).usage, whole.usage);
  const { prompt_tokens, completion_tokens, total_tokens } = whole.usage;
  assertEquals(total_tokens, prompt_tokens + completion_tokens);
  assertEquals(completion_tokens, new TextEncoder().encode(message.content).length + 1);
});

Deno.test("openai: parallel calls arrive with ids, whole and put together from a stream", () => {
  for (const scenario of ["calls", "streamedCalls"]) {
    const [{ message, finish_reason }] = resultOf(scenario).choices;
    assertEquals(finish_reason, "tool_calls");
    assertEquals(
      message.tool_calls.map(({ type, function: { name, arguments: args } }: Result) => [
        ...[type, name],
        JSON.parse(args),
      ]),
      [["function", "add", { a: 34, b: 8 }], ["function", "multiply", { a: 2, b: 3 }]],
    );
    const ids = message.tool_calls.map(({ id }: Result) => id);
    assertEquals(new Set(ids).size, 2);
    assertEquals(message.content, "Let me see.");
  }
});

Deno.test("openai: the client runs the tools, and the model sees their results", () => {
  const { content, messages } = resultOf("ranTools");
  assertEquals(content, "42 and 6.");
  assertEquals(
    messages.map(({ role }: Result) => role),
    ["user", "assistant", "tool", "tool", "assistant"],
  );
});

Deno.test("openai: log-probabilities belong to the content, and the likeliest come with them", () => {
  const { choices, usage } = resultOf("logprobs");
  assertEquals(choices.length, 2);
  assertEquals(choices[0].message, choices[1].message, "greedy");
  for (const { message, logprobs } of choices) {
    const tokens = logprobs.content;
    assert(tokens.length > 0);
    assertEquals(tokens.map(({ token }: Result) => token).join(""), message.content);
    for (const { token, logprob, bytes, top_logprobs } of tokens) {
      assertEquals(bytes, [...new TextEncoder().encode(token)]);
      assertEquals(top_logprobs.length, 3);
      assertEquals([top_logprobs[0].token, top_logprobs[0].logprob], [token, logprob]);
      assert(logprob <= 0 && top_logprobs[2].logprob <= top_logprobs[1].logprob);
    }
  }
  assert(usage.completion_tokens <= 40);
});

Deno.test("openai: text is completed, several prompts and choices in one request", () => {
  const { choices, usage, object } = resultOf("text");
  assertEquals(object, "text_completion");
  assertEquals(choices.map(({ index }: Result) => index), [0, 1, 2, 3]);
  assertEquals(usage.prompt_tokens, 4);
  for (const { logprobs, finish_reason } of choices) {
    const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs;
    assertEquals(tokens.length, token_logprobs.length);
    assertEquals(text_offset.length, top_logprobs.length);
    assert(["stop", "length"].includes(finish_reason));
  }
});

Deno.test("openai: a client that leaves ends its completion, and its place falls free", async () => {
  const { chunks, error } = resultOf("aborted");
  assert(chunks >= 5);
  assertEquals(error, "APIUserAbortError");
  for (let i = 0; i < 100 && (scripted.running.size > 0 || engine.state.admitted > 0); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals([scripted.running.size, engine.state.admitted], [0, 0]);
});

Deno.test("openai: errors are of the classes that clients know, and name the field", () => {
  const { model, temperature, long } = resultOf("errors");
  assertEquals([model.name, model.status, model.code, model.param], [
    ...["NotFoundError", 404, "model_not_found", "model"],
  ]);
  assertEquals([temperature.name, temperature.param, temperature.type], [
    ...["BadRequestError", "temperature", "invalid_request_error"],
  ]);
  assertEquals([long.status, long.code, long.param], [400, "context_length_exceeded", "messages"]);
});

Deno.test("ai-sdk: text, usage and the reason why it ended", () => {
  const { text, usage, finishReason } = resultOf("aiText");
  assertEquals([text, finishReason], ["Hello, Zürich 😀!", "stop"]);
  assert(usage.inputTokens > 0 && usage.outputTokens > 0);
});

Deno.test("ai-sdk: tools are called in a stream, and the answer follows their results", () => {
  const { text, steps, usage } = resultOf("aiTools");
  assert(text.endsWith("42 and 6."), text);
  assertEquals(steps[0], {
    calls: [
      { toolName: "add", input: { a: 34, b: 8 } },
      { toolName: "multiply", input: { a: 2, b: 3 } },
    ],
    results: [42, 6],
  });
  assert(usage.totalTokens > 0);
});
