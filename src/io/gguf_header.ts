/**
 * The header of a GGUF file: metadata, and where each tensor lies.
 *
 * The reader trusts nothing. Every length and count is held against the bytes that are left before
 * anything of that size is made, and what arrays make of a few bytes each is limited as a whole, so
 * that a damaged or hostile file is a {@linkcode CheckpointError} and never a crash.
 *
 * @module
 */

import { CheckpointError } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";

/** A value of the metadata; integers that a number can't hold exactly are bigints. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

/** One tensor as the header describes it. */
export interface GgufTensorInfo {
  /** Sizes as GGUF has them: the fastest-varying dimension first. */
  readonly dimensions: readonly number[];
  /** ggml's number of the element type. */
  readonly type: number;
  /** Where its data begins, in bytes from the start of the data. */
  readonly offset: number;
}

/** What the header says. */
export interface GgufHeader {
  /** By key. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
  /** Where the tensors' data begins, in bytes from the start of the file. */
  readonly dataStart: number;
}

/** Longest header; the largest vocabularies with their merges take about 30 MB. */
const maxHeaderBytes = 256 * 1024 * 1024;
/** Most values in all arrays; a vocabulary of 262,144 with scores, types and merges has 1.3 million. */
const maxValues = 16_000_000;
/** Deepest nesting of arrays; known files have lists of lists at most. */
const maxDepth = 8;
/** ggml's own limit. */
const maxDimensions = 4;
/** What is read at a time. */
const chunkBytes = 1024 * 1024;

/** Fewest bytes that a value of each type takes; a string is its length, an array its head. */
const valueBytes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8] as const;
const stringType = 8;
const arrayType = 9;

/**
 * Reads the header in pieces of a megabyte, and none of the tensors' data.
 *
 * @throws {CheckpointError} if the file is no GGUF of version 2 or 3, cut short, or damaged.
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  const cursor = new Cursor(source);
  await cursor.need(4, "the magic number");
  const magic = cursor.u32();
  if (magic !== 0x46554747) { // "GGUF"
    throw new CheckpointError(
      `Cannot read ${source.label}: it starts with 0x${magic.toString(16).padStart(8, "0")}, ` +
        `a GGUF file with "GGUF". Give a file made by llama.cpp's converter`,
    );
  }
  await cursor.need(20, "the counts of the header");
  const version = cursor.u32();
  if (version !== 2 && version !== 3) {
    const swapped = version % 65536 === 0 && version !== 0;
    throw new CheckpointError(
      `Cannot read ${source.label}: it is GGUF version ${version}` +
        `${swapped ? ", as a big-endian file has it" : ""}; supported are little-endian files of ` +
        "version 2 and 3. Convert the model again with a current llama.cpp",
    );
  }
  const tensorCount = cursor.count("tensors", 24);
  const pairCount = cursor.count("metadata pairs", 13);
  const metadata = await readMetadata(cursor, pairCount);
  const tensors = await readTensorInfos(cursor, tensorCount);
  const alignment = metadata.get("general.alignment") ?? 32;
  const isPowerOfTwo = typeof alignment === "number" && alignment >= 1 && alignment <= 65536 &&
    Number.isInteger(Math.log2(alignment));
  if (!isPowerOfTwo) {
    throw cursor.broken(
      `"general.alignment" is ${String(alignment)}, it must be a power of 2 up to 65536`,
    );
  }
  return { metadata, tensors, dataStart: Math.ceil(cursor.offset / alignment) * alignment };
}

/** The fault of a file that can't be what its writer meant. */
export function damaged(label: string, fault: string): CheckpointError {
  return new CheckpointError(
    `Cannot read ${label}: ${fault}. The file is cut short or damaged: download or convert it again`,
  );
}

async function readMetadata(cursor: Cursor, count: number): Promise<Map<string, GgufValue>> {
  const metadata = new Map<string, GgufValue>();
  for (let pair = 0; pair < count; pair++) {
    const what = `the key of metadata pair ${pair}`;
    await cursor.need(8, what);
    const bytes = cursor.count(`bytes of ${what}`, 1);
    await cursor.need(bytes + 4, what);
    const key = cursor.text(bytes, what);
    if (metadata.has(key)) throw cursor.broken(`the key ${JSON.stringify(key)} occurs twice`);
    const value = `the value of ${JSON.stringify(key)}`;
    metadata.set(key, await readValue(cursor, typeOf(cursor, value), value, 0));
  }
  return metadata;
}

function typeOf(cursor: Cursor, what: string): number {
  const type = cursor.u32();
  if (type >= valueBytes.length) {
    throw cursor.broken(`${what} has type ${type}, types end at ${valueBytes.length - 1}`);
  }
  return type;
}

async function readValue(
  cursor: Cursor,
  type: number,
  what: string,
  depth: number,
): Promise<GgufValue> {
  await cursor.need(valueBytes[type]!, what);
  if (type === stringType) {
    const bytes = cursor.count(`bytes of ${what}`, 1);
    await cursor.need(bytes, what);
    return cursor.text(bytes, what);
  }
  if (type !== arrayType) return cursor.scalar(type);
  if (depth === maxDepth) throw cursor.broken(`${what} is nested more than ${maxDepth} deep`);
  const elementType = typeOf(cursor, what);
  const elementBytes = valueBytes[elementType]!;
  const count = cursor.count(`elements of ${what}`, elementBytes);
  cursor.spend(count, what);
  const values: GgufValue[] = [];
  const whatBytes = `bytes of ${what}`;
  while (values.length < count) {
    if (elementType === arrayType) {
      values.push(await readValue(cursor, elementType, what, depth + 1));
      continue;
    }
    // Awaiting each of a million strings would take longer than reading them.
    if (cursor.missing(elementBytes)) await cursor.need(elementBytes, what);
    if (elementType !== stringType) {
      values.push(cursor.scalar(elementType));
      continue;
    }
    const bytes = cursor.count(whatBytes, 1);
    if (cursor.missing(bytes)) await cursor.need(bytes, what);
    values.push(cursor.text(bytes, what));
  }
  return values;
}

async function readTensorInfos(
  cursor: Cursor,
  count: number,
): Promise<Map<string, GgufTensorInfo>> {
  const tensors = new Map<string, GgufTensorInfo>();
  for (let index = 0; index < count; index++) {
    const what = `the name of tensor ${index}`;
    await cursor.need(8, what);
    const bytes = cursor.count(`bytes of ${what}`, 1);
    await cursor.need(bytes + 4, what);
    const name = cursor.text(bytes, what);
    if (tensors.has(name)) throw cursor.broken(`the tensor ${JSON.stringify(name)} occurs twice`);
    const rank = cursor.u32();
    if (rank > maxDimensions) {
      throw cursor.broken(
        `tensor ${JSON.stringify(name)} has ${rank} dimensions, GGUF has up to ${maxDimensions}`,
      );
    }
    await cursor.need(8 * rank + 12, `the shape of tensor ${JSON.stringify(name)}`);
    const dimensions = Array.from({ length: rank }, () => cursor.u64());
    const type = cursor.u32();
    const offset = cursor.u64();
    if (![...dimensions, offset].every(Number.isSafeInteger)) {
      throw cursor.broken(
        `tensor ${JSON.stringify(name)} has dimensions [${dimensions.join(", ")}] and offset ` +
          `${offset}, beyond any file`,
      );
    }
    tensors.set(name, { dimensions, type, offset });
  }
  return tensors;
}

/** Reads forwards through a source, a piece at a time. */
class Cursor {
  readonly #source: ByteSource;
  readonly #limit: number;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  /** Where `#bytes` begins in the source. */
  #start = 0;
  /** The next byte, within `#bytes`. */
  #at = 0;
  #spent = 0;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(source: ByteSource) {
    this.#source = source;
    this.#limit = Math.min(source.size, maxHeaderBytes);
  }

  /** The next byte, in the source. */
  get offset(): number {
    return this.#start + this.#at;
  }

  broken(fault: string): CheckpointError {
    return damaged(this.#source.label, fault);
  }

  /** Whether fewer than `bytes` are at hand. */
  missing(bytes: number): boolean {
    return this.#bytes.length - this.#at < bytes;
  }

  /** Makes the next `bytes` bytes available to the methods below. */
  async need(bytes: number, what: string): Promise<void> {
    if (!this.missing(bytes)) return;
    const start = this.offset;
    if (bytes > this.#limit - start) {
      const end = this.#limit === this.#source.size ? "the file has" : "a header may have";
      throw this.broken(`${what} ends at byte ${start + bytes}, ${end} ${this.#limit}`);
    }
    const length = Math.min(Math.max(bytes, chunkBytes), this.#limit - start);
    this.#bytes = await this.#source.read(start, length);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    this.#start = start;
    this.#at = 0;
  }

  /** Counts array elements against what all arrays together may have. */
  spend(count: number, what: string): void {
    this.#spent += count;
    if (this.#spent > maxValues) {
      throw this.broken(
        `with ${what} the metadata has ${this.#spent} values, at most ${maxValues} are read`,
      );
    }
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  /** A u64, rounded where a number can't hold it. */
  u64(): number {
    this.#at += 8;
    return Number(this.#view.getBigUint64(this.#at - 8, true));
  }

  /** A u64 that says how many things of at least `bytes` bytes each are to come. */
  count(what: string, bytes: number): number {
    const count = this.u64();
    const left = this.#limit - this.offset;
    if (count * bytes > left) {
      throw this.broken(`${count} ${what} can't lie in the ${left} bytes that are left`);
    }
    return count;
  }

  text(bytes: number, what: string): string {
    this.#at += bytes;
    try {
      return this.#decoder.decode(this.#bytes.subarray(this.#at - bytes, this.#at));
    } catch {
      throw this.broken(`${what} is not UTF-8`);
    }
  }

  /** A number or boolean of one of GGUF's types. */
  scalar(type: number): number | bigint | boolean {
    const at = this.#at;
    this.#at += valueBytes[type]!;
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return view.getUint8(at) !== 0;
      case 10:
        return exact(view.getBigUint64(at, true));
      case 11:
        return exact(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
