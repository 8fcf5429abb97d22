/**
 * Pieces of buffers. A device lets a dispatch see so many bytes of one buffer (128 MiB is common),
 * and a vocabulary table may be larger: such a matrix is bound by ranges of whole rows.
 *
 * @module
 */

import type { Bindable, BufferRange } from "./recorder.ts";

/** Ranges of a buffer begin at multiples of this, in bytes. */
const ALIGNMENT = 256;

/** Rows and columns are cut at multiples of this: so many f32 are what offsets align to. */
const UNIT = ALIGNMENT / 4;

/** Rows, or other units, `first` to `first + count`. */
export interface Span {
  readonly first: number;
  readonly count: number;
}

/** Cuts `count` units into spans of `most` and one of what is left. */
export function spans(count: number, most: number): Span[] {
  const found: Span[] = [];
  for (let first = 0; first < count; first += most) {
    found.push({ first, count: Math.min(most, count - first) });
  }
  return found;
}

/**
 * The most rows of a matrix that a dispatch can see at once: all of them, or a multiple of 64.
 *
 * @param rowBytes a multiple of 4
 * @throws {RangeError} if the device sees fewer than 64.
 */
export function boundRows(
  { largestBinding }: { readonly largestBinding: number },
  rows: number,
  rowBytes: number,
): number {
  if (rows * rowBytes <= largestBinding) return rows;
  const most = Math.floor(largestBinding / rowBytes / UNIT) * UNIT;
  if (most > 0) return most;
  throw new RangeError(
    `Cannot bind ${rows} rows of ${rowBytes} bytes: the device sees at most ${largestBinding} bytes ` +
      `of a buffer at once, which is less than ${UNIT} of them; use fewer tokens, or a narrower model`,
  );
}

/**
 * Checks that the first `bytes` bytes of a range are its own: others have what is behind it.
 *
 * @throws {RangeError} if they are not.
 */
export function checkWithin(range: BufferRange | undefined, bytes: number, action: string): void {
  if (!range || bytes <= range.size) return;
  throw new RangeError(`Cannot ${action} ${bytes} bytes of a range of ${range.size}`);
}

/** The next place where a range may begin, in bytes. */
export function aligned(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

/** Where what is bound begins in its buffer, in bytes. */
export function offsetOf({ range }: Bindable): number {
  return range?.offset ?? 0;
}

/** `size` bytes from `offset` on of a buffer, or of a range of one. */
export function slice(whole: Bindable, offset: number, size: number): Bindable {
  return { buffer: whole.buffer, range: { offset: offsetOf(whole) + offset, size } };
}
