// PPO against verl: advantages, returns, whitening, the two losses and their gradients, on the GPU
// and in f64. tests/golden/make_ppo_goldens.py made the numbers.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { generalisedAdvantages, whiten } from "../src/ops/advantage.ts";
import { MetricSums } from "../src/ops/metric_sums.ts";
import { lossMetrics, policyLoss } from "../src/ops/policy_loss.ts";
import * as reference from "../src/ops/reference/mod.ts";
import { clippedValueLoss } from "../src/ops/value_loss.ts";
import { klEstimate, type KlForm } from "../src/rl/token_costs.ts";
import { Tape } from "../src/tape.ts";
import type { Tensor } from "../src/tensor.ts";

const TOLERANCE = 1e-5;

const golden = JSON.parse(
  Deno.readTextFileSync(new URL("./golden/rl/ppo.json", import.meta.url)),
);
const mask: number[][] = golden.mask;

/** The tokens of a padded table that the mask lets through, sequence after sequence. */
function sampled(table: number[][]): Float32Array {
  return Float32Array.from(table.flatMap((row, s) => row.filter((_, t) => mask[s]![t])));
}

const lengths = mask.map((row) => row.reduce((sum, bit) => sum + bit, 0));
const N = lengths.reduce((sum, length) => sum + length, 0);
const options = { gamma: golden.gamma, lambda: golden.lambda };
const weight = new Float32Array(N).fill(1 / N);

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string) {
  assertEquals(actual.length, expected.length, what);
  for (let n = 0; n < expected.length; n++) {
    assertAlmostEquals(actual[n]!, expected[n]!, TOLERANCE, `${what}, token ${n}`);
  }
}

/** Runs ops on a tape and reads what they return. */
async function run(record: (tape: Tape, table: (name: string) => Tensor) => Tensor[]) {
  using gpu = await Gpu.open();
  const tape = new Tape(gpu, { recording: false });
  const results = record(tape, (name) => tape.upload(sampled(golden[name]), name));
  return (await gpu.read(...results)).map((bytes) => new Float32Array(bytes));
}

Deno.test("advantages and returns are verl's, tool tokens skipped, whitened over the batch", async () => {
  assert(mask.some((row) => row.join("").includes("101")), "no sequence has a hole");
  const [advantages, returns] = await run((tape, table) => {
    const found = generalisedAdvantages(tape, table("rewards"), table("values"), lengths, options);
    return [whiten(tape, found.advantages), found.returns];
  });
  assertNear(advantages!, sampled(golden.advantages), "advantages");
  assertNear(returns!, sampled(golden.returns), "returns");

  const [rewards, values] = [sampled(golden.rewards), sampled(golden.values)];
  const exact = reference.generalisedAdvantages(rewards, values, lengths, options);
  assertNear(reference.whiten(exact.advantages), sampled(golden.advantages), "f64 advantages");
  assertNear(exact.returns, sampled(golden.returns), "f64 returns");
});

Deno.test("rewards whitened without a shift of their mean are verl's", async () => {
  const expected = sampled(golden.whitenedRewards);
  const [whitened] = await run((tape, table) => [
    whiten(tape, table("rewards"), { shiftMean: false }),
  ]);
  assertNear(whitened!, expected, "rewards");
  assertNear(reference.whiten(sampled(golden.rewards), { shiftMean: false }), expected, "f64");
});

Deno.test("the value loss, its clip fraction and its gradient are verl's", async () => {
  const value = sampled(golden.newValues);
  const [dvalue, sums] = await run((tape, table) => {
    const four = new Float32Array(4 * N);
    value.forEach((v, n) => four[4 * n] = v);
    const input = tape.upload(four, "value", [N, 4]);
    const metrics = new MetricSums(tape);
    clippedValueLoss(
      tape,
      input,
      {
        oldValue: table("values"),
        returns: table("returns"),
        weight: tape.upload(weight, "weight"),
      },
      { clip: golden.clipValue, coefficient: 1 },
      metrics,
    );
    return [input.grad!, ...metrics.tensors];
  });
  const expected = sampled(golden.dvalues);
  assertNear(dvalue!.filter((_, i) => i % 4 === 0), expected, "dvalue");
  assertNear(sums!.slice(0, 2), [golden.valueLoss, golden.valueClipFraction], "sums");

  const exact = reference.valueLoss({
    value,
    oldValue: sampled(golden.values),
    returns: sampled(golden.returns),
    weight,
  }, { clip: golden.clipValue, coefficient: 1 });
  assertNear(exact.dvalue, expected, "f64 dvalue");
  assertAlmostEquals(exact.loss.reduce((a, b) => a + b), golden.valueLoss, TOLERANCE);
});

for (const name of ["vanilla", "dual"] as const) {
  Deno.test(`the clipped surrogate, its clip fractions and its gradient are verl's: ${name}`, async () => {
    const { clipLow, clipHigh, clipDual, policy: { [name]: expected } } = golden;
    const [dlogprob, sums] = await run((tape, table) => {
      const logprob = table("logprobs");
      const oldLogprob = table("oldLogprobs");
      const metrics = new MetricSums(tape);
      const entropy = tape.upload(new Float32Array(N), "entropy");
      policyLoss(
        tape,
        { logprob, entropy },
        {
          oldLogprob,
          referenceLogprob: oldLogprob,
          advantage: table("advantages"),
          weight: tape.upload(weight, "weight"),
        },
        { clipLow, clipHigh, ratioMax: name === "dual" ? clipDual : Infinity },
        metrics,
      );
      return [logprob.grad!, ...metrics.tensors];
    });
    assertNear(dlogprob!, sampled(expected.dlogprobs), "dlogprob");
    const sum = (column: string) => sums![lossMetrics.findIndex((other) => other === column)]!;
    assertNear(
      [sum("loss"), sum("clip_low") + sum("clip_high"), sum("clip_dual")],
      [expected.loss, expected.clipFraction, expected.lowerClipFraction],
      "sums",
    );
  });
}

Deno.test("the estimates of the divergence are verl's", () => {
  const [own, other] = [sampled(golden.oldLogprobs), sampled(golden.referenceLogprobs)];
  for (const [name, table] of Object.entries(golden.kl)) {
    const found = own.map((lp, n) => klEstimate(lp - other[n]!, name as KlForm));
    assertNear(found, sampled(table as number[][]), name);
  }
  // One token that the reference finds far more likely does not drown the rest.
  assertEquals(klEstimate(-59, "k3"), 10);
});
