/**
 * Readers of tests/golden/rl: what the libraries were given, in the terms of Mentor. The docstring of
 * tests/golden/make_rl_goldens.py says what is in the files.
 */

import { assertAlmostEquals, assertEquals } from "@std/assert";
import type { PolicyLossOptions } from "../src/ops/policy_loss.ts";
import { topEntropyTokens } from "../src/rl/entropy.ts";
import { type LossType, lossWeights } from "../src/rl/loss_weights.ts";
import { activeTokens, type MaskedSequence, packSequences } from "../src/rl/packing.ts";

/** A list per sequence. */
export type Rows = number[][];

/** One of policy_losses.json's losses. */
export interface LossGolden {
  readonly library: "trl" | "verl";
  readonly name: string;
  readonly batch: string;
  // deno-lint-ignore no-explicit-any
  readonly options: Record<string, any>;
  readonly microBatches?: number[][];
  readonly loss: number[];
  readonly dlogprob: Rows;
  readonly dentropy?: Rows;
  readonly tokenLoss?: Rows;
  readonly metrics: Record<string, number[]>;
}

/** One of policy_losses.json's batches. */
export type BatchGolden = Record<"logprob" | "old" | "reference" | "entropy" | "mask", Rows> & {
  readonly advantage: number[];
};

/** In f64, the libraries' own epsilons, such as verl's 1e-8 in a mean, are the only difference. */
export const F64_TOLERANCE = 1e-7;

/** Reads a file of tests/golden/rl. */
export function readJson(name: string) {
  return JSON.parse(Deno.readTextFileSync(new URL(`./golden/rl/${name}`, import.meta.url)));
}

/** policy_losses.json */
export const goldens = readJson("policy_losses.json");

/** Fails by how far values are apart, relative to the largest expected one. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
): void {
  assertEquals(actual.length, expected.length, what);
  const largest = Array.from(expected).reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  for (let i = 0; i < expected.length; i++) {
    assertAlmostEquals(actual[i]!, expected[i]!, F64_TOLERANCE * largest, `${what}[${i}]`);
  }
}

export function total(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0);
}

/** What the model wrote, of all sequences end to end: the only tokens that a loss gets. */
export function sampled(rows: Rows, mask: Rows): number[] {
  return rows.flatMap((row, i) => row.filter((_, t) => mask[i]![t] === 1));
}

/** The sequences of a mask, each with one token of a prompt before it. */
export function sequencesOf(mask: Rows): MaskedSequence[] {
  return mask.map((row) => ({
    ids: new Uint32Array(row.length + 1),
    mask: Uint8Array.of(0, ...row),
  }));
}

/**
 * Weight of each sampled token in the loss of a batch.
 *
 * @param dropped whether sequences without sampled tokens are left out of means over sequences, as
 * verl does
 */
export function weightsOf(
  mask: Rows,
  type: LossType,
  { microBatches, longest = 1, dropped = false }: {
    microBatches?: number[][] | undefined;
    longest?: number;
    dropped?: boolean;
  } = {},
): number[] {
  const sequences = sequencesOf(mask);
  const counted = sequences.filter((sequence) => !dropped || activeTokens([sequence]) > 0);
  const batches = (microBatches ?? [mask.map((_, i) => i)])
    .map((members) => packSequences(members.map((i) => sequences[i]!), 1000)[0]!);
  const weight = lossWeights(type, counted, batches, longest);
  return sequences.flatMap((sequence) => {
    const batch = batches.find((batch) => batch.sequences.includes(sequence));
    return batch ? Array<number>(activeTokens([sequence])).fill(weight(sequence, batch)) : [];
  });
}

/** The policy loss that a case is about, or why there is none. */
export function optionsOf({ library, name, options: o }: LossGolden): PolicyLossOptions | string {
  if (library === "trl") {
    // TRL's default where there is a divergence at all.
    const unbiased = o.beta !== 0 && o.use_bias_correction_kl;
    if (unbiased && o.importance_sampling_level === "sequence") {
      return "divergence times the sequence's ratio";
    }
    const rule = o.loss_type === "cispo" || o.loss_type === "sapo" ? o.loss_type : "clipped";
    const high = o.epsilon_high ?? o.epsilon;
    return {
      rule,
      clipLow: o.epsilon,
      clipHigh: high,
      ratioMax: rule === "cispo" ? high : o.delta ?? Infinity,
      temperatures: [o.sapo_temperature_pos, o.sapo_temperature_neg],
      klCoefficient: o.beta,
      klForm: unbiased ? "unbiased" : "k3",
    };
  }
  const clip = { clipLow: o.clip_ratio_low, clipHigh: o.clip_ratio_high };
  if (name === "vanilla") return { ...clip, ratioMax: o.clip_ratio_c };
  if (name === "gspo") return clip;
  if (name === "sapo") return { rule: "sapo", temperatures: [o.tau_pos, o.tau_neg] };
  assertEquals(name, "cispo");
  if (o.clip_ratio_low < 1) return "lower bound of the weight in CISPO";
  return { rule: "cispo", ratioMax: 1 + o.clip_ratio_high };
}

/** Whose ratio it is. */
export function levelOf({ name, options }: LossGolden): "token" | "sequence" {
  return name === "gspo" ? "sequence" : options.importance_sampling_level ?? "token";
}

/** The tokens that the policy's loss is about, where it is about those of highest entropy. */
export function countsOf({ batch, options }: LossGolden): Uint8Array[] | null {
  const { mask, entropy }: BatchGolden = goldens.batches[batch];
  const share = options.top_entropy_quantile ?? 1;
  if (share === 1) return null;
  const entropies = entropy.map((row) => Float32Array.of(0, ...row));
  return topEntropyTokens(sequencesOf(mask), entropies, share);
}

/** Which weights a case takes. */
function weighting({ library, options: o, microBatches }: LossGolden, mask: Rows): number[] {
  if (library === "trl") {
    return weightsOf(mask, o.loss_type, { microBatches, longest: o.max_completion_length });
  }
  const type = o.loss_agg_mode === "token-mean" ? "dapo" : "grpo";
  return weightsOf(mask, type, { dropped: true });
}

/** A golden's inputs and results as columns over sampled tokens; null where it isn't Mentor's. */
function prepare(golden: LossGolden) {
  const options = optionsOf(golden);
  if (typeof options === "string") return null;
  const { mask, ...batch }: BatchGolden = goldens.batches[golden.batch];
  const counts = countsOf(golden);
  const column = (rows: Rows) => sampled(rows, mask);
  const advantage = mask.map((row, i) =>
    row.map((_, t) => counts?.[i]?.[t + 1] === 0 ? 0 : batch.advantage[i]!)
  );
  const lengths = mask.map(total).filter((n) => n > 0);
  const starts = lengths.reduce((ends, n) => [...ends, ends.at(-1)! + n], [0]);
  const { library, name } = golden;
  return {
    golden,
    label: `${library}: ${name}` + (library === "verl" ? JSON.stringify(golden.options) : ""),
    options,
    columns: {
      logprob: column(batch.logprob),
      oldLogprob: column(batch.old),
      reference: column(batch.reference),
      advantage: column(advantage),
      weight: weighting(golden, mask),
      ...(levelOf(golden) === "sequence" ? { starts } : {}),
    },
    entropy: column(batch.entropy),
    expected: {
      // Without the entropy bonus.
      loss: total(golden.metrics.policy_loss ?? golden.loss),
      dlogprob: column(golden.dlogprob),
      tokenLoss: golden.tokenLoss && column(golden.tokenLoss),
    },
  };
}

/** The cases that Mentor has a counterpart of. */
export const lossCases = (goldens.losses as LossGolden[]).flatMap((golden) => {
  const prepared = prepare(golden);
  return prepared ? [prepared] : [];
});
