/**
 * Reading a line file while somebody appends to it.
 *
 * @module
 */

import { readError } from "./checkpoint.ts";

const newline = 0x0a;

/** How many bytes before a position tell whether they are still what was read. */
const WITNESS_BYTES = 64;

/** How far a reader has got; plain data, so that it can be kept. */
export interface TailPosition {
  /** Bytes of the lines read. */
  readonly offset: number;
  /** How many lines these are. */
  readonly lines: number;
  /** The file they were in. */
  readonly inode: number;
  /** The last bytes before `offset`. */
  readonly witness: Uint8Array;
}

/** The position of who has read nothing. */
export const fileStart: TailPosition = {
  offset: 0,
  lines: 0,
  inode: 0,
  witness: new Uint8Array(),
};

/** A line of a file. */
export interface TailLine {
  /** Its number; the first is 1. */
  readonly number: number;
  /** Where it begins, in bytes. */
  readonly offset: number;
  /** Without its newline. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What was read. */
export interface TailRead {
  /** Whole lines. */
  readonly lines: readonly TailLine[];
  /** Where to read on. */
  readonly position: TailPosition;
  /** Whether the file was cut or replaced: the lines are those from its start. */
  readonly rewound: boolean;
  /** Whether there was more than was asked for. */
  readonly more: boolean;
}

/**
 * Reads the lines after a position. A file that no longer holds what was read before it is read
 * from its start; one that is not there has no lines.
 *
 * @param most bytes to read at once; a longer line is read whole all the same
 * @throws {CheckpointError} if it is no file, or one that may not be read
 */
export function readTail(path: string, position: TailPosition, most = 2 ** 21): TailRead {
  let file: Deno.FsFile | undefined;
  try {
    file = Deno.openSync(path, { read: true });
    const { size, ino } = file.statSync();
    const inode = ino ?? 0;
    const rewound = position.offset > 0 && !holds(file, position, size, inode);
    const from = rewound ? fileStart : position;
    const bytes = readLines(file, from.offset, size, most);
    const lines = [...split(bytes, from)];
    const offset = from.offset + bytes.length;
    return {
      lines,
      rewound,
      position: {
        offset,
        inode,
        lines: from.lines + lines.length,
        witness: bytes.length >= WITNESS_BYTES
          ? bytes.slice(-WITNESS_BYTES)
          : readAt(file, Math.max(0, offset - WITNESS_BYTES), Math.min(offset, WITNESS_BYTES)),
      },
      more: bytes.length > 0 && offset < size,
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return { lines: [], position: fileStart, rewound: position.offset > 0, more: false };
    }
    throw readError(path, error);
  } finally {
    file?.close();
  }
}

/** Up to `length` bytes of a file. */
export function readAt(file: Deno.FsFile, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(offset, Deno.SeekMode.Start);
  let read = 0;
  while (read < length) {
    const count = file.readSync(bytes.subarray(read));
    if (count === null) break;
    read += count;
  }
  return bytes.subarray(0, read);
}

function holds(file: Deno.FsFile, position: TailPosition, size: number, inode: number): boolean {
  const { offset, witness } = position;
  if (inode !== position.inode || size < offset) return false;
  const there = readAt(file, offset - witness.length, witness.length);
  return there.length === witness.length && there.every((byte, i) => byte === witness[i]);
}

/** Whole lines from an offset: about `most` bytes, but one line at least. */
function readLines(
  file: Deno.FsFile,
  offset: number,
  size: number,
  most: number,
): Uint8Array<ArrayBuffer> {
  for (let length = most;; length *= 2) {
    const wanted = Math.min(length, size - offset);
    const bytes = readAt(file, offset, wanted);
    const end = bytes.lastIndexOf(newline) + 1;
    if (end > 0 || offset + length >= size) return bytes.subarray(0, end);
  }
}

function* split(bytes: Uint8Array<ArrayBuffer>, from: TailPosition): Generator<TailLine> {
  let number = from.lines;
  for (let start = 0, end: number; (end = bytes.indexOf(newline, start)) >= 0; start = end + 1) {
    number++;
    yield { number, offset: from.offset + start, bytes: bytes.subarray(start, end) };
  }
}
