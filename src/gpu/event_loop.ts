/**
 * Turns of the event loop.
 *
 * What awaits nothing but work of its own never lets it turn: signals, timers, requests and the device's
 * errors would have to wait for the end of a run.
 *
 * @module
 */

/** The longest that it is let turn at a time, ms: there may be nothing to do. */
const LONGEST = 2;

/** Lets the event loop turn once: a message is delivered at once, a timer 1 ms later. */
async function turn(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  try {
    await new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
  } finally {
    // Open ports would keep a process alive.
    port1.close();
    port2.close();
  }
}

/** Lets the event loop turn beside something that takes nearly all of the time. */
export class EventLoopTurns {
  readonly #share: number;
  #lastTurn = performance.now();

  /**
   * @param share part of the time in which it stood still that it gets afterwards; at 0 it turns once.
   * An answer to a request, or from another process, takes several turns
   */
  constructor(share: number) {
    this.#share = share;
  }

  /** Lets it turn. @param enough whether what it was to do is done */
  async give(enough: () => boolean = () => false): Promise<void> {
    const begin = performance.now();
    const until = begin + Math.min(LONGEST, this.#share * (begin - this.#lastTurn));
    do await turn(); while (performance.now() < until && !enough());
    this.#lastTurn = performance.now();
  }
}
