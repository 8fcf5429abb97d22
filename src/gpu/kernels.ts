/**
 * The only importer of shaders: every kernel by name, and the cache of compiled pipelines.
 *
 * @module
 */

import adamw from "../../shaders/adamw.wgsl" with { type: "text" };
import add from "../../shaders/add.wgsl" with { type: "text" };
import advantage from "../../shaders/advantage.wgsl" with { type: "text" };
import attention from "../../shaders/attention.wgsl" with { type: "text" };
import attentionBackward from "../../shaders/attention_backward.wgsl" with { type: "text" };
import attentionDecode from "../../shaders/attention_decode.wgsl" with { type: "text" };
import attentionDecodeSimd from "../../shaders/attention_decode_simd.wgsl" with { type: "text" };
import attentionSimd from "../../shaders/attention_simd.wgsl" with { type: "text" };
import attentionSimdBackward from "../../shaders/attention_simd_backward.wgsl" with {
  type: "text",
};
import cast from "../../shaders/cast.wgsl" with { type: "text" };
import divergence from "../../shaders/divergence.wgsl" with { type: "text" };
import embedding from "../../shaders/embedding.wgsl" with { type: "text" };
import glu from "../../shaders/glu.wgsl" with { type: "text" };
import headNorm from "../../shaders/head_norm.wgsl" with { type: "text" };
import kvCache from "../../shaders/kv_cache.wgsl" with { type: "text" };
import layernorm from "../../shaders/layernorm.wgsl" with { type: "text" };
import lmHead from "../../shaders/lm_head.wgsl" with { type: "text" };
import lora from "../../shaders/lora.wgsl" with { type: "text" };
import matmul from "../../shaders/matmul.wgsl" with { type: "text" };
import matmulFew from "../../shaders/matmul_few.wgsl" with { type: "text" };
import matmulSimd from "../../shaders/matmul_simd.wgsl" with { type: "text" };
import partsAlone from "../../shaders/parts_alone.wgsl" with { type: "text" };
import partsShared from "../../shaders/parts_shared.wgsl" with { type: "text" };
import policyLoss from "../../shaders/policy_loss.wgsl" with { type: "text" };
import preferenceLoss from "../../shaders/preference_loss.wgsl" with { type: "text" };
import reads32 from "../../shaders/reads_32.wgsl" with { type: "text" };
import reads64 from "../../shaders/reads_64.wgsl" with { type: "text" };
import reduce from "../../shaders/reduce.wgsl" with { type: "text" };
import rmsnorm from "../../shaders/rmsnorm.wgsl" with { type: "text" };
import roofline from "../../shaders/roofline.wgsl" with { type: "text" };
import rope from "../../shaders/rope.wgsl" with { type: "text" };
import rowLanes from "../../shaders/row_lanes.wgsl" with { type: "text" };
import sample from "../../shaders/sample.wgsl" with { type: "text" };
import select from "../../shaders/select.wgsl" with { type: "text" };
import shared from "../../shaders/shared.wgsl" with { type: "text" };
import storedBf16 from "../../shaders/stored_bf16.wgsl" with { type: "text" };
import storedF16 from "../../shaders/stored_f16.wgsl" with { type: "text" };
import storedF32 from "../../shaders/stored_f32.wgsl" with { type: "text" };
import valueLoss from "../../shaders/value_loss.wgsl" with { type: "text" };
import { ShaderCompileError } from "./errors.ts";
import { type EntryPoint, reflect } from "./reflect.ts";
import type { Tuning } from "./tuning.ts";
import { unroll } from "./unroll.ts";

/** The name of a shader file without its extension. */
export type KernelName =
  | "adamw"
  | "add"
  | "advantage"
  | "attention"
  | "attention_backward"
  | "attention_decode"
  | "attention_decode_simd"
  | "attention_simd"
  | "attention_simd_backward"
  | "cast"
  | "divergence"
  | "embedding"
  | "glu"
  | "head_norm"
  | "kv_cache"
  | "layernorm"
  | "lm_head"
  | "lora"
  | "matmul"
  | "matmul_few"
  | "matmul_simd"
  | "policy_loss"
  | "preference_loss"
  | "reduce"
  | "rmsnorm"
  | "roofline"
  | "rope"
  | "sample"
  | "select"
  | "value_loss";

/** Every kernel's WGSL. */
export const kernelSources: Readonly<Record<KernelName, string>> = {
  adamw,
  add,
  advantage,
  attention,
  attention_backward: attentionBackward,
  attention_decode: attentionDecode,
  attention_decode_simd: attentionDecodeSimd,
  attention_simd: attentionSimd,
  attention_simd_backward: attentionSimdBackward,
  cast,
  divergence: byRows(divergence),
  embedding,
  glu,
  head_norm: headNorm,
  kv_cache: kvCache,
  layernorm: byRows(layernorm),
  lm_head: byRows(lmHead),
  lora,
  matmul,
  matmul_few: matmulFew,
  matmul_simd: matmulSimd,
  policy_loss: policyLoss,
  preference_loss: preferenceLoss,
  reduce: byRows(reduce),
  rmsnorm: byRows(rmsnorm),
  roofline,
  rope,
  sample,
  select,
  value_loss: valueLoss,
};

/** A kernel that goes through the rows of a matrix, with what it needs for that. */
function byRows(source: string): string {
  return `${rowLanes}\n${source}`;
}

/** How the numbers of a weight are stored; arithmetic is f32 whichever it is. */
export type FloatType = "f32" | "bf16" | "f16";

/** What reads four elements of each type: the type `Stored4` and the function `unpack4`. */
const storedSources: Readonly<Record<FloatType, string>> = {
  f32: storedF32,
  bf16: storedBf16,
  f16: storedF16,
};

/** How kernels read what they don't write: the types `Words2` and `Floats4`, and their functions. */
const readsSources: Readonly<Record<Tuning["readBits"], string>> = { 32: reads32, 64: reads64 };

/** What specialises a kernel: `override` values, and constants that must be known to the compiler. */
export interface Specialisation {
  /** Values of WGSL `override`s (workgroup sizes, switches). */
  readonly constants?: Readonly<Record<string, number>>;
  /** `const NAME = VALUEu;` lines joined in front: sizes of register arrays can't be overrides. */
  readonly prelude?: Readonly<Record<string, number>>;
  /** How the weight is stored that the kernel reads, where it reads one; f32 by default. */
  readonly stored?: FloatType;
}

/** A compiled entry point with what is needed to bind it by name. */
export interface Kernel {
  readonly id: number;
  readonly label: string;
  readonly entry: EntryPoint;
  readonly pipeline: GPUComputePipeline;
  readonly storageLayout: GPUBindGroupLayout;
}

const reflections = new Map<string, Map<string, EntryPoint>>();

/** Storage bindings and params of every entry point of a kernel file. */
export function entryPoints(name: KernelName): Map<string, EntryPoint> {
  let found = reflections.get(name);
  if (!found) reflections.set(name, found = reflect(`${shared}\n${kernelSources[name]}`));
  return found;
}

/** Compiles each (kernel, entry point, specialisation) once. */
export class KernelCache {
  readonly #device: GPUDevice;
  readonly #head: readonly string[];
  readonly #unroll: boolean;
  readonly #onError: (error: Error) => void;
  readonly #kernels = new Map<string, Kernel>();
  /** The layout of group 1: one window of the params ring. */
  readonly paramsLayout: GPUBindGroupLayout;

  /**
   * @param enable the `enable` directives that start every module
   * @param tuning how many bits kernels read at a time, and whether loops are written out
   */
  constructor(
    device: GPUDevice,
    enable: string,
    tuning: Pick<Tuning, "readBits" | "unroll">,
    onError: (error: Error) => void,
  ) {
    this.#device = device;
    this.#head = [enable, readsSources[tuning.readBits]];
    this.#unroll = tuning.unroll;
    this.#onError = onError;
    this.paramsLayout = device.createBindGroupLayout({
      label: "params",
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform" },
      }],
    });
  }

  /**
   * The kernel `name`'s entry point `entry`, compiled on first use.
   *
   * @throws {TypeError} if there is no such entry point.
   */
  get(name: KernelName, entry: string, specialisation: Specialisation = {}): Kernel {
    const { constants = {}, prelude = {}, stored = "f32" } = specialisation;
    const key = `${name}.${entry} ${JSON.stringify(constants)} ${
      JSON.stringify(prelude)
    } ${stored}`;
    const cached = this.#kernels.get(key);
    if (cached) return cached;

    const found = entryPoints(name).get(entry);
    if (!found) {
      const known = [...entryPoints(name).keys()].join(", ");
      throw new TypeError(`Cannot compile kernel "${name}": no entry point "${entry}" in ${known}`);
    }
    const lines = Object.entries(prelude).map(([constant, value]) =>
      `const ${constant} = ${value}u;`
    );
    const parts = prelude["PARTS"] === undefined
      ? []
      : [prelude["PARTS"] > 1 ? partsShared : partsAlone];
    const source = [
      ...[...this.#head, ...lines, ...parts],
      ...[storedSources[stored], shared, kernelSources[name]],
    ].join("\n");
    const code = this.#unroll ? unroll(source) : source;
    const kernel = this.#compile(`${name}.${entry}`, code, found, { ...constants });
    this.#kernels.set(key, kernel);
    return kernel;
  }

  #compile(
    label: string,
    code: string,
    entry: EntryPoint,
    constants: Record<string, number>,
  ): Kernel {
    const device = this.#device;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label, code });
    const storageLayout = device.createBindGroupLayout({
      label,
      entries: entry.storage.map(({ binding, access }) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: access === "read" ? "read-only-storage" : "storage" },
      })),
    });
    const pipeline = device.createComputePipeline({
      label,
      layout: device.createPipelineLayout({
        bindGroupLayouts: [storageLayout, this.paramsLayout],
      }),
      compute: { module, entryPoint: entry.name, constants },
    });
    device.popErrorScope().then((error) => {
      if (!error) return;
      const numbered = code.split("\n").map((line, i) => `${String(i + 1).padStart(4)} ${line}`);
      this.#onError(
        new ShaderCompileError(
          `Cannot compile kernel "${label}": ${error.message.trim()}\n${numbered.join("\n")}`,
        ),
      );
    }, () => {}); // a lost device rejects here too; it is reported once, by the device
    return { id: this.#kernels.size, label, entry, pipeline, storageLayout };
  }
}
