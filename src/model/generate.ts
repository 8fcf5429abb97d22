/**
 * Text in, text out.
 *
 * @module
 */

import type { Tokenizer } from "../text/tokenizer.ts";
import type { Decoder } from "./decoder.ts";
import { Generator } from "./generator.ts";

/** How `generate` draws tokens. */
export interface GenerateOptions {
  /** Longest completion in tokens. */
  readonly maxTokens?: number;
  /** 0 is greedy; default 1. */
  readonly temperature?: number;
  /** Draw among the k most likely tokens; 0 is all. */
  readonly topK?: number;
  /** Draw among the most likely tokens that make up this probability; 1 is all. */
  readonly topP?: number;
  /** Same seed, same model, same prompt: same text, in whatever batch. */
  readonly seed?: number;
  /** Token that ends a completion; none by default. */
  readonly stop?: number;
  /** Completions computed at a time; default up to 64. */
  readonly slots?: number;
}

/** One completion. */
export interface Generated {
  /** The completion, control tokens left out. */
  readonly text: string;
  /** [T] as sampled. */
  readonly tokens: Uint32Array;
  /** log p of each token, in nats. */
  readonly logprobs: Float32Array;
  /** Whether it stopped at the stop token or at its longest length. */
  readonly reason: "stop" | "length";
}

/**
 * Completes prompts. Prompts are encoded as plain text; to talk to a chat model build the prompt's
 * tokens with its chat format and pass them as `Uint32Array`.
 *
 * @example
 * ```ts ignore
 * const [out] = await generate(model, tokenizer, ["Once upon a time"], { maxTokens: 20 });
 * console.log(out.text);
 * ```
 * @throws {RangeError} if a prompt is empty or exceeds the model's context with `maxTokens`.
 */
export async function generate(
  model: Decoder,
  tokenizer: Tokenizer,
  prompts: readonly (string | Uint32Array)[],
  options: GenerateOptions = {},
): Promise<Generated[]> {
  const { maxTokens = 64, temperature = 1, topK = 0, topP = 1, seed = 0 } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw new RangeError(
      `Cannot generate: maxTokens is ${maxTokens}, it must be a positive integer`,
    );
  }
  if (prompts.length === 0) return [];
  const encoded = prompts.map((prompt) =>
    typeof prompt === "string" ? tokenizer.encode(prompt) : prompt
  );
  const results: Generated[] = Array(prompts.length);
  const stop = options.stop ?? 0xfffffffe; // no token has this id
  using generator = new Generator(model, {
    slots: Math.min(prompts.length, options.slots ?? 64),
    length: Math.max(...encoded.map((ids) => ids.length)) + maxTokens,
    stops: [stop, stop],
  });
  await generator.run(
    encoded.map((prompt, i) => ({
      prompt,
      stream: i,
      limit: prompt.length + maxTokens,
      onTurn({ tokens, logprobs, reason }) {
        const text = tokenizer.decode(Uint32Array.from(tokens), { skipSpecial: true });
        results[i] = {
          text,
          tokens: Uint32Array.from(tokens),
          logprobs: Float32Array.from(logprobs),
          reason,
        };
        return null;
      },
    })),
    { temperature, topK, topP, seed },
  );
  return results;
}
