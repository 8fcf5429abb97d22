/**
 * What a kernel check is: cases that run an op on the GPU, and the error of each result against the
 * f64 reference.
 *
 * @module
 */

import type { Gpu } from "../../gpu/device.ts";
import { boundRows, spans } from "../../gpu/ranges.ts";
import type { ReadRequest } from "../../gpu/transfer.ts";
import { Random } from "../../random.ts";
import { Tape } from "../../tape.ts";
import {
  createParameters,
  elements,
  type FloatType,
  Parameter,
  rowRange,
  Tensor,
} from "../../tensor.ts";
import { elementwise } from "../launch.ts";
import { MetricSums } from "../metric_sums.ts";

/** Elements behind the end of a blank tensor. */
const MARGIN = 64;

/** A tensor to read back, and how far its content is from what it should be. */
export interface Comparison {
  /** Which result it is. */
  readonly what: string;
  /** What to read. */
  readonly tensor: ReadRequest;
  /** 0 is perfect; Infinity is plainly wrong. */
  readonly error: (content: ArrayBuffer) => number;
}

/** Records the work of one case and says what to compare once it has run. */
export type Case = (bench: Bench) => Comparison[];

/** How a check ended. */
export interface CheckResult {
  /** Cases run. */
  readonly cases: number;
  /** Largest error of all comparisons. */
  readonly worst: number;
  /** Which comparison had it. */
  readonly where: string;
}

/** A kernel, or several that only make sense together, and the cases that it is tried on. */
export interface KernelCheck {
  /** What is checked, in a word or two. */
  readonly name: string;
  /** The entry points that it answers for, over all device classes: `shader.entry`. */
  readonly entries: readonly string[];
  /** Largest error that is due to f32 arithmetic alone. */
  readonly tolerance: number;
  /** Cases that `run` will run. */
  readonly cases: number;
  /** Runs every case in one submit. */
  run(gpu: Gpu): Promise<CheckResult>;
}

/** Makes a check of labelled cases. */
export function kernelCheck(
  name: string,
  entries: readonly string[],
  tolerance: number,
  cases: Readonly<Record<string, Case>>,
): KernelCheck {
  const labels = Object.keys(cases);
  const run = async (gpu: Gpu): Promise<CheckResult> => {
    const benches: Bench[] = [];
    try {
      const recorded = labels.flatMap((label) => {
        const bench = new Bench(gpu, `${name}/${label}`);
        benches.push(bench);
        return cases[label]!(bench).map((comparison) => ({ label, ...comparison }));
      });
      const contents = await gpu.read(...recorded.map(({ tensor }) => tensor));
      let worst = 0;
      let where = "";
      recorded.forEach(({ label, what, error }, i) => {
        const found = error(contents[i]!);
        if (found > worst || where === "") [worst, where] = [found, `${what}, ${label}`];
      });
      return { cases: labels.length, worst, where };
    } finally {
      for (const bench of benches) bench.close();
      gpu.endStep();
    }
  };
  return { name, entries, tolerance, cases: labels.length, run };
}

/**
 * Largest |actual - expected| / max(|expected|, floor), Infinity where a value is not finite.
 *
 * @param floor the root mean square of `expected` by default: an element that is a sum cancelled to
 *   almost nothing carries the rounding error of its terms, which are of that size
 */
export function relativeError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  floor?: number,
): number {
  const least = Math.max(floor ?? rootMeanSquare(expected), 1e-30);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / Math.max(Math.abs(expected[i]!), least);
    if (!(error <= worst)) worst = Number.isFinite(error) ? error : Infinity;
  }
  return worst;
}

/** The size of a value, on average. */
export function rootMeanSquare(values: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i]! ** 2;
  return Math.sqrt(squares / values.length);
}

/** Compares f32 values by `relativeError`. */
export function near(
  what: string,
  tensor: ReadRequest,
  expected: ArrayLike<number>,
  floor?: number,
): Comparison {
  return {
    what,
    tensor,
    error: (content) => relativeError(new Float32Array(content), expected, floor),
  };
}

/** Compares bit by bit: error 0 or Infinity. */
export function same(
  what: string,
  tensor: ReadRequest,
  expected: Float32Array | Uint32Array,
): Comparison {
  const bits = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  return {
    what,
    tensor,
    error: (content) => {
      const actual = new Uint32Array(content);
      return bits.every((value, i) => value === actual[i]) ? 0 : Infinity;
    },
  };
}

/** Fails if something was written behind the end of a tensor from `Bench.blank`. */
export function contained({ buffer, bytes }: Tensor): Comparison {
  return {
    what: "beyond the end",
    tensor: { buffer, bytes: bytes + 4 * MARGIN },
    error: (content) => new Float32Array(content, bytes).every(Number.isNaN) ? 0 : Infinity,
  };
}

/**
 * Compares two ways to one result bit by bit, where a kernel promises the same bits.
 *
 * @param a,b what each way wrote, in pieces that are read one after the other
 */
export function equal(what: string, a: readonly Tensor[], b: readonly Tensor[]): Comparison[] {
  const bits: [number[], number[]] = [[], []];
  const gather = (side: 0 | 1) => (tensor: Tensor): Comparison => ({
    what,
    tensor,
    error: (content) => (bits[side].push(...new Uint32Array(content)), 0),
  });
  const comparisons = [...a.map(gather(0)), ...b.map(gather(1))];
  const { tensor } = comparisons.pop()!;
  const verdict = (content: ArrayBuffer) => {
    const [first, second] = [bits[0], [...bits[1], ...new Uint32Array(content)]];
    const match = first.length === second.length && first.every((v, i) => v === second[i]);
    return match ? 0 : Infinity;
  };
  return [...comparisons, { what, tensor, error: verdict }];
}

/** One case's inputs: tensors of this step, parameters, gradients, and repeatable random numbers. */
export class Bench {
  readonly gpu: Gpu;
  /** Records backwards. */
  readonly tape: Tape;
  /** Runs forward only. */
  readonly forward: Tape;
  readonly #cleanups: (() => void)[] = [];
  readonly #random: Random;

  constructor(gpu: Gpu, seed: string) {
    this.gpu = gpu;
    this.tape = new Tape(gpu);
    this.forward = new Tape(gpu, { recording: false });
    this.#random = new Random(seed);
  }

  /** Random values in [-scale, scale), the same ones in every run. */
  random(shape: readonly number[], scale = 1): Float32Array {
    const length = elements(shape);
    return Float32Array.from({ length }, () => scale * (2 * this.#random.float() - 1));
  }

  /** `count` random whole numbers below `bound`. */
  integers(count: number, bound: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.#random.int(0, bound - 1));
  }

  /** A tensor of this step that holds `values`. */
  tensor(
    shape: readonly number[],
    values: Float32Array | Uint32Array,
    { needsGrad = false }: { needsGrad?: boolean } = {},
  ): Tensor {
    const dtype = values instanceof Uint32Array ? "u32" : "f32";
    return new Tensor(this.gpu.upload(values, "input"), shape, dtype, "input", needsGrad);
  }

  /** A frozen weight, and the values that it has once they are rounded to its type. */
  stored(
    shape: readonly number[],
    values: Float32Array,
    dtype: FloatType,
  ): { readonly tensor: Tensor; readonly values: Float32Array } {
    const { words, rounded } = packed(values, dtype);
    const tensor = new Tensor(this.gpu.upload(words, "weight"), shape, dtype, "weight");
    return { tensor, values: rounded };
  }

  /** A tensor that a gradient is wanted for. */
  input(shape: readonly number[], values: Float32Array): Tensor {
    return this.tensor(shape, values, { needsGrad: true });
  }

  /** A tensor to write to, full of NaN and with more of it behind: what is left out or added shows. */
  blank(shape: readonly number[]): Tensor {
    return this.tensor(shape, new Float32Array(elements(shape) + MARGIN).fill(NaN));
  }

  /** A parameter, its gradient storage full of NaN. */
  parameter(shape: readonly number[], values: Float32Array): Parameter {
    return this.#filled(new Parameter(this.gpu, shape, "parameter"), values);
  }

  /** The same for several that share their buffers. */
  parameters(shapes: readonly (readonly number[])[], values: readonly Float32Array[]): Parameter[] {
    const made = createParameters(
      this.gpu,
      new Map(shapes.map((shape, i) => [`parameter ${i}`, shape])),
    );
    return [...made.values()].map((parameter, i) => this.#filled(parameter, values[i]!));
  }

  #filled(parameter: Parameter, values: Float32Array): Parameter {
    this.gpu.write(parameter, values);
    this.gpu.write(parameter.gradientStorage(), new Float32Array(values.length).fill(NaN));
    this.defer(() => this.gpu.free(parameter.buffers()));
    return parameter;
  }

  /** Sums of a loss's diagnostics. */
  sums(): MetricSums {
    const sums = new MetricSums(this.gpu);
    this.defer(() => sums[Symbol.dispose]());
    return sums;
  }

  /** Sets dL/dy for an op's output y. */
  seed(y: Tensor, values: Float32Array): void {
    // The tape gives the gradient's buffer back to the step's scratch, so it must come from there.
    y.grad = this.tape.tensor(y.shape, "dy");
    this.copy(values, y.grad);
  }

  /** Lets x hold a gradient already, to which the op must add. */
  hold(x: Tensor, values: Float32Array): void {
    if (x instanceof Parameter) this.copy(values, x.grad = x.gradientStorage());
    else x.grad = this.tensor(x.shape, values);
  }

  /** Overwrites a tensor in the order of the recorded work. */
  copy(values: Float32Array, y: Tensor): void {
    const { gpu } = this;
    const size = values.length;
    const [from, to] = [
      this.tensor([size], values),
      new Tensor(y.buffer, [size], "f32", "copy", false, y.range),
    ];
    for (const { first, count } of spans(size, boundRows(gpu, size, 4))) {
      const bindings = { a: rowRange(from, first, count), y: rowRange(to, first, count) };
      const whole = Math.ceil(count / 4) * 4;
      elementwise(gpu, "add", "accumulate", whole / 4, bindings, { count: whole, beta: 0 });
    }
  }

  /** Lets `cleanup` run after the check. */
  defer(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Frees the parameters and does what else was deferred. */
  close(): void {
    for (const cleanup of this.#cleanups) cleanup();
  }
}

/** The 16 bits of the bf16 nearest to v, ties to even. */
export function bf16Bits(v: number): number {
  const bits = new Uint32Array(Float32Array.of(v).buffer)[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Values as they are stored, and what they are then. */
function packed(
  values: Float32Array,
  dtype: FloatType,
): { words: Uint32Array | Float32Array; rounded: Float32Array } {
  if (dtype === "f32") return { words: values, rounded: values };
  if (dtype === "f16") {
    // A driver may take f16 below the normal ones for zeros.
    const halves = new Float16Array(values.map((v) => Math.abs(v) < 2 ** -14 ? 0 : v));
    return { words: new Uint32Array(halves.buffer), rounded: new Float32Array(halves) };
  }
  const halves = Uint16Array.from(values, bf16Bits);
  const wide = Uint32Array.from(halves, (bits) => bits << 16);
  return { words: new Uint32Array(halves.buffer), rounded: new Float32Array(wide.buffer) };
}

/** a + b on the host, elementwise. */
export function plus(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]!);
}
