/**
 * Checks of the LM head, the token losses and the optimizer.
 *
 * @module
 */

import { AdamW, type AdamWOptions } from "../../optim/adamw.ts";
import { Tensor } from "../../tensor.ts";
import { lmHead, type LmHeadOptions } from "../lm_head.ts";
import { clippedPolicyLoss, lossMetrics, nllLoss } from "../policy_loss.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type KernelCheck, kernelCheck, near, plus, same } from "./check.ts";

/** Rows, width, vocabulary; options; which gradients arrive; scale of x: large is confident. */
interface HeadCase extends LmHeadOptions {
  readonly sizes: readonly [N: number, C: number, V: number];
  readonly gradients?: readonly ("logprob" | "entropy")[];
  readonly frozen?: boolean;
  readonly held?: boolean;
  readonly scale?: number;
}

const headCases: Readonly<Record<string, HeadCase>> = {
  "one row": { sizes: [1, 4, 4] },
  "one chunk": { sizes: [9, 12, 60] },
  "one chunk, beta 1, temperature 0.7": { sizes: [17, 8, 264], held: true, temperature: 0.7 },
  "one chunk, frozen table": { sizes: [9, 12, 132], frozen: true },
  "four chunks": { sizes: [9, 16, 200], chunk: 64 },
  "two chunks, beta 1, temperature 2": {
    sizes: [70, 4, 132],
    chunk: 128,
    held: true,
    temperature: 2,
  },
  "three chunks, frozen table": { sizes: [5, 8, 192], chunk: 64, frozen: true },
  "logprob alone": { sizes: [9, 12, 140], chunk: 64, gradients: ["logprob"] },
  "entropy alone": { sizes: [10, 12, 60], gradients: ["entropy"] },
  "logits of +-60": { sizes: [9, 12, 140], chunk: 64, scale: 20 },
};

function head(
  { sizes: [N, C, V], gradients = ["logprob", "entropy"], frozen, held, scale = 1, ...options }:
    HeadCase,
): Case {
  return (bench) => {
    const shape = { N, C, V };
    const { temperature = 1 } = options;
    const values = { x: bench.random([N, C], scale), w: bench.random([V, C]) };
    const ids = bench.integers(N, V);
    const seeds = { logprob: bench.random([N]), entropy: bench.random([N]) };
    const before = { x: bench.random([N, C]), w: bench.random([V, C]) };
    const x = bench.input([N, C], values.x);
    const trained = frozen ? null : bench.parameter([V, C], values.w);
    const w = trained ?? bench.tensor([V, C], values.w);
    const targets = bench.tensor([N], ids);
    const result = lmHead(bench.forward, x, w, targets, options);
    const output = lmHead(bench.tape, x, w, targets, options);
    if (trained) bench.own(trained.buffers());
    for (const name of gradients) bench.seed(output[name], seeds[name]);
    if (held) {
      bench.hold(x, before.x);
      if (trained) bench.hold(trained, before.w);
    }
    bench.tape.backward();
    const { logprob, entropy } = reference.lmHeadForward(
      ...[values.x, values.w, ids, temperature, shape] as const,
    );
    const upstream = (name: "logprob" | "entropy") =>
      gradients.includes(name) ? seeds[name] : new Float32Array(N);
    const { dx, dW } = reference.lmHeadBackward(
      ...[values.x, values.w, ids, temperature] as const,
      ...[upstream("logprob"), upstream("entropy"), shape] as const,
    );
    return [
      // Near probability 1 both are differences of larger numbers: absolute below 1, relative above.
      near("logprob", result.logprob, logprob, 1),
      near("entropy", result.entropy, entropy, 1),
      near("dx", x.grad!, held ? plus(dx, before.x) : dx),
      ...(trained ? [near("dW", trained.grad!, held ? plus(dW, before.w) : dW)] : []),
    ];
  };
}

const heads: Record<string, Case> = {};
for (const [label, options] of Object.entries(headCases)) heads[label] = head(options);
heads["a certain target"] = (bench) => {
  const x = Float32Array.of(30, 0, 0, 0);
  const w = new Float32Array(16);
  w[0] = 1;
  const targets = bench.tensor([1], Uint32Array.of(0));
  const inputs = [bench.tensor([1, 4], x), bench.tensor([4, 4], w)] as const;
  const { logprob, entropy } = lmHead(bench.forward, ...inputs, targets);
  const expected = reference.lmHeadForward(x, w, [0], 1, { N: 1, C: 4, V: 4 });
  return [
    near("logprob", logprob, expected.logprob, 1),
    near("entropy", entropy, expected.entropy, 1),
  ];
};

/** Weights that are a mask over a normaliser: every third token is masked. */
function maskWeights(N: number): Float32Array {
  return Float32Array.from({ length: N }, (_, n) => n % 3 === 2 ? 0 : 1 / N);
}

const nll: Record<string, Case> = {};
for (const N of [1, 9, 256, 600]) {
  nll[`${N} tokens`] = (bench) => {
    const lp = bench.random([N], 5).map((v) => v - 5);
    const h = bench.random([N]).map((v) => v + 1);
    const w = maskWeights(N);
    const logprob = bench.tensor([N], lp);
    const sink = { sums: bench.blank([lossMetrics.length]), beta: 0 as 0 | 1 };
    nllLoss(
      bench.forward,
      { logprob, entropy: bench.tensor([N], h) },
      bench.tensor([N], w),
      sink,
    );
    const { loss, dlogprob } = reference.nllLoss(lp, w);
    const sums = [sum(loss), 0, 0, 0, 0, sum(h.map((v, n) => v * w[n]!)), 0, sum(w)];
    return [near("dlogprob", logprob.grad!, dlogprob), near("metrics", sink.sums, sums)];
  };
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

const clipped: Record<string, Case> = {};
for (const N of [1, 9, 256, 600]) {
  for (const klCoefficient of [0, 0.05]) {
    clipped[`${N} tokens, KL coefficient ${klCoefficient}, two micro-batches`] = (bench) => {
      const options = { clipLow: 0.2, clipHigh: 0.28, klCoefficient };
      const sink = { sums: bench.blank([lossMetrics.length]), beta: 0 as 0 | 1 };
      const sums = new Float64Array(lossMetrics.length);
      const gradients = [0, 1].map(() => {
        const old = bench.random([N], 3).map((v) => v - 3);
        const lp = plus32(old, bench.random([N], 0.6));
        const ref = plus32(lp, bench.random([N], 0.4));
        const advantage = bench.random([N], 2);
        const h = bench.random([N]).map((v) => v + 1);
        const weight = maskWeights(N);
        const logprob = bench.tensor([N], lp);
        clippedPolicyLoss(bench.forward, { logprob, entropy: bench.tensor([N], h) }, {
          oldLogprob: bench.tensor([N], old),
          referenceLogprob: bench.tensor([N], ref),
          advantage: bench.tensor([N], advantage),
          weight: bench.tensor([N], weight),
        }, options, sink);
        const expected = reference.policyLoss(
          { logprob: lp, oldLogprob: old, advantage, weight, reference: ref },
          options,
        );
        for (let n = 0; n < N; n++) {
          const k3 = (gap: number) => Math.exp(gap) - gap - 1;
          const ratio = lp[n]! - old[n]!;
          const cut = expected.clipped[n]!;
          const row = [
            ...[0, k3(ref[n]! - lp[n]!), ratio < 0 ? cut : 0, ratio > 0 ? cut : 0],
            ...[k3(-ratio), h[n]!, Math.abs(ratio), 1],
          ];
          row.forEach((value, i) => sums[i]! += weight[n]! * value);
          sums[0]! += expected.loss[n]!;
        }
        return near("dlogprob", logprob.grad!, expected.dlogprob);
      });
      return [...gradients, near("metrics", sink.sums, sums)];
    };
  }
}
clipped["a log-probability that is not finite shows in loss and gradient"] = (bench) => {
  const logprob = bench.tensor([2], Float32Array.of(NaN, -1));
  const same = bench.tensor([2], Float32Array.of(-1, -1));
  const weight = bench.tensor([2], Float32Array.of(0.5, 0.5));
  const sink = { sums: bench.blank([lossMetrics.length]), beta: 0 as 0 | 1 };
  clippedPolicyLoss(
    bench.forward,
    { logprob, entropy: same },
    { oldLogprob: same, referenceLogprob: same, advantage: weight, weight },
    { clipLow: 0.2, clipHigh: 0.2, klCoefficient: 0 },
    sink,
  );
  const shows = (what: string, tensor: Tensor) => ({
    what,
    tensor,
    error: (content: ArrayBuffer) => Number.isFinite(new Float32Array(content)[0]) ? Infinity : 0,
  });
  return [shows("dlogprob", logprob.grad!), shows("loss", sink.sums)];
};

function plus32(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

/** Several parameters, one of more than one block of squares; steps with and without clipping. */
function updates(gradClip: number, weightDecay: number): Case {
  return (bench) => {
    const shapes = [[5, 4], [3, 4], [4100, 4]];
    const learningRate = 0.01;
    const betas = [0.9, 0.999] as const;
    const options: AdamWOptions = { betas, epsilon: 1e-8, weightDecay, gradClip };
    const values = shapes.map((shape) => bench.random(shape));
    const parameters = values.map((v, i) => bench.parameter(shapes[i]!, v));
    const optimizer = new AdamW(
      bench.gpu,
      new Map(parameters.map((parameter, i) => [`p${i}`, parameter])),
      options,
    );
    bench.own(parameters.flatMap((parameter) => parameter.buffers()));
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
        if (touched[i]) bench.hold(parameter, gradients[i]!);
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
          const expected = states[i]!.parameter.map((v, n) => v - values[i]![n]!);
          return near("", parameter, expected).error(moved.buffer);
        },
      })),
      near("norm and scale", { buffer: optimizer.clip.buffer, bytes: 12 }, clip, 1e-6),
    ];
  };
}

const optimizerCases: Record<string, Case> = {
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
    bench.own(parameter.buffers());
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

/** From the last hidden state to the updated weights. */
export const lossChecks: readonly KernelCheck[] = [
  kernelCheck(
    "LM head",
    ["lm_head.accumulate", "lm_head.finish", "lm_head.backward"],
    2e-5,
    heads,
  ),
  kernelCheck("NLL loss", ["policy_loss.nll"], 1e-5, nll),
  kernelCheck("clipped policy loss", ["policy_loss.clipped"], 2e-5, clipped),
  kernelCheck(
    "AdamW",
    ["adamw.step", "reduce.sum_squares", "reduce.clip_norm"],
    5e-5,
    optimizerCases,
  ),
];
