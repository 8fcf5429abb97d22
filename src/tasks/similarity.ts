/**
 * Texts that are nearly the same, found without comparing each with each.
 *
 * A text is the set of its shingles, runs of three words without regard to case and punctuation, and
 * two texts are as similar as the Jaccard index of their sets. Candidates are those whose MinHash
 * signatures agree in a band (locality-sensitive hashing); the index itself decides.
 *
 * A. Broder, "On the resemblance and containment of documents", 1997.
 *
 * @module
 */

import { hashText, Random } from "../random.ts";

/** Words in a shingle. */
const SHINGLE = 3;
/** With 16 bands of 4, a pair of similarity 0.8 is a candidate with probability 0.9998. */
const BANDS = 16;
const ROWS = 4;
/** Candidates of one band that are compared: texts from one template share bands by the thousand. */
const COMPARED = 32;

const random = new Random("similarity");
const seeds = Uint32Array.from({ length: BANDS * ROWS }, () => random.next());

/** A text that resembles another. */
export interface Similar {
  /** Number of the other, in the order in which texts were added. */
  readonly index: number;
  /** Jaccard index of the two. */
  readonly similarity: number;
}

/** A set of texts that can be asked for one like another. */
export class SimilarTexts {
  readonly #threshold: number;
  readonly #shingles: Set<number>[] = [];
  readonly #bands: Map<string, number[]>[] = Array.from({ length: BANDS }, () => new Map());

  /** @param threshold least similarity that counts */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** Adds a text. */
  add(text: string): void {
    const shingles = shinglesOf(text);
    const index = this.#shingles.push(shingles) - 1;
    for (const [i, key] of bandsOf(shingles).entries()) {
      const band = this.#bands[i]!;
      const members = band.get(key);
      if (members) members.push(index);
      else band.set(key, [index]);
    }
  }

  /** The text that resembles another most among those compared, or null if none does enough. */
  find(text: string): Similar | null {
    const shingles = shinglesOf(text);
    const candidates = new Set(
      bandsOf(shingles).flatMap((key, i) => this.#bands[i]!.get(key)?.slice(0, COMPARED) ?? []),
    );
    let best: Similar | null = null;
    for (const index of candidates) {
      const similarity = jaccard(shingles, this.#shingles[index]!);
      if (similarity >= this.#threshold && similarity > (best?.similarity ?? 0)) {
        best = { index, similarity };
      }
    }
    return best;
  }
}

function shinglesOf(text: string): Set<number> {
  const words = text.normalize("NFKC").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text];
  if (words.length < SHINGLE) return new Set([hashText(words.join(" "))]);
  const runs = words.slice(SHINGLE - 1).map((_, i) => words.slice(i, i + SHINGLE).join(" "));
  return new Set(runs.map(hashText));
}

/** The signature, cut into bands. */
function bandsOf(shingles: ReadonlySet<number>): string[] {
  const least = new Uint32Array(seeds.length).fill(0xffffffff);
  for (const shingle of shingles) {
    for (let i = 0; i < seeds.length; i++) {
      let h = Math.imul(shingle ^ seeds[i]!, 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
      h = (h ^ (h >>> 16)) >>> 0;
      if (h < least[i]!) least[i] = h;
    }
  }
  return Array.from({ length: BANDS }, (_, b) => least.slice(b * ROWS, (b + 1) * ROWS).join());
}

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const shared = a.intersection(b).size;
  return shared / (a.size + b.size - shared);
}
