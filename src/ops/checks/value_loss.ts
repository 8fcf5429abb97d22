/**
 * Checks of the value loss.
 *
 * @module
 */

import * as reference from "../reference/mod.ts";
import { clippedValueLoss, valueMetrics } from "../value_loss.ts";
import { type Case, type KernelCheck, kernelCheck, near } from "./check.ts";

/** The clipped value loss of N tokens, twice into the same sums. */
export function valueLoss(N: number, clip: number): Case {
  return (bench) => {
    const options = { clip, coefficient: 0.1 };
    const metrics = bench.sums();
    const sums = new Float64Array(valueMetrics.length);
    const gradients = [0, 1].map(() => {
      const oldValue = bench.random([N], 2);
      const moves = bench.random([N], 0.5);
      // Columns 1 to 3 are not read.
      const value = new Float32Array(4 * N).fill(NaN);
      for (let n = 0; n < N; n++) value[4 * n] = oldValue[n]! + moves[n]!;
      const returns = bench.random([N], 2);
      const weight = Float32Array.from({ length: N }, (_, n) => n % 3 === 2 ? 0 : 1 / N);
      const input = bench.tensor([N, 4], value);
      clippedValueLoss(
        bench.forward,
        input,
        {
          oldValue: bench.tensor([N], oldValue),
          returns: bench.tensor([N], returns),
          weight: bench.tensor([N], weight),
        },
        options,
        metrics,
      );
      const column = Float32Array.from({ length: N }, (_, n) => value[4 * n]!);
      const expected = reference.valueLoss({ value: column, oldValue, returns, weight }, options);
      for (let n = 0; n < N; n++) {
        sums[0]! += expected.loss[n]!;
        [expected.clipped[n]!, column[n]!, returns[n]!].forEach((value, i) =>
          sums[i + 1]! += weight[n]! * value
        );
      }
      const gradient = new Float64Array(4 * N);
      expected.dvalue.forEach((derivative, n) => gradient[4 * n] = derivative);
      return near("dvalue", input.grad!, gradient);
    });
    return [...gradients, near("metrics", metrics.tensors[0]!, sums)];
  };
}

const cases: Record<string, Case> = {};
for (const N of [1, 9, 256, 600]) {
  for (const clip of [0.2, Infinity]) {
    cases[`${N} tokens, clip ${clip}, two micro-batches`] = valueLoss(N, clip);
  }
}
for (const which of ["value", "oldValue", "returns"] as const) {
  cases[`NaN in ${which} shows in loss and gradient`] = (bench) => {
    const column = (name: string) =>
      bench.tensor([2], Float32Array.of(name === which ? NaN : 1, 1));
    const value = new Float32Array(8);
    if (which === "value") value[0] = NaN;
    const input = bench.tensor([2, 4], value);
    const metrics = bench.sums();
    clippedValueLoss(
      bench.forward,
      input,
      { oldValue: column("oldValue"), returns: column("returns"), weight: column("weight") },
      { clip: 0.2, coefficient: 0.1 },
      metrics,
    );
    return [input.grad!, metrics.tensors[0]!].map((tensor, i) => ({
      what: ["dvalue", "loss"][i]!,
      tensor,
      error: (content) => Number.isNaN(new Float32Array(content)[0]) ? 0 : Infinity,
    }));
  };
}

/** The loss of value functions. */
export const valueLossChecks: readonly KernelCheck[] = [
  kernelCheck("clipped value loss", ["value_loss.clipped"], 1e-5, cases),
];
