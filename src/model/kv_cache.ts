/**
 * Keys and values of every layer for a fixed number of slots.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { forkCache, type LayerCache } from "../ops/attention_decode.ts";
import type { Tape } from "../tape.ts";
import { Tensor } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** One copy of a prompt's keys and values: `count` positions of slot `source` go to slot `target`. */
export interface Fork {
  readonly source: number;
  readonly target: number;
  readonly count: number;
}

/** The cache of a generator: [slots, length, KV * D] for keys and values of each layer. */
export class KvCache implements Disposable {
  readonly slots: number;
  readonly length: number;
  readonly layers: readonly LayerCache[];
  readonly #gpu: Gpu;

  /**
   * @throws {RangeError} if one layer exceeds what the adapter can bind.
   */
  constructor(gpu: Gpu, config: DecoderConfig, slots: number, length: number) {
    const width = config.kvHeads * config.headDim;
    const bytes = slots * length * width * 4;
    const limit = gpu.info.limits["maxStorageBufferBindingSize"]!;
    if (bytes > limit) {
      throw new RangeError(
        `Cannot make a KV cache of ${slots} slots x ${length} tokens: a layer takes ${bytes} bytes, ` +
          `the adapter binds ${limit}; use at most ${Math.floor(slots * limit / bytes)} slots`,
      );
    }
    this.#gpu = gpu;
    this.slots = slots;
    this.length = length;
    const tensor = (label: string) =>
      new Tensor(
        gpu.allocate(bytes, "kv cache", label),
        [slots, length, width],
        "f32",
        label,
      );
    this.layers = Array.from({ length: config.layers }, (_, layer) => ({
      k: tensor(`keys of layer ${layer}`),
      v: tensor(`values of layer ${layer}`),
    }));
  }

  /** Copies prompts between slots. No slot may be both a source and a target. */
  fork(tape: Tape, forks: readonly Fork[]): void {
    if (forks.length === 0) return;
    const rows = Uint32Array.from(
      forks.flatMap(({ source, target, count }) => [source, target, count]),
    );
    const table = tape.upload(rows, "forks", [forks.length, 3]);
    const longest = Math.max(...forks.map(({ count }) => count));
    for (const layer of this.layers) forkCache(this.#gpu, layer, table, longest);
  }

  [Symbol.dispose](): void {
    this.#gpu.free(this.layers.flatMap(({ k, v }) => [k.buffer, v.buffer]));
  }
}
