/**
 * Seeded random numbers on the host: xoshiro128** started from a hashed key.
 *
 * A key names a stream ("7/arith/train/12"), so that item 12 of a stream can be drawn without
 * drawing items 0 to 11, and the same key gives the same numbers on every machine.
 *
 * @module
 */

/** 32-bit hash of a text: FNV-1a over UTF-16 units with a final avalanche; stable for ever. */
export function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    h = Math.imul(h ^ (unit & 0xff), 0x01000193);
    h = Math.imul(h ^ (unit >>> 8), 0x01000193);
  }
  return avalanche(h);
}

/** The finaliser of MurmurHash3: every input bit moves every output bit. */
function avalanche(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A stream of random numbers that depends on its key only. */
export class Random {
  readonly #key: string;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Starts the stream named by the key; the number 7 and the text "7" name the same one. */
  constructor(key: string | number) {
    this.#key = String(key);
    const seed = hashText(this.#key);
    // Weyl steps through the finaliser (splitmix32) spread one hash over four words; a second hash
    // of a prefixed key keeps keys apart that happen to share the first.
    const other = hashText(`${this.#key.length}:${this.#key}`);
    this.#a = avalanche(seed + 0x9e3779b9);
    this.#b = avalanche(seed + 0x3c6ef372);
    this.#c = avalanche(other + 0xdaa66d2b);
    this.#d = avalanche(other + 0x78dde6e4) | 1;
  }

  /** The next 32 random bits, as an unsigned integer. */
  next(): number {
    const scrambled = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return scrambled;
  }

  /** A number in [0, 1). */
  float(): number {
    return this.next() / 2 ** 32;
  }

  /**
   * An integer in [low, high], both included.
   *
   * @throws {RangeError} if the interval is empty or not of integers
   */
  int(low: number, high: number): number {
    if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low > high) {
      throw new RangeError(`Cannot draw an integer: low=${low}, high=${high}`);
    }
    return low + Math.floor(this.float() * (high - low + 1));
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.float() < p;
  }

  /**
   * One of the items, all equally likely.
   *
   * @throws {RangeError} if there are none
   */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("Cannot pick from an empty list");
    return items[this.int(0, items.length - 1)] as T;
  }

  /**
   * One of the items, with probability proportional to its weight.
   *
   * @throws {RangeError} unless weights are finite, not negative and of positive sum
   */
  weighted<const T>(items: readonly (readonly [T, number])[]): T {
    const total = items.reduce((sum, [, weight]) => sum + (weight >= 0 ? weight : NaN), 0);
    if (!(total > 0 && total < Infinity)) {
      throw new RangeError(`Cannot pick by weight: weights are ${items.map(([, w]) => w)}`);
    }
    let left = this.float() * total;
    let last: T | undefined;
    for (const [item, weight] of items) {
      if (weight > 0) last = item;
      left -= weight;
      if (left < 0) break;
    }
    return last as T;
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
    }
    return copy;
  }

  /** Another stream, named under this one; independent of how much was drawn from this. */
  fork(name: string | number): Random {
    return new Random(`${this.#key}/${name}`);
  }
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
