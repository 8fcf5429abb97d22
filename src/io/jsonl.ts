/**
 * Append-only files of one JSON value per line.
 *
 * @module
 */

import { temporaryName, writeError } from "./checkpoint.ts";
import { CheckpointError } from "./safetensors.ts";

const newline = 0x0a;

/**
 * Writes one JSON value per line, straight through to the file, so that a crash can at most tear
 * the last line; readers leave a torn line out, and the next writer cuts it off.
 */
export class JsonlWriter implements Disposable {
  /** Where the file lies. */
  readonly path: string;
  #file: Deno.FsFile;
  /** Bytes of whole lines. */
  #length = 0;

  /**
   * Opens `path` for appending and creates it if needed.
   *
   * @throws {CheckpointError} if the file cannot be opened or another process writes to it
   */
  constructor(path: string) {
    this.path = path;
    this.#file = this.#open();
  }

  /**
   * Appends `value` as one line.
   *
   * @throws {CheckpointError} if it cannot be written; the file then ends with the line before
   */
  append(value: unknown): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    try {
      writeAll(this.#file, bytes);
    } catch (error) {
      this.#cut(this.#length);
      throw writeError(this.path, error);
    }
    this.#length += bytes.length;
  }

  /** Forces what was appended to disk. */
  sync(): void {
    this.#file.syncSync();
  }

  /**
   * Drops the lines that `belongs` refuses and keeps the others byte for byte. On resuming from a
   * checkpoint this removes what was written after it, so that the file goes on as if the run had
   * never been interrupted.
   *
   * @returns how many lines were dropped
   * @throws {CheckpointError} if a line is not JSON, or the shorter file cannot be written
   */
  keep(belongs: (value: unknown) => boolean): number {
    const bytes = Deno.readFileSync(this.path);
    const all = [...lines(bytes, this.path)];
    const kept = all.filter(({ value }) => belongs(value));
    if (kept.length === all.length) return 0;
    if (kept.at(-1) === all[kept.length - 1]) this.#cut(kept.at(-1)?.end ?? 0);
    else this.#rewrite(kept.map(({ start, end }) => bytes.subarray(start, end)));
    return all.length - kept.length;
  }

  /** Closes the file; nothing can be appended any more. */
  close(): void {
    this.#file.close();
  }

  /** Same as {@linkcode JsonlWriter.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #open(): Deno.FsFile {
    let file: Deno.FsFile | undefined;
    try {
      file = Deno.openSync(this.path, { read: true, write: true, create: true });
      if (!file.tryLockSync(true)) {
        throw new CheckpointError(
          `Cannot write "${this.path}": another process is writing to it. ` +
            "Wait until that one has ended, or choose another --out",
        );
      }
      this.#cut(wholeLines(Deno.readFileSync(this.path)), file);
      return file;
    } catch (error) {
      file?.close();
      throw writeError(this.path, error);
    }
  }

  #cut(length: number, file = this.#file): void {
    file.truncateSync(length);
    file.seekSync(length, Deno.SeekMode.Start);
    this.#length = length;
  }

  /** Replaces the file by one with these lines; a crash leaves either the old or the new one. */
  #rewrite(kept: Uint8Array[]): void {
    const temporary = temporaryName(this.path);
    try {
      {
        using file = Deno.openSync(temporary, { write: true, createNew: true });
        for (const line of kept) writeAll(file, line);
        file.syncSync();
      }
      Deno.renameSync(temporary, this.path);
    } catch (error) {
      try {
        Deno.removeSync(temporary);
      } catch {
        // It was never made: the first error says why.
      }
      throw writeError(this.path, error);
    }
    this.#file.close();
    this.#file = this.#open();
  }
}

/**
 * The values of a line file, in order; a last line that a crash tore is left out.
 *
 * @param limit read no further than this many lines
 * @throws {CheckpointError} if the file cannot be read, or a line is not JSON (with its number)
 */
export function readJsonl(path: string, limit = Infinity): unknown[] {
  return eachJsonl(path).take(limit).toArray();
}

/**
 * The same one by one, for files whose values are too many to be held at once.
 *
 * @throws {CheckpointError} if the file cannot be read, or a line is not JSON (with its number)
 */
export function* eachJsonl(path: string): Generator<unknown, undefined> {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    throw new CheckpointError(`Cannot read "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  for (const { value } of lines(bytes, path)) yield value;
}

interface Line {
  readonly value: unknown;
  readonly start: number;
  /** One past the line's newline. */
  readonly end: number;
}

function* lines(bytes: Uint8Array, path: string): Generator<Line, undefined> {
  const decoder = new TextDecoder();
  let number = 1;
  for (let start = 0, end: number; (end = bytes.indexOf(newline, start) + 1) > 0; start = end) {
    let value: unknown;
    try {
      value = JSON.parse(decoder.decode(bytes.subarray(start, end)));
    } catch (error) {
      throw new CheckpointError(
        `Cannot read "${path}": line ${number} is not JSON (${(error as Error).message}). ` +
          "Remove the line, or start a new run",
      );
    }
    yield { value, start, end };
    number++;
  }
}

function wholeLines(bytes: Uint8Array): number {
  return bytes.lastIndexOf(newline) + 1;
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
}
