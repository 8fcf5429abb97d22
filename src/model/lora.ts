/**
 * Low-rank adapters of a decoder (Hu et al. 2021), as PEFT configures, names and stores them.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import {
  CheckpointError,
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../io/safetensors.ts";
import { type LowRank, lowRank, type RowBlock } from "../ops/lora.ts";
import { Random } from "../random.ts";
import type { Tape } from "../tape.ts";
import { Parameter, type Tensor } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { type ParameterSpec, parameterSpecs } from "./parameters.ts";

/** What is adapted, and how much. */
export interface LoraConfig {
  /** Rank of every adapter. */
  readonly rank: number;
  /** What they add is scaled by alpha / rank, or by alpha / sqrt(rank) where `rankStabilised`. */
  readonly alpha: number;
  /** Share of its inputs that an adapter does not see in training. */
  readonly dropout: number;
  /** Names of linear layers, as `q_proj`; or all of them but the LM head. */
  readonly targets: readonly string[] | "all-linear";
  /** Kalajdzievski 2023. */
  readonly rankStabilised: boolean;
}

/** PEFT's defaults, on all linear layers. */
export const defaultLora: LoraConfig = {
  rank: 8,
  alpha: 16,
  dropout: 0,
  targets: "all-linear",
  rankStabilised: false,
};

/** One module's adapter inside of the parameters that it shares with others. */
interface Place {
  /** Name of the module, as `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** The parameter of the model that its weight is part of. */
  readonly parameter: string;
  /** Which of the adapters side by side it is. */
  readonly block: number;
  readonly rows: RowBlock;
  /** Whether the weight is stored as [in, out]. */
  readonly transposed: boolean;
}

/** Name of the module that a weight belongs to. */
function moduleOf(tensor: string): string {
  return tensor.replace(/\.weight$/, "");
}

/** The parameters that get adapters, and where each module's is. */
function placesOf(
  config: DecoderConfig,
  { targets }: LoraConfig,
): Map<ParameterSpec, Place[]> {
  const found = new Map<ParameterSpec, Place[]>();
  const linear = parameterSpecs(config).filter(({ layer, kind, shape }) =>
    layer !== null && kind === "weight" && shape.length === 2
  );
  const known = new Set<string>();
  for (const spec of linear) {
    let first = 0;
    const places: Place[] = [];
    for (const { name, shape, transposed } of spec.parts) {
      const module = moduleOf(name);
      known.add(module.split(".").at(-1)!);
      const last = first + shape[transposed ? 1 : 0]!;
      const wanted = targets === "all-linear" ||
        targets.some((target) => module === target || module.endsWith(`.${target}`));
      if (wanted) {
        const block = places.length;
        places.push({ module, parameter: spec.name, block, rows: { first, last }, transposed });
      }
      first = last;
    }
    if (places.length > 0) found.set(spec, places);
  }
  const modules = [...found.values()].flat();
  const unmatched = targets === "all-linear"
    ? []
    : targets.filter((target) =>
      !modules.some(({ module }) => module === target || module.endsWith(`.${target}`))
    );
  if (unmatched.length > 0 || modules.length === 0) {
    throw new RangeError(
      `Cannot adapt ${unmatched.join(", ") || "nothing"}: the linear layers of this model are ` +
        [...known].join(", "),
    );
  }
  return found;
}

/** Adapters as PEFT stores them. */
export interface AdapterFiles {
  readonly "adapter_config.json": string;
  readonly "adapter_model.safetensors": Uint8Array;
}

/** The adapters of a model. */
export class Adapters implements Disposable {
  /** What is adapted, and how much. */
  readonly config: LoraConfig;
  /** Their matrices by name, `….lora_A` and `….lora_B` of the parameter that they adapt. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly #gpu: Gpu;
  readonly #model: DecoderConfig;
  readonly #places: readonly Place[];
  readonly #byParameter = new Map<string, LowRank & { readonly index: number }>();
  readonly #seed: number;
  /** Rows of A, and columns of B, that each module has: the rank, in fours. */
  readonly #height: number;

  /**
   * Adapters that change nothing yet: A uniform within 1/sqrt(fan-in), B zero, as PEFT begins.
   *
   * @throws {RangeError} if a target is no linear layer of the model, or a number is out of range.
   */
  constructor(gpu: Gpu, model: DecoderConfig, config: LoraConfig, seed = 0) {
    const { rank, alpha, dropout, rankStabilised } = config;
    if (!Number.isInteger(rank) || rank < 1 || !(alpha > 0) || !(dropout >= 0 && dropout < 1)) {
      throw new RangeError(
        `Cannot adapt a model: rank is ${rank}, alpha ${alpha}, dropout ${dropout}; they must be ` +
          "a positive integer, above 0, and from 0 to below 1",
      );
    }
    this.config = config;
    this.#gpu = gpu;
    this.#model = model;
    this.#seed = seed;
    this.#height = Math.ceil(rank / 4) * 4;
    const places = placesOf(model, config);
    this.#places = [...places.values()].flat();
    const parameters = new Map<string, Parameter>();
    for (const [{ name, shape }, own] of places) {
      const [N, K] = shape as [number, number];
      const R = own.length * this.#height;
      const values = new Float32Array(R * K);
      for (const { module, block } of own) {
        const random = new Random(`${seed}/lora/${module}`);
        const bound = 1 / Math.sqrt(K);
        const first = block * this.#height * K;
        for (let i = 0; i < rank * K; i++) values[first + i] = bound * (2 * random.float() - 1);
      }
      const [nameA, nameB] = [`${moduleOf(name)}.lora_A`, `${moduleOf(name)}.lora_B`];
      const a = new Parameter(gpu, [R, K], nameA, values);
      const b = new Parameter(gpu, [N, R], nameB, new Float32Array(N * R));
      parameters.set(nameA, a).set(nameB, b);
      const scale = alpha / (rankStabilised ? Math.sqrt(rank) : rank);
      const index = this.#byParameter.size;
      const blocks = own.map(({ rows }) => rows);
      this.#byParameter.set(name, { a, b, blocks, scale, index });
    }
    this.parameters = parameters;
  }

  /**
   * What the adapter of a weight makes of y = W x; null where it has none. Inputs are dropped only
   * where gradients are recorded.
   *
   * @param weight its name
   */
  apply(tape: Tape, weight: string, x: Tensor, y: Tensor): Tensor | null {
    const found = this.#byParameter.get(weight);
    if (!found) return null;
    const { dropout: rate } = this.config;
    const drops = rate > 0 && tape.recording;
    // Every layer of every batch drops others.
    const stream = tape.draw * this.#byParameter.size + found.index;
    return lowRank(tape, x, y, found, drops ? { rate, seed: this.#seed, stream } : null);
  }

  /** A [rank, K] and B [N, rank] of every module, by PEFT's names for them. */
  async values(): Promise<Map<string, { shape: [number, number]; data: Float32Array }>> {
    const names = [...this.parameters.keys()];
    const contents = await this.#gpu.read(...this.parameters.values());
    const whole = new Map(names.map((name, i) => [name, new Float32Array(contents[i]!)]));
    const found = new Map<string, { shape: [number, number]; data: Float32Array }>();
    for (const place of this.#places) {
      const { nameA, nameB, K, N, R, rank, offset } = this.#layout(place);
      const a = whole.get(nameA)!.slice(offset * K, (offset + rank) * K);
      const b = new Float32Array(N * rank);
      const from = whole.get(nameB)!;
      for (let n = 0; n < N; n++) {
        const at = (place.rows.first + n) * R + offset;
        b.set(from.subarray(at, at + rank), n * rank);
      }
      found.set(tensorName(place.module, "A"), { shape: [rank, K], data: a });
      found.set(tensorName(place.module, "B"), { shape: [N, rank], data: b });
    }
    return found;
  }

  /**
   * The files that PEFT makes of adapters.
   *
   * @param base folder or Hub id of the model that they belong to
   */
  async files(base: string | null): Promise<AdapterFiles> {
    const tensors = new Map<string, StoredTensor>();
    for (const [name, { shape, data }] of await this.values()) {
      tensors.set(name, { dtype: "F32", shape, data: fromFloat32(data, "F32") });
    }
    return {
      "adapter_config.json": `${
        JSON.stringify(loraToPeft(this.config, this.#model, base), null, 2)
      }\n`,
      "adapter_model.safetensors": encodeSafetensors(tensors, { format: "pt" }),
    };
  }

  /**
   * Takes the adapters that PEFT, or `values`, stored.
   *
   * @throws {CheckpointError} listing tensors that are missing, unexpected or of another shape.
   */
  restore(tensors: ReadonlyMap<string, StoredTensor>, label: string): void {
    const problems: string[] = [];
    const names = new Set<string>();
    const values = new Map<string, Float32Array>();
    const take = (name: string, shape: readonly number[]): Float32Array | null => {
      names.add(name);
      const tensor = tensors.get(name);
      if (!tensor) problems.push(`"${name}" is missing`);
      else if (tensor.shape.join() !== shape.join()) {
        problems.push(`"${name}" has shape [${tensor.shape.join(", ")}], expected [${shape}]`);
      } else return toFloat32(tensor);
      return null;
    };
    for (const [name, parameter] of this.parameters) {
      values.set(name, new Float32Array(parameter.size));
    }
    for (const place of this.#places) {
      const { nameA, nameB, K, N, R, rank, offset } = this.#layout(place);
      const a = take(tensorName(place.module, "A"), [rank, K]);
      const b = take(tensorName(place.module, "B"), [N, rank]);
      if (!a || !b) continue;
      values.get(nameA)!.set(a, offset * K);
      const into = values.get(nameB)!;
      for (let n = 0; n < N; n++) {
        into.set(b.subarray(n * rank, (n + 1) * rank), (place.rows.first + n) * R + offset);
      }
    }
    for (const name of tensors.keys()) {
      if (!names.has(name)) problems.push(`"${name}" is not part of these adapters`);
    }
    if (problems.length > 0) {
      throw new CheckpointError(
        `Cannot load adapters from "${label}": ${problems.join("; ")}. ` +
          "Check that they were made for this model",
      );
    }
    for (const [name, parameter] of this.parameters) {
      this.#gpu.write(parameter.buffer, values.get(name)!);
    }
  }

  /**
   * Adds what the adapters add to the weights of a model, W += scale B A, in place.
   *
   * @param weights by Hugging Face tensor name
   */
  async merge(weights: ReadonlyMap<string, Float32Array>): Promise<void> {
    const values = await this.values();
    for (const { module, parameter, transposed } of this.#places) {
      const { scale } = this.#byParameter.get(parameter)!;
      const { shape: [rank, K], data: a } = values.get(tensorName(module, "A"))!;
      const { shape: [N], data: b } = values.get(tensorName(module, "B"))!;
      const w = weights.get(`${module}.weight`)!;
      const row = new Float64Array(K);
      for (let n = 0; n < N; n++) {
        row.fill(0);
        for (let r = 0; r < rank; r++) {
          const factor = scale * b[n * rank + r]!;
          for (let k = 0; k < K; k++) row[k]! += factor * a[r * K + k]!;
        }
        for (let k = 0; k < K; k++) w[transposed ? k * N + n : n * K + k]! += row[k]!;
      }
    }
  }

  #layout({ parameter, block, rows }: Place) {
    const { a, b } = this.#byParameter.get(parameter)!;
    return {
      nameA: a.label,
      nameB: b.label,
      K: a.shape[1]!,
      N: rows.last - rows.first,
      R: a.shape[0]!,
      rank: this.config.rank,
      offset: block * this.#height,
    };
  }

  /** Frees them. */
  [Symbol.dispose](): void {
    this.#gpu.free([...this.parameters.values()].flatMap((parameter) => parameter.buffers()));
  }
}

function tensorName(module: string, matrix: "A" | "B"): string {
  return `base_model.model.${module}.lora_${matrix}.weight`;
}

/** Fields of `adapter_config.json` that change the maths, with what is implemented of them. */
const fixed: Readonly<Record<string, readonly unknown[]>> = {
  peft_type: ["LORA"],
  bias: ["none"],
  use_dora: [false],
  use_qalora: [false],
  lora_bias: [false],
  layers_to_transform: [null],
  modules_to_save: [null],
  exclude_modules: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  layer_replication: [null],
  alora_invocation_tokens: [null],
};

/**
 * Reads PEFT's `adapter_config.json`.
 *
 * @throws {TypeError} if a field is missing, or asks for something that is not implemented.
 */
export function loraFromPeft(json: Readonly<Record<string, unknown>>): LoraConfig {
  const refuse = (field: string, expected: string) =>
    new TypeError(
      `Cannot read adapter_config.json: "${field}" is ${JSON.stringify(json[field])}, ${expected}`,
    );
  for (const [field, allowed] of Object.entries(fixed)) {
    const value = json[field] ?? null;
    const empty = Array.isArray(value) && value.length === 0;
    if (value !== null && !empty && !allowed.includes(value)) {
      throw refuse(field, `only ${JSON.stringify(allowed[0])} is implemented`);
    }
  }
  for (const field of ["rank_pattern", "alpha_pattern"]) {
    if (Object.keys(json[field] as object ?? {}).length > 0) {
      throw refuse(field, "only one rank and alpha for all layers is implemented");
    }
  }
  const number = (field: string, fallback?: number): number => {
    const value = json[field] ?? fallback;
    if (typeof value !== "number") throw refuse(field, "expected a number");
    return value;
  };
  const targets = json["target_modules"];
  const listed = Array.isArray(targets) && targets.every((target) => typeof target === "string");
  if (!listed && targets !== "all-linear") {
    throw refuse("target_modules", 'expected a list of names or "all-linear"');
  }
  return {
    rank: number("r"),
    alpha: number("lora_alpha", 8),
    dropout: number("lora_dropout", 0),
    targets: targets as string[] | "all-linear",
    rankStabilised: json["use_rslora"] === true,
  };
}

/** What `adapter_config.json` holds for these adapters. */
export function loraToPeft(
  { rank, alpha, dropout, targets, rankStabilised }: LoraConfig,
  { family }: DecoderConfig,
  base: string | null,
): Record<string, unknown> {
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targets,
    use_rslora: rankStabilised,
    bias: "none",
    // GPT-2 stores its matrices as [in, out].
    fan_in_fan_out: family === "gpt2",
    init_lora_weights: true,
    inference_mode: true,
  };
}
