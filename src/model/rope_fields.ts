/**
 * The rotary embedding in `config.json`: Transformers 4 writes `rope_theta` and `rope_scaling`,
 * Transformers 5 one `rope_parameters`, by kind of layer where there are two.
 *
 * @module
 */

import type { DecoderConfig } from "./config.ts";
import type { RopeConfig, RopeScaling } from "./rope_frequencies.ts";

type Json = Readonly<Record<string, unknown>>;

/** A layer without or with a window. */
export type LayerType = "full_attention" | "sliding_attention";

/**
 * The rotary embedding of one kind of layer.
 *
 * @param defaults what is taken for fields that are left out
 * @throws {TypeError} if it is of a kind that is not implemented, or a number is missing.
 */
export function readRope(
  json: Json,
  defaults: Json,
  headDim: number,
  layer: LayerType,
): RopeConfig {
  for (const field of ["rope_parameters", "rope_scaling"]) {
    const value = json[field] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) {
      throw new TypeError(
        `Cannot read config.json: "${field}" is ${JSON.stringify(value)}, expected an object`,
      );
    }
  }
  const all = (json["rope_parameters"] ?? {}) as Record<string, unknown>;
  const byLayer = "full_attention" in all || "sliding_attention" in all;
  // Where layers differ, the fields of Transformers 4 are about those without a window.
  const local = layer === "sliding_attention" && defaults["rope_local_base_freq"] !== undefined;
  const given = (byLayer ? all[layer] : local ? undefined : all) as Json | undefined;
  const fields: Json = { ...(local ? {} : (json["rope_scaling"] ?? {}) as Json), ...given };
  const thetaField = local ? "rope_local_base_freq" : "rope_theta";
  const theta = fields["rope_theta"] ?? json[thetaField] ?? defaults[thetaField] ?? 10000;
  const share = fields["partial_rotary_factor"] ?? json["partial_rotary_factor"] ?? 1;
  if (typeof theta !== "number" || typeof share !== "number") {
    throw new TypeError(
      `Cannot read config.json: "${thetaField}" is ${JSON.stringify(theta)} and ` +
        `"partial_rotary_factor" ${JSON.stringify(share)}, expected numbers`,
    );
  }
  const positions = json["max_position_embeddings"] ?? defaults["max_position_embeddings"];
  return {
    theta,
    dims: Math.floor(headDim * share),
    scaling: readScaling(
      fields,
      positions as number,
      Math.floor(headDim * share),
      json["rope_scaling"] ? "rope_scaling" : "rope_parameters",
    ),
  };
}

function readScaling(
  fields: Json,
  maxPositions: number,
  dims: number,
  where: string,
): RopeScaling {
  const kind = (fields["rope_type"] ?? fields["type"] ?? "default") as RopeScaling["kind"];
  const number = (name: string, fallback?: number): number => {
    const value = fields[name] ?? fallback;
    if (typeof value !== "number" || !(value > 0 && value < Infinity)) {
      throw new TypeError(
        `Cannot read config.json: "${where}.${name}" is ${
          JSON.stringify(value)
        }, expected a number`,
      );
    }
    return value;
  };
  switch (kind) {
    case "default":
      return { kind };
    case "linear":
      return { kind, factor: number("factor") };
    case "llama3":
      return {
        kind,
        factor: number("factor"),
        lowFrequencyFactor: number("low_freq_factor"),
        highFrequencyFactor: number("high_freq_factor"),
        originalPositions: number("original_max_position_embeddings"),
      };
    case "yarn": {
      const originalPositions = number("original_max_position_embeddings", maxPositions);
      const factor = number("factor", maxPositions / originalPositions);
      return {
        kind,
        factor,
        betaFast: number("beta_fast", 32),
        betaSlow: number("beta_slow", 1),
        originalPositions,
        attentionFactor: number("attention_factor", defaultAttentionFactor(fields, factor)),
        truncate: fields["truncate"] !== false,
      };
    }
    case "longrope": {
      const { short_factor: short, long_factor: long } = fields;
      if (Array.isArray(short) && short.length !== dims / 2) {
        throw new TypeError(
          `Cannot read config.json: "${where}.short_factor" has ${short.length} numbers for ` +
            `${dims / 2} rotated pairs`,
        );
      }
      if (!Array.isArray(short) || JSON.stringify(short) !== JSON.stringify(long)) {
        throw new TypeError(
          `Cannot read config.json: "${where}.short_factor" and "long_factor" of longrope differ; ` +
            "implemented is one list of factors for all lengths",
        );
      }
      return { kind, factors: short as number[], attentionFactor: number("attention_factor") };
    }
    default:
      throw new TypeError(
        `Cannot read config.json: "${where}.rope_type" is ${JSON.stringify(kind)}, ` +
          "implemented are default, linear, llama3, yarn and longrope",
      );
  }
}

/** YaRN's own, or DeepSeek's ratio of two where both are given. */
function defaultAttentionFactor(fields: Json, factor: number): number {
  const magnitude = (scale: number) => factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  const { mscale, mscale_all_dim: all } = fields as Record<string, number | undefined>;
  return mscale && all ? magnitude(mscale) / magnitude(all) : magnitude(1);
}

/** Fields for `config.json`; where both kinds of layer rotate alike, those of Transformers 4 too. */
export function writeRope({ rope, windowRope, headDim }: DecoderConfig): Record<string, unknown> {
  const written = (config: RopeConfig) => ({
    rope_theta: config.theta,
    ...writeScaling(config.scaling),
    ...(config.dims === headDim ? {} : { partial_rotary_factor: config.dims / headDim }),
  });
  const [full, sliding] = [written(rope!), written(windowRope!)];
  if (JSON.stringify(full) !== JSON.stringify(sliding)) {
    return {
      rope_parameters: { full_attention: full, sliding_attention: sliding },
      rope_theta: rope!.theta,
      ...(rope!.scaling.kind === "default" ? {} : { rope_scaling: writeScaling(rope!.scaling) }),
      rope_local_base_freq: windowRope!.theta,
    };
  }
  const { rope_theta, ...scaling } = full;
  const plain = rope!.scaling.kind === "default";
  return {
    rope_theta,
    ...(plain ? {} : { rope_scaling: scaling, rope_parameters: full }),
    ...("partial_rotary_factor" in full
      ? { partial_rotary_factor: full.partial_rotary_factor }
      : {}),
  };
}

function writeScaling(scaling: RopeScaling): Record<string, unknown> {
  switch (scaling.kind) {
    case "default":
    case "linear": {
      const { kind, ...rest } = scaling;
      return { rope_type: kind, ...rest };
    }
    case "longrope":
      return {
        rope_type: "longrope",
        short_factor: scaling.factors,
        long_factor: scaling.factors,
        attention_factor: scaling.attentionFactor,
      };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalPositions,
      };
    case "yarn":
      return {
        rope_type: "yarn",
        factor: scaling.factor,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        original_max_position_embeddings: scaling.originalPositions,
        attention_factor: scaling.attentionFactor,
        truncate: scaling.truncate,
      };
  }
}
