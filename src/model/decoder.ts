/**
 * The Llama-style transformer decoder, forward only; the tape knows the way back.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { folder } from "../io/folder.ts";
import {
  CheckpointError,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  type TensorDtype,
} from "../io/safetensors.ts";
import { attention, segmentBounds, type Segments } from "../ops/attention.ts";
import { embedding } from "../ops/embedding.ts";
import { swiglu } from "../ops/glu.ts";
import { linear } from "../ops/linear.ts";
import { matmul } from "../ops/matmul.ts";
import { rmsnorm } from "../ops/norm.ts";
import { rope, type RopeTable, ropeTable } from "../ops/rope.ts";
import { Random } from "../random.ts";
import { Tape } from "../tape.ts";
import { elements, Parameter, type Tensor, type Weight } from "../tensor.ts";
import { type DecoderConfig, fromHuggingFace, tensorShapes, toHuggingFace } from "./config.ts";
import { readWeights, WeightLoader, type WeightStorage } from "./weights.ts";

/**
 * How a layer's queries meet keys and values: packed training, or a KV cache.
 *
 * @param qkv [T, (H + 2 KV) * D]
 * @returns [T, H * D]
 */
export type Attend = (layer: number, qkv: Tensor, rope: RopeTable) => Tensor;

interface Block {
  readonly inputNorm: Weight;
  readonly qkv: Weight;
  readonly o: Weight;
  readonly mlpNorm: Weight;
  readonly gateUp: Weight;
  readonly down: Weight;
}

/** A decoder-only transformer on a GPU. */
export class Decoder implements Disposable {
  /** Where its weights are. */
  readonly gpu: Gpu;
  /** Its sizes. */
  readonly config: DecoderConfig;
  /** Every weight by name; Hugging Face's, but for those that stack several tensors. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** Those that are trained: all of them, or none. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly #blocks: readonly Block[];
  readonly #rope: RopeTable;

  private constructor(gpu: Gpu, config: DecoderConfig, weights: ReadonlyMap<string, Weight>) {
    this.gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.parameters = new Map(
      [...weights].flatMap(([name, weight]) => weight instanceof Parameter ? [[name, weight]] : []),
    );
    this.#blocks = Array.from({ length: config.layers }, (_, layer) => {
      const own = (name: string) => weights.get(`model.layers.${layer}.${name}.weight`)!;
      return {
        inputNorm: own("input_layernorm"),
        qkv: own("self_attn.qkv_proj"),
        o: own("self_attn.o_proj"),
        mlpNorm: own("post_attention_layernorm"),
        gateUp: own("mlp.gate_up_proj"),
        down: own("mlp.down_proj"),
      };
    });
    this.#rope = ropeTable(gpu, config.maxPositions, config.headDim, config.ropeTheta);
  }

  /**
   * A decoder with random weights: normal with variance 1/fan-in, the two projections back into
   * the residual stream scaled down by sqrt(2 layers) (Radford et al. 2019).
   */
  static create(gpu: Gpu, config: DecoderConfig, { seed = 0 }: { seed?: number } = {}): Decoder {
    const loader = new WeightLoader(gpu, config);
    for (const [name, shape] of tensorShapes(config)) {
      const data = new Float32Array(elements(shape));
      if (shape.length === 1) data.fill(1);
      else {
        const random = new Random(`${seed}/${name}`);
        const residual = /o_proj|down_proj/.test(name) ? Math.sqrt(2 * config.layers) : 1;
        const deviation = 1 / Math.sqrt(shape[1]!) / residual;
        for (let i = 0; i < data.length; i++) data[i] = deviation * normal(random);
      }
      loader.put(name, { dtype: "F32", shape, data: new Uint8Array(data.buffer) });
    }
    return new Decoder(gpu, config, loader.weights);
  }

  /**
   * A decoder with given weights.
   *
   * @param options how to keep them, trained and in f32 by default, and what to call their file
   * @throws {CheckpointError} listing tensors that are missing, unexpected or of another shape.
   */
  static fromTensors(
    gpu: Gpu,
    config: DecoderConfig,
    tensors: ReadonlyMap<string, StoredTensor>,
    options: WeightStorage & { readonly label?: string } = {},
  ): Decoder {
    const { label = "model.safetensors", ...storage } = options;
    const problems: string[] = [];
    const shapes = tensorShapes(config);
    for (const [name, shape] of shapes) {
      const tensor = tensors.get(name);
      if (!tensor) problems.push(`"${name}" is missing`);
      else if (tensor.shape.join() !== shape.join()) {
        problems.push(
          `"${name}" has shape [${tensor.shape.join(", ")}], config expects [${shape.join(", ")}]`,
        );
      }
    }
    for (const name of tensors.keys()) {
      if (!shapes.has(name)) problems.push(`"${name}" is not part of this model`);
    }
    if (problems.length > 0) {
      throw new CheckpointError(
        `Cannot load model from "${label}": ${problems.join("; ")}. ` +
          "Check that config.json belongs to these weights",
      );
    }
    const loader = new WeightLoader(gpu, config, storage);
    for (const name of shapes.keys()) loader.put(name, tensors.get(name)!);
    return new Decoder(gpu, config, loader.weights);
  }

  /**
   * Loads `config.json` and `model.safetensors` from a folder.
   *
   * @throws {CheckpointError} if a file is missing, cut short or does not fit the config.
   * @throws {TypeError} if the config names maths that is not implemented.
   */
  static async load(gpu: Gpu, directory: string, storage: WeightStorage = {}): Promise<Decoder> {
    const files = await folder().read(directory, ["config.json", "model.safetensors"]);
    const config = fromHuggingFace(parseJson(files["config.json"]!, `${directory}/config.json`));
    const label = `${directory}/model.safetensors`;
    const { tensors } = decodeSafetensors(files["model.safetensors"]!, label);
    return Decoder.fromTensors(gpu, config, tensors, { label, ...storage });
  }

  /** The weights by Hugging Face tensor name, row-major. */
  async values(): Promise<Map<string, Float32Array>> {
    return await readWeights(this.gpu, this.config, this.weights);
  }

  /** `config.json` and `model.safetensors` as bytes, loadable by Transformers. */
  async files(
    dtype: TensorDtype = "F32",
  ): Promise<{ "config.json": string; "model.safetensors": Uint8Array }> {
    const shapes = tensorShapes(this.config);
    const tensors = new Map<string, StoredTensor>();
    for (const [name, values] of await this.values()) {
      const shape = [...shapes.get(name)!];
      tensors.set(name, { dtype, shape, data: fromFloat32(values, dtype) });
    }
    return {
      "config.json": `${JSON.stringify(toHuggingFace(this.config), null, 2)}\n`,
      "model.safetensors": encodeSafetensors(tensors, { format: "pt" }),
    };
  }

  /** Writes the model as a folder; an existing model there is replaced as a whole or not at all. */
  async save(directory: string): Promise<void> {
    await folder().write(directory, await this.files());
  }

  /** The vocabulary table that turns hidden states into logits, [V,C]. */
  get head(): Weight {
    const name = this.config.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight";
    return this.weights.get(name)!;
  }

  /**
   * Final hidden states [T,C], normalised.
   *
   * @param ids u32 [T]; on the host where the embedding is to be trained
   */
  hidden(tape: Tape, ids: Uint32Array | Tensor, attend: Attend): Tensor {
    const { normEpsilon } = this.config;
    let x = embedding(tape, this.weights.get("model.embed_tokens.weight")!, ids);
    this.#blocks.forEach((block, layer) => {
      const qkv = linear(tape, rmsnorm(tape, x, block.inputNorm, normEpsilon), block.qkv);
      x = linear(tape, attend(layer, qkv, this.#rope), block.o, x);
      const inner = rmsnorm(tape, x, block.mlpNorm, normEpsilon);
      x = linear(tape, swiglu(tape, linear(tape, inner, block.gateUp)), block.down, x);
    });
    return rmsnorm(tape, x, this.weights.get("model.norm.weight")!, normEpsilon);
  }

  /**
   * Hidden states [T,C] of sequences packed end to end.
   *
   * @throws {RangeError} if a sequence is empty or exceeds the context, or the lengths do not add up.
   */
  packed(tape: Tape, ids: Uint32Array, lengths: readonly number[]): Tensor {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    if (total !== ids.length || Math.min(...lengths) < 1) {
      throw new RangeError(
        `Cannot run sequences of ${
          lengths.join(" + ")
        } tokens: they must not be empty and add up ` +
          `to the ${ids.length} tokens given`,
      );
    }
    const longest = Math.max(...lengths);
    if (longest > this.config.maxPositions) {
      throw new RangeError(
        `Cannot run a sequence of ${longest} tokens: the model's context is ${this.config.maxPositions}`,
      );
    }
    const bounds = segmentBounds(lengths);
    const segments: Segments = {
      start: tape.upload(bounds.start, "segment starts"),
      end: tape.upload(bounds.end, "segment ends"),
    };
    const positions = tape.upload(bounds.positions, "positions");
    return this.hidden(tape, ids, (_layer, qkv, table) => {
      const { q, k, v } = rope(tape, qkv, positions, table, this.config);
      return attention(tape, q, k, v, segments, this.config);
    });
  }

  /** Logits [R,V] of hidden states [R,C]. */
  project(tape: Tape, hidden: Tensor): Tensor {
    const [R, C] = hidden.shape as [number, number];
    const { vocabSize: V } = this.config;
    const logits = tape.tensor([R, V], "logits");
    matmul(this.gpu, "nt", hidden, this.head, logits, { M: R, N: V, K: C });
    return logits;
  }

  /**
   * Logits of one sequence.
   *
   * @param ids [T]
   * @returns [T * V], row-major
   */
  async logits(ids: Uint32Array): Promise<Float32Array> {
    const tape = new Tape(this.gpu, { recording: false });
    const logits = this.project(tape, this.packed(tape, ids, [ids.length]));
    const reading = this.gpu.read(logits);
    this.gpu.endStep();
    const [bytes] = await reading;
    return new Float32Array(bytes!);
  }

  /** Frees everything that the model holds on the GPU. */
  [Symbol.dispose](): void {
    const weights = [...this.weights.values()].flatMap((weight) => weight.buffers());
    this.gpu.free([...weights, this.#rope.cosines.buffer, this.#rope.sines.buffer]);
  }
}

/** Box-Muller. */
function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.float()));
  return radius * Math.cos(2 * Math.PI * random.float());
}

function parseJson(bytes: Uint8Array, label: string): Record<string, unknown> {
  const broken = (fault: string) =>
    new CheckpointError(`Cannot read "${label}": ${fault}. Copy the file again`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw broken((error as Error).message);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw broken("it is not a JSON object");
  }
  return value as Record<string, unknown>;
}
