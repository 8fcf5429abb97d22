/**
 * The completions of a request, each from its sequence to pieces of text.
 *
 * @module
 */

import type { TokenLogprob } from "../../model/decode_slots.ts";
import type { SamplingOptions } from "../../ops/sample.ts";
import type { TurnStream } from "../../text/turn_stream.ts";
import type { Lease } from "./engine.ts";
import { StopText } from "./stop_text.ts";

/** What is to be generated, and how it is read. */
export interface ChoiceOptions {
  readonly prompt: Uint32Array;
  readonly sampling: SamplingOptions;
  /** Tells apart the choices of a request: equal (seed, stream) draw equal tokens. */
  readonly stream: number;
  /** Longest length in tokens, the prompt included. */
  readonly limit: number;
  /** How many of the likeliest tokens to report with each. */
  readonly likeliest: number;
  /** Texts that end it, and are left out. */
  readonly stops: readonly string[];
  readonly reader: TurnStream;
  readonly signal: AbortSignal;
}

/** A drawn token. */
export interface DrawnToken extends TokenLogprob {
  readonly likeliest: readonly TokenLogprob[];
}

/** What was added to a completion. */
export interface ChoiceDelta {
  readonly thought: string;
  readonly content: string;
  /** The tokens of the content, control tokens left out. */
  readonly drawn: readonly DrawnToken[];
}

/** How a completion ended. */
export interface ChoiceEnd {
  readonly reason: "stop" | "length";
  /** All that were drawn. */
  readonly tokens: readonly number[];
}

/** Runs the completions of a request at the same time; where one fails, the others end. */
export async function runChoices<T>(
  count: number,
  signal: AbortSignal,
  choice: (index: number, signal: AbortSignal) => Promise<T>,
): Promise<T[]> {
  const failed = new AbortController();
  const own = AbortSignal.any([signal, failed.signal]);
  try {
    return await Promise.all(Array.from({ length: count }, (_, index) => choice(index, own)));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

/**
 * Generates one completion.
 *
 * @param onDelta called as it grows
 * @throws the reason of the signal, or the model's failure
 */
export async function generateChoice(
  { queue, model: { tokenizer }, failure }: Pick<Lease, "queue" | "model" | "failure">,
  options: ChoiceOptions,
  onDelta: (delta: ChoiceDelta) => void,
): Promise<ChoiceEnd> {
  const { prompt, sampling, stream, limit, likeliest, reader, signal } = options;
  for (const each of [signal, failure]) each.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<ChoiceEnd>();
  const ended = new AbortController();
  const tokens: number[] = [];
  const content = new StopText(options.stops);
  let drawn: DrawnToken[] = [];
  const hand = (thought: string, text: string) => {
    if (thought !== "") drawn = []; // they were the thought's
    if (thought !== "" || text !== "") {
      onDelta({ thought, content: text, drawn: text === "" ? [] : drawn.splice(0) });
    }
  };
  /** What fails here is this completion's own, and must not end the others. */
  const guarded = (work: () => void) => {
    try {
      work();
    } catch (error) {
      reject(error);
      ended.abort();
    }
  };
  const leave = ({ target }: Event) => reject((target as AbortSignal).reason);
  for (const each of [signal, failure]) each.addEventListener("abort", leave);
  try {
    queue.push({
      ...{ prompt, stream, limit, likeliest },
      signal: AbortSignal.any([signal, ended.signal]),
      onToken: (token, logprob, likeliest) =>
        guarded(() => {
          tokens.push(token);
          if (!tokenizer.isControl(token)) drawn.push({ token, logprob, likeliest });
          const piece = reader.push(token);
          hand(piece.thought, content.push(piece.content));
          if (!content.stopped) return;
          resolve({ reason: "stop", tokens });
          ended.abort();
        }),
      onTurn({ reason }) {
        guarded(() => {
          const piece = reader.end(reason === "length");
          const text = content.push(piece.content);
          hand(piece.thought, text + content.end());
          resolve({ reason: content.stopped ? "stop" : reason, tokens });
        });
        return null;
      },
    }, sampling);
    return await promise;
  } finally {
    for (const each of [signal, failure]) each.removeEventListener("abort", leave);
  }
}
