/**
 * A tensor is one GPU buffer, or a range of one, with a shape and a dtype. There are no strides and no
 * broadcasting; only parameters share buffers, side by side.
 *
 * @module
 */

import type { Gpu } from "./gpu/device.ts";
import type { FloatType } from "./gpu/kernels.ts";
import { aligned, offsetOf, slice } from "./gpu/ranges.ts";
import type { Bindable, BufferRange } from "./gpu/recorder.ts";

export type { FloatType } from "./gpu/kernels.ts";

/** Element type. Those of two bytes are for weights alone: two in a 32-bit word. */
export type DType = FloatType | "u32";

/** Bytes of one element. */
export const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, u32: 4, bf16: 2, f16: 2 };

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** A buffer, its shape, and the gradient that the tape gives it. */
export class Tensor {
  /** Holds the elements row-major; may be larger than they need. */
  readonly buffer: GPUBuffer;
  /** The part of it that does, where others have the rest. */
  readonly range?: BufferRange;
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
    range?: BufferRange,
  ) {
    this.buffer = buffer;
    if (range) this.range = range;
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
    return this.size * bytesPerElement[this.dtype];
  }
}

/** A tensor that belongs to a model and outlives the step. As such it is frozen: it has no gradient. */
export class Weight extends Tensor {
  /** How its elements are stored. */
  declare readonly dtype: FloatType;

  /**
   * Allocates zeros, for `gpu.write` to fill, unless there is a place for it.
   *
   * @throws {TypeError} if the number of elements is not a multiple of 4.
   */
  constructor(
    gpu: Gpu,
    shape: readonly number[],
    name: string,
    { dtype = "f32", trained = false, place }: {
      dtype?: FloatType;
      trained?: boolean;
      place?: Bindable;
    } = {},
  ) {
    assertMultipleOf4(elements(shape), "its size", `create weight "${name}"`);
    const bytes = elements(shape) * bytesPerElement[dtype];
    const { buffer, range } = place ?? { buffer: gpu.allocate(bytes, "weights", name) };
    super(buffer, shape, dtype, name, trained, range);
  }

  /** The buffers to free with the model. */
  buffers(): GPUBuffer[] {
    return [this.buffer];
  }
}

/** Where a parameter and its gradient lie. */
interface ParameterPlace {
  readonly weights: Bindable;
  readonly gradient: Bindable;
}

/** A weight that is trained: it has a gradient buffer that outlives the step too. Always f32. */
export class Parameter extends Weight {
  readonly #gradient: Bindable;

  /**
   * Allocates weights and gradient, unless there is a place for them.
   *
   * @param values uploaded where they are given; zeros otherwise, for `gpu.write` to fill
   * @throws {TypeError} if there are not as many values as the shape has elements.
   */
  constructor(
    gpu: Gpu,
    shape: readonly number[],
    name: string,
    values?: Float32Array,
    place?: ParameterPlace,
  ) {
    const size = elements(shape);
    if (values && values.length !== size) {
      throw new TypeError(
        `Cannot create parameter "${name}": shape [${shape}] needs ${size} values, got ${values.length}`,
      );
    }
    assertMultipleOf4(size, "its size", `create parameter "${name}"`);
    const { weights, gradient } = place ?? allocateBoth(gpu, size * bytesPerElement.f32, name);
    super(gpu, shape, name, { trained: true, place: weights });
    this.#gradient = gradient;
    if (values) gpu.write(this, values);
  }

  /** The tensor that `grad` becomes at the first contribution of a step; its content is stale until then. */
  gradientStorage(): Tensor {
    const { buffer, range } = this.#gradient;
    return new Tensor(buffer, this.shape, "f32", `${this.label}.grad`, false, range);
  }

  /** The buffers to free with the model; others may be in them. */
  override buffers(): GPUBuffer[] {
    return [this.buffer, this.#gradient.buffer];
  }
}

/** Buffers for weights and for their gradients, or neither. */
function allocateBoth(gpu: Gpu, bytes: number, name: string): ParameterPlace {
  const weights = gpu.allocate(bytes, "weights", name);
  try {
    const gradient = gpu.allocate(bytes, "gradients", `${name}.grad`);
    return { weights: { buffer: weights }, gradient: { buffer: gradient } };
  } catch (error) {
    gpu.free([weights]);
    throw error;
  }
}

/** Parameters share buffers of up to so many bytes; every device has buffers of that size. */
const SHARED_BYTES = 2 ** 28;

/** Where in its buffer the next parameter begins. */
export function nextOffset(parameter: Parameter): number {
  return aligned(offsetOf(parameter) + parameter.bytes);
}

/**
 * Allocates parameters side by side, so that an optimizer updates many in one dispatch: zeros, for
 * `gpu.write` to fill.
 *
 * @param shapes by name
 * @throws {TypeError} if a number of elements is not a multiple of 4.
 * @throws {OutOfMemoryError} if they do not fit. Nothing stays allocated then, either.
 */
export function createParameters(
  gpu: Gpu,
  shapes: ReadonlyMap<string, readonly number[]>,
): Map<string, Parameter> {
  const parameters = new Map<string, Parameter>();
  let group: { name: string; shape: readonly number[]; range: BufferRange }[] = [];
  const allocate = () => {
    const [first] = group;
    if (!first) return;
    const label = group.length > 1 ? `${first.name} and ${group.length - 1} more` : first.name;
    const { offset, size } = group.at(-1)!.range;
    const { weights, gradient } = allocateBoth(gpu, offset + size, label);
    for (const { name, shape, range } of group) {
      const place = { weights: { ...weights, range }, gradient: { ...gradient, range } };
      parameters.set(name, new Parameter(gpu, shape, name, undefined, place));
    }
    group = [];
  };
  try {
    for (const [name, shape] of shapes) {
      assertMultipleOf4(elements(shape), "its size", `create parameter "${name}"`);
      const size = elements(shape) * bytesPerElement.f32;
      const before = group.at(-1)?.range;
      const offset = before ? aligned(before.offset + before.size) : 0;
      if (offset + size > SHARED_BYTES) allocate();
      group.push({ name, shape, range: { offset: group.length > 0 ? offset : 0, size } });
    }
    allocate();
  } catch (error) {
    gpu.free([...parameters.values()].flatMap((parameter) => parameter.buffers()));
    throw error;
  }
  return parameters;
}

/** Rows `first` to `first + count` of a matrix, to bind; the tensor itself where that is all of it. */
export function rowRange(tensor: Tensor, first: number, count: number): Operand {
  const [rows, ...row] = tensor.shape as [number, ...number[]];
  if (count === rows) return tensor;
  const rowBytes = elements(row) * bytesPerElement[tensor.dtype];
  return { ...slice(tensor, first * rowBytes, count * rowBytes), dtype: tensor.dtype };
}

/** A matrix to bind; of f32 unless its dtype says otherwise. */
export interface Operand extends Bindable {
  /** How its elements are stored. */
  readonly dtype?: DType;
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
