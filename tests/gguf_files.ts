// Writes small GGUF files for tests: well-formed ones, and with `patch` damaged ones.

import { bytesSource } from "../src/io/source.ts";
import { type Gguf, openGguf } from "../src/io/gguf.ts";

/** A metadata value with its type: strings, u32, f32, and lists of them. */
export type Value = string | number | boolean | { f32: number } | readonly Value[];

/** A tensor of f32, or raw bytes of another type by ggml's number; `shape` outermost first. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly type?: number;
  readonly data: ArrayLike<number>;
}

/** Collects little-endian bytes. */
export class Writer {
  #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  u32(value: number): this {
    this.#bytes.push(...new Uint8Array(Uint32Array.of(value).buffer));
    return this;
  }

  u64(value: number | bigint): this {
    this.#bytes.push(...new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
    return this;
  }

  text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    return this.u64(bytes.length).raw(bytes);
  }

  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  align(alignment: number): this {
    while (this.length % alignment !== 0) this.#bytes.push(0);
    return this;
  }

  value(value: Value): this {
    return this.u32(typeOf(value)).#content(value);
  }

  done(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }

  #content(value: Value): this {
    if (typeof value === "string") return this.text(value);
    if (typeof value === "number") return this.u32(value);
    if (typeof value === "boolean") return this.raw([Number(value)]);
    if ("f32" in value) return this.raw(new Uint8Array(Float32Array.of(value.f32).buffer));
    this.u32(value.length === 0 ? 4 : typeOf(value[0]!)).u64(value.length);
    for (const item of value) this.#content(item);
    return this;
  }
}

function typeOf(value: Value): number {
  if (typeof value === "string") return 8;
  if (typeof value === "number") return 4;
  if (typeof value === "boolean") return 7;
  return "f32" in value ? 6 : 9;
}

/** A file of version 3 with an alignment of 32. */
export function ggufBytes(
  metadata: Readonly<Record<string, Value>>,
  tensors: Readonly<Record<string, Tensor>> = {},
): Uint8Array<ArrayBuffer> {
  const head = new Writer().raw(new TextEncoder().encode("GGUF")).u32(3);
  head.u64(Object.keys(tensors).length).u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) head.text(key).value(value);
  const data = new Writer();
  for (const [name, { shape, type = 0, data: values }] of Object.entries(tensors)) {
    data.align(32);
    head.text(name).u32(shape.length);
    for (const size of shape.toReversed()) head.u64(size);
    head.u32(type).u64(data.length);
    data.raw(new Uint8Array(type === 0 ? Float32Array.from(values).buffer : Array.from(values)));
  }
  return head.align(32).raw(data.done()).done();
}

/** Opens bytes as `model.gguf`. */
export function openBytes(bytes: Uint8Array<ArrayBuffer>): Promise<Gguf> {
  return openGguf(bytesSource(bytes, "model.gguf"));
}
