// The routes below /v1 without a client: what is refused, what is told piece by piece, who waits.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { SequenceQueue } from "../src/model/sequence.ts";
import { ConfigError } from "../src/run/config/mod.ts";
import {
  InferenceEngine,
  inferenceFlags,
  inferenceOptions,
  inferenceRoutes,
  openEngine,
} from "../src/serve/openai/mod.ts";
import { chatRequest, completionRequest } from "../src/serve/openai/schema.ts";
import { StopText } from "../src/serve/openai/stop_text.ts";
import { offered } from "./served_models.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

const { engine, scripted, reason } = offered({ capacity: 6 });
const app = inferenceRoutes(engine);
Deno.test.afterAll(() => engine[Symbol.asyncDispose]());

async function post(body: Json, path = "/v1/chat/completions", signal?: AbortSignal) {
  const response = await app.request(path, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
  return { status: response.status, headers: response.headers, json: await response.json() };
}

const say = (content: Json, more: Json = {}) => ({
  model: "scripted",
  messages: [{ role: "user", content }],
  ...more,
});
const tools = ["add", "multiply"].map((name) => ({ type: "function", function: { name } }));

/** The chunks of a stream, without the `[DONE]` behind them. */
async function chunksOf(body: Json, path = "/v1/chat/completions"): Promise<Json[]> {
  const response = await app.request(path, {
    method: "POST",
    body: JSON.stringify({ ...body, stream: true }),
  });
  assertEquals(response.headers.get("Content-Type"), "text/event-stream; charset=utf-8");
  const events = (await response.text()).split("\n\n");
  assertEquals(events.splice(-2), ["data: [DONE]", ""]);
  return events.map((event) => JSON.parse(event.replace(/^data: /, "")));
}

Deno.test("what is wrong with a request is told in OpenAI's shape, with the field", async () => {
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  const deepCall = {
    ...{ id: "1", type: "function" },
    function: { name: "add", arguments: `{"a":${nested(400_000)}}` },
  };
  const deepParam = "messages[0].tool_calls[0].function.arguments";
  const call = { id: "1", type: "function", function: { name: "add", arguments: "{" } };
  const refused: [Json, string | null][] = [
    ["{", null],
    [{ model: "scripted" }, "messages"],
    [{ ...say("x"), model: 3 }, "model"],
    [say("x", { n: 0 }), "n"],
    [say("x", { n: 7 }), "n"],
    [say("x", { temperature: "hot" }), "temperature"],
    [say("x", { top_logprobs: 21, logprobs: true }), "top_logprobs"],
    [say("x", { stop: ["a", "b", "c", "d", "e"] }), "stop"],
    [say("x", { frequency_penalty: 0.5 }), "frequency_penalty"],
    [say("x", { response_format: { type: "json_object" } }), "response_format"],
    [say([{ type: "image_url", image_url: { url: "http://x" } }]), "messages[0].content[0].type"],
    [{ model: "scripted", messages: [{ role: "function", content: "x" }] }, "messages[0].role"],
    [
      say("x", { tools: [{ type: "function", function: { name: "a b" } }] }),
      "tools[0].function.name",
    ],
    [
      say("x", { tools, tool_choice: { type: "function", function: { name: "nix" } } }),
      "tool_choice",
    ],
    [say("x", { tool_choice: "required" }), "tool_choice"],
    [say("x", { max_tokens: 0 }), "max_tokens"],
    [{
      model: "scripted",
      messages: [{ role: "user", content: "x" }, { role: "tool", tool_call_id: "?", content: "y" }],
    }, "messages[1].tool_call_id"],
    [{
      model: "scripted",
      messages: [{ role: "user", content: "x" }, { role: "assistant", tool_calls: [call] }],
    }, "messages[1].tool_calls[0].function.arguments"],
    [{
      model: "scripted",
      messages: [{ role: "user", content: "x" }, { role: "assistant", content: "y" }],
    }, "messages"],
    [say("x".repeat(4000)), "messages"],
    [say("x".repeat(400_000)), "messages"],
    [`{"model":"scripted","messages":[],"tools":${nested(400_000)}}`, null],
    [{ model: "scripted", messages: [{ role: "assistant", tool_calls: [deepCall] }] }, deepParam],
  ];
  for (const [body, param] of refused) {
    const { status, json } = await post(body);
    assertEquals([status, json.error.param], [400, param], JSON.stringify(json));
    assertEquals(json.error.type, "invalid_request_error");
    assert(json.error.message.length > 10);
  }
  for (
    const [more, param] of [
      [{ prompt: "" }, "prompt"],
      [{ prompt: [] }, "prompt"],
      [{ prompt: [[1, 9999]] }, "prompt"],
      // As an id of 32 bits it would be one that there is.
      [{ prompt: [2 ** 32 + 40] }, "prompt"],
      [{ prompt: "x", echo: true }, "echo"],
    ] as const
  ) {
    const { status, json } = await post({ model: "scripted", ...more }, "/v1/completions");
    assertEquals([status, json.error.param], [400, param], JSON.stringify(json));
  }
  assertEquals(engine.state.admitted, 0);
  const missing = await app.request("/v1/models/nobody");
  assertEquals([missing.status, (await missing.json()).error.code], [404, "model_not_found"]);
});

Deno.test("fields that are not known are ignored, and null is as good as nothing", async () => {
  const { status, json } = await post(
    say("Say hello", { user: "me", store: true, stop: null, tools: null, seed: null, n: null }),
  );
  assertEquals([status, json.choices[0].message.content], [200, "Hello, Zürich 😀!"]);
});

Deno.test("a stop string ends the text before it, wherever pieces were cut", async () => {
  for (const [stop, expected] of [["Zür", "Hello, "], [["xyz", "😀"], "Hello, Zürich "]] as const) {
    const { json } = await post(say("Say hello", { stop }));
    assertEquals(json.choices[0].message.content, expected);
    assertEquals(json.choices[0].finish_reason, "stop");
    const chunks = await chunksOf(say("Say hello", { stop }));
    const text = chunks.map(({ choices: [{ delta }] }) => delta.content ?? "").join("");
    assertEquals(text, expected);
  }
  assertEquals(scripted.running.size, 0);
  const stops = new StopText(["<end>", "ende"]);
  assertEquals(["a<e", "nd", "x<en"].map((piece) => stops.push(piece)), ["a", "", "<endx"]);
  assertEquals([stops.end(), stops.stopped], ["<en", false]);
});

Deno.test("a limit of tokens cuts, and what half of a call began is not shown", async () => {
  const { json } = await post(say("Say hello", { max_completion_tokens: 3 }));
  const [{ message, finish_reason }] = json.choices;
  assertEquals([message.content, finish_reason], ["Hel", "length"]);
  assertEquals(json.usage.completion_tokens, 3);
  const whole = "Let me see.";
  for (let most = 1; most < 90; most += 4) {
    const chunks = await chunksOf(say("Call both", { tools, max_tokens: most }));
    const text = chunks.map(({ choices: [{ delta }] }) => delta.content ?? "").join("");
    assert(whole.startsWith(text), text);
    assertEquals(chunks.at(-1).choices[0].finish_reason, "length");
  }
});

Deno.test("tool_choice: none shows and reads no tools, and a named one opens the turn", async () => {
  const none = await post(say("Say hello", { tools, tool_choice: "none" }));
  const auto = await post(say("Say hello", { tools }));
  assert(none.json.usage.prompt_tokens < auto.json.usage.prompt_tokens - 50);
  // The script goes on from the opening that it finds in the prompt.
  for (const choice of ["required", { type: "function", function: { name: "multiply" } }]) {
    const { json } = await post(say("Open", { tools, tool_choice: choice }));
    const [{ message, finish_reason }] = json.choices;
    assertEquals([message.content, finish_reason], [null, "tool_calls"]);
    assertEquals(message.tool_calls[0].function, { name: "multiply", arguments: '{"a":6,"b":7}' });
  }
  const one = await post(say("Call both", { tools, parallel_tool_calls: false }));
  assertEquals(one.json.choices[0].message.tool_calls.length, 1);
});

Deno.test("a call that can't be read is no call, and is told of", async () => {
  const { json } = await post(say("Call badly", { tools }));
  const [{ message, finish_reason }] = json.choices;
  assertEquals([message.content, finish_reason, message.tool_calls], ["", "stop", undefined]);
  assertEquals(message.tool_call_errors.length, 1);
});

Deno.test("arguments are the client's to check, whatever its schema would take", async () => {
  const properties = { a: { type: "string", pattern: "^(x+x+)+y$" }, b: { $ref: "#/nowhere" } };
  const parameters = { type: "object", properties, required: ["c"] };
  const own = [{ type: "function", function: { name: "add", parameters } }];
  const { json } = await post(say("Call with much", { tools: own }));
  const [{ message }] = json.choices;
  assertEquals(JSON.parse(message.tool_calls[0].function.arguments), { a: "x".repeat(60) });
});

Deno.test("extreme settings harm nobody else", async () => {
  const body = { model: "nano", prompt: "34 plus 8", max_tokens: 4, seed: 1, logprobs: 0 };
  const drawn = async (more: Json) =>
    (await post({ ...body, ...more }, "/v1/completions")).json.choices[0];
  const greedy = await drawn({ temperature: 0 });
  assertEquals((await drawn({ temperature: 1e-40 })).text, greedy.text);
  assertEquals((await drawn({ top_p: 0 })).text, greedy.text);
  const { finish_reason } = await drawn({ seed: -(2 ** 53 - 1), max_tokens: 1e15 });
  assert(["stop", "length"].includes(finish_reason));
  assertEquals((await post({ ...body, stop: "x".repeat(1001) }, "/v1/completions")).status, 400);
});

Deno.test("a thought is told apart from the answer", async () => {
  const { json } = await post(say("Think"));
  const { content, reasoning_content } = json.choices[0].message;
  assertEquals([content, reasoning_content], ["So.", "Hm."]);
});

Deno.test("equal seeds draw equal texts, whatever else runs at the same time", async () => {
  const ask = (seed: number | undefined, prompt = "34 plus 8", more: Json = {}) =>
    post({
      ...{ model: "nano", prompt, temperature: 1.5, max_tokens: 24, logprobs: 2, ...more },
      ...(seed === undefined ? {} : { seed }),
    }, "/v1/completions");
  const drawn = ({ json }: Json) => JSON.stringify(json.choices);
  const alone = drawn(await ask(11));
  const others = [ask(1, "What is 2 minus 1?", { n: 2 }), ask(undefined), ask(12)];
  const [again, , other] = [await ask(11), ...await Promise.all(others)];
  assertEquals(drawn(again), alone);
  assert(drawn(await others[2]) !== alone, "another seed draws another text");
  assert(other);
  const both = (await ask(11, "34 plus 8", { n: 2 })).json.choices;
  assertEquals(JSON.stringify([both[0]]), alone, "the first of several is the only one");
});

Deno.test("more than may wait is refused with the time to try again", async () => {
  const leaving = new AbortController();
  const talking = [1, 2, 3].map(() =>
    Promise.resolve(app.request("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(say("Talk for ever", { n: 2 })),
      signal: leaving.signal,
    }))
  );
  while (scripted.running.size < 6) await new Promise((resolve) => setTimeout(resolve, 5));
  const { status, headers, json } = await post(say("Say hello"));
  assertEquals([status, headers.get("Retry-After")], [429, "1"]);
  assertEquals([json.error.type, json.error.code], ["rate_limit_error", "rate_limit_exceeded"]);
  leaving.abort();
  assertEquals((await Promise.all(talking)).map(({ status }) => status), [499, 499, 499]);
  assertEquals((await post(say("Say hello"))).status, 200);
});

Deno.test("who leaves while another model is at work makes room at once", async () => {
  const talking = new AbortController();
  const talk = app.request("/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify(say("Talk for ever")),
    signal: talking.signal,
  });
  while (scripted.running.size < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  const leaving = new AbortController();
  const waiting = app.request("/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify({ ...say("34 plus 8", { n: 5 }), model: "nano" }),
    signal: leaving.signal,
  });
  while (engine.state.admitted < 6) await new Promise((resolve) => setTimeout(resolve, 5));
  leaving.abort();
  assertEquals((await waiting).status, 499);
  assertEquals([engine.state.admitted, scripted.running.size], [1, 1]);
  talking.abort();
  assertEquals((await talk).status, 499);
  assertEquals((await post(say("Say hello"))).status, 200);
  assertEquals(engine.state, { model: "scripted", admitted: 0 });
});

Deno.test("a model is swapped once nothing runs on the other, in the order of asking", async () => {
  const order: string[] = [];
  const ask = async (model: string) => {
    const { status } = await post({ ...say("Say hello", { max_tokens: 4 }), model });
    order.push(`${model} ${status}`);
  };
  await ask("scripted");
  assertEquals(engine.state, { model: "scripted", admitted: 0 });
  await Promise.all(["scripted", "nano", "scripted"].map(ask));
  assertEquals(order.slice(1), ["scripted 200", "nano 200", "scripted 200"]);
  assertEquals(engine.state.model, "scripted");
});

Deno.test("while something else has the GPU, requests are refused with the reason", async () => {
  reason.now = "run 7 trains on this GPU";
  const { status, json } = await post(say("Say hello"));
  assertEquals([status, json.error.code], [503, "gpu_busy"]);
  assert(json.error.message.includes("run 7 trains on this GPU"));
  reason.now = null;
  assertEquals((await post(say("Say hello"))).status, 200);
  await engine.unload();
  assertEquals(engine.state, { model: null, admitted: 0 });
  assertEquals((await post(say("Say hello"))).status, 200);
});

Deno.test("text is streamed with its log-probabilities and offsets", async () => {
  const body = { model: "nano", prompt: "34 plus", max_tokens: 8, logprobs: 1, seed: 3 };
  const whole = (await post(body, "/v1/completions")).json.choices[0];
  const chunks = await chunksOf(body, "/v1/completions");
  const parts = chunks.map(({ choices: [choice] }) => choice);
  assertEquals(parts.map(({ text }) => text).join(""), whole.text);
  assertEquals(
    parts.flatMap(({ logprobs }) => logprobs?.text_offset ?? []),
    whole.logprobs.text_offset,
  );
  assertEquals(parts.at(-1).finish_reason, whole.finish_reason);
});

Deno.test("a model that fails is told of, and loaded again for the next request", async () => {
  let loads = 0;
  const told: string[] = [];
  await using failing = new InferenceEngine({
    models: { once: "once", never: "never" },
    capacity: 2,
    onError: (error) => told.push((error as Error).message),
    load(path) {
      if (path === "never") return Promise.reject(new Error("a secret path is not there"));
      const { generator, ...model } = scripted;
      if (++loads > 1) return Promise.resolve(scripted);
      const serve = async (queue: SequenceQueue) => {
        await queue.arrival;
        throw new RangeError("Cannot sample");
      };
      return Promise.resolve({ ...model, generator: { ...generator, serve } });
    },
  });
  const ask = async (model: string) => {
    const response = await inferenceRoutes(failing).request("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ ...say("Say hello"), model }),
    });
    return [response.status, (await response.json()).error?.message];
  };
  const hidden = "The server failed to answer; its log says why";
  assertEquals(await ask("once"), [500, hidden]);
  assertEquals(await ask("once"), [200, undefined]);
  assertEquals(await ask("never"), [500, hidden]);
  assertEquals([loads, failing.state], [2, { model: null, admitted: 0 }]);
  assertEquals(told, ["Cannot sample", "a secret path is not there"]);
});

Deno.test("flags say which models are offered, and wrong ones are refused", () => {
  const free = () => null;
  const options = inferenceOptions({ models: "a=x/y, b.c=z=1.gguf", slots: "2" });
  assertEquals(options.slots, 2);
  const { models } = openEngine(options, free);
  assertEquals(models, ["a", "b.c"]);
  assertEquals(openEngine({}, free).models, []);
  for (
    const [flags, message] of [
      [{ models: "folder" }, '"folder" is not of the form id=path'],
      [{ models: "a=x,a=y" }, '"a=y" has an id that is taken'],
      [{ slots: "0" }, "--slots 0: it must be a positive whole number"],
      [{ context: "many" }, "--context many"],
      [{ queue: "1.5" }, "--queue 1.5"],
    ] as const
  ) assertThrows(() => inferenceOptions(flags), ConfigError, message);
});

Deno.test("docs/inference.md has every flag, and every field that is read", () => {
  const text = Deno.readTextFileSync(new URL("../docs/inference.md", import.meta.url));
  for (const flag of Object.keys(inferenceFlags)) assert(text.includes(`\`--${flag}\``), flag);
  const fields = new Set(
    [chatRequest, completionRequest].flatMap(({ entries }) => Object.keys(entries)),
  );
  const shared = ["model", "prompt", "frequency_penalty", "presence_penalty"];
  for (const field of fields) {
    if (!shared.includes(field)) assert(text.includes(`\`${field}\``), field);
  }
});

Deno.test("whatever a body says, the server is not at fault", async () => {
  const fields = Object.keys({ ...chatRequest.entries, ...completionRequest.entries });
  const role = fc.constantFrom("system", "user", "assistant", "tool", "developer");
  const messages = fc.array(fc.record({
    ...{ role, content: fc.oneof(fc.string({ unit: "grapheme" }), fc.jsonValue()) },
    tool_calls: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.jsonValue()),
  }));
  // Half of them as they should be, or hardly one would be answered.
  const plain = fc.constant([{ role: "user", content: "34 plus 8" }]);
  const kind = fc.constantFrom("/v1/chat/completions", "/v1/completions");
  const valid = fc.record({
    prompt: fc.oneof(fc.constant("34 plus 8"), fc.array(fc.nat()), fc.jsonValue()),
    messages: fc.oneof(plain, messages),
    tools: fc.oneof(fc.constant(tools), fc.jsonValue()),
  });
  const wrong = fc.dictionary(fc.constantFrom(...fields, "x"), fc.jsonValue(), { maxKeys: 3 });
  const other = fc.oneof(fc.constant({}), wrong);
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(valid, other, fc.boolean(), kind, async (body, more, stream, kind) => {
      const all = { model: "scripted", max_tokens: 3, ...body, stream, ...more };
      const response = await app.request(kind, {
        method: "POST",
        body: JSON.stringify({ ...all, max_tokens: 3, max_completion_tokens: 3 }),
      });
      const text = await response.text();
      statuses.add(response.status);
      assert(response.status < 500, text);
      assert(!text.includes('"server_error"'), text);
    }),
    { numRuns: 300 },
  );
  assert(statuses.has(200) && statuses.has(400), "both were tried");
  assertEquals(engine.state.admitted, 0);
});
