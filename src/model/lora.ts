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
import type { Adaptation, LowRank, RowBlock } from "../ops/lora.ts";
import { Random } from "../random.ts";
import type { Tape } from "../tape.ts";
import { createParameters, type Parameter } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { type LoraConfig, loraToPeft } from "./lora_config.ts";
import { type ParameterSpec, parameterSpecs } from "./parameters.ts";

export { defaultLora, type LoraConfig, loraFromPeft, loraToPeft } from "./lora_config.ts";

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

/** A folder as PEFT writes it. */
export interface AdapterFiles {
  /** What the adapters are. */
  readonly "adapter_config.json": string;
  /** Their matrices. */
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
   * @throws {OutOfMemoryError} if they do not fit; nothing stays allocated then.
   */
  constructor(gpu: Gpu, model: DecoderConfig, config: LoraConfig, seed = 0) {
    const { rank, alpha, dropout } = config;
    const scalable = alpha > 0 && Number.isFinite(alpha);
    if (!Number.isInteger(rank) || rank < 1 || !scalable || !(dropout >= 0 && dropout < 1)) {
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
    const shapes = [...places].flatMap(([spec, own]) => this.#shapes(spec, own));
    this.parameters = createParameters(gpu, new Map(shapes));
    for (const [spec, own] of places) this.#begin(spec, own);
  }

  /** The adapters of one parameter, by name: first A, then B. */
  #shapes({ name, shape }: ParameterSpec, own: readonly Place[]): [string, number[]][] {
    const [N, K] = shape as [number, number];
    const R = own.length * this.#height;
    return [[`${moduleOf(name)}.lora_A`, [R, K]], [`${moduleOf(name)}.lora_B`, [N, R]]];
  }

  /** Gives them the values that they begin with: B is zero. */
  #begin(spec: ParameterSpec, own: readonly Place[]): void {
    const { rank, alpha, rankStabilised } = this.config;
    const [a, b] = this.#shapes(spec, own).map(([name]) => this.parameters.get(name)!) as [
      Parameter,
      Parameter,
    ];
    const [R, K] = a.shape as [number, number];
    const values = new Float32Array(R * K);
    for (const { module, block } of own) {
      const random = new Random(`${this.#seed}/lora/${module}`);
      const bound = 1 / Math.sqrt(K);
      const first = block * this.#height * K;
      for (let i = 0; i < rank * K; i++) values[first + i] = bound * (2 * random.float() - 1);
    }
    this.#gpu.write(a, values);
    const scale = alpha / (rankStabilised ? Math.sqrt(rank) : rank);
    const index = this.#byParameter.size;
    const blocks = own.map(({ rows }) => rows);
    this.#byParameter.set(spec.name, { a, b, blocks, scale, index });
  }

  /**
   * The adapter of a weight, for its layer to add; undefined where it has none. Inputs are dropped
   * in training alone, the same ones for all adapters side by side.
   *
   * @param weight its name
   */
  of(tape: Tape, weight: string): Adaptation | undefined {
    const found = this.#byParameter.get(weight);
    if (!found) return undefined;
    const { dropout: rate } = this.config;
    const drops = rate > 0 && tape.training;
    // Every layer of every batch drops others.
    const stream = tape.draw * this.#byParameter.size + found.index;
    return { adapter: found, dropout: drops ? { rate, seed: this.#seed, stream } : null };
  }

  /** A [rank, K] and B [N, rank] of every module, by PEFT's names for them; in f32. */
  async values(): Promise<Map<string, StoredTensor>> {
    const whole = new Map<string, Float32Array>();
    const names = this.parameters.keys();
    for await (const content of this.#gpu.readEach([...this.parameters.values()])) {
      whole.set(names.next().value!, new Float32Array(content));
    }
    return this.takeApart(whole);
  }

  /**
   * What `values` gives, out of contents that all of `parameters` have: their weights, or their
   * gradients.
   *
   * @param whole by the names of `parameters`
   */
  takeApart(whole: ReadonlyMap<string, Float32Array>): Map<string, StoredTensor> {
    const found = new Map<string, StoredTensor>();
    const put = (name: string, shape: [number, number], values: Float32Array) =>
      found.set(name, { dtype: "F32", shape, data: fromFloat32(values, "F32") });
    for (const place of this.#places) {
      const { nameA, nameB, K, N, R, rank, offset } = this.#layout(place);
      const a = whole.get(nameA)!.subarray(offset * K, (offset + rank) * K);
      const b = new Float32Array(N * rank);
      const from = whole.get(nameB)!;
      for (let n = 0; n < N; n++) {
        const at = (place.rows.first + n) * R + offset;
        b.set(from.subarray(at, at + rank), n * rank);
      }
      put(tensorName(place.module, "A"), [rank, K], a);
      put(tensorName(place.module, "B"), [N, rank], b);
    }
    return found;
  }

  /**
   * The adapters as PEFT stores them, for its `PeftModel.from_pretrained`.
   *
   * @param base name or folder of the model that they adapt, where it is known
   */
  async files(base: string | null): Promise<AdapterFiles> {
    const json = loraToPeft(this.config, this.#model, base);
    return {
      "adapter_config.json": `${JSON.stringify(json, null, 2)}\n`,
      "adapter_model.safetensors": encodeSafetensors(await this.values(), { format: "pt" }),
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
        problems.push(
          `"${name}" has shape [${tensor.shape.join(", ")}], expected [${shape.join(", ")}]`,
        );
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
      // Those of another model have hundreds.
      const more = problems.length > 12 ? `; and ${problems.length - 12} more` : "";
      throw new CheckpointError(
        `Cannot load adapters from "${label}": ${problems.slice(0, 12).join("; ")}${more}. ` +
          "Check that they were made for this model, with this rank and these targets",
      );
    }
    for (const [name, parameter] of this.parameters) {
      this.#gpu.write(parameter, values.get(name)!);
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
      const [narrow, wide] = [tensorName(module, "A"), tensorName(module, "B")]
        .map((name) => values.get(name)!) as [StoredTensor, StoredTensor];
      const [rank, K] = narrow.shape as [number, number];
      const [N] = wide.shape as [number];
      const [a, b] = [toFloat32(narrow), toFloat32(wide)];
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
