/**
 * Checks of the optimizer.
 *
 * @module
 */

import { AdamW, type AdamWOptions } from "../../optim/adamw.ts";
import { Tensor } from "../../tensor.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type KernelCheck, kernelCheck, near, relativeError, same } from "./check.ts";

/**
 * Several parameters, one of more than one block of squares, all but the last side by side; steps with
 * and without clipping.
 */
export function updates(
  gradClip: number,
  weightDecay: number,
  shapes: readonly (readonly number[])[] = [[5, 4], [3, 4], [4100, 4], [2, 4]],
): Case {
  return (bench) => {
    const learningRate = 0.01;
    const betas = [0.9, 0.999] as const;
    const options: AdamWOptions = { betas, epsilon: 1e-8, weightDecay, gradClip };
    const values = shapes.map((shape) => bench.random(shape));
    const parameters = [
      ...bench.parameters(shapes.slice(0, -1), values.slice(0, -1)),
      bench.parameter(shapes.at(-1)!, values.at(-1)!),
    ];
    const optimizer = new AdamW(
      bench.gpu,
      new Map(parameters.map((parameter, i) => [`p${i}`, parameter])),
      options,
    );
    bench.defer(() => optimizer[Symbol.dispose]());
    const states: reference.AdamwState[] = values.map((v) => ({
      parameter: Float64Array.from(v),
      m: new Float64Array(v.length),
      v: new Float64Array(v.length),
    }));
    let norm = 0;
    for (let step = 1; step <= 3; step++) {
      // The second parameter takes no part in the second step, as if nothing had touched it.
      const touched = parameters.map((_, i) => i !== 1 || step !== 2);
      const gradients = shapes.map((shape) => bench.random(shape));
      parameters.forEach((parameter, i) => {
        if (!touched[i]) return;
        // In the third step the first one's gradient is not where it keeps its own.
        if (i === 0 && step === 3) parameter.grad = bench.tensor(shapes[i]!, gradients[i]!);
        else bench.hold(parameter, gradients[i]!);
      });
      optimizer.step(learningRate);
      norm = reference.globalNorm(gradients.filter((_, i) => touched[i]));
      states.forEach((state, i) => {
        if (!touched[i]) return;
        const next = reference.adamwStep(state.parameter, gradients[i]!, state.m, state.v, {
          ...{ learningRate, beta1: betas[0], beta2: betas[1], eps: 1e-8, weightDecay, step },
          gradientScale: reference.clipScale(norm, gradClip),
        });
        states[i] = next;
      });
    }
    const clip = [norm, reference.clipScale(norm, gradClip), 1];
    return [
      ...parameters.map((parameter, i) => near(`weights ${i}`, parameter, states[i]!.parameter)),
      // What was learned, which the weights themselves would hide.
      ...parameters.map((parameter, i) => ({
        what: `update ${i}`,
        tensor: parameter,
        error: (content: ArrayBuffer) => {
          const moved = new Float32Array(content).map((v, n) => v - values[i]![n]!);
          return relativeError(moved, states[i]!.parameter.map((v, n) => v - values[i]![n]!));
        },
      })),
      near("norm and scale", { buffer: optimizer.clip.buffer, bytes: 12 }, clip, 1e-6),
    ];
  };
}

const cases: Record<string, Case> = {
  "no clipping, no decay": updates(Infinity, 0),
  "clipped to norm 1, decay 0.1": updates(1, 0.1),
  "a gradient that is not finite changes nothing": (bench) => {
    const values = bench.random([6, 4]);
    const parameter = bench.parameter([6, 4], values);
    const optimizer = new AdamW(bench.gpu, new Map([["p", parameter]]), {
      betas: [0.9, 0.999],
      epsilon: 1e-8,
      weightDecay: 0.1,
      gradClip: 1,
    });
    bench.defer(() => optimizer[Symbol.dispose]());
    const gradient = bench.random([6, 4]);
    gradient[13] = NaN;
    bench.hold(parameter, gradient);
    optimizer.step(0.1);
    const flag = new Tensor(optimizer.clip.buffer, [3], "f32", "clip");
    return [same("weights", parameter, values), {
      what: "flag",
      tensor: flag,
      error: (content) => new Float32Array(content)[2] === 0 ? 0 : Infinity,
    }];
  },
};

/** An optimizer of two of three that lie side by side, in another order: the third is none of its own. */
const others: Case = (bench) => {
  const shapes = [[5, 4], [3, 4], [7, 4]];
  const values = shapes.map((shape) => bench.random(shape));
  const gradients = shapes.map((shape) => bench.random(shape));
  const parameters = bench.parameters(shapes, values);
  const own = [2, 0];
  const betas = [0.9, 0.999] as const;
  const options = { betas, epsilon: 1e-8, weightDecay: 0.1, gradClip: 1 };
  const optimizer = new AdamW(
    bench.gpu,
    new Map(own.map((i) => [`p${i}`, parameters[i]!])),
    options,
  );
  bench.defer(() => optimizer[Symbol.dispose]());
  parameters.forEach((parameter, i) => bench.hold(parameter, gradients[i]!));
  optimizer.step(0.01);
  const norm = reference.globalNorm(own.map((i) => gradients[i]!));
  const scale = reference.clipScale(norm, 1);
  return [
    same("weights of another", parameters[1]!, values[1]!),
    ...own.map((i) => {
      const none = () => new Float64Array(values[i]!.length);
      const { parameter } = reference.adamwStep(
        Float64Array.from(values[i]!),
        gradients[i]!,
        none(),
        none(),
        {
          ...{ learningRate: 0.01, beta1: betas[0], beta2: betas[1], eps: 1e-8 },
          ...{ weightDecay: 0.1, step: 1, gradientScale: scale },
        },
      );
      return near(`weights ${i}`, parameters[i]!, parameter);
    }),
    near("norm and scale", { buffer: optimizer.clip.buffer, bytes: 12 }, [norm, scale, 1], 1e-6),
  ];
};

/** AdamW with its global norm. */
export const optimizerChecks: readonly KernelCheck[] = [
  kernelCheck("AdamW", ["adamw.step", "reduce.sum_squares", "reduce.clip_norm"], 5e-5, {
    ...cases,
    "beside parameters of another": others,
  }),
];
