/**
 * AdamW with global-norm clipping, wholly on the GPU.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { slice, type Span, spans } from "../gpu/ranges.ts";
import { type Bindable, grid } from "../gpu/recorder.ts";
import { type Parameter, Tensor } from "../tensor.ts";

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
  readonly #moments = new Map<string, { first: GPUBuffer; second: GPUBuffer }>();
  readonly #partials: GPUBuffer;
  #steps = 0;

  /** Moments of zero for each of the parameters. */
  constructor(gpu: Gpu, parameters: ReadonlyMap<string, Parameter>, options: AdamWOptions) {
    this.#gpu = gpu;
    this.#options = options;
    this.#parameters = parameters;
    let blocks = 0;
    for (const [name, { bytes, size }] of parameters) {
      this.#moments.set(name, {
        first: gpu.allocate(bytes, "optimizer", `${name}.first_moment`),
        second: gpu.allocate(bytes, "optimizer", `${name}.second_moment`),
      });
      blocks += Math.ceil(size / 4 / BLOCK);
    }
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
    const trained = [...this.#parameters].filter(([, parameter]) => parameter.grad);
    let slot = 0;
    for (const [, { grad, size }] of trained) {
      for (const range of this.#ranges(size)) {
        const blocks = Math.ceil(range.count / 4 / BLOCK);
        gpu.dispatch("reduce", "sum_squares", {
          constants: sharing ? together : { LANES: lanes, ROW_LANES: 1 },
          bindings: { x: part(grad!, size, range), partial_sums: { buffer: this.#partials } },
          params: { count: range.count, block: BLOCK, slot },
          workgroups: [blocks],
        });
        slot += blocks;
      }
    }
    gpu.dispatch("reduce", "clip_norm", {
      constants: sharing ? together : { LANES: 1, ROW_LANES: 1 },
      bindings: { squares: { buffer: this.#partials }, clip: this.clip },
      params: { partials: slot, limit: Math.min(gradClip, 3e38) },
      workgroups: [1],
    });
    this.#steps++;
    for (const [name, parameter] of trained) {
      const { first, second } = this.#moments.get(name)!;
      const { grad, size } = parameter;
      for (const range of this.#ranges(size)) {
        gpu.dispatch("adamw", "step", {
          constants: { LANES: wide },
          bindings: {
            weights: part(parameter, size, range),
            gradient: part(grad!, size, range),
            first_moment: part({ buffer: first }, size, range),
            second_moment: part({ buffer: second }, size, range),
            clip: this.clip,
          },
          params: {
            count: range.count,
            learning_rate: learningRate,
            beta1,
            beta2,
            epsilon,
            weight_decay: weightDecay,
            correction1: 1 - beta1 ** this.#steps,
            correction2: 1 - beta2 ** this.#steps,
          },
          workgroups: grid(Math.ceil(range.count / 4 / wide)),
        });
      }
      parameter.grad = null;
    }
  }

  /** The elements of a parameter that a dispatch sees at once: whole blocks, so that they sum alike. */
  #ranges(size: number): Span[] {
    const blocks = Math.max(1, Math.floor(this.#gpu.largestBinding / (16 * BLOCK)));
    return spans(size, 4 * BLOCK * blocks);
  }

  /** Reads every moment, for a checkpoint. */
  async state(): Promise<Map<string, Moments>> {
    const requests = [...this.#moments].flatMap(([name, { first, second }]) => {
      const { bytes } = this.#parameters.get(name)!;
      return [{ buffer: first, bytes }, { buffer: second, bytes }];
    });
    const contents: Float32Array[] = [];
    for await (const content of this.#gpu.readEach(requests)) {
      contents.push(new Float32Array(content));
    }
    return new Map([...this.#moments.keys()].map((name, i) => [name, {
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
    for (const [name, { first, second }] of this.#moments) {
      const saved = state.get(name);
      const size = this.#parameters.get(name)!.size;
      if (saved?.first.length !== size || saved.second.length !== size) {
        throw new TypeError(
          `Cannot restore the optimizer: moments of "${name}" are missing or not of ${size} values`,
        );
      }
      this.#gpu.write(first, saved.first);
      this.#gpu.write(second, saved.second);
    }
    this.#steps = steps;
  }

  /** Frees the moments; the parameters are another's. */
  [Symbol.dispose](): void {
    const moments = [...this.#moments.values()].flatMap(({ first, second }) => [first, second]);
    this.#gpu.free([...moments, this.#partials, this.clip.buffer]);
  }
}

/** Some of the `size` f32 that a buffer holds, to bind. */
function part({ buffer }: Bindable, size: number, { first, count }: Span): Bindable {
  return count === size ? { buffer } : slice({ buffer }, 4 * first, 4 * count);
}
