/**
 * What a decoder is made of, read from and written as Hugging Face's `config.json`.
 *
 * @module
 */

/** Sizes and constants of a Llama-style decoder. */
export interface DecoderConfig {
  /** V */
  readonly vocabSize: number;
  /** C */
  readonly hiddenSize: number;
  /** F, the width of the gated MLP */
  readonly intermediateSize: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** H */
  readonly heads: number;
  /** KV, a divisor of H */
  readonly kvHeads: number;
  /** D */
  readonly headDim: number;
  /** Longest sequence. */
  readonly maxPositions: number;
  /** Base of the rotary embedding's frequencies. */
  readonly ropeTheta: number;
  /** Added to the mean square in RMSNorm. */
  readonly normEpsilon: number;
  /** Whether the LM head is the embedding table. */
  readonly tiedEmbeddings: boolean;
}

/** Sizes by tag; `vocabSize` comes from the tokenizer. */
export const sizes = {
  nano: { hiddenSize: 64, intermediateSize: 192, layers: 3, heads: 4 },
  micro: { hiddenSize: 128, intermediateSize: 384, layers: 4, heads: 4 },
  small: { hiddenSize: 256, intermediateSize: 768, layers: 6, heads: 8 },
} as const;

/** A config of one of the sizes from scratch. */
export function sizedConfig(
  size: keyof typeof sizes,
  vocabSize: number,
  maxPositions = 2048,
): DecoderConfig {
  const { heads, hiddenSize } = sizes[size];
  return checked({
    ...sizes[size],
    vocabSize,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    maxPositions,
    ropeTheta: 10000,
    normEpsilon: 1e-5,
    tiedEmbeddings: false,
  });
}

/** Fields that change the maths, with the only value that is implemented. */
const fixed: Readonly<Record<string, unknown>> = {
  model_type: "llama",
  hidden_act: "silu",
  attention_bias: false,
  mlp_bias: false,
  rope_scaling: null,
  pretraining_tp: 1,
};

/**
 * Reads `config.json`.
 *
 * @throws {TypeError} if a field is missing, or names maths that is not implemented.
 */
export function fromHuggingFace(json: Readonly<Record<string, unknown>>): DecoderConfig {
  for (const [name, value] of Object.entries(fixed)) {
    const given = json[name];
    if (given !== undefined && given !== null && given !== value) {
      throw new TypeError(
        `Cannot read config.json: "${name}" is ${JSON.stringify(given)}, only ${
          JSON.stringify(value)
        } is implemented`,
      );
    }
  }
  // Transformers 5 writes an object where 4 wrote one number.
  const rope = (json["rope_parameters"] ?? {}) as Record<string, unknown>;
  if (rope["rope_type"] !== undefined && rope["rope_type"] !== "default") {
    throw new TypeError(
      `Cannot read config.json: "rope_parameters.rope_type" is ${
        JSON.stringify(rope["rope_type"])
      }, only "default" is implemented`,
    );
  }
  const number = (name: string, fallback?: unknown): number => {
    const value = json[name] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new TypeError(
        `Cannot read config.json: "${name}" is ${JSON.stringify(value)}, expected a number`,
      );
    }
    return value;
  };
  const heads = number("num_attention_heads");
  const hiddenSize = number("hidden_size");
  return checked({
    vocabSize: number("vocab_size"),
    hiddenSize,
    intermediateSize: number("intermediate_size"),
    layers: number("num_hidden_layers"),
    heads,
    kvHeads: number("num_key_value_heads", heads),
    headDim: number("head_dim", hiddenSize / heads),
    maxPositions: number("max_position_embeddings", 2048),
    ropeTheta: number("rope_theta", rope["rope_theta"] ?? 10000),
    normEpsilon: number("rms_norm_eps", 1e-6),
    tiedEmbeddings: json["tie_word_embeddings"] === true,
  });
}

/** What `config.json` holds for this config; Transformers 4 and 5 read it. */
export function toHuggingFace(config: DecoderConfig): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositions,
    rope_theta: config.ropeTheta,
    rms_norm_eps: config.normEpsilon,
    hidden_act: "silu",
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: config.tiedEmbeddings,
    torch_dtype: "float32",
  };
}

/** Shape of every tensor by its Hugging Face name, in the order in which they are stored. */
export function tensorShapes(config: DecoderConfig): Map<string, number[]> {
  const { vocabSize, hiddenSize: C, intermediateSize: F, heads, kvHeads, headDim: D } = config;
  const shapes = new Map<string, number[]>([["model.embed_tokens.weight", [vocabSize, C]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const block = `model.layers.${layer}`;
    shapes.set(`${block}.input_layernorm.weight`, [C]);
    shapes.set(`${block}.self_attn.q_proj.weight`, [heads * D, C]);
    shapes.set(`${block}.self_attn.k_proj.weight`, [kvHeads * D, C]);
    shapes.set(`${block}.self_attn.v_proj.weight`, [kvHeads * D, C]);
    shapes.set(`${block}.self_attn.o_proj.weight`, [C, heads * D]);
    shapes.set(`${block}.post_attention_layernorm.weight`, [C]);
    shapes.set(`${block}.mlp.gate_proj.weight`, [F, C]);
    shapes.set(`${block}.mlp.up_proj.weight`, [F, C]);
    shapes.set(`${block}.mlp.down_proj.weight`, [C, F]);
  }
  shapes.set("model.norm.weight", [C]);
  if (!config.tiedEmbeddings) shapes.set("lm_head.weight", [vocabSize, C]);
  return shapes;
}

function checked(config: DecoderConfig): DecoderConfig {
  const whole = ["vocabSize", "hiddenSize", "intermediateSize", "layers", "heads"] as const;
  for (const name of [...whole, "kvHeads", "headDim", "maxPositions"] as const) {
    if (!Number.isInteger(config[name]) || config[name] <= 0) {
      throw new RangeError(
        `Cannot build a decoder: ${name} is ${config[name]}, it must be a positive integer`,
      );
    }
  }
  for (const name of ["vocabSize", "hiddenSize", "intermediateSize"] as const) {
    if (config[name] % 4 !== 0) {
      throw new RangeError(
        `Cannot build a decoder: ${name} is ${config[name]}, it must be a multiple of 4`,
      );
    }
  }
  if (config.heads % config.kvHeads !== 0) {
    throw new RangeError(
      `Cannot build a decoder: ${config.heads} heads can't share ${config.kvHeads} key/value heads evenly`,
    );
  }
  if (config.headDim % 8 !== 0) {
    throw new RangeError(
      `Cannot build a decoder: headDim is ${config.headDim}, rotary embedding needs a multiple of 8`,
    );
  }
  return config;
}
