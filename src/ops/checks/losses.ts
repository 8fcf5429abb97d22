/**
 * Checks of the token losses.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { clippedPolicyLoss, lossMetrics, nllLoss } from "../policy_loss.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type Comparison, type KernelCheck, kernelCheck, near } from "./check.ts";

/** Weights that are a mask over a normaliser: every third token is masked. */
function maskWeights(N: number): Float32Array {
  return Float32Array.from({ length: N }, (_, n) => n % 3 === 2 ? 0 : 1 / N);
}

/** Negative log-likelihood of N tokens. */
export function likelihood(N: number): Case {
  return (bench) => {
    const lp = bench.random([N], 5).map((v) => v - 5);
    const h = bench.random([N]).map((v) => v + 1);
    const w = maskWeights(N);
    const logprob = bench.tensor([N], lp);
    const metrics = bench.sums();
    nllLoss(
      bench.forward,
      { logprob, entropy: bench.tensor([N], h) },
      bench.tensor([N], w),
      metrics,
    );
    const { loss, dlogprob } = reference.nllLoss(lp, w);
    const sums = [sum(loss), 0, 0, 0, 0, sum(h.map((v, n) => v * w[n]!)), 0, sum(w)];
    return [near("dlogprob", logprob.grad!, dlogprob), near("metrics", metrics.tensors[0]!, sums)];
  };
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

/** The clipped surrogate of N tokens, twice into the same sums. */
export function surrogate(N: number, klCoefficient: number): Case {
  return (bench) => {
    const options = { clipLow: 0.2, clipHigh: 0.28, klCoefficient };
    const metrics = bench.sums();
    const sums = new Float64Array(lossMetrics.length);
    const gradients = [0, 1].map(() => {
      const old = bench.random([N], 3).map((v) => v - 3);
      const lp = plus32(old, bench.random([N], 0.6));
      const ref = plus32(lp, bench.random([N], 0.4));
      const advantage = bench.random([N], 2);
      const h = bench.random([N]).map((v) => v + 1);
      const weight = maskWeights(N);
      const logprob = bench.tensor([N], lp);
      clippedPolicyLoss(
        bench.forward,
        { logprob, entropy: bench.tensor([N], h) },
        {
          oldLogprob: bench.tensor([N], old),
          referenceLogprob: bench.tensor([N], ref),
          advantage: bench.tensor([N], advantage),
          weight: bench.tensor([N], weight),
        },
        options,
        metrics,
      );
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
    return [...gradients, near("metrics", metrics.tensors[0]!, sums)];
  };
}

const nll: Record<string, Case> = {};
const clipped: Record<string, Case> = {};
for (const N of [1, 9, 256, 600]) {
  nll[`${N} tokens`] = likelihood(N);
  for (const klCoefficient of [0, 0.05]) {
    const label = `${N} tokens, KL coefficient ${klCoefficient}, two micro-batches`;
    clipped[label] = surrogate(N, klCoefficient);
  }
}
for (const which of ["logprob", "oldLogprob"] as const) {
  clipped[`NaN in ${which} shows in loss and gradient`] = (bench) => {
    const [fine, weight] = [Float32Array.of(-1, -1), Float32Array.of(0.5, 0.5)];
    const column = (name: string) =>
      bench.tensor([2], name === which ? Float32Array.of(NaN, -1) : fine);
    const logprob = column("logprob");
    const metrics = bench.sums();
    clippedPolicyLoss(
      bench.forward,
      { logprob, entropy: column("entropy") },
      {
        oldLogprob: column("oldLogprob"),
        referenceLogprob: column("referenceLogprob"),
        advantage: bench.tensor([2], weight),
        weight: bench.tensor([2], weight),
      },
      { clipLow: 0.2, clipHigh: 0.2, klCoefficient: 0 },
      metrics,
    );
    const shows = (what: string, tensor: Tensor): Comparison => ({
      what,
      tensor,
      error: (content) => Number.isNaN(new Float32Array(content)[0]) ? 0 : Infinity,
    });
    return [shows("dlogprob", logprob.grad!), shows("loss", metrics.tensors[0]!)];
  };
}

function plus32(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

/** Losses as functions of log-probabilities. */
export const lossChecks: readonly KernelCheck[] = [
  kernelCheck("NLL loss", ["policy_loss.nll"], 1e-5, nll),
  kernelCheck("clipped policy loss", ["policy_loss.clipped"], 1e-5, clipped),
];
