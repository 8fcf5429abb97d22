/**
 * A clock and randomness that are the same in every call.
 *
 * @module
 */

/** Time and chance of one call. */
export interface Frozen {
  /** Milliseconds since 1970; a look at the clock takes one. */
  now(): number;
  /** Milliseconds since the call began; a look at the clock takes one. */
  elapsed(): number;
  /** Lets time pass. */
  skip(ms: number): void;
  /** The next number of [0, 1). */
  random(): number;
  /** Fills bytes of any typed array. */
  fill<T extends ArrayBufferView>(view: T): T;
  /** Begins anew. */
  reset(): void;
}

/**
 * Makes both, at the first moment of 2025 in UTC. A clock that stands still would keep a loop waiting
 * that waits for it, so this one goes on by a millisecond whenever it is read.
 *
 * It stands on its own: its text is also evaluated where there are no modules.
 */
export function frozen(): Frozen {
  const start = 1735689600000;
  let time = start;
  let state = 1;
  const random = () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    now: () => ++time,
    elapsed: () => ++time - start,
    skip: (ms) => {
      time += ms;
    },
    random,
    fill: (view) => {
      const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      for (let i = 0; i < bytes.length; i++) bytes[i] = random() * 256;
      return view;
    },
    reset: () => {
      time = start;
      state = 1;
    },
  };
}
