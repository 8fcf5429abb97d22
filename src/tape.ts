/**
 * Remembers how to run each op backwards, and runs them in reverse.
 *
 * @module
 */

import type { Gpu } from "./gpu/device.ts";
import { type DType, elements, Parameter, Tensor } from "./tensor.ts";

interface Entry {
  readonly outputs: readonly Tensor[];
  /** Other buffers that only this op's backward reads. */
  readonly saved: readonly Tensor[];
  readonly backward: () => void;
}

/** What kind of pass it is. */
export interface TapeOptions {
  /** Whether gradients are wanted; generation and evaluation want none. */
  readonly recording?: boolean;
  /** Whether to drop what training drops; as `recording` says when absent. */
  readonly training?: boolean;
  /** Which random draw ops like dropout make. */
  readonly draw?: number;
  /** Keep what goes into each block alone, and compute the rest of it again on the way back. */
  readonly checkpoints?: boolean;
  /** How much larger scratch is than asked for: batches of similar size then share their buffers. */
  readonly room?: number;
}

/**
 * One forward pass and its backward. Made per micro-batch; ops take it as their first argument.
 *
 * A tape that does not record (`new Tape(gpu, { recording: false })`) serves generation and
 * evaluation with the same model code.
 */
export class Tape {
  /** Where the ops run. */
  readonly gpu: Gpu;
  /** Whether backwards are recorded: training, not generation or evaluation. */
  readonly recording: boolean;
  /**
   * Whether ops like dropout do what they do in training. The first pass through a block that is
   * computed again records nothing, but must compute what the second one does.
   */
  readonly training: boolean;
  /** Which random draw ops like dropout make: another number, another draw. */
  readonly draw: number;
  readonly #checkpoints: boolean;
  /** How much larger scratch is than asked for. */
  readonly room: number;
  readonly #entries: Entry[] = [];
  /** Whether a gradient is wanted for anything that went into a tensor. */
  #wanted = false;
  /** Scratch of the innermost `block`, where it is given back at its end. */
  #scratch: Set<GPUBuffer> | null = null;
  /** What the last block made, where no gradients are recorded. */
  #made: GPUBuffer | null = null;

  /** Starts empty. */
  constructor(gpu: Gpu, options: TapeOptions = {}) {
    const { recording = true, training = recording, draw = 0 } = options;
    const { checkpoints = false, room = 1 } = options;
    this.gpu = gpu;
    this.recording = recording;
    this.training = training;
    this.draw = draw;
    this.#checkpoints = checkpoints;
    this.room = room;
  }

  /** A scratch tensor of this step; wants a gradient if any of `inputs` does. */
  tensor(
    shape: readonly number[],
    label: string,
    inputs: readonly Tensor[] = [],
    dtype: DType = "f32",
  ): Tensor {
    const wanted = inputs.some((input) => input.needsGrad);
    this.#wanted ||= wanted;
    const size = elements(shape);
    // Rounded, so that sizes that should be alike are, whatever the factor's last digit.
    const buffer = this.gpu.scratch(Math.max(size, Math.round(size * this.room)) * 4, label);
    this.#scratch?.add(buffer);
    return new Tensor(buffer, shape, dtype, label, this.recording && wanted);
  }

  /** Gives a tensor of this step back before its end: nothing recorded later reads it. */
  release({ buffer }: Tensor): void {
    this.#scratch?.delete(buffer);
    if (buffer === this.#made) this.#made = null;
    this.gpu.release(buffer);
  }

  /**
   * y = run(x), a part of a model that nothing but x goes into and nothing but y comes out of.
   *
   * Without gradients, what lies between is given back at once, and so is x where it is what the
   * block before made. With checkpoints (Chen et al. 2016) the former is as well, and computed again,
   * to the same bits, when dL/dy is there.
   */
  block(x: Tensor, run: (tape: Tape, x: Tensor) => Tensor): Tensor {
    if (!this.recording) return this.#runAndRelease(x, run);
    if (!this.#checkpoints) return run(this, x);
    const { gpu, training, draw } = this;
    const room = this.room;
    const forward = new Tape(gpu, { recording: false, training, draw, room });
    const y = forward.#runAndRelease(x, run);
    const output = new Tensor(y.buffer, y.shape, y.dtype, y.label, forward.#wanted);
    this.record([output], () => {
      if (!output.grad) return;
      const again = new Tape(gpu, { training, draw, room });
      const y = run(again, x);
      [y.grad, output.grad] = [output.grad, null];
      again.backward();
    });
    return output;
  }

  #runAndRelease(x: Tensor, run: (tape: Tape, x: Tensor) => Tensor): Tensor {
    const outer = this.#scratch;
    const own = this.#scratch = new Set();
    const y = run(this, x);
    own.delete(y.buffer);
    for (const buffer of own) this.gpu.release(buffer);
    this.#scratch = outer;
    outer?.add(y.buffer);
    if (x.buffer === this.#made && x.buffer !== y.buffer) this.release(x);
    this.#made = y.buffer;
    return y;
  }

  /** Host data as a tensor of this step. */
  upload(data: Uint32Array | Float32Array, label: string, shape = [data.length]): Tensor {
    const dtype = data instanceof Uint32Array ? "u32" : "f32";
    return new Tensor(this.gpu.upload(data, label), shape, dtype, label);
  }

  /**
   * Registers the backward of an op; skipped where no gradient is wanted.
   *
   * @param outputs what the op returned; released once the backward has run
   * @param backward accumulates into the inputs' gradients
   * @param saved other scratch tensors that only this backward reads
   */
  record(outputs: readonly Tensor[], backward: () => void, saved: readonly Tensor[] = []): void {
    if (outputs.some((output) => output.needsGrad)) {
      this.#entries.push({ outputs, saved, backward });
    }
  }

  /**
   * Adds a contribution to dL/dx by calling `write` with the gradient tensor and beta: 0 where it
   * is the first contribution and overwrites, 1 where it adds. Does nothing if x wants no gradient.
   */
  accumulate(x: Tensor, write: (gradient: Tensor, beta: 0 | 1) => void): void {
    if (!x.needsGrad) return;
    const beta = x.grad ? 1 : 0;
    x.grad ??= x instanceof Parameter
      ? x.gradientStorage()
      : this.tensor(x.shape, `${x.label}.grad`);
    write(x.grad, beta);
  }

  /**
   * Makes dL/dy the first contribution to dL/dx, where y = x + something, without a copy: the last
   * thing that y's backward may do.
   *
   * @returns false if x holds a gradient already, or keeps it in a place of its own; then it must
   * be added
   */
  handOver(y: Tensor, x: Tensor): boolean {
    if (!x.needsGrad) return true;
    if (x.grad || x instanceof Parameter) return false;
    x.grad = y.grad;
    y.grad = null;
    return true;
  }

  /**
   * `accumulate` for a kernel that writes two gradients in one pass; one that is not wanted goes to
   * scratch. Does nothing if neither is.
   */
  accumulatePair(
    a: Tensor,
    b: Tensor,
    write: (da: Tensor, betaA: 0 | 1, db: Tensor, betaB: 0 | 1) => void,
  ): void {
    if (!a.needsGrad && !b.needsGrad) return;
    const target = (x: Tensor): [Tensor, 0 | 1] => {
      let found: [Tensor, 0 | 1] | null = null;
      this.accumulate(x, (gradient, beta) => found = [gradient, beta]);
      return found ?? [this.tensor(x.shape, "unwanted gradient"), 0];
    };
    write(...target(a), ...target(b));
  }

  /** Replays the backwards in reverse and gives activations back as soon as nothing reads them. */
  backward(): void {
    for (const { outputs, saved, backward } of this.#entries.reverse()) {
      backward();
      for (const tensor of [...outputs, ...saved]) {
        this.gpu.release(tensor.buffer);
        if (tensor.grad) this.gpu.release(tensor.grad.buffer);
        tensor.grad = null;
      }
    }
    this.#entries.length = 0;
  }
}
