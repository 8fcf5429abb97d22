/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header, then raw data.
 *
 * Pure bytes in, bytes out; knows no tensor names. The reader trusts nothing: every header field,
 * offset and length is checked before a byte of data is handed out, so a file that was cut short
 * or damaged is an error and never a tensor of garbage.
 *
 * @module
 */

import type { ByteSource, TensorSource } from "./source.ts";

/** A checkpoint could not be read or written; the message names file, fault and remedy. */
export class CheckpointError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "CheckpointError";
}

/** Element types that this project reads and writes. */
export type TensorDtype = "F32" | "F16" | "BF16";

/** One stored tensor: `data` holds the elements row-major and little-endian. */
export interface StoredTensor {
  /** Type of the elements. */
  readonly dtype: TensorDtype;
  /** Sizes, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** The elements. */
  readonly data: Uint8Array;
}

/** What a safetensors file holds. */
export interface StoredTensors {
  /** By name, in the order of the header. */
  readonly tensors: Map<string, StoredTensor>;
  /** The free text pairs of `__metadata__`; empty when there are none. */
  readonly metadata: Record<string, string>;
}

const bytesPerElement: Readonly<Record<TensorDtype, number>> = { F32: 4, F16: 2, BF16: 2 };
const metadataKey = "__metadata__";
/** The reference implementation's limit; anything above is a damaged length. */
const maxHeaderBytes = 100_000_000;

/**
 * Writes tensors as one safetensors file; the same input gives the same bytes.
 *
 * The header lists tensors in insertion order. The data of 4-byte types comes first and starts at a
 * multiple of 8, so that every tensor can be viewed in place (the format allows no gaps).
 *
 * @throws {TypeError} if a tensor's data does not have the length that its shape and dtype ask for
 * @throws {RangeError} if a tensor is named `__metadata__`
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  for (const [name, tensor] of tensors) checkTensor(name, tensor);
  const placed = [...tensors].sort(([, a], [, b]) =>
    bytesPerElement[b.dtype]! - bytesPerElement[a.dtype]!
  );
  const offsets = new Map<string, number>();
  let dataBytes = 0;
  for (const [name, tensor] of placed) {
    offsets.set(name, dataBytes);
    dataBytes += tensor.data.length;
  }

  // Written entry by entry: an object literal would move integer-like names to the front.
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) {
    entries.push(`${JSON.stringify(metadataKey)}:${JSON.stringify(metadata)}`);
  }
  for (const [name, { dtype, shape, data }] of tensors) {
    const begin = offsets.get(name)!;
    const entry = { dtype, shape, data_offsets: [begin, begin + data.length] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const header = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerBytes = Math.ceil(header.length / 8) * 8;

  const bytes = new Uint8Array(8 + headerBytes + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(header, 8);
  bytes.fill(0x20, 8 + header.length, 8 + headerBytes);
  for (const [name, tensor] of placed) {
    bytes.set(tensor.data, 8 + headerBytes + offsets.get(name)!);
  }
  return bytes;
}

/**
 * Reads a safetensors file; the tensors' `data` are views of `bytes`, not copies.
 *
 * @param label the file's name in error messages
 * @throws {CheckpointError} if the file is cut short, damaged, or holds a dtype not supported
 */
export function decodeSafetensors(bytes: Uint8Array, label = "safetensors file"): StoredTensors {
  const dataStart = headerEnd(bytes.subarray(0, 8), bytes.length, label);
  const header = bytes.subarray(8, dataStart);
  const { entries, metadata } = readHeader(header, bytes.length - dataStart, label);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, begin, end }] of entries) {
    const data = bytes.subarray(dataStart + begin, dataStart + end);
    tensors.set(name, { dtype: supported(name, dtype, label), shape, data });
  }
  return { tensors, metadata };
}

/**
 * Opens a safetensors file to read its tensors one at a time; only the header is read at once.
 *
 * A tensor of a dtype that is not supported is listed like the others, and an error only when it
 * is read: files carry position ids and masks that no model here asks for.
 *
 * @param source the file; belongs to the result, and is closed with it or when opening fails
 * @throws {CheckpointError} if the file is cut short or damaged
 */
export async function openSafetensors(source: ByteSource): Promise<TensorSource> {
  const { label, size } = source;
  let dataStart: number;
  let entries: Header["entries"];
  try {
    dataStart = headerEnd(await source.read(0, Math.min(8, size)), size, label);
    const header = await source.read(8, dataStart - 8);
    ({ entries } = readHeader(header, size - dataStart, label));
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
  return {
    label,
    entries,
    async read(name) {
      const entry = entries.get(name);
      if (!entry) throw new CheckpointError(`Cannot read ${label}: it has no tensor "${name}"`);
      const { shape, begin, end } = entry;
      const dtype = supported(name, entry.dtype, label);
      return { dtype, shape, data: await source.read(dataStart + begin, end - begin) };
    },
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}

/**
 * The elements of a tensor as f32. For `F32` data that lies on a 4-byte boundary this is a view
 * that shares memory with `tensor.data`; otherwise a copy.
 */
export function toFloat32(tensor: StoredTensor): Float32Array {
  const { dtype, data } = tensor;
  const length = data.length / bytesPerElement[dtype]!;
  const aligned = data.byteOffset % bytesPerElement[dtype]! === 0 ? data : data.slice();
  if (dtype === "F32") return new Float32Array(aligned.buffer, aligned.byteOffset, length);
  if (dtype === "F16") {
    return new Float32Array(new Float16Array(aligned.buffer, aligned.byteOffset, length));
  }
  // bf16 is the upper half of an f32.
  const halves = new Uint16Array(aligned.buffer, aligned.byteOffset, length);
  const words = new Uint32Array(length);
  for (let i = 0; i < length; i++) words[i] = halves[i]! << 16;
  return new Float32Array(words.buffer);
}

/** f32 elements as the bytes of `dtype`, rounded to nearest, ties to even; NaN stays NaN. */
export function fromFloat32(data: Float32Array, dtype: TensorDtype): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(data.slice().buffer);
  if (dtype === "F16") return new Uint8Array(new Float16Array(data).buffer);
  const words = new Uint32Array(data.slice().buffer);
  const halves = new Uint16Array(data.length);
  for (let i = 0; i < halves.length; i++) {
    const word = words[i]!;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    // Rounding could carry a NaN's payload into infinity; keep its top bits, quietened.
    halves[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}

function checkTensor(name: string, { dtype, shape, data }: StoredTensor): void {
  if (name === metadataKey) {
    throw new RangeError(`Cannot store a tensor under the reserved name "${metadataKey}"`);
  }
  const expected = elements(shape) * (bytesPerElement[dtype] ?? NaN);
  if (data.length !== expected) {
    throw new TypeError(
      `Cannot store tensor "${name}": ${dtype} [${shape.join(", ")}] takes ${expected} bytes, ` +
        `data has ${data.length}`,
    );
  }
}

/** What a header says of one tensor; `begin` and `end` count from the start of the data. */
interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A header whose entries fit each other and the data without gap or overlap. */
interface Header {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly metadata: Record<string, string>;
}

/** Where the header ends and the data starts, from the first 8 of a file's `fileBytes` bytes. */
function headerEnd(start: Uint8Array, fileBytes: number, label: string): number {
  if (fileBytes < 8) {
    throw broken(label, `file has ${fileBytes} bytes, the header's length alone takes 8`);
  }
  const headerBytes = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (headerBytes > BigInt(maxHeaderBytes)) {
    throw broken(
      label,
      `header says it is ${headerBytes} bytes long, the limit is ${maxHeaderBytes}`,
    );
  }
  const end = 8 + Number(headerBytes);
  if (end > fileBytes) throw broken(label, `header ends at byte ${end}, file has ${fileBytes}`);
  return end;
}

function readHeader(bytes: Uint8Array, dataBytes: number, label: string): Header {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw broken(label, `header is not JSON (${(error as Error).message})`);
  }
  if (!isRecord(header)) throw broken(label, "header is not a JSON object");

  const entries = new Map<string, Entry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) {
      metadata = readMetadata(value, label);
      continue;
    }
    const entry = readEntry(name, value, label);
    if (entry.end > dataBytes) {
      const missing = entry.end - dataBytes;
      throw broken(
        label,
        `tensor "${name}" ends at byte ${entry.end} of the data, the file has ${dataBytes} (${missing} missing)`,
      );
    }
    entries.set(name, entry);
  }
  checkCovered(entries, dataBytes, label);
  return { entries, metadata };
}

/** Every byte of the data belongs to exactly one tensor. */
function checkCovered(entries: Header["entries"], dataBytes: number, label: string): void {
  let covered = 0;
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== covered) {
      throw broken(
        label,
        `tensor "${name}" starts at byte ${begin} of the data, not at ${covered}`,
      );
    }
    covered = end;
  }
  if (covered !== dataBytes) {
    throw broken(label, `header says ${covered} bytes of data, file has ${dataBytes}`);
  }
}

function readMetadata(entry: unknown, label: string): Record<string, string> {
  if (!isRecord(entry) || !Object.values(entry).every((value) => typeof value === "string")) {
    throw broken(label, `"${metadataKey}" is not an object of strings`);
  }
  return entry as Record<string, string>;
}

function readEntry(name: string, entry: unknown, label: string): Entry {
  if (!isRecord(entry)) throw broken(label, `entry of tensor "${name}" is not an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string") {
    throw broken(label, `tensor "${name}" has dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw broken(label, `tensor "${name}" has shape ${JSON.stringify(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw broken(label, `tensor "${name}" has data_offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const bytesEach = isSupported(dtype) ? bytesPerElement[dtype] : undefined;
  // How long a tensor of another dtype should be isn't known here, only that it isn't negative.
  const expected = bytesEach === undefined ? Math.max(0, end - begin) : elements(shape) * bytesEach;
  if (end - begin !== expected) {
    throw broken(
      label,
      `tensor "${name}", ${dtype} [${shape.join(", ")}], takes ${expected} bytes, ` +
        `its data_offsets span ${end - begin}`,
    );
  }
  return { dtype, shape, begin, end };
}

function isSupported(dtype: string): dtype is TensorDtype {
  return Object.hasOwn(bytesPerElement, dtype);
}

function supported(name: string, dtype: string, label: string): TensorDtype {
  if (isSupported(dtype)) return dtype;
  throw new CheckpointError(
    `Cannot read ${label}: tensor "${name}" has dtype ${JSON.stringify(dtype)}; ` +
      `supported are ${Object.keys(bytesPerElement).join(", ")}. Convert the file to one of them`,
  );
}

function broken(label: string, fault: string): CheckpointError {
  return new CheckpointError(
    `Cannot read ${label}: ${fault}. The file is cut short or damaged: copy or save it again, ` +
      "or use an earlier checkpoint",
  );
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
