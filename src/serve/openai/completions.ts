/**
 * `POST /v1/completions`: text that goes on, without roles and tools.
 *
 * @module
 */

import type { Tokenizer } from "../../text/tokenizer.ts";
import type { TurnStream } from "../../text/turn_stream.ts";
import {
  type ChoiceDelta,
  type ChoiceEnd,
  type DrawnToken,
  generateChoice,
  runChoices,
} from "./choice.ts";
import { limitOf, newId, samplingOf, stopsOf, usageOf } from "./drawing.ts";
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
 * @param signal aborted once the client leaves
 * @throws {ApiError} if it is not valid, or can't be taken on.
 */
export async function textCompletion(
  engine: InferenceEngine,
  request: Request,
  signal: AbortSignal,
): Promise<Response> {
  const body = await readBody(request, completionRequest);
  const prompts = promptsOf(body.prompt);
  using held = new DisposableStack();
  const count = prompts.length * (body.n ?? 1);
  const lease = held.use(await engine.lease(body.model, count, signal));
  const completion = new TextCompletion(lease, body, prompts, now());
  if (!body.stream) return Response.json(await completion.whole(signal));
  const streaming = held.move();
  return eventStream(signal, async (send, gone) => {
    using _ = streaming;
    await completion.stream(send, gone);
  }, (error) => engine.report(error));
}

class TextCompletion {
  readonly #lease: Lease;
  readonly #body: CompletionRequest;
  /** One for each choice. */
  readonly #prompts: readonly Uint32Array[];
  readonly #limits: readonly number[];
  readonly #sampling: ReturnType<typeof samplingOf>;
  readonly #usedByPrompts: number;
  readonly #head: Readonly<Record<string, unknown>>;

  constructor(
    lease: Lease,
    body: CompletionRequest,
    prompts: readonly (string | number[])[],
    created: number,
  ) {
    this.#lease = lease;
    this.#body = body;
    const { model } = lease;
    const encoded = prompts.map((prompt) => encode(model, prompt));
    this.#usedByPrompts = encoded.reduce((sum, { length }) => sum + length, 0);
    this.#prompts = encoded.flatMap((ids) => Array(body.n ?? 1).fill(ids));
    this.#limits = this.#prompts.map((ids) =>
      limitOf(ids, model.length, body.max_tokens ?? FEW, "prompt")
    );
    this.#sampling = samplingOf(body);
    this.#head = { id: newId("cmpl-"), object: "text_completion", created, model: body.model };
  }

  /** The answer in one piece. */
  async whole(signal: AbortSignal): Promise<unknown> {
    let tokens = 0;
    const choices = await runChoices(this.#prompts.length, signal, async (index, own) => {
      let text = "";
      const drawn: DrawnToken[] = [];
      const end = await this.#choice(index, own, (delta) => {
        text += delta.content;
        drawn.push(...delta.drawn);
      });
      tokens += end.tokens.length;
      return { index, text, finish_reason: end.reason, logprobs: this.#logprobs(drawn, 0) };
    });
    return { ...this.#head, choices, usage: usageOf(this.#usedByPrompts, tokens) };
  }

  /** The answer piece by piece. */
  async stream(send: (chunk: unknown) => void, signal: AbortSignal): Promise<void> {
    const asked = this.#body.stream_options?.include_usage ?? false;
    const chunk = (choices: unknown[], usage: unknown = null) =>
      send({ ...this.#head, choices, ...(asked ? { usage } : {}) });
    let tokens = 0;
    await runChoices(this.#prompts.length, signal, async (index, own) => {
      let offset = 0;
      const end = await this.#choice(index, own, ({ content, drawn }) => {
        const logprobs = this.#logprobs(drawn, offset);
        offset += content.length;
        chunk([{ index, text: content, logprobs, finish_reason: null }]);
      });
      tokens += end.tokens.length;
      chunk([{ index, text: "", logprobs: null, finish_reason: end.reason }]);
    });
    if (asked) chunk([], usageOf(this.#usedByPrompts, tokens));
  }

  async #choice(
    index: number,
    signal: AbortSignal,
    onDelta: (delta: ChoiceDelta) => void,
  ): Promise<ChoiceEnd> {
    return await generateChoice(this.#lease, {
      ...{ signal, prompt: this.#prompts[index]!, limit: this.#limits[index]! },
      stream: index % (this.#body.n ?? 1),
      sampling: this.#sampling,
      likeliest: this.#body.logprobs ?? 0,
      stops: stopsOf(this.#body),
      reader: textReader(this.#lease.model.tokenizer),
    }, onDelta);
  }

  #logprobs(drawn: readonly DrawnToken[], offset: number): unknown {
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
