/**
 * What entropy decides: how much of it is asked for, and which tokens learn.
 *
 * @module
 */

import type { MaskedSequence } from "./packing.ts";

/** How much entropy is asked for. */
export interface EntropyOptions {
  /** Its weight in the loss at the start. */
  readonly coefficient: number;
  /** Entropy in nats below which the bonus acts, and its weight grows; null for a fixed weight. */
  readonly target: number | null;
  /** By how much the weight changes from step to step; default 0.005. */
  readonly delta?: number;
}

/**
 * The weight of the entropy bonus. With a target it grows by `delta` after a step whose entropy was
 * not above it, shrinks by as much after others, stays in [0, 1], and counts only after a step whose
 * entropy was not above the target, so not in the first (the adaptive control of TRL's GRPO; He et
 * al. 2025). What a step is told depends on the steps before it alone.
 */
export class EntropyController {
  readonly #target: number | null;
  readonly #delta: number;
  #coefficient: number;
  #last = Infinity;

  constructor({ coefficient, target, delta = 0.005 }: EntropyOptions) {
    this.#coefficient = coefficient;
    this.#target = target;
    this.#delta = delta;
  }

  /** The weight for the next step. */
  get coefficient(): number {
    return this.#target !== null && this.#last > this.#target ? 0 : this.#coefficient;
  }

  /** Whether there ever is a bonus. */
  get active(): boolean {
    return this.#target !== null || this.#coefficient > 0;
  }

  /** Takes in the mean entropy of the tokens of a step, in nats. */
  observe(entropy: number): void {
    if (this.#target === null) return;
    const change = entropy <= this.#target ? this.#delta : -this.#delta;
    this.#coefficient = Math.min(1, Math.max(0, this.#coefficient + change));
    this.#last = entropy;
  }
}

/**
 * Which tokens are among the most uncertain ones of a batch: learning from these alone is as good as
 * from all (Wang et al. 2025, "Beyond the 80/20 rule").
 *
 * @param share of the tokens that are kept, in (0, 1]; those that tie with the last are, too
 * @param entropies [T] of each sequence
 * @returns [T] 1 where a token is kept, per sequence
 */
export function topEntropyTokens(
  sequences: readonly MaskedSequence[],
  entropies: readonly Float32Array[],
  share: number,
): Uint8Array[] {
  const all = sequences.flatMap(({ mask }, i) => [...entropies[i]!].filter((_, t) => mask[t]));
  all.sort((a, b) => a - b);
  // The quantile of numpy and PyTorch: linear between order statistics.
  const at = (1 - share) * (all.length - 1);
  const below = Math.floor(at);
  const threshold = all.length === 0
    ? Infinity
    : all[below]! + (at - below) * (all[Math.ceil(at)]! - all[below]!);
  return sequences.map(({ mask }, i) =>
    Uint8Array.from(mask, (bit, t) => bit && entropies[i]![t]! >= threshold ? 1 : 0)
  );
}
