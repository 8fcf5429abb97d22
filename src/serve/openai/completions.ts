/**
 * `POST /v1/completions`: text that goes on, without roles and tools.
 *
 * @module
 */

import type { Tokenizer } from "../../text/tokenizer.ts";
import type { TurnStream } from "../../text/turn_stream.ts";
import { newId } from "./chat.ts";
import { type ChoiceDelta, type DrawnToken, generateChoice } from "./choice.ts";
import { limitOf, samplingOf, stopsOf, usageOf } from "./drawing.ts";
import { type InferenceEngine, type Lease, now, type ServedModel } from "./engine.ts";
import { invalid } from "./errors.ts";
import { eventStream } from "./event_stream.ts";
import { textLogprobs } from "./logprobs.ts";
import { type CompletionRequest, completionRequest, readBody } from "./schema.ts";

/** Tokens to draw where a request does not say, as in OpenAI's API. */
const FEW = 16;

/**
 * Answers a request for text.
 *
 * @throws {ApiError} if it is not valid, or can't be taken on.
 */
export async function textCompletion(engine: InferenceEngine, request: Request): Promise<Response> {
  const body = await readBody(request, completionRequest);
  const prompts = promptsOf(body.prompt);
  const count = prompts.length * (body.n ?? 1);
  using held = new DisposableStack();
  const lease = held.use(await engine.lease(body.model, count, request.signal));
  const head = { id: newId("cmpl-"), object: "text_completion", created: now() };
  const completion = new TextCompletion(lease, body, prompts);
  const start = { ...head, model: body.model };
  if (!body.stream) {
    const parts = prompts.flatMap(() =>
      Array.from({ length: body.n ?? 1 }, () => ({
        text: "",
        drawn: [] as DrawnToken[],
      }))
    );
    const { reasons, usage } = await completion.run(request.signal, (index, delta) => {
      parts[index]!.text += delta.content;
      parts[index]!.drawn.push(...delta.drawn);
    });
    const choices = parts.map(({ text, drawn }, index) => ({
      ...{ index, text, finish_reason: reasons[index] },
      logprobs: completion.logprobs(drawn, 0),
    }));
    return Response.json({ ...start, choices, usage });
  }
  const asked = body.stream_options?.include_usage ?? false;
  const streaming = held.move();
  return eventStream(request.signal, async (send, gone) => {
    using _ = streaming;
    const offsets: number[] = Array(count).fill(0);
    const chunk = (choices: unknown[], usage: unknown = null) =>
      send({ ...start, choices, ...(asked ? { usage } : {}) });
    const { usage } = await completion.run(
      gone,
      (index, { content, drawn }) => {
        const logprobs = completion.logprobs(drawn, offsets[index]!);
        offsets[index]! += content.length;
        chunk([{ index, text: content, logprobs, finish_reason: null }]);
      },
      (index, reason) => chunk([{ index, text: "", logprobs: null, finish_reason: reason }]),
    );
    if (asked) chunk([], usage);
  }, (error) => engine.report(error));
}

class TextCompletion {
  readonly #lease: Lease;
  readonly #body: CompletionRequest;
  /** One for each choice. */
  readonly #prompts: readonly Uint32Array[];
  readonly #limits: readonly number[];
  readonly #usedByPrompts: number;

  constructor(lease: Lease, body: CompletionRequest, prompts: readonly (string | number[])[]) {
    this.#lease = lease;
    this.#body = body;
    const { model } = lease;
    const encoded = prompts.map((prompt) => encode(model, prompt));
    this.#usedByPrompts = encoded.reduce((sum, { length }) => sum + length, 0);
    this.#prompts = encoded.flatMap((ids) => Array(body.n ?? 1).fill(ids));
    this.#limits = this.#prompts.map((ids) =>
      limitOf(ids, model.length, body.max_tokens ?? FEW, "prompt")
    );
  }

  /** Runs all choices; where one fails, the others end. */
  async run(
    signal: AbortSignal,
    onDelta: (index: number, delta: ChoiceDelta) => void,
    onEnd: (index: number, reason: string) => void = () => {},
  ): Promise<{ reasons: string[]; usage: unknown }> {
    const sampling = samplingOf(this.#body);
    const failed = new AbortController();
    const own = AbortSignal.any([signal, failed.signal]);
    try {
      const ends = await Promise.all(this.#prompts.map(async (prompt, index) => {
        const end = await generateChoice(this.#lease, {
          ...{ prompt, sampling, signal: own },
          stream: index % (this.#body.n ?? 1),
          limit: this.#limits[index]!,
          likeliest: this.#body.logprobs ?? 0,
          stops: stopsOf(this.#body),
          reader: textReader(this.#lease.model.tokenizer),
        }, (delta) => onDelta(index, delta));
        onEnd(index, end.reason);
        return end;
      }));
      const drawn = ends.reduce((sum, { tokens }) => sum + tokens.length, 0);
      return {
        reasons: ends.map(({ reason }) => reason),
        usage: usageOf(this.#usedByPrompts, drawn),
      };
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  }

  logprobs(drawn: readonly DrawnToken[], offset: number): unknown {
    const wanted = typeof this.#body.logprobs === "number";
    return textLogprobs(this.#lease.model.tokenizer, drawn, wanted, offset);
  }
}

function promptsOf(prompt: CompletionRequest["prompt"]): (string | number[])[] {
  if (typeof prompt === "string") return [prompt];
  if (prompt.length === 0) throw invalid("Invalid 'prompt': it is empty", "prompt");
  return typeof prompt[0] === "number" ? [prompt as number[]] : prompt as (string | number[])[];
}

function encode({ tokenizer, vocabSize }: ServedModel, prompt: string | number[]): Uint32Array {
  if (prompt.length === 0) throw invalid("Invalid 'prompt': it is empty", "prompt");
  if (typeof prompt === "string") return tokenizer.encode(prompt);
  const wrong = prompt.find((id) => id >= vocabSize);
  if (wrong === undefined) return Uint32Array.from(prompt);
  throw invalid(
    `Invalid 'prompt': token ${wrong} is not in the vocabulary of ${vocabSize} tokens`,
    "prompt",
  );
}

/** Text without control tokens. */
function textReader(tokenizer: Tokenizer): TurnStream {
  const decoded = tokenizer.decodeStream({ skipSpecial: true });
  return {
    push: (id) => ({ thought: "", content: decoded.push(id) }),
    end: () => ({ thought: "", content: decoded.end() }),
  };
}
