/**
 * A tensor is one GPU buffer with a shape and a dtype. There are no views, strides or broadcasting.
 *
 * @module
 */

import type { Gpu } from "./gpu/device.ts";

/** Element type; both are 4 bytes wide. */
export type DType = "f32" | "u32";

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** A buffer, its shape, and the gradient that the tape gives it. */
export class Tensor {
  /** Holds the elements row-major; may be larger than they need. */
  readonly buffer: GPUBuffer;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Type of the elements. */
  readonly dtype: DType;
  /** Name in messages. */
  readonly label: string;
  /** Whether a gradient is wanted for this tensor or for something upstream of it. */
  readonly needsGrad: boolean;
  /** dL/dthis; made by `Tape.accumulate` at the first contribution. */
  grad: Tensor | null = null;

  /** Wraps a buffer; whoever made the buffer owns it. */
  constructor(
    buffer: GPUBuffer,
    shape: readonly number[],
    dtype: DType,
    label: string,
    needsGrad = false,
  ) {
    this.buffer = buffer;
    this.shape = shape;
    this.dtype = dtype;
    this.label = label;
    this.needsGrad = needsGrad;
  }

  /** Number of elements. */
  get size(): number {
    return elements(this.shape);
  }

  /** Bytes that hold them. */
  get bytes(): number {
    return this.size * 4;
  }
}

/**
 * A trained tensor: it outlives the step, and so does its gradient buffer.
 */
export class Parameter extends Tensor {
  readonly #gradient: GPUBuffer;

  /**
   * Allocates weights and gradient and uploads the values.
   *
   * @throws {TypeError} if there are not as many values as the shape has elements.
   */
  constructor(gpu: Gpu, shape: readonly number[], name: string, values: Float32Array) {
    const buffer = gpu.allocate(values.byteLength, "weights", name);
    super(buffer, shape, "f32", name, true);
    assertMultipleOf4(this.size, "its size", `create parameter "${name}"`);
    if (values.length !== this.size) {
      throw new TypeError(
        `Cannot create parameter "${name}": shape [${shape}] needs ${this.size} values, got ${values.length}`,
      );
    }
    this.#gradient = gpu.allocate(values.byteLength, "gradients", `${name}.grad`);
    gpu.write(buffer, values);
  }

  /** The tensor that `grad` becomes at the first contribution of a step; its content is stale until then. */
  gradientStorage(): Tensor {
    return new Tensor(this.#gradient, this.shape, "f32", `${this.label}.grad`);
  }

  /** The buffers to free with the model. */
  buffers(): GPUBuffer[] {
    return [this.buffer, this.#gradient];
  }
}

/**
 * Checks a shape dimension by dimension; `-1` accepts any size.
 *
 * @throws {TypeError} naming the action, the tensor and both shapes.
 */
export function assertShape(tensor: Tensor, expected: readonly number[], action: string): void {
  const { shape } = tensor;
  const fits = shape.length === expected.length &&
    expected.every((n, i) => n === -1 || n === shape[i]);
  if (!fits) {
    throw new TypeError(
      `Cannot ${action}: "${tensor.label}" has shape [${shape.join(", ")}], expected [${
        expected.map((n) => n === -1 ? "any" : n).join(", ")
      }]`,
    );
  }
}

/**
 * Kernels move four columns at a time.
 *
 * @throws {TypeError} if `n` is not a positive multiple of 4.
 */
export function assertMultipleOf4(n: number, what: string, action: string): void {
  if (n <= 0 || n % 4 !== 0) {
    throw new TypeError(`Cannot ${action}: ${what} is ${n}, it must be a positive multiple of 4`);
  }
}
