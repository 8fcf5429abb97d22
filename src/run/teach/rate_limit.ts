/**
 * How fast an endpoint may be asked, by all who ask it together.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";

/** Time, to be replaced in tests. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** @throws the reason of the signal if it is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The machine's. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    signal.throwIfAborted();
    // Its own error says only that it was aborted.
    await delay(ms, undefined, { signal }).catch(() => {});
    signal.throwIfAborted();
  },
};

/** A request that was let through; its tokens are an estimate until they are known. */
export interface Passage {
  /** When. */
  readonly at: number;
  /** What it takes. */
  tokens: number;
}

const WINDOW_MS = 60_000;

/** Lets requests through, in the order in which they come. */
export class RateLimit {
  readonly #requests: number;
  readonly #tokens: number;
  readonly #clock: Clock;
  #passed: Passage[] = [];
  #closedUntil = -Infinity;
  #last: Promise<void> = Promise.resolve();

  /** Limits of any sixty seconds; null is none. */
  constructor(requests: number | null, tokens: number | null, clock: Clock = systemClock) {
    this.#requests = requests ?? Infinity;
    this.#tokens = tokens ?? Infinity;
    this.#clock = clock;
  }

  /** Lets nobody through for so many milliseconds: the endpoint asked for it. */
  close(ms: number): void {
    this.#closedUntil = Math.max(this.#closedUntil, this.#clock.now() + ms);
  }

  /**
   * Waits until a request that takes so many tokens may be sent. One that takes more than the limit
   * waits until it is alone.
   *
   * @throws the reason of the signal if it is aborted.
   */
  async enter(tokens: number, signal: AbortSignal): Promise<Passage> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      signal.throwIfAborted();
      for (let wait: number; (wait = this.#wait(tokens)) > 0;) {
        await this.#clock.sleep(wait, signal);
      }
      const passage = { at: this.#clock.now(), tokens };
      this.#passed.push(passage);
      return passage;
    } finally {
      resolve();
    }
  }

  /** Milliseconds until it is worth another look; at most 0 if nothing is in the way. */
  #wait(tokens: number): number {
    const now = this.#clock.now();
    this.#passed = this.#passed.filter(({ at }) => at > now - WINDOW_MS);
    const taken = this.#passed.reduce((sum, passage) => sum + passage.tokens, 0);
    const full = this.#passed.length >= this.#requests || taken + tokens > this.#tokens;
    const first = this.#passed[0];
    const free = full && first !== undefined ? first.at + WINDOW_MS : now;
    return Math.max(free, this.#closedUntil) - now;
  }
}
