/**
 * What the two kinds of requests have in common: how tokens are drawn, and what is told of them.
 *
 * @module
 */

import type { SamplingOptions } from "../../ops/sample.ts";
import { invalid } from "./errors.ts";
import type { DrawingRequest } from "./schema.ts";

/** The least share of the distribution: `top_p: 0`, which OpenAI allows, is the likeliest token. */
const LEAST_SHARE = 1e-6;

/** Below it the likeliest token is drawn anyway, and its inverse is no f32 at some point. */
const LEAST_TEMPERATURE = 1e-5;

/** How the tokens of a request are drawn; without a seed, differently each time. */
export function samplingOf({ temperature, top_p, seed }: DrawingRequest): SamplingOptions {
  return {
    temperature: (temperature ?? 1) < LEAST_TEMPERATURE ? 0 : temperature ?? 1,
    topK: 0,
    topP: Math.max(LEAST_SHARE, top_p ?? 1),
    seed: seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}

/** The stop strings of a request. */
export function stopsOf({ stop }: DrawingRequest): string[] {
  return stop === null || stop === undefined ? [] : [stop].flat();
}

/**
 * How long a sequence may get.
 *
 * @param most tokens to draw, as many as fit where it is not said
 * @throws {ApiError} if there is no room behind the prompt.
 */
export function limitOf(
  prompt: Uint32Array,
  length: number,
  most: number | null | undefined,
  param: string,
): number {
  if (prompt.length < length) return Math.min(length, prompt.length + (most ?? length));
  throw invalid(
    `The prompt has ${prompt.length} tokens, and the model's context is ${length} tokens here; ` +
      "shorten it",
    param,
    "context_length_exceeded",
  );
}

/** Tokens of a request, as clients are told. */
export function usageOf(prompt: number, completion: number): Record<string, number> {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
  };
}

/** An id that nobody else has. */
export function newId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "").slice(0, 24);
}
