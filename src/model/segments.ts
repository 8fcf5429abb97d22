/**
 * Where the sequences of a packed batch begin and end, for layers that see all of one and for those
 * that see a window of it.
 *
 * @module
 */

import { segmentBounds, type Segments } from "../ops/attention.ts";
import type { Tape } from "../tape.ts";

/**
 * Checks the lengths of sequences packed end to end.
 *
 * @throws {RangeError} if one is empty or exceeds the context, or they do not add up to `tokens`.
 */
export function checkLengths(
  lengths: readonly number[],
  tokens: number,
  maxPositions: number,
): void {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total !== tokens || Math.min(...lengths) < 1) {
    throw new RangeError(
      `Cannot run sequences of ${lengths.join(" + ")} tokens: they must not be empty and add up ` +
        `to the ${tokens} tokens given`,
    );
  }
  const longest = Math.max(...lengths);
  if (longest > maxPositions) {
    throw new RangeError(
      `Cannot run a sequence of ${longest} tokens: the model's context is ${maxPositions}`,
    );
  }
}

/**
 * The segments that each kind of layer attends within, by its window.
 *
 * @param windows of every layer; most models have one or two kinds
 */
export function segmentsByWindow(
  tape: Tape,
  lengths: readonly number[],
  windows: readonly (number | null)[],
): { positions: Uint32Array; segments: Map<number | null, Segments> } {
  const segments = new Map<number | null, Segments>();
  for (const window of new Set(windows)) {
    const { start, end } = segmentBounds(lengths, window);
    segments.set(window, {
      start: tape.upload(start, "segment starts"),
      end: tape.upload(end, "segment ends"),
    });
  }
  return { positions: segmentBounds(lengths).positions, segments };
}
