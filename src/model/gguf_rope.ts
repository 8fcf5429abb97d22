/**
 * The scaling of rotary frequencies, from GGUF's terms to those of Hugging Face's `rope_scaling`.
 *
 * @module
 */

import type { Gguf } from "../io/gguf.ts";
import { toFloat32 } from "../io/safetensors.ts";
import type { GgufFields } from "./gguf_fields.ts";

/** What `config.json` holds under `rope_scaling`. */
export type RopeScaling = Readonly<Record<string, unknown>>;

/** The tensor of Llama 3's frequencies: a divisor for each of D / 2. */
export const ropeFactorsTensor = "rope_freqs.weight";

/** How far a factor computed anew may lie from the one stored: f32 arithmetic, generously. */
const tolerance = 1e-5;

/**
 * The `rope_scaling` of a model, or null if its frequencies are not scaled.
 *
 * `linear` and `yarn` come from metadata. For Llama 3 the file has only the divisors that follow
 * from its parameters; they are solved for the parameters. Divisors that follow from none are given
 * as `longrope` with the same list for short and long contexts and an `attention_factor` of 1, which
 * in Transformers is exactly a divisor per frequency.
 *
 * @param headDim D
 * @throws {CheckpointError} if the file names a scaling that is not known, or divisors that don't
 *   fit D.
 */
export async function ropeScaling(
  gguf: Gguf,
  fields: GgufFields,
  headDim: number,
): Promise<RopeScaling | null> {
  const maxPositions = fields.number("context_length");
  if (gguf.entries.has(ropeFactorsTensor)) {
    const factors = toFloat32(await gguf.read(ropeFactorsTensor));
    if (factors.length !== headDim / 2 || !factors.every((factor) => factor > 0)) {
      throw fields.fault(
        `"${ropeFactorsTensor}" has ${factors.length} values, expected ${headDim / 2} above 0. ` +
          "Convert the model again with a current llama.cpp",
      );
    }
    const theta = fields.optional("rope.freq_base") ?? 10000;
    return llama3Scaling(factors, theta) ?? {
      rope_type: "longrope",
      short_factor: [...factors],
      long_factor: [...factors],
      attention_factor: 1,
      original_max_position_embeddings: maxPositions,
    };
  }

  // Files of 2023 have the one key instead of a type.
  const legacy = fields.optional("rope.scale_linear");
  const type = fields.raw("rope.scaling.type") ?? (legacy === undefined ? "none" : "linear");
  if (type === "none") return null;
  if (type !== "linear" && type !== "yarn") {
    throw fields.fault(
      `"rope.scaling.type" is ${JSON.stringify(type)}; supported are none, linear, yarn, and ` +
        `Llama 3's "${ropeFactorsTensor}"`,
    );
  }
  const factor = fields.optional("rope.scaling.factor") ?? legacy ?? 1;
  if (type === "linear") return factor === 1 ? null : { rope_type: "linear", factor };
  const attention = (fields.optional("rope.scaling.attn_factor") ?? 1) *
    (fields.optional("rope.scaling.yarn_attn_factor") ?? 1);
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings: fields.optional("rope.scaling.original_context_length") ??
      maxPositions,
    beta_fast: fields.optional("rope.scaling.yarn_beta_fast") ?? 32,
    beta_slow: fields.optional("rope.scaling.yarn_beta_slow") ?? 1,
    // llama.cpp multiplies it with what both take where nothing is said.
    ...(attention === 1 ? {} : { attention_factor: attention * (0.1 * Math.log(factor) + 1) }),
  };
}

/**
 * Llama 3's parameters from the divisors they lead to, or null if these divisors are not of its kind.
 *
 * With w the wavelength of a frequency and L the original context, a divisor is 1 for w < L / high,
 * `factor` for w > L / low, and 1 / ((1 - s) / factor + s) with s = (L / w - low) / (high - low)
 * between. So s is a line in 1 / w, whose slope L / (high - low) and intercept
 * -low / (high - low) two divisors in between give. They leave one scale open, as only the ratios of
 * L, low and high matter: low is taken as 1, as every published Llama 3 has it.
 *
 * @param factors [D / 2]
 * @param theta base of the frequencies
 */
export function llama3Scaling(factors: Float32Array, theta: number): RopeScaling | null {
  const factor = factors.at(-1)!;
  const frequency = (i: number) => theta ** (-i / factors.length) / (2 * Math.PI); // 1 / w
  const between = [...factors.keys()].filter((i) => factors[i]! > 1 && factors[i]! < factor);
  if (!(factor > 1) || between.length < 2) return null;
  const smooth = (i: number) => (1 / factors[i]! - 1 / factor) / (1 - 1 / factor);
  const [first, last] = [between[0]!, between.at(-1)!];
  const slope = (smooth(first) - smooth(last)) / (frequency(first) - frequency(last));
  const intercept = smooth(first) - slope * frequency(first);
  const high = nearest(1 - 1 / intercept);
  const length = nearest(slope * (high - 1));
  const expected = (i: number): number => {
    const s = Math.min(1, Math.max(0, (length * frequency(i) - 1) / (high - 1)));
    return 1 / ((1 - s) / factor + s);
  };
  // Also false where a number above is not finite.
  const fits = factors.every((stored, i) => Math.abs(expected(i) / stored - 1) < tolerance);
  if (!fits) return null;
  return {
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: high,
    original_max_position_embeddings: length,
  };
}

/** The integer that a value is meant to be, where it is close to one. */
function nearest(value: number): number {
  const integer = Math.round(value);
  return Math.abs(value / integer - 1) < 1e-3 ? integer : value;
}
