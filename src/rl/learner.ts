/**
 * One optimizer step on the GPU: micro-batches of forward, loss and backward, gradient clipping and
 * AdamW in a single submit.
 *
 * @module
 */

import type { ReadBack } from "../gpu/transfer.ts";
import type { Decoder } from "../model/decoder.ts";
import { type PredictedTokens, tokenStatistics } from "../model/nll.ts";
import { MetricSums } from "../ops/metric_sums.ts";
import { AdamW, type AdamWOptions } from "../optim/adamw.ts";
import { Tape } from "../tape.ts";
import type { Parameter } from "../tensor.ts";
import type { MaskedSequence, MicroBatch } from "./packing.ts";

/** A loss or gradient stopped being a number; that update changed no weight. */
export class DivergedError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "DivergedError";
}

/** Diagnostics of one optimizer step: the losses' own sums, and the gradient's norm before clipping. */
export type UpdateMetrics = Readonly<Record<string, number>> & {
  readonly loss: number;
  readonly grad_norm: number;
};

/** More micro-batches than a step ever has. */
const MICRO_BATCHES = 4096;

/** An update that was submitted. */
export interface Update {
  /**
   * Waits for its end.
   *
   * @throws {DivergedError} if loss or gradient are not finite; this update then changed no weight,
   * but one that was submitted behind it may have.
   */
  metrics(): Promise<UpdateMetrics>;
}

/** Waits for all updates, so that none is left behind, before it throws what the first had to say. */
export async function allMetrics(updates: readonly Update[]): Promise<UpdateMetrics[]> {
  const results = await Promise.allSettled(updates.map((update) => update.metrics()));
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/** Writes dL/dlogprob for one micro-batch. */
export type Loss<S extends MaskedSequence> = (
  tape: Tape,
  tokens: PredictedTokens,
  batch: MicroBatch<S>,
  sums: MetricSums,
) => void;

/** How a learner learns. */
export interface LearnerOptions extends AdamWOptions {
  /** Trained beside the model's own parameters, such as those of a value head. */
  readonly extra?: ReadonlyMap<string, Parameter>;
  /** Keep what goes into each block alone, and compute the rest of it again on the way back. */
  readonly checkpoints?: boolean;
}

/** A model with its optimizer. */
export class Learner implements Disposable {
  /** What is trained. */
  readonly model: Decoder;
  /** Its optimizer. */
  readonly optimizer: AdamW;
  /** All that is trained, by name. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly #sums: MetricSums;
  readonly #checkpoints: boolean;

  /** Makes an optimizer for a model that trains its weights, or has adapters. */
  constructor(model: Decoder, { checkpoints = false, extra, ...options }: LearnerOptions) {
    this.model = model;
    this.#checkpoints = checkpoints;
    this.parameters = new Map([...model.parameters, ...extra ?? []]);
    this.optimizer = new AdamW(model.gpu, this.parameters, options);
    this.#sums = new MetricSums(model.gpu);
  }

  /**
   * One update from a batch that was cut into micro-batches; it is submitted on return.
   *
   * @throws {OutOfMemoryError} if a micro-batch does not fit; nothing was submitted then.
   */
  update<S extends MaskedSequence>(
    batches: readonly MicroBatch<S>[],
    loss: Loss<S>,
    { learningRate, temperature = 1 }: { learningRate: number; temperature?: number },
  ): Update {
    return this.step(batches, (tape, batch, sums) => {
      loss(tape, tokenStatistics(tape, this.model, batch, { temperature }), batch, sums);
    }, learningRate);
  }

  /**
   * The same for losses of something other than the model's predictions.
   *
   * @param pass the forward pass and loss of a micro-batch; of its metrics, the first is the loss
   */
  step<S extends MaskedSequence>(
    batches: readonly MicroBatch<S>[],
    pass: (tape: Tape, batch: MicroBatch<S>, sums: MetricSums) => void,
    learningRate: number,
  ): Update {
    const { gpu } = this.model;
    const sums = this.#sums;
    sums.begin();
    let reading: ReadBack;
    try {
      for (const [i, batch] of batches.entries()) {
        // No two micro-batches of a run drop the same inputs, however many a step has.
        const draw = this.optimizer.steps * MICRO_BATCHES + i;
        const { length } = batch.ids;
        const room = (batch.capacity ?? length) / length;
        const tape = new Tape(gpu, { draw, room, checkpoints: this.#checkpoints });
        pass(tape, batch, sums);
        tape.backward();
        gpu.recycle();
      }
      this.optimizer.step(learningRate);
      reading = gpu.readBack(this.optimizer.clip, ...sums.tensors);
    } catch (error) {
      gpu.discard();
      for (const parameter of this.parameters.values()) parameter.grad = null;
      throw error;
    }
    const read = sums.reader();
    return { metrics: async () => readMetrics(await reading.take(), read) };
  }

  /** Frees the optimizer; the model is another's. */
  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
    this.#sums[Symbol.dispose]();
  }
}

function readMetrics(
  [clip, ...sums]: readonly ArrayBuffer[],
  read: (contents: readonly ArrayBuffer[]) => Record<string, number>,
): UpdateMetrics {
  const metrics = read(sums);
  const [norm, , finite] = new Float32Array(clip!);
  const loss = Object.values(metrics)[0]!;
  if (!finite || Object.values(metrics).some((value) => !Number.isFinite(value))) {
    throw new DivergedError(
      `Cannot update the model: loss is ${loss}, gradient norm is ${norm}; ` +
        "lower the learning rate, or resume from an earlier checkpoint",
    );
  }
  return { ...metrics, loss, grad_norm: norm! };
}
