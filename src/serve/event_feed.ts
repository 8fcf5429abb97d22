/**
 * The events of a run as they are written, for any number of readers. One look at the file serves
 * them all; each reads at its own pace from where it is, so that a slow one costs nothing but its
 * own lag, and none of them is ever noticed by the run.
 *
 * @module
 */

import { join } from "@std/path";
import { fileStart, readAt, readTail, type TailLine, type TailPosition } from "../io/tail.ts";

/** How often the file is looked at while somebody reads. */
const POLL_MS = 250;

/** Bytes of events that a reader is handed at once. */
const PORTION = 64 * 1024;

/** Where a reader is. */
export interface FeedCursor {
  /** Lines that it has. */
  readonly line: number;
  /** How often the file had been rewound by then. */
  readonly generation: number;
}

/** What a reader gets next. */
export interface FeedPortion {
  /** Server-sent events. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly cursor: FeedCursor;
}

const encoder = new TextEncoder();

/** Follows the event file of one run. */
export class EventFeed {
  readonly #path: string;
  readonly #isOver: () => boolean;
  readonly #onIdle: () => void;
  /** Where each line begins, and where the last one ends. */
  #offsets: number[] = [0];
  /** A hash of each line, which tells it from one that took its place. */
  #hashes: number[] = [];
  #position: TailPosition = fileStart;
  /** Lines that each rewinding left alone. */
  readonly #kept: number[] = [];
  #over = false;
  /** Whether the file could not be looked at the last time. */
  #unreadable = false;
  #readers = 0;
  #timer: ReturnType<typeof setInterval> | null = null;
  #waiting = new Set<() => void>();
  /** The portion read last: readers that are up to date all want the same. */
  #latest: { readonly from: FeedCursor; readonly portion: FeedPortion } | null = null;

  /**
   * @param isOver whether the run has ended
   * @param onIdle called when the last reader has left
   */
  constructor(folder: string, isOver: () => boolean, onIdle: () => void) {
    this.#path = join(folder, "events.jsonl");
    this.#isOver = isOver;
    this.#onIdle = onIdle;
    this.#poll();
  }

  /** Adds a reader; the result takes it away. */
  join(): () => void {
    this.#readers++;
    this.#timer ??= setInterval(() => this.#look(), POLL_MS);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      if (--this.#readers > 0) return;
      clearInterval(this.#timer!);
      this.#timer = null;
      this.#onIdle();
    };
  }

  /**
   * Where a reader goes on that was here before.
   *
   * @param id of the last event that it got; null if it got none
   * @returns the start of the file if that event is no longer in it
   */
  after(id: string | null): FeedCursor {
    const [, line, hash] = /^(\d{1,15})(?:-([0-9a-f]{8}))?$/.exec(id ?? "") ?? [];
    const number = Number(line ?? 0);
    // Who read the file by itself may know more than the last look at it.
    if (number > this.#hashes.length) this.#poll();
    const generation = this.#kept.length;
    if (number === 0) return { line: 0, generation };
    const same = number <= this.#hashes.length &&
      (hash === undefined || hash === hex(this.#hashes[number - 1]!));
    // As if it had seen the file before it was rewound to nothing.
    return same ? { line: number, generation } : { line: number, generation: -1 };
  }

  /** Whether a reader has everything, and nothing more will come. */
  isDone({ line, generation }: FeedCursor): boolean {
    return this.#over && generation === this.#kept.length && line === this.#hashes.length;
  }

  /** What comes after a cursor; null if nothing does yet. */
  next(cursor: FeedCursor): FeedPortion | "unreadable" | null {
    if (this.#unreadable) return "unreadable";
    const generation = this.#kept.length;
    if (cursor.generation !== generation) {
      const line = cursor.generation < 0
        ? 0
        : Math.min(cursor.line, ...this.#kept.slice(cursor.generation));
      const bytes = encoder.encode(`event: rewind\ndata: {"lines":${line}}\n\n`);
      return { bytes, cursor: { line, generation } };
    }
    if (cursor.line === this.#hashes.length) return null;
    const { from, portion } = this.#latest ?? {};
    if (from?.line === cursor.line && from.generation === generation) return portion!;
    const read = this.#read(cursor);
    if (read) this.#latest = { from: cursor, portion: read };
    return read;
  }

  /** Waits until there is something new, at most so long. */
  changed(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      this.#waiting.add(wake);
    });
  }

  /** Wakes all who wait. */
  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** What is wrong comes out when somebody asks for a feed anew, where it has an answer to go to. */
  #look(): void {
    try {
      this.#poll();
      this.#unreadable = false;
    } catch {
      this.#unreadable = true;
      this.wake();
    }
  }

  #poll(): void {
    // In this order: what a run wrote last is read after it was seen to be over.
    const over = this.#isOver();
    let changed = over !== this.#over;
    for (let more = true; more;) {
      const read = readTail(this.#path, this.#position);
      more = read.more;
      changed ||= read.rewound || read.lines.length > 0;
      const before = this.#hashes;
      if (read.rewound) {
        this.#offsets = [0];
        this.#hashes = [];
      }
      this.#position = read.position;
      for (const { offset, bytes } of read.lines) {
        this.#hashes.push(hashOf(bytes));
        this.#offsets.push(offset + bytes.length + 1);
      }
      if (!read.rewound) continue;
      const differs = before.findIndex((hash, i) => hash !== this.#hashes[i]);
      this.#kept.push(differs < 0 ? before.length : differs);
      this.#latest = null;
    }
    this.#over = over;
    if (changed) this.wake();
  }

  #read({ line, generation }: FeedCursor): FeedPortion | null {
    const start = this.#offsets[line]!;
    let end = line + 1;
    while (end < this.#hashes.length && this.#offsets[end + 1]! - start <= PORTION) end++;
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      using file = Deno.openSync(this.#path, { read: true });
      bytes = readAt(file, start, this.#offsets[end]! - start);
    } catch {
      // It is gone since the last look, or worse, which the next one finds out.
      return null;
    }
    const decoder = new TextDecoder();
    let frames = "";
    for (let i = line; i < end; i++) {
      const part = bytes.subarray(this.#offsets[i]! - start, this.#offsets[i + 1]! - start - 1);
      const hash = this.#hashes[i]!;
      // It was rewound since the last look, which the next one finds out.
      if (hashOf(part) !== hash) return null;
      frames += `id: ${idOf(i + 1, hash)}\ndata: ${decoder.decode(part)}\n\n`;
    }
    return { bytes: encoder.encode(frames), cursor: { line: end, generation } };
  }
}

/** The id of the event in a line. */
export function eventId({ number, bytes }: Pick<TailLine, "number" | "bytes">): string {
  return idOf(number, hashOf(bytes));
}

function idOf(line: number, hash: number): string {
  return `${line}-${hex(hash)}`;
}

/** FNV-1a. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function hex(hash: number): string {
  return hash.toString(16).padStart(8, "0");
}
