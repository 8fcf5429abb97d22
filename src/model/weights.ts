/**
 * How the weights of a model are kept on the GPU, and how they get there and back: random numbers,
 * or the tensors of a checkpoint, one at a time.
 *
 * Matrices that are trained are f32. Frozen ones may be bf16 or f16, which halves their memory;
 * kernels unpack them as they read, and compute in f32. Vectors (norms, biases) are f32 always.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import {
  CheckpointError,
  fromFloat32,
  type StoredTensor,
  type TensorDtype,
  toFloat32,
} from "../io/safetensors.ts";
import { Random } from "../random.ts";
import { bytesPerElement, createParameters, elements, type FloatType, Weight } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";
import {
  isRedundant,
  type ParameterSpec,
  parameterSpecs,
  type Part,
  storedName,
  takeApart,
  tensorShapes,
  transpose,
} from "./parameters.ts";

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
  readonly #places = new Map<string, { part: Part; weight: Weight; offset: number }>();

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
    const specs = parameterSpecs(config);
    const weights = this.weights = new Map<string, Weight>(
      frozen ? [] : createParameters(gpu, new Map(specs.map(({ name, shape }) => [name, shape]))),
    );
    try {
      for (const { name, shape, parts } of specs) {
        const weight = weights.get(name) ??
          new Weight(gpu, shape, name, { dtype: shape.length > 1 ? dtype : "f32" });
        weights.set(name, weight);
        let offset = 0;
        for (const part of parts) {
          this.#places.set(part.name, { part, weight, offset });
          offset += elements(part.shape);
        }
      }
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  /**
   * Uploads one tensor of a checkpoint; converted where it is not of the type that it is kept in.
   *
   * @param name Hugging Face's
   * @param tensor of the shape that the config asks for
   */
  put(name: string, tensor: StoredTensor): void {
    const { part, weight, offset } = this.#places.get(name)!;
    const dtype = weight.dtype.toUpperCase() as TensorDtype;
    let { data } = tensor;
    if (part.transposed || tensor.dtype !== dtype) {
      const values = toFloat32(tensor);
      data = fromFloat32(part.transposed ? transpose(values, part.shape) : values, dtype);
    }
    this.#gpu.write(weight, data, offset * bytesPerElement[weight.dtype]);
  }

  /** Frees what was allocated, where it can't be filled. */
  discard(): void {
    this.#gpu.free([...this.weights.values()].flatMap((weight) => weight.buffers()));
  }
}

/** Reads weights back as f32, by Hugging Face tensor name, in the order of the model's tensors. */
export async function readWeights(
  gpu: Gpu,
  config: DecoderConfig,
  weights: ReadonlyMap<string, Weight>,
): Promise<Map<string, Float32Array>> {
  const all = parameterSpecs(config).map((spec) => ({ spec, weight: weights.get(spec.name)! }));
  const values = new Map<string, Float32Array>();
  let next = 0;
  for await (const content of gpu.readEach(all.map(({ weight }) => weight))) {
    const { spec, weight: { dtype, shape } } = all[next++]!;
    const data = new Uint8Array(content);
    const wide = toFloat32({ dtype: dtype.toUpperCase() as TensorDtype, shape: [...shape], data });
    for (const [name, part] of takeApart(spec, wide)) values.set(name, part);
  }
  return values;
}

/**
 * Random tensors of one parameter, by name: matrices normal with variance 1/fan-in, the two
 * projections back into the residual stream scaled down by sqrt(2 layers) (Radford et al. 2019);
 * norms the identity, biases 0.
 */
export function* randomTensors(
  { role, kind, parts }: ParameterSpec,
  { layers, norm }: DecoderConfig,
  seed: number,
): Generator<[string, StoredTensor]> {
  for (const { name, shape, transposed } of parts) {
    const values = new Float32Array(elements(shape));
    if (shape.length === 2) {
      const random = new Random(`${seed}/${name}`);
      const residual = role === "o" || role === "down" ? Math.sqrt(2 * layers) : 1;
      const deviation = 1 / Math.sqrt(shape[transposed ? 0 : 1]!) / residual;
      for (let i = 0; i < values.length; i++) values[i] = deviation * normal(random);
    } else if (kind === "weight" && norm !== "rms1") values.fill(1);
    const data = new Uint8Array(values.buffer);
    yield [name, { dtype: "F32", shape: [...shape], data }];
  }
}

/**
 * The name under which a checkpoint stores each tensor of a model.
 *
 * @throws {CheckpointError} listing tensors that are missing, unexpected or of another shape.
 */
export function matchTensors(
  config: DecoderConfig,
  stored: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  label: string,
): Map<string, string> {
  const problems: string[] = [];
  const found = new Map<string, string>();
  const known = tensorShapes(config);
  for (const [name, shape] of known) {
    const own = storedName(name, (name) => stored.has(name));
    const given = own === null ? null : stored.get(own)!.shape;
    if (own === null) problems.push(`"${name}" is missing`);
    else if (given!.join() !== shape.join()) {
      problems.push(
        `"${own}" has shape [${given!.join(", ")}], config expects [${shape.join(", ")}]`,
      );
    } else found.set(name, own);
  }
  const used = new Set(found.values());
  for (const name of stored.keys()) {
    if (!used.has(name) && !known.has(name) && !isRedundant(name, config)) {
      problems.push(`"${name}" is not part of this model`);
    }
  }
  if (problems.length > 0) {
    // A model of another size has thousands of them.
    const more = problems.length > 12 ? `; and ${problems.length - 12} more` : "";
    throw new CheckpointError(
      `Cannot load model from "${label}": ${problems.slice(0, 12).join("; ")}${more}. ` +
        "Check that config.json belongs to these weights",
    );
  }
  return found;
}

/** Box-Muller. */
function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.float()));
  return radius * Math.cos(2 * Math.PI * random.float());
}
