/**
 * The angles of a model's layers, on its GPU.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { type RopeTable, ropeTable } from "../ops/rope.ts";
import type { DecoderConfig } from "./config.ts";
import { type RopeConfig, ropeFrequencies } from "./rope_frequencies.ts";

/** Of the layers without a window, and of those with one. */
export interface RopeTables {
  readonly full: RopeTable;
  readonly window: RopeTable;
}

/** Computes the tables; they are one where all layers are alike. */
export function ropeTables(
  gpu: Gpu,
  { rope, windowRope, windows, maxPositions }: DecoderConfig,
): RopeTables {
  const table = (config: RopeConfig | null) => {
    if (!config) return ropeTable(gpu, maxPositions, new Float64Array());
    const { frequencies, magnitude } = ropeFrequencies(config);
    return ropeTable(gpu, maxPositions, frequencies, magnitude);
  };
  const full = table(rope);
  const alike = JSON.stringify(rope) === JSON.stringify(windowRope) ||
    windows.every((window) => window === null);
  return { full, window: alike ? full : table(windowRope) };
}
