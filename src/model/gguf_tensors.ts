/**
 * The tensors of a GGUF file under the names, and in the layout, that Hugging Face's checkpoints have.
 *
 * llama.cpp's converter renames tensors, and changes some: it interleaves the two rotary halves of
 * Llama's queries and keys, adds the 1 to Gemma's norms that Transformers adds when it runs, and
 * turns GPT-2's [in, out] matrices into [out, in]. Reading undoes this.
 *
 * @module
 */

import type { Gguf } from "../io/gguf.ts";
import {
  CheckpointError,
  type StoredTensor,
  type TensorDtype,
  toFloat32,
} from "../io/safetensors.ts";
import type { TensorSource } from "../io/source.ts";
import { type GgufArchitecture, GgufFields } from "./gguf_fields.ts";
import { ropeFactorsTensor } from "./gguf_rope.ts";

/** Names of one family; `*` is the layer. Each stands for a `.weight` and a `.bias`. */
type Names = Readonly<Record<string, string>>;

const rotary: Names = {
  "token_embd": "model.embed_tokens",
  "output_norm": "model.norm",
  "output": "lm_head",
  "blk.*.attn_norm": "model.layers.*.input_layernorm",
  "blk.*.attn_q": "model.layers.*.self_attn.q_proj",
  "blk.*.attn_k": "model.layers.*.self_attn.k_proj",
  "blk.*.attn_v": "model.layers.*.self_attn.v_proj",
  "blk.*.attn_output": "model.layers.*.self_attn.o_proj",
  "blk.*.ffn_norm": "model.layers.*.post_attention_layernorm",
  "blk.*.ffn_gate": "model.layers.*.mlp.gate_proj",
  "blk.*.ffn_up": "model.layers.*.mlp.up_proj",
  "blk.*.ffn_down": "model.layers.*.mlp.down_proj",
};

const qwen3: Names = {
  ...rotary,
  "blk.*.attn_q_norm": "model.layers.*.self_attn.q_norm",
  "blk.*.attn_k_norm": "model.layers.*.self_attn.k_norm",
};

const gemma3: Names = {
  ...qwen3,
  "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm",
  "blk.*.ffn_norm": "model.layers.*.pre_feedforward_layernorm",
  "blk.*.post_ffw_norm": "model.layers.*.post_feedforward_layernorm",
};

const gpt2: Names = {
  "token_embd": "transformer.wte",
  "position_embd": "transformer.wpe",
  "output_norm": "transformer.ln_f",
  "output": "lm_head",
  "blk.*.attn_norm": "transformer.h.*.ln_1",
  "blk.*.attn_qkv": "transformer.h.*.attn.c_attn",
  "blk.*.attn_output": "transformer.h.*.attn.c_proj",
  "blk.*.ffn_norm": "transformer.h.*.ln_2",
  "blk.*.ffn_up": "transformer.h.*.mlp.c_fc",
  "blk.*.ffn_down": "transformer.h.*.mlp.c_proj",
};

const names: Readonly<Record<GgufArchitecture, Names>> = {
  llama: rotary,
  qwen2: rotary,
  qwen3,
  gemma3,
  gpt2,
};

/** One tensor: where it comes from, what it looks like, and what undoes the converter's change. */
interface Mapped {
  readonly source: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly undo: (tensor: StoredTensor) => StoredTensor;
}

/**
 * The tensors of a model by their Hugging Face names, as `model.layers.0.self_attn.q_proj.weight`
 * or `transformer.h.0.attn.c_attn.weight`. Disposing of the result disposes of `gguf`.
 *
 * @throws {CheckpointError} if the architecture is not supported, or has a tensor that its family
 *   doesn't.
 */
export function ggufTensors(gguf: Gguf): TensorSource {
  const fields = new GgufFields(gguf);
  const entries = new Map<string, Mapped>();
  for (const [source, { dtype, shape }] of gguf.entries) {
    // The frequencies are part of the config.
    if (source === ropeFactorsTensor) continue;
    const name = huggingFaceName(source, names[fields.architecture]);
    if (name === null) {
      throw fields.fault(
        `tensor ${JSON.stringify(source)} is not part of a ${fields.architecture} model. ` +
          "Take a model of plain layers, without experts or adapters",
      );
    }
    entries.set(name, mapped(source, dtype, shape, fields));
  }
  return {
    label: gguf.label,
    entries,
    async read(name) {
      const entry = entries.get(name);
      if (entry) return entry.undo(await gguf.read(entry.source));
      throw new CheckpointError(
        `Cannot read ${gguf.label}: it has no tensor for ${
          JSON.stringify(name)
        }, it has those of ` +
          `a ${fields.architecture} model with ${fields.optional("block_count") ?? 0} layers`,
      );
    },
    [Symbol.dispose]: () => gguf[Symbol.dispose](),
  };
}

function huggingFaceName(source: string, family: Names): string | null {
  const [, base = "", kind = ""] = /^(.*)\.(weight|bias)$/.exec(source) ?? [];
  const [, layer = ""] = /^blk\.(\d+)\./.exec(base) ?? [];
  const pattern = base.replace(/^blk\.\d+\./, "blk.*.");
  if (!Object.hasOwn(family, pattern)) return null;
  return `${family[pattern]!.replace("*", layer)}.${kind}`;
}

function mapped(
  source: string,
  dtype: string,
  shape: readonly number[],
  fields: GgufFields,
): Mapped {
  const same: Mapped = { source, dtype, shape, undo: (tensor) => tensor };
  switch (fields.architecture) {
    case "llama": {
      const [, part] = /\.attn_([qk])\.(?:weight|bias)$/.exec(source) ?? [];
      if (part === undefined) return same;
      const heads = fields.number("attention.head_count");
      const groups = part === "q" ? heads : fields.optional("attention.head_count_kv") ?? heads;
      const rows = shape[0] ?? 1;
      if (!Number.isInteger(rows / groups / 2)) {
        throw fields.fault(
          `tensor ${
            JSON.stringify(source)
          } has ${rows} rows, which ${groups} heads of two halves ` +
            "can't share. Convert the model again with a current llama.cpp",
        );
      }
      return { ...same, undo: (tensor) => joinHalves(tensor, groups) };
    }
    case "gemma3":
      return source.endsWith("norm.weight") ? { ...same, dtype: "F32", undo: subtractOne } : same;
    case "gpt2": {
      const isMatrix = source.startsWith("blk.") && shape.length === 2;
      return isMatrix ? { ...same, shape: shape.toReversed(), undo: transpose } : same;
    }
    default:
      return same;
  }
}

/**
 * Row (head, pair, half) to row (head, half, pair): ggml rotates neighbours, Transformers element i
 * with element D / 2 + i.
 *
 * @param tensor [H * D, ...]
 * @param heads H, or KV for keys
 */
function joinHalves(tensor: StoredTensor, heads: number): StoredTensor {
  const { data, shape } = tensor;
  const rows = shape[0] ?? 1;
  const rowBytes = data.length / rows;
  const pairs = rows / heads / 2;
  const joined = new Uint8Array(data.length);
  for (let to = 0; to < rows; to++) {
    const head = Math.floor(to / (2 * pairs));
    const half = Math.floor(to / pairs) % 2;
    const from = (head * pairs + to % pairs) * 2 + half;
    joined.set(data.subarray(from * rowBytes, (from + 1) * rowBytes), to * rowBytes);
  }
  return { ...tensor, data: joined };
}

/** A weight that multiplies as the w of 1 + w. */
function subtractOne(tensor: StoredTensor): StoredTensor {
  const weights = Float32Array.from(toFloat32(tensor), (weight) => weight - 1);
  return { dtype: "F32", shape: tensor.shape, data: new Uint8Array(weights.buffer) };
}

/** [A, B] to [B, A]. */
function transpose(tensor: StoredTensor): StoredTensor {
  const { dtype, data } = tensor;
  const [rows = 1, columns = 1] = tensor.shape;
  const transposed = new Uint8Array(data.length);
  const from = words(data, dtype);
  const to = words(transposed, dtype);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      to[column * rows + row] = from[row * columns + column]!;
    }
  }
  return { dtype, shape: [columns, rows], data: transposed };
}

/** The elements' bits; shares memory with `data` where that lies on a boundary of elements. */
function words(data: Uint8Array, dtype: TensorDtype): Uint32Array | Uint16Array {
  const bytes = dtype === "F32" ? 4 : 2;
  const { buffer, byteOffset, length } = data.byteOffset % bytes === 0 ? data : data.slice();
  return dtype === "F32"
    ? new Uint32Array(buffer, byteOffset, length / bytes)
    : new Uint16Array(buffer, byteOffset, length / bytes);
}
