/**
 * Hugging Face's `config.json` for each family of decoders: which fields it has, what they mean
 * here, and what they are when left out.
 *
 * A field that would change the maths and is not implemented, or is not known at all, is an error
 * that names it.
 *
 * @module
 */

import { checked, type DecoderConfig, type FamilyName } from "./config.ts";
import { readRope, writeRope } from "./rope_fields.ts";

/** Contents of a `config.json`. */
export type Json = Readonly<Record<string, unknown>>;

/** A family, as data. */
interface Family {
  /** Class that Transformers loads it with. */
  readonly architecture: string;
  /** Names of the fields that every family has in some form, where they are not Llama's. */
  readonly names: Readonly<Record<string, string>>;
  /** What Transformers takes for a field that is left out. */
  readonly defaults: Json;
  /** What the family is made of, whatever its sizes. */
  readonly traits: Pick<DecoderConfig, "norm" | "postNorms" | "headNorms" | "gated">;
  /** Whether queries, keys and values have a bias with no field to say so. */
  readonly qkvBias: boolean;
  /** Names of activations that are implemented. */
  readonly activations: Readonly<Record<string, DecoderConfig["activation"]>>;
  /** Fields that are read here beside those of every family. */
  readonly fields: readonly string[];
  /** Fields that change the maths, with the only value that is implemented. */
  readonly fixed: Json;
}

const silu = { silu: "silu", swish: "silu" } as const;
const gelu = { gelu_pytorch_tanh: "gelu", gelu_new: "gelu" } as const;
const llamaTraits = { norm: "rms", postNorms: false, headNorms: false, gated: true } as const;
const windows = ["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"];

/** Every family by its `model_type`. */
export const families: Readonly<Record<FamilyName, Family>> = {
  llama: {
    architecture: "LlamaForCausalLM",
    names: {},
    defaults: { rms_norm_eps: 1e-6, max_position_embeddings: 2048, hidden_act: "silu" },
    traits: llamaTraits,
    qkvBias: false,
    activations: silu,
    fields: ["attention_bias", "mlp_bias"],
    fixed: { pretraining_tp: 1, rope_interleaved: false },
  },
  qwen2: {
    architecture: "Qwen2ForCausalLM",
    names: {},
    defaults: { rms_norm_eps: 1e-6, max_position_embeddings: 32768, hidden_act: "silu" },
    traits: llamaTraits,
    qkvBias: true,
    activations: silu,
    fields: windows,
    fixed: { use_mrope: false },
  },
  qwen3: {
    architecture: "Qwen3ForCausalLM",
    names: {},
    defaults: {
      rms_norm_eps: 1e-6,
      max_position_embeddings: 32768,
      hidden_act: "silu",
      head_dim: 128,
    },
    traits: { ...llamaTraits, headNorms: true },
    qkvBias: false,
    activations: silu,
    fields: ["attention_bias", ...windows],
    fixed: {},
  },
  gemma3_text: {
    architecture: "Gemma3ForCausalLM",
    names: { hidden_act: "hidden_activation" },
    defaults: {
      rms_norm_eps: 1e-6,
      max_position_embeddings: 131072,
      hidden_activation: "gelu_pytorch_tanh",
      head_dim: 256,
      query_pre_attn_scalar: 256,
      sliding_window: 4096,
      sliding_window_pattern: 6,
      tie_word_embeddings: true,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
    },
    traits: { norm: "rms1", postNorms: true, headNorms: true, gated: true },
    qkvBias: false,
    activations: gelu,
    fields: [
      ...["attention_bias", "query_pre_attn_scalar", "final_logit_softcapping", "layer_types"],
      ...["sliding_window", "sliding_window_pattern", "rope_local_base_freq"],
    ],
    fixed: { attn_logit_softcapping: null, use_bidirectional_attention: false },
  },
  gpt2: {
    architecture: "GPT2LMHeadModel",
    names: {
      hidden_size: "n_embd",
      intermediate_size: "n_inner",
      num_hidden_layers: "n_layer",
      num_attention_heads: "n_head",
      max_position_embeddings: "n_positions",
      rms_norm_eps: "layer_norm_epsilon",
      hidden_act: "activation_function",
    },
    defaults: {
      n_positions: 1024,
      layer_norm_epsilon: 1e-5,
      activation_function: "gelu_new",
      tie_word_embeddings: true,
    },
    traits: { norm: "layer", postNorms: false, headNorms: false, gated: false },
    qkvBias: true,
    activations: gelu,
    fields: ["n_ctx"],
    fixed: {
      scale_attn_weights: true,
      scale_attn_by_inverse_layer_idx: false,
      add_cross_attention: false,
    },
  },
};

/** Fields that every family has in some form, by Llama's names. */
const common = [
  ...["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"],
  ...["num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"],
  ...["rms_norm_eps", "hidden_act", "tie_word_embeddings"],
  ...["rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor"],
];

/**
 * Fields that do not change what a model computes: token ids, bookkeeping, settings of generation
 * and of other trainers. Dropout is a choice of the trainer, and off here.
 */
const inert = new RegExp(
  "^(_.*|.*_token_id|.*_token_ids|transformers_version|torch_dtype|dtype|use_cache|architectures|" +
    ".*drop|.*dropout|initializer_range|summary_.*|task_specific_params|output_.*|return_dict.*|" +
    "id2label|label2id|transformers\\.js_config|unsloth_.*|is_llama_config|do_sample|temperature|" +
    "top_[kp]|max_length|min_length|cache_implementation|attn_implementation|reorder_and_upcast_attn|" +
    "chunk_size_feed_forward|problem_type|keys_to_ignore_at_inference|bos_token|eos_token|" +
    "is_encoder_decoder|is_decoder|model_max_length|tokenizer_class|mentor_.*)$",
);

function refuse(fault: string): TypeError {
  return new TypeError(`Cannot read config.json: ${fault}`);
}

/**
 * Reads `config.json`.
 *
 * @throws {TypeError} if a field is missing, or names maths that is not implemented.
 * @throws {RangeError} if the sizes do not fit together.
 */
export function fromHuggingFace(json: Json): DecoderConfig {
  // Files made by hand may leave it out.
  const name = (json["model_type"] ?? "llama") as FamilyName;
  if (!Object.hasOwn(families, name)) {
    const known = Object.keys(families).map((name) => `"${name}"`).join(", ");
    throw refuse(
      `"model_type" is ${JSON.stringify(name)}, implemented are ${known}` +
        ((name as string) === "gemma3" ? '; take the "text_config" of this model' : ""),
    );
  }
  const family = families[name];
  checkFields(json, family);
  const own = (field: string) => family.names[field] ?? field;
  const get = (field: string): unknown => json[own(field)] ?? family.defaults[own(field)];
  const number = (field: string, fallback?: number): number => {
    const value = get(field) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw refuse(`"${own(field)}" is ${JSON.stringify(value)}, expected a number`);
    }
    return value;
  };
  const heads = number("num_attention_heads");
  const hiddenSize = number("hidden_size");
  const layers = number("num_hidden_layers");
  const headDim = number("head_dim", hiddenSize / heads);
  const activation = get("hidden_act") as string;
  if (!Object.hasOwn(family.activations, activation)) {
    const known = Object.keys(family.activations).map((name) => `"${name}"`).join(" or ");
    const field = own("hidden_act");
    throw refuse(`"${field}" is ${JSON.stringify(activation)}, only ${known} is implemented`);
  }
  for (const field of ["tie_word_embeddings", "attention_bias", "mlp_bias"]) {
    const value = get(field) ?? false;
    if (typeof value !== "boolean") {
      throw refuse(`"${field}" is ${JSON.stringify(value)}, expected true or false`);
    }
  }
  const learned = name === "gpt2";
  const attentionBias = get("attention_bias") === true;
  return checked({
    family: name,
    vocabSize: number("vocab_size"),
    hiddenSize,
    intermediateSize: number("intermediate_size", learned ? 4 * hiddenSize : undefined),
    layers,
    heads,
    kvHeads: number("num_key_value_heads", heads),
    headDim,
    maxPositions: number("max_position_embeddings"),
    ...family.traits,
    normEpsilon: number("rms_norm_eps"),
    biases: {
      qkv: family.qkvBias || attentionBias,
      o: learned || attentionBias,
      mlp: learned || get("mlp_bias") === true,
    },
    activation: family.activations[activation]!,
    rope: learned ? null : readRope(json, family.defaults, headDim, "full_attention"),
    windowRope: learned ? null : readRope(json, family.defaults, headDim, "sliding_attention"),
    windows: readWindows(name, get, layers),
    attentionScale: 1 / Math.sqrt(number("query_pre_attn_scalar", headDim)),
    // Transformers rounds it to the embedding's type, f32 here.
    embeddingScale: name === "gemma3_text" ? Math.fround(hiddenSize ** 0.5) : 1,
    logitCap: (get("final_logit_softcapping") ?? null) as number | null,
    tiedEmbeddings: get("tie_word_embeddings") === true,
  });
}

function checkFields(json: Json, family: Family): void {
  for (const [field, value] of Object.entries(family.fixed)) {
    const given = json[field] ?? null;
    if (given !== null && given !== value) {
      throw refuse(
        `"${field}" is ${JSON.stringify(given)}, only ${JSON.stringify(value)} is implemented`,
      );
    }
  }
  const known = new Set([
    ...common.map((field) => family.names[field] ?? field),
    ...Object.keys(family.fixed),
    ...family.fields,
    // Transformers writes Llama's switches into every config of that shape.
    ...["attention_bias", "mlp_bias"],
  ]);
  for (const [field, value] of Object.entries(json)) {
    if (known.has(field) || inert.test(field) || value === null || value === false) continue;
    throw refuse(
      `the field "${field}" (${
        JSON.stringify(value)
      }) is not known, and may change what the model ` +
        "computes. Remove it if it does not",
    );
  }
  for (const field of ["attention_bias", "mlp_bias"]) {
    if (json[field] === true && !family.fields.includes(field)) {
      throw refuse(`"${field}" is true, only false is implemented for this family`);
    }
  }
}

/** How far back each layer sees. */
function readWindows(
  family: FamilyName,
  get: (field: string) => unknown,
  layers: number,
): (number | null)[] {
  const size = get("sliding_window") as number | null | undefined;
  const gemma = family === "gemma3_text";
  const used = typeof size === "number" && (gemma || get("use_sliding_window") === true);
  if (!used) return Array.from({ length: layers }, () => null);
  const types = get("layer_types") as string[] | null | undefined;
  if (types) {
    if (!Array.isArray(types)) {
      throw refuse(`"layer_types" is ${JSON.stringify(types)}, expected a list`);
    }
    const known = ["sliding_attention", "full_attention"];
    const wrong = types.find((type) => !known.includes(type));
    if (wrong !== undefined || types.length !== layers) {
      throw refuse(
        wrong === undefined
          ? `"layer_types" has ${types.length} entries for ${layers} layers`
          : `"layer_types" has "${wrong}", implemented are ${known.join(" and ")}`,
      );
    }
    return types.map((type) => type === "sliding_attention" ? size : null);
  }
  const pattern = get("sliding_window_pattern") as number;
  if (gemma && !(Number.isInteger(pattern) && pattern > 0)) {
    throw refuse(`"sliding_window_pattern" is ${JSON.stringify(pattern)}, expected a number`);
  }
  const from = (get("max_window_layers") ?? 28) as number;
  return Array.from(
    { length: layers },
    (_, layer) => (gemma ? (layer + 1) % pattern !== 0 : layer >= from) ? size : null,
  );
}

/** What `config.json` holds for this config; Transformers 4 and 5 read it. */
export function toHuggingFace(config: DecoderConfig): Record<string, unknown> {
  const family = families[config.family];
  const { windows, biases } = config;
  const window = windows.find((size) => size !== null) ?? null;
  const activation = Object.keys(family.activations)
    .find((name) => family.activations[name] === config.activation)!;
  const written: Record<string, unknown> = {
    model_type: config.family,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.normEpsilon,
    hidden_act: config.family === "gpt2" ? "gelu_new" : activation,
    tie_word_embeddings: config.tiedEmbeddings,
  };
  if (config.rope) {
    Object.assign(written, {
      num_key_value_heads: config.kvHeads,
      head_dim: config.headDim,
      ...writeRope(config),
    });
  }
  if (family.fields.includes("attention_bias")) written["attention_bias"] = biases.o;
  if (family.fields.includes("mlp_bias")) written["mlp_bias"] = biases.mlp;
  if (family.fields.includes("layer_types")) {
    written["sliding_window"] = window;
    written["layer_types"] = windows.map((size) =>
      size === null ? "full_attention" : "sliding_attention"
    );
  }
  if (family.fields.includes("use_sliding_window")) {
    written["use_sliding_window"] = window !== null;
  }
  if (config.family === "gemma3_text") {
    written["query_pre_attn_scalar"] = Math.round(config.attentionScale ** -2);
    written["final_logit_softcapping"] = config.logitCap;
  }
  return {
    architectures: [family.architecture],
    ...Object.fromEntries(
      Object.entries(written).map(([field, value]) => [family.names[field] ?? field, value]),
    ),
    torch_dtype: "float32",
  };
}
