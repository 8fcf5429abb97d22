/**
 * Policy losses, their weights and estimates of the divergence against TRL and verl: what
 * `tests/golden/make_rl_goldens.py` got out of the libraries' own code. Options of theirs that Mentor
 * has no counterpart of are named where their cases are left out.
 */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { type Case, kernelCheck, near, relativeError } from "../src/ops/checks/check.ts";
import { MetricSums } from "../src/ops/metric_sums.ts";
import { lossMetrics, policyLoss, type PolicyLossOptions } from "../src/ops/policy_loss.ts";
import * as reference from "../src/ops/reference/mod.ts";
import type { Learner } from "../src/rl/learner.ts";
import { gather } from "../src/rl/packing.ts";
import { policyUpdate } from "../src/rl/policy_update.ts";
import { Tape } from "../src/tape.ts";
import type { Tensor } from "../src/tensor.ts";
import {
  assertClose,
  type BatchGolden,
  countsOf,
  F64_TOLERANCE,
  goldens,
  levelOf,
  lossCases,
  type LossGolden,
  optionsOf,
  type Rows,
  sampled,
  sequencesOf,
  total,
  weightsOf,
} from "./rl_goldens.ts";

const GPU_TOLERANCE = 1e-5;

for (const { label, columns, options, expected } of lossCases) {
  Deno.test(`the f64 reference has the loss of ${label}`, () => {
    const { loss, dlogprob } = reference.policyLoss(columns, options);
    assertClose(dlogprob, expected.dlogprob, "dlogprob");
    const size = total(loss.map(Math.abs));
    assertAlmostEquals(total(loss), expected.loss, F64_TOLERANCE * size, "loss");
    if (!expected.tokenLoss) return;
    assertClose(loss.map((value, n) => value / columns.weight[n]!), expected.tokenLoss, "token");
  });
}

Deno.test("cases are left out for want of an option, and for no other reason", () => {
  const reasons = (goldens.losses as LossGolden[]).map(optionsOf)
    .filter((options) => typeof options === "string");
  assertEquals(reasons, [
    "divergence times the sequence's ratio",
    "lower bound of the weight in CISPO",
  ]);
});

/**
 * The library's metrics by the names of ours whose sum they are, where every token weighs 1 / number
 * of tokens as in these metrics.
 */
function metricsOf(golden: LossGolden): [string[], number][] {
  const { library, name, options: o, metrics } = golden;
  const value = (key: string) => metrics[key]![0]!;
  const sequences = levelOf(golden) === "sequence";
  if (library === "verl") {
    // verl counts every weight of CISPO that is bounded, we those of good tokens, as TRL does.
    if (o.loss_agg_mode !== "token-mean" || name === "cispo") return [];
    const clipped: [string[], number] = [["clip_low", "clip_high"], value("actor/pg_clipfrac")];
    return sequences ? [clipped] : [clipped, [["clip_dual"], value("actor/pg_clipfrac_lower")]];
  }
  if (golden.microBatches || !["dapo", "cispo"].includes(o.loss_type)) return [];
  const found: [string[], number][] = [[["entropy"], value("entropy")]];
  if (o.beta !== 0) found.push([["kl"], value("kl")]);
  // TRL counts sequences there, and tokens here that do not learn.
  if (sequences || o.top_entropy_quantile < 1) return found;
  if (o.loss_type === "cispo") return [...found, [["clip_high"], value("cispo_clip_ratio")]];
  return [
    ...found,
    [["clip_low"], value("clip_ratio/low_mean")],
    [["clip_high"], value("clip_ratio/high_mean")],
  ];
}

function onGpu({ golden, columns, entropy, options, expected }: typeof lossCases[number]): Case {
  return (bench) => {
    const N = columns.logprob.length;
    const column = (values: number[]) => bench.tensor([N], Float32Array.from(values));
    const logprob = column(columns.logprob);
    const sums = bench.sums();
    const { starts } = columns;
    policyLoss(
      bench.forward,
      { logprob, entropy: column(entropy) },
      {
        oldLogprob: column(columns.oldLogprob),
        referenceLogprob: column(columns.reference),
        advantage: column(columns.advantage),
        weight: column(columns.weight),
        starts: starts ? bench.tensor([starts.length], Uint32Array.from(starts)) : null,
      },
      options,
      sums,
    );
    // A sum that cancels has the rounding of its terms.
    const size = total(reference.policyLoss(columns, options).loss.map(Math.abs));
    const sum = (names: string[], value: number, floor: number) => ({
      what: names.join(" + "),
      tensor: sums.tensors[0]!,
      error: (content: ArrayBuffer) => {
        const all = new Float32Array(content);
        const own = names.map((name) => all[lossMetrics.findIndex((other) => other === name)]!);
        return relativeError([total(own)], [value], floor);
      },
    });
    return [
      near("dlogprob", logprob.grad!, expected.dlogprob, largest(expected.dlogprob)),
      sum(["loss"], expected.loss, size),
      ...metricsOf(golden).map(([names, value]) => sum(names, value, 0.01)),
    ];
  };
}

function largest(values: number[]): number {
  return Math.max(...values.map(Math.abs));
}

Deno.test("the kernels have the losses, gradients and metrics of TRL and verl", async () => {
  const gpu = await Gpu.open();
  const wrong: string[] = [];
  // A sequence's ratio has one advantage, which `policyUpdate` sees to where only some tokens count.
  const direct = lossCases.filter(({ golden }) => levelOf(golden) === "token" || !countsOf(golden));
  for (const golden of direct) {
    const check = kernelCheck("policy loss", [], GPU_TOLERANCE, { [golden.label]: onGpu(golden) });
    const { worst, where } = await check.run(gpu);
    if (!(worst <= GPU_TOLERANCE)) wrong.push(`error ${worst.toExponential(1)} of ${where}`);
  }
  await gpu.settle();
  gpu.close();
  assertEquals(wrong, []);
});

/** One update of a policy on a golden's batch, with a learner that has its log-probabilities. */
function update(gpu: Gpu, golden: LossGolden, sums: MetricSums) {
  const { mask, ...batch }: BatchGolden = goldens.batches[golden.batch];
  const { options: o } = golden;
  const counts = countsOf(golden);
  const after = (row: number[]) => Float32Array.of(0, ...row); // the prompt
  const samples = sequencesOf(mask).map((sequence, i) => ({
    ...sequence,
    logprobs: after(batch.old[i]!),
    advantage: batch.advantage[i]!,
    counts: counts?.[i] ?? null,
    now: after(batch.logprob[i]!),
    entropy: after(batch.entropy[i]!),
  }));
  type Sample = typeof samples[number];
  const tape = new Tape(gpu, { recording: false });
  const tokens: { logprob?: Tensor; entropy?: Tensor } = {};
  const learner = {
    model: { gpu },
    update: (...[[micro], loss]: Parameters<Learner["update"]>) => {
      const column = (name: "now" | "entropy") =>
        tape.upload(gather(micro!, (one) => (t) => (one as Sample)[name][t]!), name);
      tokens.logprob = column("now");
      tokens.entropy = column("entropy");
      loss(tape, tokens as Parameters<typeof loss>[1], micro!, sums);
    },
  } as unknown as Learner;
  policyUpdate({ learner, reference: null }, samples, {
    ...optionsOf(golden) as PolicyLossOptions,
    loss: o.loss_type,
    ratio: o.importance_sampling_level,
    learningRate: 0,
    tokenBudget: 1000,
    entropyCoefficient: o.entropy_coef,
    temperature: 1,
    longest: o.max_completion_length,
  });
  return { dlogprob: tokens.logprob!.grad!, dentropy: tokens.entropy!.grad };
}

Deno.test("an update has the gradients of TRL, with tokens of high entropy and bonus", async () => {
  const gpu = await Gpu.open();
  const sums = new MetricSums(gpu);
  const wrong: string[] = [];
  for (const { golden, label } of lossCases) {
    // Without a reference model, and packed as the budget says.
    if (golden.library !== "trl" || golden.options.beta !== 0 || golden.microBatches) continue;
    const { mask }: BatchGolden = goldens.batches[golden.batch];
    const { dlogprob, dentropy } = update(gpu, golden, sums);
    const compare = async (what: string, tensor: Tensor, rows: Rows) => {
      const expected = sampled(rows, mask);
      const [content] = await gpu.read(tensor);
      const error = relativeError(new Float32Array(content!), expected, largest(expected));
      if (!(error <= GPU_TOLERANCE)) {
        wrong.push(`error ${error.toExponential(1)}: ${what}, ${label}`);
      }
    };
    await compare("dlogprob", dlogprob, golden.dlogprob);
    if (golden.dentropy) await compare("dentropy", dentropy!, golden.dentropy);
    else assertEquals(dentropy, null, label);
    gpu.endStep();
  }
  await gpu.settle();
  sums[Symbol.dispose]();
  gpu.close();
  assertEquals(wrong, []);
});

for (const { kind, logprob, reference: frozen, value, dlogprob } of goldens.klPenalties) {
  const form = ({ k1: "k1", mse: "k2", low_var_kl: "k3" } as const)[kind as string];
  if (form === undefined) continue; // abs, and k1 and k3 with the gradient of k2
  Deno.test(`${form} is verl's ${kind}, which it cuts where k3 is above 10 or its logarithm 20`, () => {
    let cut = 0;
    (value as number[]).forEach((expected, n) => {
      const [estimate, slope] = reference.klEstimate(logprob[n] - frozen[n], form, 1);
      if (form === "k3" && expected === 10) {
        assert(estimate > 10, `${estimate} at ${n}`);
        return cut++;
      }
      assertAlmostEquals(estimate, expected, F64_TOLERANCE * Math.max(1, Math.abs(expected)));
      assertAlmostEquals(slope, dlogprob[n], F64_TOLERANCE * Math.max(1, Math.abs(dlogprob[n])));
    });
    assertEquals(cut, form === "k3" ? 4 : 0);
  });
}

for (const { mode, options, mask, losses, loss, dlosses } of goldens.aggregations) {
  const type = ({
    "token-mean": "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum-norm": "dr_grpo",
  } as const)[mode as string];
  // Sums over tokens, and means over a batch of which this is a part.
  if (!type || options.batch_num_tokens || options.global_batch_size) continue;
  Deno.test(`the weights of ${type} are verl's ${mode} over sequences with sampled tokens`, () => {
    const weights = weightsOf(mask, type, { dropped: true, longest: options.loss_scale_factor });
    assertClose(weights, sampled(dlosses, mask), "weights");
    const weighted = sampled(losses, mask).map((value, n) => value * weights[n]!);
    assertAlmostEquals(total(weighted), loss, F64_TOLERANCE);
  });
}
