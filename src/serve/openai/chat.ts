/**
 * `POST /v1/chat/completions`.
 *
 * @module
 */

import type { ParsedCall, ToolSpec } from "../../text/tool_call.ts";
import { ChatTemplateError } from "../../text/jinja_template.ts";
import { type ChatInput, chatInput, readingSpecs } from "./chat_input.ts";
import { type ChoiceDelta, type DrawnToken, generateChoice, runChoices } from "./choice.ts";
import { limitOf, newId, samplingOf, stopsOf, usageOf } from "./drawing.ts";
import { type InferenceEngine, type Lease, now, type ServedModel } from "./engine.ts";
import { invalid } from "./errors.ts";
import { eventStream } from "./event_stream.ts";
import { chatLogprobs } from "./logprobs.ts";
import { type ChatRequest, chatRequest, readBody } from "./schema.ts";

/** A call in OpenAI's shape. */
interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** How a choice ended. */
interface Finished {
  readonly reason: "stop" | "length" | "tool_calls";
  readonly calls: readonly ToolCall[];
  /** Why calls that the model meant to make are not among them. */
  readonly errors: readonly string[];
  /** Tokens drawn. */
  readonly tokens: number;
}

/**
 * Answers a chat request.
 *
 * @param signal aborted once the client leaves
 * @throws {ApiError} if it is not valid, or can't be taken on.
 */
export async function chatCompletion(
  engine: InferenceEngine,
  request: Request,
  signal: AbortSignal,
): Promise<Response> {
  const body = await readBody(request, chatRequest);
  const input = chatInput(body);
  using held = new DisposableStack();
  const lease = held.use(await engine.lease(body.model, body.n ?? 1, signal));
  const completion = new ChatCompletion(lease, body, input, now());
  if (!body.stream) return Response.json(await completion.whole(signal));
  const streaming = held.move();
  return eventStream(signal, async (send, gone) => {
    using _ = streaming;
    await completion.stream(send, gone);
  }, (error) => engine.report(error));
}

class ChatCompletion {
  readonly #lease: Lease;
  readonly #model: ServedModel;
  readonly #body: ChatRequest;
  /** For reading the model's turn. */
  readonly #tools: readonly ToolSpec[];
  /** What the model's turn is made to begin with. */
  readonly #opening: Uint32Array;
  readonly #prompt: Uint32Array;
  readonly #limit: number;
  readonly #sampling: ReturnType<typeof samplingOf>;
  readonly #count: number;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };

  constructor(lease: Lease, body: ChatRequest, input: ChatInput, created: number) {
    this.#lease = lease;
    this.#model = lease.model;
    this.#body = body;
    this.#tools = readingSpecs(input.tools);
    const { chat, length } = lease.model;
    const { opening } = input;
    this.#opening = opening === null
      ? new Uint32Array()
      : chat.callOpeningIds(opening === "any" ? undefined : opening);
    this.#prompt = Uint32Array.from([...promptOf(lease.model, input), ...this.#opening]);
    const most = body.max_completion_tokens ?? body.max_tokens;
    this.#limit = limitOf(this.#prompt, length, most, "messages");
    this.#sampling = samplingOf(body);
    this.#count = body.n ?? 1;
    this.#head = { id: newId("chatcmpl-"), created, model: body.model };
  }

  /** The answer in one piece. */
  async whole(signal: AbortSignal): Promise<unknown> {
    let tokens = 0;
    const choices = await runChoices(this.#count, signal, async (index, own) => {
      const parts = { thought: "", content: "" };
      const drawn: DrawnToken[] = [];
      const end = await this.#choice(index, own, (delta) => {
        parts.thought += delta.thought;
        parts.content += delta.content;
        drawn.push(...delta.drawn);
      });
      tokens += end.tokens;
      const content = parts.content === "" && end.calls.length > 0 ? null : parts.content;
      return {
        index,
        message: {
          ...{ role: "assistant", content, refusal: null },
          ...(parts.thought === "" ? {} : { reasoning_content: parts.thought }),
          ...(end.calls.length === 0 ? {} : { tool_calls: end.calls }),
          ...(end.errors.length === 0 ? {} : { tool_call_errors: end.errors }),
        },
        logprobs: this.#logprobs(drawn),
        finish_reason: end.reason,
      };
    });
    const usage = usageOf(this.#prompt.length, tokens);
    return { ...this.#head, object: "chat.completion", choices, usage };
  }

  /** The answer piece by piece. */
  async stream(send: (chunk: unknown) => void, signal: AbortSignal): Promise<void> {
    const asked = this.#body.stream_options?.include_usage ?? false;
    const chunk = (choices: unknown[], usage: unknown = null) =>
      send({
        ...this.#head,
        ...{ object: "chat.completion.chunk", choices },
        ...(asked ? { usage } : {}),
      });
    const say = (index: number, delta: unknown, logprobs: unknown = null, reason: unknown = null) =>
      chunk([{ index, delta, logprobs, finish_reason: reason }]);
    let tokens = 0;
    await runChoices(this.#count, signal, async (index, own) => {
      say(index, { role: "assistant", content: "", refusal: null });
      const end = await this.#choice(index, own, ({ thought, content, drawn }) => {
        if (thought !== "") say(index, { reasoning_content: thought });
        if (content !== "") say(index, { content }, this.#logprobs(drawn));
      });
      end.calls.forEach((call, i) => say(index, { tool_calls: [{ index: i, ...call }] }));
      say(
        index,
        end.errors.length === 0 ? {} : { tool_call_errors: end.errors },
        null,
        end.reason,
      );
      tokens += end.tokens;
    });
    if (asked) chunk([], usageOf(this.#prompt.length, tokens));
  }

  async #choice(
    index: number,
    signal: AbortSignal,
    onDelta: (delta: ChoiceDelta) => void,
  ): Promise<Finished> {
    const reader = this.#model.chat.turnStream(this.#tools.length > 0);
    for (const id of this.#opening) reader.push(id);
    const { reason, tokens } = await generateChoice(this.#lease, {
      ...{ reader, signal, stream: index },
      prompt: this.#prompt,
      limit: this.#limit,
      sampling: this.#sampling,
      likeliest: this.#body.logprobs ? this.#body.top_logprobs ?? 0 : 0,
      stops: stopsOf(this.#body),
    }, onDelta);
    const read = this.#calls(tokens);
    const done = reason === "stop" && read.calls.length > 0;
    return { ...read, reason: done ? "tool_calls" : reason, tokens: tokens.length };
  }

  /** The calls of a turn that can be read; with arguments that the tool may refuse all the same. */
  #calls(tokens: readonly number[]): Pick<Finished, "calls" | "errors"> {
    if (this.#tools.length === 0) return { calls: [], errors: [] };
    const turn = this.#model.chat.readTurn([...this.#opening, ...tokens], this.#tools);
    if (turn.kind !== "call") return { calls: [], errors: [] };
    const readable = turn.calls.filter((call) => call.arguments !== null);
    const made = this.#body.parallel_tool_calls === false ? readable.slice(0, 1) : readable;
    const unreadable = turn.calls.filter((call) => call.arguments === null);
    const errors = turn.calls.length === 0
      ? ["a call that can't be read"]
      : unreadable.map(({ error = "malformed" }) => error);
    return { calls: made.map(toolCall), errors };
  }

  #logprobs(drawn: readonly DrawnToken[]): unknown {
    return chatLogprobs(this.#model.tokenizer, drawn, this.#body.logprobs ?? false);
  }
}

function promptOf({ chat }: ServedModel, { messages, tools }: ChatInput): Uint32Array {
  try {
    return chat.conversationIds(messages, tools);
  } catch (error) {
    // The model's template knows other orders of roles, or a call has other arguments.
    if (error instanceof RangeError || error instanceof ChatTemplateError) {
      throw invalid(error.message, "messages", "invalid_value");
    }
    throw error;
  }
}

function toolCall({ name, arguments: args }: ParsedCall): ToolCall {
  return {
    id: newId("call_"),
    type: "function",
    function: { name, arguments: JSON.stringify(args) },
  };
}
