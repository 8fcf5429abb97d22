/**
 * The transformer decoder, forward only; the tape knows the way back.
 *
 * Every family is this one code: which norms, biases, activations and positions it has are values
 * of its config.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { folder } from "../io/folder.ts";
import {
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  type TensorDtype,
} from "../io/safetensors.ts";
import { add } from "../ops/add.ts";
import { attention } from "../ops/attention.ts";
import { embedding } from "../ops/embedding.ts";
import { activate, glu } from "../ops/glu.ts";
import { linear } from "../ops/linear.ts";
import { limitLogits, type LogitLimits } from "../ops/lm_head.ts";
import { matmul } from "../ops/matmul.ts";
import { headNorm, layernorm, rmsnorm } from "../ops/norm.ts";
import { rope, type RopeTable } from "../ops/rope.ts";
import { Tape } from "../tape.ts";
import { Parameter, type Tensor, type Weight } from "../tensor.ts";
import { type DecoderConfig, tableRows } from "./config.ts";
import { configText } from "./config_text.ts";
import { fromHuggingFace, toHuggingFace } from "./families.ts";
import { Adapters, type LoraConfig } from "./lora.ts";
import { openModel } from "./open.ts";
import { parameterSpecs, type Role, tensorShapes } from "./parameters.ts";
import { type RopeTables, ropeTables } from "./rope_tables.ts";
import { checkLengths, segmentsByWindow } from "./segments.ts";
import { typeToKeep } from "./stored_types.ts";
import {
  matchTensors,
  randomTensors,
  readWeights,
  WeightLoader,
  type WeightStorage,
} from "./weights.ts";

/**
 * How a layer's queries meet keys and values: packed training, or a KV cache.
 *
 * @param qkv [T, (H + 2 KV) * D]
 * @returns [T, H * D]
 */
export type Attend = (tape: Tape, layer: number, qkv: Tensor, rope: RopeTable) => Tensor;

/** Weight and bias of one role. */
interface Module {
  readonly weight: Weight;
  readonly bias: Weight | undefined;
}

type Block = Readonly<Partial<Record<Role, Module>>>;

/** How to load a model. */
export interface LoadOptions extends WeightStorage {
  /** Longest sequence, where it is to be shorter than the model allows: tables are as long. */
  readonly context?: number | undefined;
  /** Called after each tensor with the number of them that are there, and of all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A decoder-only transformer on a GPU. */
export class Decoder implements Disposable {
  /** Where its weights are. */
  readonly gpu: Gpu;
  /** Its sizes. */
  readonly config: DecoderConfig;
  /** Every weight by name; Hugging Face's, but for those that stack several tensors. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** `config.json` as it was read, to be written as such. */
  readonly #json: Readonly<Record<string, unknown>>;
  /** Whether weights and tables are freed with it; those of `base` are another's. */
  readonly #owner: boolean;
  readonly #modules: Block;
  readonly #blocks: readonly Block[];
  readonly #ropes: RopeTables;
  #adapters: Adapters | null = null;

  private constructor(
    gpu: Gpu,
    config: DecoderConfig,
    weights: ReadonlyMap<string, Weight>,
    { json, ropes }: { json?: Readonly<Record<string, unknown>>; ropes?: RopeTables } = {},
  ) {
    this.gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.#json = json ?? toHuggingFace(config);
    this.#owner = ropes === undefined;
    const specs = parameterSpecs(config);
    const modules = (layer: number | null): Block => {
      const found: Partial<Record<Role, { weight: Weight; bias: Weight | undefined }>> = {};
      for (const spec of specs.filter((spec) => spec.layer === layer)) {
        const own = weights.get(spec.name)!;
        if (spec.kind === "weight") found[spec.role] = { weight: own, bias: undefined };
        else found[spec.role]!.bias = own;
      }
      return found;
    };
    this.#modules = modules(null);
    this.#blocks = Array.from({ length: config.layers }, (_, layer) => modules(layer));
    this.#ropes = ropes ?? ropeTables(gpu, config);
  }

  /**
   * A decoder with random weights: matrices normal with variance 1/fan-in, the two projections back
   * into the residual stream scaled down by sqrt(2 layers) (Radford et al. 2019).
   */
  static create(
    gpu: Gpu,
    config: DecoderConfig,
    { seed = 0, ...storage }: { seed?: number } & WeightStorage = {},
  ): Decoder {
    const loader = new WeightLoader(gpu, config, storage);
    for (const spec of parameterSpecs(config)) {
      for (const [name, tensor] of randomTensors(spec, config, seed)) loader.put(name, tensor);
    }
    return new Decoder(gpu, config, loader.weights);
  }

  /** A decoder whose weights are all zero, for rehearsals. */
  static zeros(gpu: Gpu, config: DecoderConfig, storage: WeightStorage = {}): Decoder {
    return new Decoder(gpu, config, new WeightLoader(gpu, config, storage).weights);
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
    const stored = matchTensors(config, tensors, label);
    const loader = new WeightLoader(gpu, config, storage);
    for (const [name, own] of stored) loader.put(name, tensors.get(own)!);
    return new Decoder(gpu, config, loader.weights);
  }

  /**
   * Loads a model tensor by tensor, so that it may be larger than the memory of JavaScript. Frozen
   * weights are kept as their file has them, or the options say, where the adapter can use them so.
   *
   * @param path a folder with `config.json` and safetensors, in one file or in shards; or GGUF
   * @throws {CheckpointError} if a file is missing, cut short or does not fit the config.
   * @throws {TypeError} if maths is not implemented, or the adapter gets a type that is asked for wrong.
   */
  static async load(gpu: Gpu, path: string, options: LoadOptions = {}): Promise<Decoder> {
    const { context, onProgress, ...storage } = options;
    using model = await openModel(path);
    const { source, json } = model;
    const own = fromHuggingFace(json);
    // Learned positions are as many as they are.
    const most = own.rope ? context ?? Infinity : Infinity;
    const config = { ...own, maxPositions: Math.min(own.maxPositions, most) };
    const stored = matchTensors(config, source.entries, source.label);
    const dtype = await typeToKeep(gpu, source.entries, storage);
    const loader = new WeightLoader(gpu, config, { ...storage, dtype });
    try {
      let done = 0;
      for (const [name, own] of stored) {
        loader.put(name, await source.read(own));
        onProgress?.(++done, stored.size);
      }
      return new Decoder(gpu, config, loader.weights, { json });
    } catch (error) {
      loader.discard();
      throw error;
    }
  }

  /** What is trained, by name: the adapters where there are any, or the weights that are not frozen. */
  get parameters(): ReadonlyMap<string, Parameter> {
    if (this.#adapters) return this.#adapters.parameters;
    return new Map(
      [...this.weights].flatMap(([name, weight]) =>
        weight instanceof Parameter ? [[name, weight]] : []
      ),
    );
  }

  /** Its low-rank adapters; null where there are none. */
  get adapters(): Adapters | null {
    return this.#adapters;
  }

  /**
   * Adds low-rank adapters, which change nothing yet and are trained instead of the weights.
   *
   * @throws {TypeError} if the weights are not frozen, or there are adapters already.
   * @throws {RangeError} if a target is no linear layer of the model.
   */
  adapt(lora: LoraConfig, { seed = 0 }: { seed?: number } = {}): Adapters {
    const frozen = [...this.weights.values()].every((weight) => !(weight instanceof Parameter));
    if (this.#adapters || !frozen) {
      throw new TypeError(
        `Cannot add adapters: the model ${
          this.#adapters ? "has some already" : "trains its weights; load it with { frozen: true }"
        }`,
      );
    }
    return this.#adapters = new Adapters(this.gpu, this.config, lora, seed);
  }

  /** The same model without its adapters: a reference policy that takes no memory of its own. */
  get base(): Decoder {
    return new Decoder(this.gpu, this.config, this.weights, {
      json: this.#json,
      ropes: this.#ropes,
    });
  }

  /** The weights by Hugging Face tensor name, row-major, with the adapters merged into them. */
  async values(): Promise<Map<string, Float32Array>> {
    const values = await readWeights(this.gpu, this.config, this.weights);
    await this.#adapters?.merge(values);
    return values;
  }

  /**
   * `config.json` and `model.safetensors` as bytes, loadable by Transformers, with the adapters
   * merged into the weights.
   */
  async files(
    dtype: TensorDtype = "F32",
  ): Promise<{ "config.json": string; "model.safetensors": Uint8Array }> {
    const shapes = tensorShapes(this.config);
    const tensors = new Map<string, StoredTensor>();
    for (const [name, values] of await this.values()) {
      const shape = [...shapes.get(name)!];
      tensors.set(name, { dtype, shape, data: fromFloat32(values, dtype) });
    }
    // Transformers 5 reads `dtype` first, 4 knows the other name alone.
    const { dtype: _newer, torch_dtype: _older, ...maths } = this.#json;
    const torch_dtype = { F32: "float32", F16: "float16", BF16: "bfloat16" }[dtype];
    return {
      "config.json": configText({ ...maths, torch_dtype }),
      "model.safetensors": encodeSafetensors(tensors, { format: "pt" }),
    };
  }

  /** Writes the model as a folder; an existing model there is replaced as a whole or not at all. */
  async save(directory: string): Promise<void> {
    await folder().write(directory, await this.files());
  }

  /** The vocabulary table that turns hidden states into logits, [tableRows, C]. */
  get head(): Weight {
    return (this.#modules.head ?? this.#modules.embedding!).weight;
  }

  /** What becomes of its logits. */
  get logitLimits(): LogitLimits {
    return { cap: this.config.logitCap, vocabulary: this.config.vocabSize };
  }

  /**
   * Final hidden states [T,C], normalised.
   *
   * @param ids u32 [T]; on the host where the embedding is to be trained
   * @param positions u32 [T]; on the host where they are to be trained
   */
  hidden(
    tape: Tape,
    ids: Uint32Array | Tensor,
    positions: Uint32Array | Tensor,
    attend: Attend,
  ): Tensor {
    const { config } = this;
    const table = this.#modules.embedding!.weight;
    let x = embedding(tape, table, ids, config.embeddingScale);
    const learned = this.#modules.positions?.weight;
    if (learned) x = add(tape, x, embedding(tape, learned, positions));
    this.#blocks.forEach((block, layer) => {
      x = tape.block(
        x,
        (tape, x) => this.#mlp(tape, block, this.#attention(tape, block, layer, x, attend)),
      );
    });
    return this.#norm(tape, x, this.#modules.finalNorm!);
  }

  #attention(tape: Tape, block: Block, layer: number, x: Tensor, attend: Attend): Tensor {
    const { config } = this;
    let qkv = this.#linear(tape, this.#norm(tape, x, block.attentionNorm!), block.qkv!);
    const { queryNorm, keyNorm } = block;
    if (queryNorm && keyNorm) {
      const { normEpsilon } = config;
      qkv = headNorm(
        tape,
        qkv,
        queryNorm.weight,
        keyNorm.weight,
        config,
        normEpsilon,
        this.#normOffset,
      );
    }
    const rope = config.windows[layer] === null ? this.#ropes.full : this.#ropes.window;
    return this.#join(tape, x, attend(tape, layer, qkv, rope), block.o!, block.attentionPostNorm);
  }

  #mlp(tape: Tape, block: Block, x: Tensor): Tensor {
    const { activation, gated } = this.config;
    const up = this.#linear(tape, this.#norm(tape, x, block.mlpNorm!), block.up!);
    const inner = gated ? glu(tape, up, activation) : activate(tape, up, activation);
    return this.#join(tape, x, inner, block.down!, block.mlpPostNorm);
  }

  /** x + linear(y), the latter normalised in some families. */
  #join(tape: Tape, x: Tensor, y: Tensor, module: Module, postNorm: Module | undefined): Tensor {
    if (!postNorm) return this.#linear(tape, y, module, x);
    return add(tape, x, this.#norm(tape, this.#linear(tape, y, module), postNorm));
  }

  #linear(tape: Tape, x: Tensor, { weight, bias }: Module, residual?: Tensor): Tensor {
    const adapted = this.#adapters?.of(tape, weight.label);
    return linear(tape, x, weight, { bias, residual, adapted });
  }

  get #normOffset(): number {
    return this.config.norm === "rms1" ? 1 : 0;
  }

  #norm(tape: Tape, x: Tensor, { weight, bias }: Module): Tensor {
    const { normEpsilon } = this.config;
    if (bias) return layernorm(tape, x, weight, bias, normEpsilon);
    return rmsnorm(tape, x, weight, normEpsilon, this.#normOffset);
  }

  /**
   * Hidden states [T,C] of sequences packed end to end.
   *
   * @throws {RangeError} if a sequence is empty or exceeds the context, or the lengths do not add up.
   */
  packed(tape: Tape, ids: Uint32Array, lengths: readonly number[]): Tensor {
    const { windows, maxPositions } = this.config;
    checkLengths(lengths, ids.length, maxPositions);
    const { positions, segments } = segmentsByWindow(tape, lengths, windows);
    const at = tape.upload(positions, "positions");
    return this.hidden(tape, ids, positions, (tape, layer, qkv, table) => {
      const { q, k, v } = rope(tape, qkv, at, table, this.config);
      return attention(tape, q, k, v, segments.get(windows[layer]!)!, this.config);
    });
  }

  /** Logits [R, tableRows] of hidden states [R,C]; those behind V are as low as can be. */
  project(tape: Tape, hidden: Tensor): Tensor {
    const [R, C] = hidden.shape as [number, number];
    const N = tableRows(this.config);
    const logits = tape.tensor([R, N], "logits");
    matmul(this.gpu, "nt", hidden, this.head, logits, { M: R, N, K: C });
    limitLogits(this.gpu, logits, [R, N], this.logitLimits);
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
    const padded = new Float32Array(bytes!);
    const V = this.config.vocabSize;
    const [T, rows] = [ids.length, tableRows(this.config)];
    if (rows === V) return padded;
    const values = new Float32Array(T * V);
    for (let t = 0; t < T; t++) values.set(padded.subarray(t * rows, t * rows + V), t * V);
    return values;
  }

  /** Frees everything that the model holds on the GPU; of `base`, nothing. */
  [Symbol.dispose](): void {
    this.#adapters?.[Symbol.dispose]();
    if (!this.#owner) return;
    const weights = [...this.weights.values()].flatMap((weight) => weight.buffers());
    const tables = [...new Set([this.#ropes.full, this.#ropes.window])];
    const angles = tables.flatMap(({ cosines, sines }) => [cosines.buffer, sines.buffer]);
    this.gpu.free([...weights, ...angles]);
  }
}
