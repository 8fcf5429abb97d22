/**
 * What a decoder is made of. The families of `families.ts` are values of this, not code paths.
 *
 * @module
 */

import type { RopeConfig } from "./rope_frequencies.ts";

/** Whose tensor names and `config.json` a decoder has: Hugging Face's `model_type`. */
export type FamilyName = "llama" | "qwen2" | "qwen3" | "gemma3_text" | "gpt2";

/** Sizes and constants of a decoder. */
export interface DecoderConfig {
  /** Whose tensor names and `config.json` it has. */
  readonly family: FamilyName;
  /** V */
  readonly vocabSize: number;
  /** C */
  readonly hiddenSize: number;
  /** F, the width of the MLP */
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
  /** RMSNorm that scales by w, RMSNorm that scales by 1 + w, or LayerNorm with a bias. */
  readonly norm: "rms" | "rms1" | "layer";
  /** Added to the mean square, or to the variance. */
  readonly normEpsilon: number;
  /** Whether attention and MLP are normalised behind as well, before they join the residual. */
  readonly postNorms: boolean;
  /** Whether each head of queries and keys is normalised before it is rotated. */
  readonly headNorms: boolean;
  /** Which linear layers add a bias. */
  readonly biases: { readonly qkv: boolean; readonly o: boolean; readonly mlp: boolean };
  /** Of the MLP; `gelu` is the tanh approximation. */
  readonly activation: "silu" | "gelu";
  /** Whether the MLP is down(act(gate x) * up x), or down(act(up x)). */
  readonly gated: boolean;
  /** Rotary embedding of the layers without a window; null where positions are learned. */
  readonly rope: RopeConfig | null;
  /** Rotary embedding of the layers with a window. */
  readonly windowRope: RopeConfig | null;
  /** By layer: how many tokens back a token sees, itself included; null is all. */
  readonly windows: readonly (number | null)[];
  /** What scores are multiplied by, 1/sqrt(D) in most families. */
  readonly attentionScale: number;
  /** What embeddings are multiplied by. */
  readonly embeddingScale: number;
  /** Logits become cap * tanh(logits / cap); null leaves them. */
  readonly logitCap: number | null;
  /** Whether the LM head is the embedding table. */
  readonly tiedEmbeddings: boolean;
}

/** What makes one Llama differ from another. */
export type LlamaSizes =
  & Pick<
    DecoderConfig,
    | "vocabSize"
    | "hiddenSize"
    | "intermediateSize"
    | "layers"
    | "heads"
    | "kvHeads"
    | "headDim"
    | "maxPositions"
    | "normEpsilon"
    | "tiedEmbeddings"
  >
  & { readonly ropeTheta: number };

/**
 * A Llama of given sizes.
 *
 * @throws {RangeError} if they do not fit together.
 */
export function llamaConfig({ ropeTheta, ...sizes }: LlamaSizes): DecoderConfig {
  const rope = { theta: ropeTheta, dims: sizes.headDim, scaling: { kind: "default" } } as const;
  return checked({
    family: "llama",
    ...sizes,
    norm: "rms",
    postNorms: false,
    headNorms: false,
    biases: { qkv: false, o: false, mlp: false },
    activation: "silu",
    gated: true,
    rope,
    windowRope: rope,
    windows: Array(sizes.layers).fill(null),
    attentionScale: 1 / Math.sqrt(sizes.headDim),
    embeddingScale: 1,
    logitCap: null,
  });
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
  return llamaConfig({
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

/** Rows of the vocabulary tables: kernels move four at a time. Those past V are zero and never win. */
export function tableRows({ vocabSize }: DecoderConfig): number {
  return Math.ceil(vocabSize / 4) * 4;
}

/**
 * The config itself, if its sizes fit together.
 *
 * @throws {RangeError} if they do not.
 */
export function checked(config: DecoderConfig): DecoderConfig {
  const whole = ["vocabSize", "hiddenSize", "intermediateSize", "layers", "heads"] as const;
  for (const name of [...whole, "kvHeads", "headDim", "maxPositions"] as const) {
    if (!Number.isInteger(config[name]) || config[name] <= 0) {
      throw new RangeError(
        `Cannot build a decoder: ${name} is ${config[name]}, it must be a positive integer`,
      );
    }
  }
  for (const name of ["hiddenSize", "intermediateSize"] as const) {
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
      `Cannot build a decoder: headDim is ${config.headDim}, it must be a multiple of 8`,
    );
  }
  for (const rope of [config.rope, config.windowRope]) {
    if (rope && (rope.dims % 8 !== 0 || rope.dims > config.headDim)) {
      throw new RangeError(
        `Cannot build a decoder: it rotates ${rope.dims} of ${config.headDim} dimensions of a head, ` +
          "it must be a multiple of 8",
      );
    }
  }
  const { normEpsilon, attentionScale, embeddingScale, logitCap } = config;
  const positive = {
    normEpsilon,
    attentionScale,
    embeddingScale,
    logitCap: logitCap ?? 1,
    ropeTheta: config.rope?.theta ?? 1,
    "ropeTheta of windows": config.windowRope?.theta ?? 1,
  };
  for (const [name, value] of Object.entries(positive)) {
    if (typeof value !== "number" || !(value > 0 && value < Infinity)) {
      throw new RangeError(
        `Cannot build a decoder: ${name} is ${JSON.stringify(value)}, it must be a positive number`,
      );
    }
  }
  const window = config.windows.find((own) => own !== null && !(Number.isInteger(own) && own > 0));
  if (window !== undefined) {
    throw new RangeError(
      `Cannot build a decoder: a window is ${window} tokens, it must be a positive integer`,
    );
  }
  if (config.windows.length !== config.layers) {
    throw new RangeError(
      `Cannot build a decoder: ${config.layers} layers have ${config.windows.length} windows`,
    );
  }
  return config;
}
