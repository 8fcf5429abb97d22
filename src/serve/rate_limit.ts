/**
 * How often a client may do something.
 *
 * @module
 */

import { Problem } from "./problem.ts";

/** How many clients are kept apart; those that are quiet make room. */
const CLIENTS = 10_000;

/** Lets each client have `rate` units a second, and as many at once after a second of rest. */
export class RateLimit {
  readonly #rate: number;
  readonly #now: () => number;
  /** What each client has left, and when that was. */
  readonly #clients = new Map<string, { left: number; at: number }>();

  constructor(rate: number, now: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes one unit. @returns seconds to wait for it; 0 if it was there */
  take(client: string): number {
    const at = this.#now();
    const known = this.#clients.get(client) ?? { left: this.#rate, at };
    const left = Math.min(this.#rate, known.left + (at - known.at) / 1000 * this.#rate);
    this.#clients.delete(client);
    // One that was not there costs nothing, or who asks too often would never have any.
    this.#clients.set(client, { left: left >= 1 ? left - 1 : left, at });
    if (this.#clients.size > CLIENTS) this.#clients.delete(this.#clients.keys().next().value!);
    return left >= 1 ? 0 : (1 - left) / this.#rate;
  }

  /** Takes one unit. @throws {Problem} 429 if it was not there */
  require(client: string): void {
    const wait = Math.ceil(this.take(client));
    if (wait === 0) return;
    throw new Problem(429, `Too many requests; try again in ${wait} s`, {
      headers: { "retry-after": String(wait) },
    });
  }
}
