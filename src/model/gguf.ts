/**
 * A model in a GGUF file as a Hugging Face folder would hold it: its `config.json`. The tensors
 * under their Hugging Face names are in `gguf_tensors.ts`.
 *
 * @module
 */

import type { Gguf } from "../io/gguf.ts";
import { type GgufArchitecture, GgufFields, modelTypes } from "./gguf_fields.ts";
import { ropeScaling } from "./gguf_rope.ts";

/** Contents of a `config.json`. */
export type HuggingFaceConfig = Record<string, unknown>;

/** Every sixth layer of Gemma 3 attends to everything, where the file doesn't say. */
const gemmaPattern = 6;
/** Gemma 3 27B is the one of its family that doesn't scale by the head size; llama.cpp's rule. */
const gemma27Layers = 62;

const classNames: Readonly<Record<GgufArchitecture, string>> = {
  llama: "LlamaForCausalLM",
  qwen2: "Qwen2ForCausalLM",
  qwen3: "Qwen3ForCausalLM",
  gemma3: "Gemma3ForCausalLM",
  gpt2: "GPT2LMHeadModel",
};

/**
 * The `config.json` of a model: what Transformers 4 and 5 read, with `rope_theta` and `rope_scaling`
 * (see `gguf_rope.ts`) at the top level. Sizes are in elements, `eos_token_id` is a list where the
 * file has an end of turn as well.
 *
 * @throws {CheckpointError} if the architecture is not llama, qwen2, qwen3, gemma3 or gpt2, a field
 *   is missing, or the model has parts that these families don't (experts, partial rotary embedding).
 */
export async function ggufConfig(gguf: Gguf): Promise<HuggingFaceConfig> {
  const fields = new GgufFields(gguf);
  const experts = fields.optional("expert_count") ?? 0;
  if (experts > 0) {
    throw fields.fault(`it has ${experts} experts per layer; only dense models are supported`);
  }
  const common = {
    architectures: [classNames[fields.architecture]],
    model_type: modelTypes[fields.architecture],
    vocab_size: vocabularySize(gguf, fields),
    tie_word_embeddings: !gguf.entries.has("output.weight"),
    ...specialIds(fields),
  };
  if (fields.architecture === "gpt2") return { ...common, ...gpt2Config(fields) };
  return {
    ...common,
    ...await rotaryConfig(gguf, fields),
    ...familyConfig(gguf, fields),
  };
}

/** What every family with rotary embeddings and RMSNorm has. */
async function rotaryConfig(gguf: Gguf, fields: GgufFields): Promise<HuggingFaceConfig> {
  const heads = fields.number("attention.head_count");
  const headDim = headSize(fields);
  return {
    hidden_size: fields.number("embedding_length"),
    intermediate_size: fields.number("feed_forward_length"),
    num_hidden_layers: fields.number("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: fields.optional("attention.head_count_kv") ?? heads,
    head_dim: headDim,
    max_position_embeddings: fields.number("context_length"),
    rms_norm_eps: fields.number("attention.layer_norm_rms_epsilon"),
    rope_theta: fields.optional("rope.freq_base") ?? 10000,
    rope_scaling: await ropeScaling(gguf, fields, headDim),
  };
}

/** D */
function headSize(fields: GgufFields): number {
  const rotated = fields.optional("rope.dimension_count");
  const keys = fields.optional("attention.key_length") ?? rotated ??
    fields.number("embedding_length") / fields.number("attention.head_count");
  const values = fields.optional("attention.value_length") ?? keys;
  if (values === keys && (rotated ?? keys) === keys) return keys;
  throw fields.fault(
    `its heads have keys of ${keys}, values of ${values} and rotate ${rotated ?? keys} elements; ` +
      "only models where all three are the same are supported",
  );
}

/** What one family has beside the others. */
function familyConfig(gguf: Gguf, fields: GgufFields): HuggingFaceConfig {
  switch (fields.architecture) {
    case "llama":
      return {
        hidden_act: "silu",
        attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
        mlp_bias: gguf.entries.has("blk.0.ffn_gate.bias"),
      };
    case "qwen2":
      return { hidden_act: "silu", use_sliding_window: false };
    case "qwen3":
      return {
        hidden_act: "silu",
        use_sliding_window: false,
        attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
      };
    default:
      return gemma3Config(fields);
  }
}

function gemma3Config(fields: GgufFields): HuggingFaceConfig {
  const layers = fields.number("block_count");
  const window = fields.optional("attention.sliding_window") ?? 0;
  // A list says of each layer whether it slides; a number, that the last of so many doesn't.
  const key = "attention.sliding_window_pattern";
  const listed = fields.raw(key);
  const period = Array.isArray(listed) ? 1 : fields.optional(key) ?? gemmaPattern;
  const slides = (layer: number) =>
    window > 0 && (Array.isArray(listed) ? listed[layer] === true : (layer + 1) % period !== 0);
  return {
    hidden_activation: "gelu_pytorch_tanh",
    attention_bias: false,
    query_pre_attn_scalar: layers === gemma27Layers
      ? fields.number("embedding_length") / fields.number("attention.head_count")
      : headSize(fields),
    sliding_window: window > 0 ? window : null,
    layer_types: Array.from(
      { length: layers },
      (_, layer) => slides(layer) ? "sliding_attention" : "full_attention",
    ),
    rope_local_base_freq: fields.optional("rope.freq_base_swa") ?? 10000,
    attn_logit_softcapping: fields.optional("attn_logit_softcapping") ?? null,
    final_logit_softcapping: fields.optional("final_logit_softcapping") ?? null,
  };
}

function gpt2Config(fields: GgufFields): HuggingFaceConfig {
  const positions = fields.number("context_length");
  return {
    n_embd: fields.number("embedding_length"),
    n_layer: fields.number("block_count"),
    n_head: fields.number("attention.head_count"),
    n_inner: fields.number("feed_forward_length"),
    n_positions: positions,
    n_ctx: positions,
    layer_norm_epsilon: fields.number("attention.layer_norm_epsilon"),
    activation_function: "gelu_new",
  };
}

/** Rows of the embedding table; the tokenizer may name fewer. */
function vocabularySize(gguf: Gguf, fields: GgufFields): number {
  const table = gguf.entries.get("token_embd.weight");
  if (table?.shape.length === 2) return table.shape[0]!;
  throw fields.fault(
    'it has no table of embeddings "token_embd.weight". Take a file of a whole model',
  );
}

function specialIds(fields: GgufFields): HuggingFaceConfig {
  const ids: HuggingFaceConfig = {};
  const bos = fields.id("tokenizer.ggml.bos_token_id");
  const pad = fields.id("tokenizer.ggml.padding_token_id");
  const ends = ["eos", "eot", "eom"].map((name) => fields.id(`tokenizer.ggml.${name}_token_id`));
  const distinct = [...new Set(ends)].filter((id) => id !== undefined);
  if (bos !== undefined) ids["bos_token_id"] = bos;
  if (pad !== undefined) ids["pad_token_id"] = pad;
  if (distinct.length > 0) ids["eos_token_id"] = distinct.length === 1 ? distinct[0] : distinct;
  return ids;
}
