// What the official clients get from a server at the address named: prints `{ scenario: result }`.
// A program of its own, with a config and a lock of its own: no other command may download them.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI, { APIError } from "openai";

const [baseURL] = Deno.args as [string];
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const provider = createOpenAICompatible({ name: "mentor", baseURL, includeUsage: true });

const parameters = {
  type: "object" as const,
  properties: { a: { type: "number" as const }, b: { type: "number" as const } },
  required: ["a", "b"],
};
const tools = ["add", "multiply"].map((name) => ({
  type: "function" as const,
  function: { name, description: name, parameters },
}));
const ask = (content: string) => [{ role: "user" as const, content }];

async function failure(work: () => Promise<unknown>) {
  try {
    await work();
    return null;
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, param, type, message } = error;
    return { name: error.constructor.name, status, code, param, type, message };
  }
}

const scenarios: Record<string, () => Promise<unknown>> = {
  async models() {
    const ids = [];
    for await (const { id } of client.models.list()) ids.push(id);
    return { ids, one: await client.models.retrieve("scripted") };
  },

  whole: () => client.chat.completions.create({ model: "scripted", messages: ask("Say hello") }),

  async streamed() {
    const stream = await client.chat.completions.create({
      model: "scripted",
      messages: ask("Say hello"),
      stream: true,
      stream_options: { include_usage: true },
    });
    return await Array.fromAsync(stream);
  },

  calls: () =>
    client.chat.completions.create({ model: "scripted", messages: ask("Call both"), tools }),

  /** The client puts the parts of a stream together. */
  streamedCalls: () =>
    client.chat.completions.stream({ model: "scripted", messages: ask("Call both"), tools })
      .finalChatCompletion(),

  /** The client runs the tools itself, and asks again with their results. */
  async ranTools() {
    const runner = client.chat.completions.runTools({
      model: "scripted",
      messages: ask("Call both"),
      stream: true,
      tools: tools.map(({ function: { name, description, parameters } }) => ({
        type: "function" as const,
        function: {
          name,
          description,
          parameters,
          parse: JSON.parse,
          function: ({ a, b }: { a: number; b: number }) => String(name === "add" ? a + b : a * b),
        },
      })),
    });
    return { content: await runner.finalContent(), messages: runner.messages };
  },

  /** Behind a tool's result the base model answers. */
  logprobs: () =>
    client.chat.completions.create({
      ...{ model: "nano", logprobs: true, top_logprobs: 3, temperature: 0, max_tokens: 20, n: 2 },
      tools,
      messages: [
        ...ask("What is 34 plus 8?"),
        {
          role: "assistant",
          tool_calls: [{
            ...{ id: "call_1", type: "function" },
            function: { name: "add", arguments: '{"a": 34, "b": 8}' },
          }],
        },
        { role: "tool", tool_call_id: "call_1", content: "42" },
      ],
    }),

  text: () =>
    client.completions.create({
      ...{ model: "nano", prompt: ["ab", "cd"], n: 2, logprobs: 2, seed: 5, max_tokens: 6 },
    }),

  /** A client that leaves in the midst of an answer. */
  async aborted() {
    const stream = await client.chat.completions.create({
      model: "scripted",
      messages: ask("Talk for ever"),
      stream: true,
    });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) stream.controller.abort();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const whole = client.chat.completions.create(
      { model: "scripted", messages: ask("Talk for ever") },
      { signal: controller.signal },
    );
    const error = await whole.then(() => null, (error) => error);
    return { chunks, error: error.constructor.name };
  },

  async errors() {
    const messages = ask("x");
    const create = (more: object) => () =>
      client.chat.completions.create({ model: "scripted", messages, ...more });
    return {
      model: await failure(create({ model: "nobody" })),
      temperature: await failure(create({ temperature: 3 })),
      long: await failure(create({ messages: ask("x".repeat(5000)) })),
    };
  },

  async aiText() {
    const { text, usage, finishReason } = await generateText({
      model: provider("scripted"),
      prompt: "Say hello",
    });
    return { text, usage, finishReason };
  },

  async aiTools() {
    const result = streamText({
      model: provider("scripted"),
      prompt: "Call both",
      tools: Object.fromEntries(["add", "multiply"].map((name) => [
        name,
        tool({
          description: name,
          inputSchema: jsonSchema<{ a: number; b: number }>(parameters),
          execute: ({ a, b }) => Promise.resolve(name === "add" ? a + b : a * b),
        }),
      ])),
      stopWhen: stepCountIs(3),
    });
    let text = "";
    for await (const part of result.textStream) text += part;
    const steps = (await result.steps).map(({ toolCalls, toolResults }) => ({
      calls: toolCalls.map(({ toolName, input }) => ({ toolName, input })),
      results: toolResults.map(({ output }) => output),
    }));
    return { text, steps, usage: await result.totalUsage };
  },
};

const results: Record<string, unknown> = {};
for (const [name, scenario] of Object.entries(scenarios)) {
  try {
    results[name] = await scenario();
  } catch (error) {
    results[name] = { failed: Deno.inspect(error) };
  }
}
console.log(JSON.stringify(results));
