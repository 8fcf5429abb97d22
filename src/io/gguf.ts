/**
 * GGUF, the file format of llama.cpp: metadata and tensors, often quantised, in one file.
 *
 * Bytes in, tensors out, under the names that the file has; what they mean to a model is
 * `model/gguf.ts`'s business. The format's numbers are those of ggml's `gguf.md`.
 *
 * @module
 */

import { blockFormats, dequantize } from "./dequantize.ts";
import { damaged, type GgufTensorInfo, type GgufValue, readGgufHeader } from "./gguf_header.ts";
import { CheckpointError, type StoredTensor, type TensorDtype } from "./safetensors.ts";
import type { ByteSource, TensorSource } from "./source.ts";

export type { GgufValue } from "./gguf_header.ts";

/** An open GGUF file; its tensors have the file's own names, types and row-major shapes. */
export interface Gguf extends TensorSource {
  /** The metadata by key, in the order of the file. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

/** ggml's element types by number; 4, 5 and some others were taken back. */
const typeNames: Readonly<Record<number, string>> = {
  ...{ 0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1" },
  ...{ 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K" },
  ...{ 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S" },
  ...{ 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64" },
  ...{ 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0" },
};

const plainBytes: Readonly<Record<TensorDtype, number>> = { F32: 4, F16: 2, BF16: 2 };
/** Largest tensor as f32: a JavaScript array can't be longer. */
const maxTensorBytes = 2 ** 33;

/** Where a tensor lies and what it is. */
interface Placed {
  readonly dtype: string;
  /** Outermost first. */
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly begin: number;
  /** Bytes in the file. */
  readonly bytes: number;
}

/**
 * Opens a GGUF file: reads its header, and later each tensor as it is asked for. Disposing of the
 * result disposes of `source`; if opening fails, `source` stays the caller's.
 *
 * @throws {CheckpointError} if the file is no GGUF of version 2 or 3, is cut short or damaged, or
 *   has a tensor of an element type that is not supported.
 */
export async function openGguf(source: ByteSource): Promise<Gguf> {
  const { label } = source;
  const { metadata, tensors, dataStart } = await readGgufHeader(source);
  const placed = new Map<string, Placed>();
  for (const [name, info] of tensors) placed.set(name, place(name, info, dataStart, source));
  return {
    label,
    metadata,
    entries: placed,
    read: (name) => readTensor(name, placed, source),
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}

function place(name: string, info: GgufTensorInfo, dataStart: number, source: ByteSource): Placed {
  const { dimensions, offset } = info;
  const what = `tensor ${JSON.stringify(name)}`;
  const dtype = typeNames[info.type] ?? `type ${info.type}`;
  const plain = isPlain(dtype);
  const format = plain ? { elements: 1, bytes: plainBytes[dtype] } : blockFormats.get(dtype);
  if (!format) {
    const supported = [...Object.keys(plainBytes), ...blockFormats.keys()].join(", ");
    throw new CheckpointError(
      `Cannot read ${source.label}: ${what} is stored as ${dtype}; supported are ${supported}. ` +
        "Take or make a file of another quantisation, as Q4_K_M or Q8_0",
    );
  }
  const row = dimensions[0] ?? 1;
  if (row % format.elements !== 0) {
    throw damaged(
      source.label,
      `${what} has rows of ${row} elements, ${dtype} comes in blocks of ${format.elements}`,
    );
  }
  const shape = dimensions.toReversed();
  const elements = shape.reduce((product, size) => product * size, 1);
  const bytes = elements / format.elements * format.bytes;
  const begin = dataStart + offset;
  if (bytes > source.size - begin) {
    throw damaged(
      source.label,
      `${what}, ${dtype} [${shape.join(", ")}], takes ${bytes} bytes from byte ${begin} on, ` +
        `the file has ${source.size}`,
    );
  }
  if (elements * 4 > maxTensorBytes) {
    throw new CheckpointError(
      `Cannot read ${source.label}: ${what} [${shape.join(", ")}] takes ${elements * 4} bytes as ` +
        `f32, one array holds ${maxTensorBytes}. Take a smaller model`,
    );
  }
  return { dtype, shape, begin, bytes };
}

async function readTensor(
  name: string,
  placed: ReadonlyMap<string, Placed>,
  source: ByteSource,
): Promise<StoredTensor> {
  const tensor = placed.get(name);
  if (!tensor) {
    throw new CheckpointError(
      `Cannot read ${source.label}: it has no tensor ${JSON.stringify(name)}. It has ` +
        `${placed.size} tensors, first ${[...placed.keys()].slice(0, 3).join(", ") || "none"}`,
    );
  }
  const { dtype, shape, begin, bytes } = tensor;
  const data = await source.read(begin, bytes);
  if (isPlain(dtype)) return { dtype, shape, data };
  return { dtype: "F32", shape, data: new Uint8Array(dequantize(dtype, data).buffer) };
}

function isPlain(dtype: string): dtype is TensorDtype {
  return Object.hasOwn(plainBytes, dtype);
}
