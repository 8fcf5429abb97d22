/**
 * A decoder's parameters, and the tensors of a checkpoint that each is made of.
 *
 * Several tensors can be one parameter, stacked by rows: one product gives queries, keys and values,
 * and one gives gate and up. GPT-2's matrices are stored transposed.
 *
 * @module
 */

import { elements } from "../tensor.ts";
import { type DecoderConfig, tableRows } from "./config.ts";

/** What a parameter is for. */
export type Role =
  | "embedding"
  | "positions"
  | "attentionNorm"
  | "qkv"
  | "queryNorm"
  | "keyNorm"
  | "o"
  | "attentionPostNorm"
  | "mlpNorm"
  | "up"
  | "down"
  | "mlpPostNorm"
  | "finalNorm"
  | "head";

/** A tensor of a checkpoint, by the names that Hugging Face gives it. */
export interface Part {
  readonly name: string;
  /** As stored. */
  readonly shape: readonly number[];
  /** Whether it is stored as [in, out]. */
  readonly transposed: boolean;
}

/** A parameter, and the tensors it is made of from its first row to its last. */
export interface ParameterSpec {
  readonly role: Role;
  readonly kind: "weight" | "bias";
  /** Null outside of the blocks. */
  readonly layer: number | null;
  readonly name: string;
  /** [rows, columns] or [rows]; a vocabulary table may have more rows than its tensor. */
  readonly shape: readonly number[];
  readonly parts: readonly Part[];
}

/** Names of modules by role; those of a block come behind its prefix. */
interface Names {
  readonly block: string;
  readonly modules: Partial<Record<Role, readonly string[]>>;
  /** Whether matrices of blocks are stored as [in, out]. */
  readonly transposed: boolean;
}

const llama: Names = {
  block: "model.layers.",
  transposed: false,
  modules: {
    embedding: ["model.embed_tokens"],
    attentionNorm: ["input_layernorm"],
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    queryNorm: ["self_attn.q_norm"],
    keyNorm: ["self_attn.k_norm"],
    o: ["self_attn.o_proj"],
    mlpNorm: ["post_attention_layernorm"],
    up: ["mlp.gate_proj", "mlp.up_proj"],
    down: ["mlp.down_proj"],
    finalNorm: ["model.norm"],
    head: ["lm_head"],
  },
};

const names: Readonly<Record<DecoderConfig["family"], Names>> = {
  llama,
  qwen2: llama,
  qwen3: llama,
  gemma3_text: {
    ...llama,
    modules: {
      ...llama.modules,
      attentionPostNorm: ["post_attention_layernorm"],
      mlpNorm: ["pre_feedforward_layernorm"],
      mlpPostNorm: ["post_feedforward_layernorm"],
    },
  },
  gpt2: {
    block: "transformer.h.",
    transposed: true,
    modules: {
      embedding: ["transformer.wte"],
      positions: ["transformer.wpe"],
      attentionNorm: ["ln_1"],
      qkv: ["attn.c_attn"],
      o: ["attn.c_proj"],
      mlpNorm: ["ln_2"],
      up: ["mlp.c_fc"],
      down: ["mlp.c_proj"],
      finalNorm: ["transformer.ln_f"],
      head: ["lm_head"],
    },
  },
};

/** Every parameter of a model, in the order of its tensors. */
export function parameterSpecs(config: DecoderConfig): ParameterSpec[] {
  const { vocabSize: V, hiddenSize: C, intermediateSize: F, heads, kvHeads, headDim: D } = config;
  const { block, modules, transposed } = names[config.family];
  const specs: ParameterSpec[] = [];

  /** `rows` per module that the role is made of. */
  const push = (
    role: Role,
    layer: number | null,
    kind: "weight" | "bias",
    rows: readonly number[],
    columns: readonly number[],
  ) => {
    const found = modules[role]!;
    const flip = transposed && layer !== null && kind === "weight" && columns.length > 0;
    // A family may store as one tensor what others store as several.
    const heights = found.length === 1 ? [sum(rows)] : rows;
    const parts = found.map((module, i) => ({
      name: `${layer === null ? "" : `${block}${layer}.`}${module}.${kind}`,
      shape: flip ? [...columns, heights[i]!] : [heights[i]!, ...columns],
      transposed: flip,
    }));
    const table = role === "embedding" || role === "head";
    const height = table ? tableRows(config) : sum(rows);
    const name = parts.length === 1 ? parts[0]!.name : stackedName(parts[0]!.name);
    specs.push({ role, kind, layer, name, shape: [height, ...columns], parts });
  };
  const norm = (role: Role, layer: number | null, width = C) => {
    push(role, layer, "weight", [width], []);
    if (config.norm === "layer") push(role, layer, "bias", [width], []);
  };
  const matrix = (role: Role, layer: number, rows: readonly number[], K: number, bias: boolean) => {
    push(role, layer, "weight", rows, [K]);
    if (bias) push(role, layer, "bias", rows, []);
  };

  push("embedding", null, "weight", [V], [C]);
  if (!config.rope) push("positions", null, "weight", [config.maxPositions], [C]);
  for (let layer = 0; layer < config.layers; layer++) {
    norm("attentionNorm", layer);
    matrix("qkv", layer, [heads * D, kvHeads * D, kvHeads * D], C, config.biases.qkv);
    if (config.headNorms) {
      norm("queryNorm", layer, D);
      norm("keyNorm", layer, D);
    }
    matrix("o", layer, [C], heads * D, config.biases.o);
    if (config.postNorms) norm("attentionPostNorm", layer);
    norm("mlpNorm", layer);
    matrix("up", layer, config.gated ? [F, F] : [F], C, config.biases.mlp);
    matrix("down", layer, [C], F, config.biases.mlp);
    if (config.postNorms) norm("mlpPostNorm", layer);
  }
  norm("finalNorm", null);
  if (!config.tiedEmbeddings) push("head", null, "weight", [V], [C]);
  return specs;
}

/** Shape of every tensor by its Hugging Face name, in the order in which they are stored. */
export function tensorShapes(config: DecoderConfig): Map<string, readonly number[]> {
  return new Map(
    parameterSpecs(config).flatMap(({ parts }) => parts.map(({ name, shape }) => [name, shape])),
  );
}

/**
 * The name that a checkpoint has for a tensor, or null: GPT-2's on the Hub lack the prefix.
 *
 * @param has whether the checkpoint has a tensor of a name
 */
export function storedName(name: string, has: (name: string) => boolean): string | null {
  const short = name.replace(/^transformer\./, "");
  return has(name) ? name : has(short) ? short : null;
}

/** Tensors that some checkpoints hold and no model needs: masks, frequencies, a tied head. */
export function isRedundant(name: string, { tiedEmbeddings, family }: DecoderConfig): boolean {
  return /\.rotary_emb\.inv_freq$/.test(name) || (tiedEmbeddings && name === "lm_head.weight") ||
    (family === "gpt2" && /\.attn\.(masked_)?bias$/.test(name));
}

/** The name of a parameter that is several tensors. */
function stackedName(first: string): string {
  return first.replace(".q_proj.", ".qkv_proj.").replace(".gate_proj.", ".gate_up_proj.");
}

/** Values of its tensors out of those of a parameter; they share memory where they can. */
export function takeApart(
  { parts }: ParameterSpec,
  whole: Float32Array,
): Map<string, Float32Array> {
  let offset = 0;
  return new Map(parts.map(({ name, shape, transposed }) => {
    const size = elements(shape);
    offset += size;
    const part = whole.subarray(offset - size, offset);
    return [name, transposed ? transpose(part, [...shape].reverse()) : part];
  }));
}

/** The other way round: [R,C] to [C,R]. */
export function transpose(matrix: Float32Array, shape: readonly number[]): Float32Array {
  const [R, C] = shape as [number, number];
  const flipped = new Float32Array(R * C);
  for (let r = 0; r < R; r++) {
    for (let c = 0; c < C; c++) flipped[c * R + r] = matrix[r * C + c]!;
  }
  return flipped;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
