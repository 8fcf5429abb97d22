/**
 * Angles per position of the rotary embedding, with the ways to stretch them to a longer context.
 *
 * @module
 */

/** How the frequencies of a short context are stretched to a long one. */
export type RopeScaling =
  | { readonly kind: "default" }
  /** Positions divided by `factor` (Chen et al. 2023). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between. */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    readonly lowFrequencyFactor: number;
    readonly highFrequencyFactor: number;
    readonly originalPositions: number;
  }
  /** YaRN (Peng et al. 2023): a ramp over dimensions, and cosines and sines scaled. */
  | {
    readonly kind: "yarn";
    readonly factor: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    readonly originalPositions: number;
    /** What cosines and sines are multiplied by. */
    readonly attentionFactor: number;
    /** Whether the ramp starts and ends at whole dimensions. */
    readonly truncate: boolean;
  }
  /** LongRoPE (Ding et al. 2024) with the same factors for all lengths, as GGUF files store them. */
  | {
    readonly kind: "longrope";
    /** What each frequency is divided by; [dims/2]. */
    readonly factors: readonly number[];
    /** What cosines and sines are multiplied by. */
    readonly attentionFactor: number;
  };

/** A rotary embedding. */
export interface RopeConfig {
  /** Base of the frequencies. */
  readonly theta: number;
  /** How many of a head's dimensions are rotated, from the first on; a multiple of 8. */
  readonly dims: number;
  /** How the frequencies are stretched. */
  readonly scaling: RopeScaling;
}

/** Angle per position of each rotated pair, [dims/2], and what cosines and sines are scaled by. */
export function ropeFrequencies(
  { theta, dims, scaling }: RopeConfig,
): { frequencies: Float64Array; magnitude: number } {
  const frequencies = Float64Array.from({ length: dims / 2 }, (_, i) => theta ** (-2 * i / dims));
  switch (scaling.kind) {
    case "default":
      return { frequencies, magnitude: 1 };
    case "linear":
      return { frequencies: frequencies.map((f) => f / scaling.factor), magnitude: 1 };
    case "longrope":
      return {
        frequencies: frequencies.map((f, i) => f / scaling.factors[i]!),
        magnitude: scaling.attentionFactor,
      };
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      const stretched = frequencies.map((f) => {
        const turns = scaling.originalPositions * f / (2 * Math.PI);
        const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
        return (1 - kept) * f / factor + kept * f;
      });
      return { frequencies: stretched, magnitude: 1 };
    }
    case "yarn": {
      /** The dimension that makes so many turns within the original context. */
      const dimension = (turns: number) =>
        dims * Math.log(scaling.originalPositions / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
      let low = dimension(scaling.betaFast);
      let high = dimension(scaling.betaSlow);
      if (scaling.truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
      [low, high] = [Math.max(low, 0), Math.min(high, dims - 1)];
      if (low === high) high += 0.001; // no division by zero
      const stretched = frequencies.map((f, i) => {
        const slow = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return slow * f / scaling.factor + (1 - slow) * f;
      });
      return { frequencies: stretched, magnitude: scaling.attentionFactor };
    }
  }
}
