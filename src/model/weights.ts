/**
 * How the weights of a model are kept on the GPU, and how they get there and back.
 *
 * Matrices that are trained are f32. Frozen ones may be bf16 or f16, which halves their memory;
 * kernels unpack them as they read, and compute in f32. Vectors (norms, biases) are f32 always.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { fromFloat32, type StoredTensor, type TensorDtype, toFloat32 } from "../io/safetensors.ts";
import { bytesPerElement, elements, type FloatType, Parameter, Weight } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { stacks, unstack } from "./stacking.ts";

/** How to keep the weights of a model. */
export interface WeightStorage {
  /** Type of the matrices, f32 by default. The others are for frozen weights. */
  readonly dtype?: FloatType;
  /** Whether they are never trained: no gradients are kept, and no optimizer sees them. */
  readonly frozen?: boolean;
}

/** The weights of a model, filled tensor by tensor: no more than one of them is on the host at once. */
export class WeightLoader {
  /** Every weight by name, allocated; zeros until it is filled. */
  readonly weights: ReadonlyMap<string, Weight>;
  readonly #gpu: Gpu;
  /** Where each tensor of a checkpoint goes: a weight, and the number of its elements before it. */
  readonly #places = new Map<string, { weight: Weight; offset: number }>();

  /**
   * Allocates all of them.
   *
   * @throws {TypeError} if weights that are trained are not to be f32.
   * @throws {OutOfMemoryError} if they do not fit; nothing stays allocated then.
   */
  constructor(gpu: Gpu, config: DecoderConfig, storage: WeightStorage = {}) {
    const { dtype = "f32", frozen = false } = storage;
    if (dtype !== "f32" && !frozen) {
      throw new TypeError(
        `Cannot train weights of type ${dtype}: freeze them ({ frozen: true }), or keep them as f32`,
      );
    }
    this.#gpu = gpu;
    const weights = new Map<string, Weight>();
    try {
      for (const { name, shape, parts } of stacks(config)) {
        const weight = frozen
          ? new Weight(gpu, shape, name, { dtype: shape.length > 1 ? dtype : "f32" })
          : new Parameter(gpu, shape, name);
        weights.set(name, weight);
        let offset = 0;
        for (const part of parts) {
          this.#places.set(part.name, { weight, offset });
          offset += elements(part.shape);
        }
      }
    } catch (error) {
      // So that a caller without memory for f32 can try again with bf16.
      gpu.free([...weights.values()].flatMap((weight) => weight.buffers()));
      throw error;
    }
    this.weights = weights;
  }

  /**
   * Uploads one tensor of a checkpoint; converted where it is not of the type that it is kept in.
   *
   * @param name Hugging Face's
   * @param tensor of the shape that the config asks for
   */
  put(name: string, tensor: StoredTensor): void {
    const { weight, offset } = this.#places.get(name)!;
    const dtype = weight.dtype.toUpperCase() as TensorDtype;
    const data = tensor.dtype === dtype ? tensor.data : fromFloat32(toFloat32(tensor), dtype);
    this.#gpu.write(weight.buffer, data, offset * bytesPerElement[weight.dtype]);
  }
}

/** Reads weights back as f32, by Hugging Face tensor name, in the order of the model's tensors. */
export async function readWeights(
  gpu: Gpu,
  config: DecoderConfig,
  weights: ReadonlyMap<string, Weight>,
): Promise<Map<string, Float32Array>> {
  const all = stacks(config).map((whole) => ({ whole, weight: weights.get(whole.name)! }));
  const values = new Map<string, Float32Array>();
  let next = 0;
  for await (const content of gpu.readEach(all.map(({ weight }) => weight))) {
    const { whole, weight: { dtype, shape } } = all[next++]!;
    const data = new Uint8Array(content);
    const wide = toFloat32({ dtype: dtype.toUpperCase() as TensorDtype, shape, data });
    for (const [name, part] of unstack(whole, wide)) values.set(name, part);
  }
  return values;
}
