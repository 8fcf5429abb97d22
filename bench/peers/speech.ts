/**
 * What contenders that read a real checkpoint share: what they can be asked, and the loop in which
 * a child answers. Each request is a line of JSON, and so is its answer, which says how many `ms`
 * it took the child.
 *
 * @module
 */

import type { Contender } from "./contender.ts";
import { converse } from "./protocol.ts";

/** A model that is loaded and warm. */
export interface Speaker {
  /** The library and its version. */
  readonly library: string;
  /** The ids of plain text, with what the file wants in front of it. */
  encode(text: string): readonly number[] | Promise<readonly number[]>;
  /** -log p of each token but the first, given those before it, in nats; [T - 1] */
  score(ids: readonly number[]): Promise<readonly number[]>;
  /** The `count` tokens that follow, each the most likely one; nothing is kept from earlier calls. */
  proceed(ids: readonly number[], count: number): Promise<readonly number[]>;
  /** log p of each of `tokens` as the next one, in nats. */
  logProbabilities(ids: readonly number[], tokens: readonly number[]): Promise<readonly number[]>;
}

/** What can be asked. */
export type Question = "encode" | "score" | "proceed" | "logProbabilities";

/** The command line of a speaker. */
export interface SpeakerOptions {
  /** A GGUF file. */
  readonly file: string;
  /** Longest sequence, in tokens. */
  readonly context: number;
  /** Threads of a library that lets one choose. */
  readonly threads: number;
}

/** The child's side: makes the speaker and answers until stdin ends. */
export async function serveSpeaker(
  prepare: (options: SpeakerOptions) => Promise<Speaker>,
): Promise<void> {
  await converse(async () => {
    const [file = "", context, threads] = Deno.args;
    const speaker = await prepare({ file, context: Number(context), threads: Number(threads) });
    return {
      ready: { library: speaker.library },
      answer: async (line) => {
        const [question, ...given] = JSON.parse(line) as [Question, ...unknown[]];
        const begin = performance.now();
        const value = await (speaker[question] as (...given: unknown[]) => unknown)(...given);
        return { ms: performance.now() - begin, value };
      },
    };
  });
}

/** An answer, and how long it took. */
export interface Answer {
  readonly ms: number;
  readonly value: readonly number[];
}

/**
 * The parent's side of one question.
 *
 * @throws {ContenderError} if the child fails.
 */
export async function question<Q extends Question>(
  contender: Contender,
  question: Q,
  ...given: Parameters<Speaker[Q]>
): Promise<Answer> {
  const { ms, value } = await contender.ask(JSON.stringify([question, ...given]));
  return { ms: Number(ms), value: value as number[] };
}
