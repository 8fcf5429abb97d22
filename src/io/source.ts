/**
 * Where bytes and tensors come from, whatever holds them: a file read piece by piece, bytes in
 * memory, a GGUF file, a folder of shards. A model that exceeds the memory of JavaScript is read
 * tensor by tensor.
 *
 * @module
 */

import type { StoredTensor } from "./safetensors.ts";

/** Bytes that can be read in any order. */
export interface ByteSource extends Disposable {
  /** Its name in error messages. */
  readonly label: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * Bytes `offset` to `offset + length`, all of them.
   *
   * @throws {CheckpointError} if they can't be read in full.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Tensors that are read one at a time. */
export interface TensorSource extends Disposable {
  /** Its name in error messages. */
  readonly label: string;
  /** Shape and element type of every tensor by name; the type is the file's own name for it. */
  readonly entries: ReadonlyMap<
    string,
    { readonly dtype: string; readonly shape: readonly number[] }
  >;
  /**
   * One tensor; quantised ones are dequantised to `F32`.
   *
   * @throws {CheckpointError} if there is no such tensor, or its data can't be read.
   */
  read(name: string): Promise<StoredTensor>;
}

/** Bytes in memory as a source. */
export function bytesSource(bytes: Uint8Array<ArrayBuffer>, label: string): ByteSource {
  return {
    label,
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    [Symbol.dispose]() {},
  };
}
