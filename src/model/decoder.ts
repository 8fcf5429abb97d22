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
  CheckpointError,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  type TensorDtype,
  toFloat32,
} from "../io/safetensors.ts";
import { add } from "../ops/add.ts";
import { attention, segmentBounds, type Segments } from "../ops/attention.ts";
import { embedding } from "../ops/embedding.ts";
import { activate, glu } from "../ops/glu.ts";
import { linear } from "../ops/linear.ts";
import { limitLogits, type LogitLimits } from "../ops/lm_head.ts";
import { matmul } from "../ops/matmul.ts";
import { headNorm, layernorm, rmsnorm } from "../ops/norm.ts";
import { rope, type RopeTable } from "../ops/rope.ts";
import { Tape } from "../tape.ts";
import { Parameter, type Tensor } from "../tensor.ts";
import { type DecoderConfig, tableRows } from "./config.ts";
import { fromHuggingFace, toHuggingFace } from "./families.ts";
import {
  assemble,
  type ParameterSpec,
  parameterSpecs,
  type Role,
  takeApart,
  tensorShapes,
} from "./parameters.ts";
import { ropeTables } from "./rope_tables.ts";
import { matchTensors, randomValues } from "./weights.ts";

/**
 * How a layer's queries meet keys and values: packed training, or a KV cache.
 *
 * @param qkv [T, (H + 2 KV) * D]
 * @returns [T, H * D]
 */
export type Attend = (tape: Tape, layer: number, qkv: Tensor, rope: RopeTable) => Tensor;

/** Weight and bias of one role. */
interface Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

type Block = Readonly<Partial<Record<Role, Module>>>;

/** A decoder-only transformer on a GPU. */
export class Decoder implements Disposable {
  /** Where its weights are. */
  readonly gpu: Gpu;
  /** Its sizes. */
  readonly config: DecoderConfig;
  /** Every trained parameter by name; Hugging Face's, but for those that stack several tensors. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly #modules: Block;
  readonly #blocks: readonly Block[];
  /** Of the layers without a window, and of those with one. */
  readonly #ropes: { readonly full: RopeTable; readonly window: RopeTable };

  private constructor(gpu: Gpu, config: DecoderConfig, parameters: Map<string, Parameter>) {
    this.gpu = gpu;
    this.config = config;
    this.parameters = parameters;
    const specs = parameterSpecs(config);
    const modules = (layer: number | null): Block => {
      const found: Partial<Record<Role, { weight: Tensor; bias: Tensor | undefined }>> = {};
      for (const spec of specs.filter((spec) => spec.layer === layer)) {
        const parameter = parameters.get(spec.name)!;
        if (spec.kind === "weight") found[spec.role] = { weight: parameter, bias: undefined };
        else found[spec.role]!.bias = parameter;
      }
      return found;
    };
    this.#modules = modules(null);
    this.#blocks = Array.from({ length: config.layers }, (_, layer) => modules(layer));
    this.#ropes = ropeTables(gpu, config);
  }

  /**
   * A decoder with random weights: normal with variance 1/fan-in, the two projections back into
   * the residual stream scaled down by sqrt(2 layers) (Radford et al. 2019).
   */
  static create(gpu: Gpu, config: DecoderConfig, { seed = 0 }: { seed?: number } = {}): Decoder {
    return Decoder.#of(gpu, config, (spec) => randomValues(spec, config, seed));
  }

  /**
   * A decoder with given weights.
   *
   * @throws {CheckpointError} listing tensors that are missing, unexpected or of another shape.
   */
  static fromTensors(
    gpu: Gpu,
    config: DecoderConfig,
    tensors: ReadonlyMap<string, StoredTensor>,
    label = "model.safetensors",
  ): Decoder {
    const stored = matchTensors(config, tensors, label);
    return Decoder.#of(gpu, config, (spec) => {
      const parts = spec.parts.map(({ name }) =>
        [name, toFloat32(tensors.get(stored.get(name)!)!)] as const
      );
      return assemble(spec, new Map(parts));
    });
  }

  static #of(
    gpu: Gpu,
    config: DecoderConfig,
    values: (spec: ParameterSpec) => Float32Array,
  ): Decoder {
    const parameters = new Map<string, Parameter>();
    for (const spec of parameterSpecs(config)) {
      parameters.set(spec.name, new Parameter(gpu, spec.shape, spec.name, values(spec)));
    }
    return new Decoder(gpu, config, parameters);
  }

  /**
   * Loads `config.json` and `model.safetensors` from a folder.
   *
   * @throws {CheckpointError} if a file is missing, cut short or does not fit the config.
   * @throws {TypeError} if the config names maths that is not implemented.
   */
  static async load(gpu: Gpu, directory: string): Promise<Decoder> {
    const files = await folder().read(directory, ["config.json", "model.safetensors"]);
    const config = fromHuggingFace(parseJson(files["config.json"]!, `${directory}/config.json`));
    const label = `${directory}/model.safetensors`;
    const { tensors } = decodeSafetensors(files["model.safetensors"]!, label);
    return Decoder.fromTensors(gpu, config, tensors, label);
  }

  /** The weights by Hugging Face tensor name, row-major. */
  async values(): Promise<Map<string, Float32Array>> {
    const all = parameterSpecs(this.config);
    const buffers = await this.gpu.read(...all.map(({ name }) => this.parameters.get(name)!));
    return new Map(
      all.flatMap((spec, i) => [...takeApart(spec, new Float32Array(buffers[i]!))]),
    );
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

  /** The vocabulary table that turns hidden states into logits, [tableRows, C]. */
  get head(): Parameter {
    return (this.#modules.head ?? this.#modules.embedding!).weight as Parameter;
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
    return linear(tape, x, weight, { bias, residual });
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
    const { positions, ...whole } = segmentBounds(lengths);
    const onGpu = ({ start, end }: { start: Uint32Array; end: Uint32Array }): Segments => ({
      start: tape.upload(start, "segment starts"),
      end: tape.upload(end, "segment ends"),
    });
    // By window; most models have one or two.
    const segments = new Map<number | null, Segments>([[null, onGpu(whole)]]);
    for (const window of new Set(this.config.windows)) {
      if (window !== null) segments.set(window, onGpu(segmentBounds(lengths, window)));
    }
    const at = tape.upload(positions, "positions");
    return this.hidden(tape, ids, positions, (tape, layer, qkv, table) => {
      const { q, k, v } = rope(tape, qkv, at, table, this.config);
      return attention(tape, q, k, v, segments.get(this.config.windows[layer]!)!, this.config);
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

  /** Frees everything that the model holds on the GPU. */
  [Symbol.dispose](): void {
    const parameters = [...this.parameters.values()].flatMap((parameter) => parameter.buffers());
    const tables = [...new Set([this.#ropes.full, this.#ropes.window])];
    const angles = tables.flatMap(({ cosines, sines }) => [cosines.buffer, sines.buffer]);
    this.gpu.free([...parameters, ...angles]);
  }
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
