/**
 * A value function on a decoder's final hidden state: V = h w + b.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { CheckpointError, fromFloat32, type StoredTensor, toFloat32 } from "../io/safetensors.ts";
import { linear } from "../ops/linear.ts";
import type { Tape } from "../tape.ts";
import { createParameters, type Parameter, type Tensor } from "../tensor.ts";

/**
 * Outputs of the layer. Kernels move four columns at a time, so that one output is stored as four, of
 * which rows 1 to 3 of weight and bias are zero and stay so: no loss reads their outputs, hence their
 * gradients are zero, and AdamW leaves a zero with such a gradient where it is, with weight decay too.
 * The linear layer then serves as it is, forward and backward.
 */
const WIDTH = 4;

const WEIGHT = "value_head.weight";
const BIAS = "value_head.bias";

/** A linear layer with one output. It starts at zero: until it has learned, every state is worth 0. */
export class ValueHead implements Disposable {
  /** `value_head.weight` [4,C] and `value_head.bias` [4]: what a learner trains beside its model. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly #gpu: Gpu;
  readonly #weight: Parameter;
  readonly #bias: Parameter;

  /** A head that says 0. @param hiddenSize C, that of the decoder */
  constructor(gpu: Gpu, hiddenSize: number) {
    this.#gpu = gpu;
    const shapes = new Map([[WEIGHT, [WIDTH, hiddenSize]], [BIAS, [WIDTH]]]);
    const parameters = this.parameters = createParameters(gpu, shapes);
    [this.#weight, this.#bias] = [parameters.get(WEIGHT)!, parameters.get(BIAS)!];
  }

  /**
   * Values of states.
   *
   * @param hidden [N,C]
   * @returns [N,4], of which column 0 is the value and the others are zero
   */
  values(tape: Tape, hidden: Tensor): Tensor {
    return linear(tape, hidden, this.#weight, { bias: this.#bias });
  }

  /** The head as a file has it: weight [1,C] and bias [1], in f32. */
  async tensors(): Promise<Map<string, StoredTensor>> {
    const [weight, bias] = await this.#gpu.read(this.#weight, this.#bias);
    return this.takeApart(
      new Map([[WEIGHT, new Float32Array(weight!)], [BIAS, new Float32Array(bias!)]]),
    );
  }

  /**
   * What `tensors` gives, out of contents that both of `parameters` have: their weights, their
   * gradients or moments.
   */
  takeApart(whole: ReadonlyMap<string, Float32Array>): Map<string, StoredTensor> {
    return new Map(
      [...this.#stored()].map(([name, shape]) => {
        const values = whole.get(name)!.subarray(0, shape.at(-1)!);
        return [name, { dtype: "F32", shape, data: fromFloat32(values, "F32") }];
      }),
    );
  }

  /**
   * Takes what `tensors` stored.
   *
   * @throws {CheckpointError} listing what is missing or of another shape.
   */
  restore(tensors: ReadonlyMap<string, StoredTensor>, label: string): void {
    const problems: string[] = [];
    for (const [name, shape] of this.#stored()) {
      const found = tensors.get(name);
      if (!found) problems.push(`"${name}" is missing`);
      else if (found.shape.join() !== shape.join()) {
        problems.push(
          `"${name}" has shape [${found.shape.join(", ")}], expected [${shape.join(", ")}]`,
        );
      }
    }
    if (problems.length > 0) {
      throw new CheckpointError(
        `Cannot load a value head from "${label}": ${problems.join("; ")}. ` +
          "Check that it was trained on this model",
      );
    }
    for (const [name, parameter] of this.parameters) {
      const values = new Float32Array(parameter.size);
      values.set(toFloat32(tensors.get(name)!));
      this.#gpu.write(parameter, values);
    }
  }

  /** Shapes by name, as a file has them. */
  #stored(): Map<string, readonly number[]> {
    return new Map([[WEIGHT, [1, this.#weight.shape[1]!]], [BIAS, [1]]]);
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    this.#gpu.free([...this.parameters.values()].flatMap((parameter) => parameter.buffers()));
  }
}
