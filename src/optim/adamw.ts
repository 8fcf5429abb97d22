/**
 * AdamW with global-norm clipping, wholly on the GPU.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { offsetOf, slice, spans } from "../gpu/ranges.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";
import { bytesPerElement, nextOffset, type Parameter, Tensor } from "../tensor.ts";

/** Hyper-parameters; the names and meaning of PyTorch's. */
export interface AdamWOptions {
  /** Decay of the averages of the gradient and of its square. */
  readonly betas: readonly [number, number];
  /** Guard against division by zero. */
  readonly epsilon: number;
  /** Decoupled from the gradient. */
  readonly weightDecay: number;
  /** Largest global gradient norm; Infinity for no clipping. */
  readonly gradClip: number;
}

/** Moments of one parameter as host arrays, for checkpoints. */
export interface Moments {
  /** Average of the gradient. */
  readonly first: Float32Array;
  /** Average of its square. */
  readonly second: Float32Array;
}

/** vec4s of a tensor that one workgroup squares and sums. */
const BLOCK = 4096;
const BLOCK_BYTES = 4 * BLOCK * bytesPerElement.f32;

/** What goes into an update, side by side in the same way. */
interface Update {
  readonly weights: Bindable;
  readonly gradient: Bindable;
  readonly firstMoment: Bindable;
  readonly secondMoment: Bindable;
}

/**
 * Parameters that lie side by side. What is between two of them belongs to nobody, and has gradients and
 * moments of zero.
 */
interface Stretch extends Update {
  readonly parameters: readonly Parameter[];
}

/** What one dispatch updates. */
interface Piece extends Update {
  /** How many elements. */
  readonly count: number;
}

/**
 * Decoupled weight decay (Loshchilov & Hutter 2019). `step` records the norm, the clip scale and
 * every update into the current step; a gradient that is not finite leaves weights and moments as
 * they are, and `clip` says so when it is read.
 */
export class AdamW implements Disposable {
  /** [norm before clipping, clip scale, 1 if finite, unused] of the last step. */
  readonly clip: Tensor;
  readonly #gpu: Gpu;
  readonly #options: AdamWOptions;
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #stretches: readonly Stretch[];
  readonly #partials: GPUBuffer;
  #steps = 0;

  /** Moments of zero for each of the parameters. */
  constructor(gpu: Gpu, parameters: ReadonlyMap<string, Parameter>, options: AdamWOptions) {
    this.#gpu = gpu;
    this.#options = options;
    this.#parameters = parameters;
    this.#stretches = sideBySide([...parameters.values()]).map((group) => {
      const [first, last] = [group[0]!, group.at(-1)!];
      const size = offsetOf(last) + last.bytes - offsetOf(first);
      const moment = (which: string): Bindable => ({
        buffer: gpu.allocate(size, "optimizer", `${which} moments from ${first.label} on`),
      });
      return {
        parameters: group,
        weights: slice(first, 0, size),
        gradient: slice(first.gradientStorage(), 0, size),
        firstMoment: moment("first"),
        secondMoment: moment("second"),
      };
    });
    const blocks = [...parameters.values()]
      .reduce((sum, { size }) => sum + Math.ceil(size / 4 / BLOCK), 0);
    this.#partials = gpu.allocate(blocks * 4, "optimizer", "squared norms");
    this.clip = new Tensor(gpu.allocate(16, "optimizer", "clip"), [4], "f32", "clip");
  }

  /** Updates so far. */
  get steps(): number {
    return this.#steps;
  }

  /** Records one update with the gradients that the parameters hold, and clears them. */
  step(learningRate: number): void {
    const { betas, epsilon, weightDecay, gradClip } = this.#options;
    // The shader's f32 betas: 1 - beta2 differs by 1e-5 from that of f64, and the bias correction
    // must undo what the moments did.
    const [beta1, beta2] = betas.map(Math.fround) as [number, number];
    const gpu = this.#gpu;
    const { lanes, rowLanes, wide } = gpu.tuning;
    const sharing = rowLanes > 1;
    const together = { LANES: wide, ROW_LANES: wide };
    const pieces = this.#stretches.flatMap((stretch) => this.#withGradient(stretch));
    let slot = 0;
    for (const { gradient, count } of pieces) {
      const blocks = Math.ceil(count / 4 / BLOCK);
      gpu.dispatch("reduce", "sum_squares", {
        constants: sharing ? together : { LANES: lanes, ROW_LANES: 1 },
        bindings: { x: gradient, partial_sums: { buffer: this.#partials } },
        params: { count, block: BLOCK, slot },
        workgroups: [blocks],
      });
      slot += blocks;
    }
    gpu.dispatch("reduce", "clip_norm", {
      constants: sharing ? together : { LANES: 1, ROW_LANES: 1 },
      bindings: { squares: { buffer: this.#partials }, clip: this.clip },
      params: { partials: slot, limit: Math.min(gradClip, 3e38) },
      workgroups: [1],
    });
    this.#steps++;
    for (const { weights, gradient, firstMoment, secondMoment, count } of pieces) {
      gpu.dispatch("adamw", "step", {
        constants: { LANES: wide },
        bindings: {
          weights,
          gradient,
          first_moment: firstMoment,
          second_moment: secondMoment,
          clip: this.clip,
        },
        params: {
          count,
          learning_rate: learningRate,
          beta1,
          beta2,
          epsilon,
          weight_decay: weightDecay,
          correction1: 1 - beta1 ** this.#steps,
          correction2: 1 - beta2 ** this.#steps,
        },
        workgroups: grid(Math.ceil(count / 4 / wide)),
      });
    }
    for (const parameter of this.#parameters.values()) parameter.grad = null;
  }

  /**
   * What of a stretch has a gradient, as much at a time as a dispatch sees: whole blocks, so that they
   * sum alike. A gradient that is not in its parameter's own storage makes a piece of its own.
   */
  #withGradient({ parameters, ...stretch }: Stretch): Piece[] {
    const start = offsetOf(parameters[0]!);
    const found: { offset: number; bytes: number; elsewhere: Tensor | null }[] = [];
    let goesOn = false;
    for (const parameter of parameters) {
      const { grad, bytes } = parameter;
      const offset = offsetOf(parameter) - start;
      const elsewhere = grad && grad.buffer !== stretch.gradient.buffer ? grad : null;
      const last = found.at(-1);
      if (goesOn && grad && !elsewhere) last!.bytes = offset + bytes - last!.offset;
      else if (grad) found.push({ offset, bytes, elsewhere });
      goesOn = grad !== null && !elsewhere;
    }
    const most = Math.max(1, Math.floor(this.#gpu.largestBinding / BLOCK_BYTES)) * BLOCK_BYTES;
    return found.flatMap(({ offset, bytes, elsewhere }) =>
      spans(bytes, most).map(({ first, count }) => {
        const own = (whole: Bindable) => slice(whole, offset + first, count);
        return {
          weights: own(stretch.weights),
          gradient: elsewhere ? slice(elsewhere, first, count) : own(stretch.gradient),
          firstMoment: own(stretch.firstMoment),
          secondMoment: own(stretch.secondMoment),
          count: count / bytesPerElement.f32,
        };
      })
    );
  }

  /** Reads every moment, for a checkpoint. */
  async state(): Promise<Map<string, Moments>> {
    const contents: Float32Array[] = [];
    const requests = this.#moments().flatMap(({ first, second, bytes }) => [
      { ...first, bytes },
      { ...second, bytes },
    ]);
    for await (const content of this.#gpu.readEach(requests)) {
      contents.push(new Float32Array(content));
    }
    return new Map([...this.#parameters.keys()].map((name, i) => [name, {
      first: contents[2 * i]!,
      second: contents[2 * i + 1]!,
    }]));
  }

  /**
   * Puts moments back and counts on from `steps`.
   *
   * @throws {TypeError} if a parameter's moments are missing or of another size.
   */
  restore(state: ReadonlyMap<string, Moments>, steps: number): void {
    const places = this.#moments();
    for (const [i, [name, { size }]] of [...this.#parameters].entries()) {
      const saved = state.get(name);
      if (saved?.first.length !== size || saved.second.length !== size) {
        throw new TypeError(
          `Cannot restore the optimizer: moments of "${name}" are missing or not of ${size} values`,
        );
      }
      this.#gpu.write(places[i]!.first, saved.first);
      this.#gpu.write(places[i]!.second, saved.second);
    }
    this.#steps = steps;
  }

  /** Where the moments of each parameter are, in order. */
  #moments(): { first: Bindable; second: Bindable; bytes: number }[] {
    return this.#stretches.flatMap(({ parameters, firstMoment, secondMoment }) => {
      const start = offsetOf(parameters[0]!);
      return parameters.map((parameter) => {
        const { bytes } = parameter;
        const offset = offsetOf(parameter) - start;
        return {
          first: slice(firstMoment, offset, bytes),
          second: slice(secondMoment, offset, bytes),
          bytes,
        };
      });
    });
  }

  /** Frees the moments; the parameters are another's. */
  [Symbol.dispose](): void {
    const moments = this.#stretches.flatMap((one) => [one.firstMoment, one.secondMoment]);
    this.#gpu.free([...moments.map(({ buffer }) => buffer), this.#partials, this.clip.buffer]);
  }
}

/** Groups of parameters that share their buffers, with nobody else's between them. */
function sideBySide(parameters: readonly Parameter[]): Parameter[][] {
  const groups: Parameter[][] = [];
  for (const parameter of parameters) {
    const last = groups.at(-1)?.at(-1);
    const follows = last && last.buffer === parameter.buffer &&
      last.gradientStorage().buffer === parameter.gradientStorage().buffer &&
      offsetOf(parameter) === nextOffset(last);
    if (follows) groups.at(-1)!.push(parameter);
    else groups.push([parameter]);
  }
  return groups;
}
