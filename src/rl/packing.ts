/**
 * Sequences packed end to end into micro-batches; padding does not exist.
 *
 * @module
 */

import type { PackedBatch } from "../model/nll.ts";

/** A sequence and which of its tokens the model is trained on. */
export interface MaskedSequence {
  /** [T] */
  readonly ids: Uint32Array;
  /** [T] 1 where the token is predicted; never on the first. */
  readonly mask: Uint8Array;
}

/** A micro-batch, and for each predicted token where it came from. */
export interface MicroBatch<S extends MaskedSequence> extends PackedBatch {
  /** Those that were packed, in this order. */
  readonly sequences: readonly S[];
  /**
   * Tokens that its buffers should hold: those of the budget, or a power of two where it is far from
   * full, so that the batches of a run share their buffers although no two have as many tokens.
   */
  readonly capacity?: number;
}

/** Indices of a sequence's predicted tokens. */
export function predictedTokens({ mask }: MaskedSequence): number[] {
  const found: number[] = [];
  mask.forEach((bit, t) => {
    if (bit && t > 0) found.push(t);
  });
  return found;
}

/** Number of tokens that the loss looks at. */
export function activeTokens(sequences: readonly MaskedSequence[]): number {
  return sequences.reduce((sum, { mask }) => sum + mask.reduce((n, bit) => n + bit, 0), 0);
}

/**
 * Cuts a batch into micro-batches of at most `budget` tokens (a longer sequence gets its own). Few
 * and full ones: the longest sequences are placed first, each where the least room is left.
 *
 * @returns micro-batches, and in each of them sequences, in the order of the batch
 * @throws {RangeError} if no token is predicted at all: such a batch would train on nothing.
 */
export function packSequences<S extends MaskedSequence>(
  sequences: readonly S[],
  budget: number,
): MicroBatch<S>[] {
  assertTrains(sequences);
  const kept = sequences.filter(({ mask }) => mask.includes(1));
  return packUnits(kept.map((sequence) => [sequence]), budget);
}

/**
 * The same for units of several sequences, such as pairs, which are kept whole: all sequences of a
 * unit are in one micro-batch, side by side, also those of which no token is predicted.
 *
 * @throws {RangeError} if no token is predicted at all.
 */
export function packUnits<S extends MaskedSequence>(
  units: readonly (readonly S[])[],
  budget: number,
): MicroBatch<S>[] {
  assertTrains(units.flat());
  const size = (unit: readonly S[]) => unit.reduce((sum, { ids }) => sum + ids.length, 0);
  const longestFirst = units.map((unit, i) => ({ length: size(unit), i }))
    .sort((a, b) => b.length - a.length || a.i - b.i);
  const groups: { members: number[]; room: number }[] = [];
  for (const { length, i } of longestFirst) {
    let best: (typeof groups)[number] | undefined;
    for (const group of groups) {
      if (group.room >= length && (!best || group.room < best.room)) best = group;
    }
    if (best) {
      best.members.push(i);
      best.room -= length;
    } else groups.push({ members: [i], room: budget - length });
  }
  return groups.map(({ members }) => members.sort((a, b) => a - b))
    .sort((a, b) => a[0]! - b[0]!)
    .map((members) => pack(members.flatMap((i) => units[i]!), budget));
}

function assertTrains(sequences: readonly MaskedSequence[]): void {
  if (activeTokens(sequences) > 0) return;
  throw new RangeError(
    `Cannot train on ${sequences.length} sequences: their mask is empty, no token was produced by the model`,
  );
}

function pack<S extends MaskedSequence>(sequences: readonly S[], budget: number): MicroBatch<S> {
  const lengths = sequences.map(({ ids }) => ids.length);
  const ids = new Uint32Array(lengths.reduce((sum, n) => sum + n, 0));
  const targets: number[] = [];
  let first = 0;
  for (const sequence of sequences) {
    ids.set(sequence.ids, first);
    for (const t of predictedTokens(sequence)) targets.push(first + t);
    first += sequence.ids.length;
  }
  const tokens = ids.length;
  const capacity = tokens > budget / 4
    ? Math.max(tokens, budget)
    : 2 ** Math.ceil(Math.log2(tokens));
  return { sequences, ids, lengths, capacity, targets: Uint32Array.from(targets) };
}

/** One value per predicted token, in the order of `targets`, out of arrays that run over whole sequences. */
export function gather<S extends MaskedSequence>(
  { sequences, targets }: MicroBatch<S>,
  values: (sequence: S) => (t: number) => number,
): Float32Array {
  const result = new Float32Array(targets.length);
  let n = 0;
  for (const sequence of sequences) {
    const at = values(sequence);
    for (const t of predictedTokens(sequence)) result[n++] = at(t);
  }
  return result;
}
