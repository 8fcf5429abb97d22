/**
 * Checks of the token losses.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { lossMetrics, nllLoss, policyLoss, type PolicyLossOptions } from "../policy_loss.ts";
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
    const entropy = sum(h.map((v, n) => v * w[n]!));
    const sums = [sum(loss), 0, 0, 0, 0, entropy, 0, sum(w), sum(w), sum(w), 0, 0];
    return [near("dlogprob", logprob.grad!, dlogprob), near("metrics", metrics.tensors[0]!, sums)];
  };
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

/** One rule on N tokens in sequences of up to 7, twice into the same sums. */
export function surrogate(
  N: number,
  options: PolicyLossOptions = {},
  level: "token" | "sequence" = "token",
): Case {
  return (bench) => {
    const metrics = bench.sums();
    const sums = new Float64Array(lossMetrics.length);
    const lengths = [1, 7, 2, 5];
    const starts = [0];
    for (let i = 0; starts.at(-1)! < N; i++) {
      starts.push(Math.min(N, starts.at(-1)! + lengths[i % 4]!));
    }
    const gradients = [0, 1].map(() => {
      const old = bench.random([N], 3).map((v) => v - 3);
      const lp = plus32(old, bench.random([N], 0.6));
      const ref = plus32(lp, bench.random([N], 0.4));
      const advantage = bench.random([N], 2);
      if (level === "sequence") {
        starts.slice(1).forEach((end, i) =>
          advantage.fill(advantage[starts[i]!]!, starts[i]!, end)
        );
      }
      const h = bench.random([N]).map((v) => v + 1);
      const weight = level === "token" ? maskWeights(N) : new Float32Array(N).fill(1 / N);
      const logprob = bench.tensor([N], lp);
      policyLoss(
        bench.forward,
        { logprob, entropy: bench.tensor([N], h) },
        {
          oldLogprob: bench.tensor([N], old),
          referenceLogprob: bench.tensor([N], ref),
          advantage: bench.tensor([N], advantage),
          weight: bench.tensor([N], weight),
          starts: level === "token"
            ? null
            : bench.tensor([starts.length], Uint32Array.from(starts)),
        },
        options,
        metrics,
      );
      const expected = reference.policyLoss({
        ...{ logprob: lp, oldLogprob: old, advantage, weight, reference: ref },
        ...(level === "sequence" ? { starts } : {}),
      }, options);
      const { rule = "clipped", ratioMax = Infinity, klForm = "k3" } = options;
      for (let n = 0; n < N; n++) {
        const ratio = Math.log(expected.ratio[n]!);
        const rho = expected.ratio[n]!;
        const [kl] = reference.klEstimate(lp[n]! - ref[n]!, klForm, rho);
        const bad = advantage[n]! < 0;
        const cut = expected.clipped[n]!;
        const dual = rule === "clipped" && bad && rho > ratioMax ? 1 : 0;
        const high = (rule === "clipped" || rule === "cispo") && !bad ? cut : 0;
        const row = [
          ...[0, kl, rule === "clipped" && bad && !dual ? cut : 0, high],
          ...[Math.exp(-ratio) + ratio - 1, h[n]!, Math.abs(ratio), 1],
          ...[rho, rho * rho, ratio * ratio, dual],
        ];
        row.forEach((value, i) => sums[i]! += weight[n]! * value);
        sums[0]! += expected.loss[n]!;
      }
      return near("dlogprob", logprob.grad!, expected.dlogprob);
    });
    return [...gradients, near("metrics", metrics.tensors[0]!, sums)];
  };
}

/** A rule under a name, with the options that make it one of its own. */
const rules: Record<string, PolicyLossOptions> = {
  "clipped": { clipHigh: 0.28 },
  "clipped with k1": { klCoefficient: 0.05, klForm: "k1" },
  "clipped with k2": { klCoefficient: 0.05, klForm: "k2" },
  "clipped with k3": { klCoefficient: 0.05, clipHigh: 0.28 },
  "clipped with unbiased KL": { klCoefficient: 0.05, klForm: "unbiased" },
  "clipped twice": { ratioMax: 1.4 },
  "cispo": { rule: "cispo", ratioMax: 1.3 },
  "cispo with k3": { rule: "cispo", ratioMax: 1.3, klCoefficient: 0.05 },
  "sapo": { rule: "sapo" },
  "sapo with k2": { rule: "sapo", temperatures: [1.2, 2], klCoefficient: 0.05, klForm: "k2" },
};
const nll: Record<string, Case> = {};
const policy: Record<string, Case> = {};
for (const N of [1, 9, 256, 600]) {
  nll[`${N} tokens`] = likelihood(N);
  for (const [name, options] of Object.entries(rules)) {
    for (const level of ["token", "sequence"] as const) {
      policy[`${name}, ${N} tokens, ratio of the ${level}`] = surrogate(N, options, level);
    }
  }
}
for (const which of ["logprob", "oldLogprob"] as const) {
  policy[`NaN in ${which} shows in loss and gradient`] = (bench) => {
    const [fine, weight] = [Float32Array.of(-1, -1), Float32Array.of(0.5, 0.5)];
    const column = (name: string) =>
      bench.tensor([2], name === which ? Float32Array.of(NaN, -1) : fine);
    const logprob = column("logprob");
    const metrics = bench.sums();
    policyLoss(
      bench.forward,
      { logprob, entropy: column("entropy") },
      {
        oldLogprob: column("oldLogprob"),
        referenceLogprob: column("referenceLogprob"),
        advantage: bench.tensor([2], weight),
        weight: bench.tensor([2], weight),
      },
      {},
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
  kernelCheck(
    "policy losses",
    ["clipped", "cispo", "sapo", "sequence_ratio"].map((entry) => `policy_loss.${entry}`),
    1e-5,
    policy,
  ),
];
