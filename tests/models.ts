// Small decoders and single training steps, for the tests that run the whole model.

import { assert, assertEquals } from "@std/assert";
import type { Gpu } from "../src/gpu/device.ts";
import { decodeSafetensors, toFloat32 } from "../src/io/safetensors.ts";
import { type DecoderConfig, llamaConfig } from "../src/model/config.ts";
import { Decoder } from "../src/model/decoder.ts";
import { fromHuggingFace } from "../src/model/families.ts";
import { type PackedBatch, tokenStatistics } from "../src/model/nll.ts";
import { MetricSums } from "../src/ops/metric_sums.ts";
import { nllLoss } from "../src/ops/policy_loss.ts";
import { AdamW } from "../src/optim/adamw.ts";
import { Tape } from "../src/tape.ts";

/** Two layers with grouped-query heads; no dimension is a multiple of a tile of the kernels. */
export const tiny: DecoderConfig = llamaConfig({
  vocabSize: 52,
  hiddenSize: 36,
  intermediateSize: 44,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  maxPositions: 64,
  ropeTheta: 10000,
  normEpsilon: 1e-5,
  tiedEmbeddings: false,
});

/** The folder of a PyTorch golden as a decoder, and what PyTorch computed with it. */
export function golden(gpu: Gpu, name: "llama_tied" | "llama_untied") {
  const folder = new URL(`./golden/${name}/`, import.meta.url);
  const json = (file: string) => JSON.parse(Deno.readTextFileSync(new URL(file, folder)));
  const tensors = (file: string) =>
    decodeSafetensors(Deno.readFileSync(new URL(file, folder)), file);
  const config = fromHuggingFace(json("config.json"));
  const weights = tensors("model.safetensors").tensors;
  const expected = tensors("expected.safetensors").tensors;
  return {
    config,
    weights,
    model: () => Decoder.fromTensors(gpu, config, weights),
    expected: (tensor: string) => toFloat32(expected.get(tensor)!),
    training: json("adamw_losses.json"),
  };
}

/** Every token but the first of each sequence. */
export function allTargets(lengths: readonly number[]): Uint32Array {
  let start = 0;
  return Uint32Array.from(lengths.flatMap((length) => {
    const targets = Array.from({ length: length - 1 }, (_, i) => start + 1 + i);
    start += length;
    return targets;
  }));
}

/** Sequences packed end to end with every token predicted. */
export function packed(ids: ArrayLike<number>, lengths: readonly number[]): PackedBatch {
  return { ids: Uint32Array.from(ids), lengths, targets: allTargets(lengths) };
}

/** A model with an optimizer, trained one recorded step at a time. */
export class Trainer implements Disposable {
  readonly model: Decoder;
  readonly optimizer: AdamW;
  readonly #sums: MetricSums;

  constructor(
    model: Decoder,
    options: { betas?: [number, number]; weightDecay?: number; gradClip?: number } = {},
  ) {
    this.model = model;
    const { betas = [0.9, 0.95], weightDecay = 0.1, gradClip = 1 } = options;
    const { gpu, parameters } = model;
    this.optimizer = new AdamW(gpu, parameters, { betas, epsilon: 1e-8, weightDecay, gradClip });
    this.#sums = new MetricSums(gpu);
  }

  /**
   * One update with the mean over all predicted tokens; `batches` are its micro-batches, each on a
   * tape of these options.
   */
  async step(
    batches: readonly PackedBatch[],
    learningRate: number,
    options: { draw?: number; checkpoints?: boolean } = {},
  ): Promise<{ loss: number; norm: number }> {
    const { gpu } = this.model;
    const count = batches.reduce((sum, { targets }) => sum + targets.length, 0);
    this.#sums.begin();
    for (const batch of batches) {
      const tape = new Tape(gpu, options);
      const statistics = tokenStatistics(tape, this.model, batch);
      const weight = new Float32Array(batch.targets.length).fill(1 / count);
      nllLoss(tape, statistics, tape.upload(weight, "weight"), this.#sums);
      tape.backward();
      gpu.recycle();
    }
    this.optimizer.step(learningRate);
    const [clip, sums] = await gpu.read(this.optimizer.clip, ...this.#sums.tensors);
    return { loss: new Float32Array(sums!)[0]!, norm: new Float32Array(clip!)[0]! };
  }

  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
    this.#sums[Symbol.dispose]();
  }
}

/** Every weight as bytes, in one piece. */
export async function weightBytes(model: Decoder): Promise<Uint8Array> {
  return (await model.files())["model.safetensors"];
}

/** Largest difference, relative to the largest expected value. */
export function assertClose(
  actual: Float32Array,
  expected: Float32Array,
  tolerance: number,
  what: string,
): void {
  assertEquals(actual.length, expected.length, `length of ${what}`);
  const largest = expected.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  assert(largest > 0, `${what} is all zero`);
  let worst = 0;
  actual.forEach((x, i) => {
    const error = Math.abs(x - expected[i]!) / largest;
    if (!(error <= worst)) worst = error; // a NaN stays
  });
  assert(worst <= tolerance, `${what}: relative error ${worst}, allowed is ${tolerance}`);
}
