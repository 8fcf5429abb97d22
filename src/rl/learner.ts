/**
 * One optimizer step on the GPU: micro-batches of forward, loss and backward, gradient clipping and
 * AdamW in a single submit.
 *
 * @module
 */

import type { ReadBack } from "../gpu/transfer.ts";
import type { Decoder } from "../model/decoder.ts";
import { tokenStatistics } from "../model/nll.ts";
import type { TokenStatistics } from "../ops/lm_head.ts";
import { lossMetrics, type MetricSink } from "../ops/policy_loss.ts";
import { AdamW, type AdamWOptions } from "../optim/adamw.ts";
import { Tape } from "../tape.ts";
import { Tensor } from "../tensor.ts";
import type { MaskedSequence, MicroBatch } from "./packing.ts";

/** A loss or gradient stopped being a number; that update changed no weight. */
export class DivergedError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "DivergedError";
}

/** Diagnostics of one optimizer step: the loss's own sums, and the gradient's norm before clipping. */
export type UpdateMetrics = Record<typeof lossMetrics[number] | "grad_norm", number>;

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

/** Writes dL/dlogprob for one micro-batch. */
export type Loss<S extends MaskedSequence> = (
  tape: Tape,
  statistics: TokenStatistics,
  batch: MicroBatch<S>,
  sink: MetricSink,
) => void;

/** How a learner learns. */
export interface LearnerOptions extends AdamWOptions {
  /** Keep what goes into each block alone, and compute the rest of it again on the way back. */
  readonly checkpoints?: boolean;
}

/** A model with its optimizer. */
export class Learner implements Disposable {
  readonly model: Decoder;
  readonly optimizer: AdamW;
  readonly #sums: Tensor;
  readonly #checkpoints: boolean;

  constructor(model: Decoder, { checkpoints = false, ...options }: LearnerOptions) {
    this.model = model;
    this.#checkpoints = checkpoints;
    this.optimizer = new AdamW(model.gpu, model.parameters, options);
    const buffer = model.gpu.allocate(lossMetrics.length * 4, "other", "loss metrics");
    this.#sums = new Tensor(buffer, [lossMetrics.length], "f32", "loss metrics");
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
    const { gpu } = this.model;
    const sink: MetricSink = { sums: this.#sums, beta: 0 };
    let reading: ReadBack;
    try {
      for (const [i, batch] of batches.entries()) {
        // No two micro-batches of a run drop the same inputs, however many a step has.
        const draw = this.optimizer.steps * MICRO_BATCHES + i;
        const { length } = batch.ids;
        const room = (batch.capacity ?? length) / length;
        const tape = new Tape(gpu, { draw, room, checkpoints: this.#checkpoints });
        const statistics = tokenStatistics(tape, this.model, batch, { temperature });
        loss(tape, statistics, batch, sink);
        tape.backward();
        gpu.recycle();
      }
      this.optimizer.step(learningRate);
      reading = gpu.readBack(this.#sums, this.optimizer.clip);
    } catch (error) {
      gpu.discard();
      for (const parameter of this.model.parameters.values()) parameter.grad = null;
      throw error;
    }
    return { metrics: async () => readMetrics(await reading.take()) };
  }

  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
    this.model.gpu.free([this.#sums.buffer]);
  }
}

function readMetrics([sums, clip]: readonly ArrayBuffer[]): UpdateMetrics {
  const values = new Float32Array(sums!);
  const [norm, , finite] = new Float32Array(clip!);
  if (!finite || values.some((value) => !Number.isFinite(value))) {
    throw new DivergedError(
      `Cannot update the model: loss is ${values[0]}, gradient norm is ${norm}; ` +
        "lower the learning rate, or resume from an earlier checkpoint",
    );
  }
  const metrics = Object.fromEntries(lossMetrics.map((name, i) => [name, values[i]!]));
  return { ...metrics, grad_norm: norm! } as UpdateMetrics;
}
