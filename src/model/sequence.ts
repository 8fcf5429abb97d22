/**
 * Sequences to generate, and the queue in which they wait for a generator.
 *
 * @module
 */

import type { SamplingOptions } from "../ops/sample.ts";
import type { TokenLogprob } from "./decode_slots.ts";

/** What the model produced since it was last fed. */
export interface GeneratedTurn {
  readonly tokens: readonly number[];
  /** log p of each token under the whole distribution at the sampling temperature. */
  readonly logprobs: readonly number[];
  /** `stop`: the last token is a stop token; `length`: the sequence is at its limit. */
  readonly reason: "stop" | "length";
}

/** One sequence to generate. */
export interface Sequence {
  /** Fed first; at least one token. Equal prompts are computed once. */
  readonly prompt: Uint32Array;
  /** Names the random stream: equal (seed, stream) draw equal tokens after equal prefixes. */
  readonly stream: number;
  /** Longest length in tokens, prompt and fed tokens included. */
  readonly limit: number;
  /** Ends the sequence where it is: nothing of it is called any more, and its slot falls free. */
  readonly signal?: AbortSignal;
  /** How many of the likeliest tokens to report with each that is drawn: up to 20. */
  readonly likeliest?: number;
  /** Called with each token once the host has it, to show it while the model goes on. */
  onToken?(token: number, logprob: number, likeliest: readonly TokenLogprob[]): void;
  /**
   * Called at each stop. Returns tokens to feed before the model goes on, or null to end. If they
   * do not fit the limit it is called once more, with no tokens and reason `length`.
   * Its exceptions end the whole generation.
   */
  onTurn(turn: GeneratedTurn): Uint32Array | null | Promise<Uint32Array | null>;
  /**
   * Called once no turn is left, for what is then to do: the GPU is at work on other sequences, if
   * there are any. Not called where the signal ended it. Its exceptions end the generation, too.
   */
  onEnd?(): void;
}

/** A sequence, and how its tokens are drawn. */
export interface QueuedSequence {
  readonly sequence: Sequence;
  readonly sampling: SamplingOptions;
}

/** Sequences that wait for a slot: first come, first served. */
export class SequenceQueue {
  readonly #check: (queued: QueuedSequence) => void;
  #waiting: QueuedSequence[] = [];
  #closed = false;
  #arrival = Promise.withResolvers<void>();

  /** @param check throws on what the generator can't generate */
  constructor(check: (queued: QueuedSequence) => void) {
    this.#check = check;
  }

  /** Sequences that wait, those left out that were aborted. */
  get length(): number {
    this.#waiting = this.#waiting.filter(({ sequence }) => !sequence.signal?.aborted);
    return this.#waiting.length;
  }

  /** Whether nothing will come any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves once there is something to take, or nothing will come any more. */
  get arrival(): Promise<void> {
    return this.#arrival.promise;
  }

  /**
   * Adds a sequence at the end.
   *
   * @throws {RangeError} if the prompt is empty or does not fit its limit or the slots, if a token
   * is not in the vocabulary, or if a number of the sampling is out of range.
   * @throws {TypeError} if the queue is closed.
   */
  push(sequence: Sequence, sampling: SamplingOptions): void {
    if (this.#closed) throw new TypeError("Cannot add a sequence: the queue is closed");
    this.#check({ sequence, sampling });
    this.#waiting.push({ sequence, sampling });
    this.#arrival.resolve();
  }

  /** Says that nothing will come any more. */
  close(): void {
    this.#closed = true;
    this.#arrival.resolve();
  }

  /** Takes those that have waited longest, at most `count`. */
  take(count: number): QueuedSequence[] {
    const most = Math.min(count, this.length);
    const taken = this.#waiting.splice(0, Math.max(0, most));
    if (this.#waiting.length === 0 && !this.#closed) this.#arrival = Promise.withResolvers();
    return taken;
  }
}
