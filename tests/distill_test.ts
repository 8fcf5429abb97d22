// Teachers as models: distillation, preferences and likelihood rewards, against TRL (see
// tests/golden/make_distill_goldens.py) and in what a student makes of them.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { divergenceLoss } from "../src/ops/divergence.ts";
import { MetricSums } from "../src/ops/metric_sums.ts";
import { preferenceLoss } from "../src/ops/preference_loss.ts";
import * as reference from "../src/ops/reference/mod.ts";
import { Random } from "../src/random.ts";
import { distillUpdate } from "../src/rl/distill.ts";
import { dpoUpdate, preferencePairs, withReference } from "../src/rl/dpo.ts";
import { Learner } from "../src/rl/learner.ts";
import { likelihoodScores } from "../src/rl/likelihood.ts";
import { activeTokens, packUnits } from "../src/rl/packing.ts";
import { rollout } from "../src/rl/rollout.ts";
import { scoreTokens } from "../src/rl/score_tokens.ts";
import { demonstration, sftStep } from "../src/rl/sft.ts";
import { Tape } from "../src/tape.ts";
import { Tensor } from "../src/tensor.ts";
import { digitChat as chat, digitConfig as config, digitTask as task } from "./digits.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

/** Against TRL; its arithmetic is f64, ours on the GPU f32. */
const TOLERANCE = 1e-5;

function golden(name: string) {
  return JSON.parse(Deno.readTextFileSync(new URL(`./golden/rl/${name}.json`, import.meta.url)));
}

function assertClose(actual: ArrayLike<number>, expected: readonly number[], what: string) {
  assertEquals(actual.length, expected.length, what);
  expected.forEach((value, i) => assertAlmostEquals(actual[i]!, value, TOLERANCE, `${what}[${i}]`));
}

const float = (rows: number[][]) => Float32Array.from(rows.flat());

/** A tensor of this step. */
function tensor(rows: number[][] | Float32Array, width: number, needsGrad = false): Tensor {
  const values = rows instanceof Float32Array ? rows : float(rows);
  const buffer = gpu.upload(values, "golden");
  return new Tensor(buffer, [values.length / width, width], "f32", "golden", needsGrad);
}

Deno.test("the divergence and its derivative are those of TRL's GKD, in both limits and between", async () => {
  const { temperature, student, teacher, mask, cases } = golden("divergence");
  const [N, V] = [student.length, student[0].length];
  const active = mask.reduce((a: number, b: number) => a + b);
  const weight = Float32Array.from(mask, (bit: number) => bit / active);
  for (const { beta, loss, rows, dlogits } of cases) {
    const expected = reference.divergence(student.flat(), teacher.flat(), { beta, temperature }, {
      N,
      V,
    });
    assertClose(expected.divergence, rows, `divergence, beta ${beta}`);
    const masked = expected.dlogits.map((d, i) => d * weight[Math.floor(i / V)]!);
    assertClose(masked, dlogits.flat(), `dlogits of the reference, beta ${beta}`);

    // With the identity as the table, hidden states are logits.
    const identity = Float32Array.from({ length: V * V }, (_, i) => i % (V + 1) === 0 ? 1 : 0);
    const tape = new Tape(gpu);
    const x = tensor(student, V, true);
    const sums = new MetricSums(tape);
    divergenceLoss(
      tape,
      { x, w: tensor(identity, V) },
      { x: tensor(teacher, V), w: tensor(identity, V) },
      tape.upload(weight, "weight"),
      { beta, temperature },
      sums,
    );
    tape.backward();
    const [metrics, dx] = await gpu.read(...sums.tensors, x.grad!);
    gpu.endStep();
    assertAlmostEquals(new Float32Array(metrics!)[0]!, loss, TOLERANCE, `loss, beta ${beta}`);
    assertClose(new Float32Array(dx!), dlogits.flat(), `dlogits, beta ${beta}`);
  }
});

Deno.test("capped heads have the divergence and the gradients of TRL's DistillationTrainer", async () => {
  const { temperature, cap, teacherCap, cases, ...values } = golden("capped");
  const [N, C] = [values.x.length, values.x[0].length];
  for (const { beta, loss, entropy, dx, dW } of cases) {
    const tape = new Tape(gpu);
    const x = tensor(values.x, C, true);
    const w = tensor(values.w, C, true);
    const [teacherX, teacherW] = [values.teacherX, values.teacherW].map((rows) =>
      tensor(rows, rows[0].length)
    );
    const sums = new MetricSums(tape);
    divergenceLoss(
      tape,
      { x, w, cap },
      { x: teacherX!, w: teacherW!, cap: teacherCap },
      tape.upload(new Float32Array(N).fill(1 / N), "weight"),
      { beta, temperature },
      sums,
    );
    tape.backward();
    const contents = await gpu.read(...sums.tensors, x.grad!, w.grad!);
    gpu.endStep();
    const [metrics, gradient, table] = contents.map((bytes) => new Float32Array(bytes));
    assertAlmostEquals(metrics![0]!, loss, TOLERANCE, `loss, beta ${beta}`);
    assertAlmostEquals(metrics![2]!, entropy, TOLERANCE, `entropy, beta ${beta}`);
    assertClose(gradient!, dx.flat(), `dx, beta ${beta}`);
    assertClose(table!, dW.flat(), `dW, beta ${beta}`);
  }
});

Deno.test("the preference loss, its derivative and its rewards are those of TRL's DPO", async () => {
  const { beta, logprobs, lengths, references, cases } = golden("dpo");
  const P = lengths.length;
  const tokens = (values: number[][][]) =>
    lengths.flatMap(([w, l]: number[], i: number) => [
      ...values[i]![0]!.slice(0, w),
      ...values[i]![1]!.slice(0, l),
    ]);
  for (const { labelSmoothing, dlogprob, ...expected } of cases) {
    const results = lengths.map(([w, l]: number[], i: number) =>
      reference.preferenceLoss({
        chosen: logprobs[i][0].slice(0, w),
        rejected: logprobs[i][1].slice(0, l),
        referenceChosen: references[i][0],
        referenceRejected: references[i][1],
      }, { beta, labelSmoothing })
    );
    const mean = results.reduce((sum: number, { loss }: { loss: number }) => sum + loss / P, 0);
    assertAlmostEquals(mean, expected.loss, TOLERANCE);

    const tape = new Tape(gpu);
    const values = Float32Array.from(tokens(logprobs));
    const logprob = tape.upload(values, "logprob");
    const entropy = tape.upload(new Float32Array(values.length), "entropy");
    const sums = new MetricSums(tape);
    const batch = {
      counts: lengths.flat(),
      reference: tape.upload(float(references), "reference", [P, 2]),
      weight: tape.upload(new Float32Array(P).fill(1 / P), "weight"),
    };
    preferenceLoss(tape, { logprob, entropy }, batch, { beta, labelSmoothing }, sums);
    const contents = await gpu.read(...sums.tensors, logprob.grad!);
    gpu.endStep();
    const [metrics, gradient] = contents.map((bytes) => new Float32Array(bytes));
    const { loss, rewardChosen, rewardRejected, margin, accuracy } = expected;
    const means = [loss, rewardChosen, rewardRejected, margin, accuracy];
    assertClose(metrics!.subarray(0, 5), means, "metrics");
    assertClose(gradient!, tokens(dlogprob), `dlogprob, smoothing ${labelSmoothing}`);
  }
});

Deno.test("bad hyper-parameters and batches of the losses are named", () => {
  const tape = new Tape(gpu, { recording: false });
  const x = tensor(new Float32Array(8), 4);
  const w = tensor(new Float32Array(32), 4);
  const one = tape.upload(Float32Array.of(0.5, 0.5), "weight");
  const sums = new MetricSums(tape);
  const distil = (options: { beta: number; temperature?: number }) => () =>
    divergenceLoss(tape, { x, w }, { x, w }, one, options, sums);
  assertThrows(distil({ beta: 1.5 }), RangeError, "beta is 1.5");
  assertThrows(distil({ beta: NaN }), RangeError, "beta is NaN");
  assertThrows(distil({ beta: 1, temperature: 0 }), RangeError, "temperature is 0");
  const prefer = (counts: number[], beta: number, labelSmoothing = 0) => () =>
    preferenceLoss(
      tape,
      { logprob: one, entropy: one },
      { counts, reference: tensor(new Float32Array(2), 2), weight: tape.upload(one1, "weight") },
      { beta, labelSmoothing },
      sums,
    );
  const one1 = Float32Array.of(1);
  assertThrows(prefer([1, 1], 0), RangeError, "beta is 0");
  assertThrows(prefer([1, 1], 0.1, 0.5), RangeError, "labelSmoothing is 0.5");
  assertThrows(prefer([1, 2], 0.1), TypeError, "have 3 tokens, the batch has 2");
  assertThrows(prefer([2], 0.1), TypeError, "two completions per pair");
  gpu.discard();
});

Deno.test("units of several sequences stay whole, whatever is predicted in them", () => {
  const sequence = (length: number, bits: number[]) => ({
    ids: new Uint32Array(length).fill(length),
    mask: Uint8Array.from({ length }, (_, i) => bits.includes(i) ? 1 : 0),
  });
  const units = [
    [sequence(4, [1]), sequence(3, [])],
    [sequence(6, [2, 5]), sequence(6, [1])],
    [sequence(1, []), sequence(2, [1])],
  ];
  const batches = packUnits(units, 10);
  assertEquals(batches.map(({ lengths }) => lengths), [[4, 3, 1, 2], [6, 6]]);
  assertEquals(batches.map(({ targets }) => [...targets]), [[1, 9], [2, 5, 7]]);
  assertEquals(batches[0]!.sequences, [...units[0]!, ...units[2]!]);
  assertThrows(() => packUnits([[sequence(3, [])]], 8), RangeError, "mask is empty");
});

const adamw = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0, gradClip: 1 } as const;
const sampling = { temperature: 1, topK: 0, topP: 1, seed: 3, maxTokens: 12, maxCalls: 1 } as const;

const shown = (answer: string) => demonstration(chat, task(answer), task(answer).reference!);

/** Learns to answer with one of these digits. */
async function imitate(learner: Learner, digits: string, steps: number): Promise<void> {
  const random = new Random(digits);
  for (let step = 0; step < steps; step++) {
    const batch = Array.from(
      { length: 32 },
      () => shown(digits[random.int(0, digits.length - 1)]!),
    );
    await sftStep(learner, batch, { learningRate: 1e-2, tokenBudget: 4096 }).metrics();
  }
}

Deno.test("a student learns from a teacher's probabilities what no reward tells it", async () => {
  using teacher = Decoder.create(gpu, { ...config, hiddenSize: 48 }, { seed: 2 });
  {
    using learner = new Learner(teacher, adamw);
    await imitate(learner, "377", 60);
  }
  using student = Decoder.create(gpu, config, { seed: 1 });
  using learner = new Learner(student, adamw);
  await imitate(learner, "0123456789", 60);
  using generator = new Generator(student, { slots: 64, length: 12, stops: chat.stops });
  const divergences: number[] = [];
  for (let step = 0; step < 25; step++) {
    const options = { ...sampling, stream: `step/${step}` };
    const samples = (await rollout(generator, chat, [task("7")], 64, options)).flat();
    const update = distillUpdate(learner, teacher, samples, {
      learningRate: 5e-3,
      tokenBudget: step % 2 ? 128 : 4096, // in several micro-batches, and in one
    });
    const { loss, divergence, teacher_entropy } = await update.metrics();
    assertAlmostEquals(loss, divergence!, 1e-6);
    assert(teacher_entropy! > 0);
    divergences.push(loss);
  }
  assertGreater(divergences[0]!, 0.3);
  assertLess(divergences.at(-1)!, 0.05);
  const samples = await rollout(generator, chat, [task("7")], 64, { ...sampling, stream: "test" });
  const answers = samples.flat().map(({ episode }) => episode.answer);
  const [threes, sevens] = ["3", "7"].map((digit) => answers.filter((a) => a === digit).length);
  assertGreater(threes! + sevens!, 57);
  // The teacher's own mixture, not its mode alone.
  assert(threes! > 8 && sevens! > 28, `${threes} threes and ${sevens} sevens`);
});

Deno.test("micro-batches do not change a distillation update, and beta does", async () => {
  const sequences = [..."0123456789"].map(shown);
  using teacher = Decoder.create(gpu, config, { seed: 2 });
  const run = async (beta: number, tokenBudget: number) => {
    using student = Decoder.create(gpu, config, { seed: 1 });
    using learner = new Learner(student, adamw);
    const options = { beta, temperature: 0.9, learningRate: 1e-2, tokenBudget };
    return await distillUpdate(learner, teacher, sequences, options).metrics();
  };
  const [whole, cut] = [await run(0.5, 4096), await run(0.5, 16)];
  for (const name of Object.keys(whole)) assertAlmostEquals(cut[name]!, whole[name]!, 1e-5, name);
  const [forward, reverse] = [await run(0, 4096), await run(1, 4096)];
  assert(Math.abs(forward.loss - reverse.loss) > 1e-3);
  assertLess(whole.loss, Math.min(forward.loss, reverse.loss));
});

Deno.test("a teacher of another vocabulary is refused by the sizes of both", () => {
  using teacher = Decoder.create(gpu, { ...config, vocabSize: 300 }, { seed: 2 });
  using student = Decoder.create(gpu, config, { seed: 1 });
  using learner = new Learner(student, adamw);
  assertThrows(
    () => distillUpdate(learner, teacher, [shown("7")], { learningRate: 1, tokenBudget: 64 }),
    TypeError,
    `the student has ${config.vocabSize} tokens and the teacher 300`,
  );
});

Deno.test("preferences move a student from what failed to what the teacher shows", async () => {
  using student = Decoder.create(gpu, config, { seed: 1 });
  using learner = new Learner(student, adamw);
  await imitate(learner, "0123456789", 60);
  using generator = new Generator(student, { slots: 64, length: 12, stops: chat.stops });
  const sample = async (stream: string) =>
    (await rollout(generator, chat, [task("7")], 64, { ...sampling, stream })).flat();
  const episodes = await sample("before");
  const failed = episodes.filter(({ episode }) => !episode.correct);
  assert(failed.length > 40 && failed.length < 64);
  const preferences = preferencePairs(episodes, shown("7"));
  assertEquals(preferences.map(({ rejected }) => rejected.ids), failed.map(({ ids }) => ids));
  const pairs = await withReference(student, preferences, { tokenBudget: 4096 });
  const metrics = [];
  for (let step = 0; step < 25; step++) {
    const tokenBudget = step % 2 ? 128 : 4096;
    const update = dpoUpdate(learner, pairs, { learningRate: 2e-3, tokenBudget, beta: 0.5 });
    metrics.push(await update.metrics());
  }
  const [first, last] = [metrics[0]!, metrics.at(-1)!];
  // The policy is its own reference before the first update.
  assertAlmostEquals(first.loss, Math.LN2, 1e-4);
  assertAlmostEquals(first.margin!, 0, 1e-4);
  assertLess(last.loss, 0.3);
  assertAlmostEquals(last.accuracy!, 1, 1e-5);
  assertGreater(last.reward_chosen!, last.reward_rejected!);
  const after = await sample("after");
  assertGreater(after.filter(({ episode }) => episode.correct).length, 48);
});

Deno.test("the likelihood reward is highest for what the expert was shown", async () => {
  using expert = Decoder.create(gpu, config, { seed: 1 });
  using base = Decoder.create(gpu, config, { seed: 1 });
  for (const [model, digits] of [[expert, "7"], [base, "0123456789"]] as const) {
    using learner = new Learner(model, adamw);
    await imitate(learner, digits, 40);
  }
  const silent = { ids: shown("7").ids, mask: new Uint8Array(shown("7").ids.length) };
  const sequences = [shown("7"), silent, shown("3")];
  const options = { tokenBudget: 4096 };
  const scores = await likelihoodScores(expert, base, sequences, options);
  assertGreater(scores[0]!.score, 0.3);
  assertLess(scores[2]!.score, -0.3);
  assertEquals(scores[1]!.score, NaN);
  const [own] = await scoreTokens(expert, [sequences[0]!], options);
  const mean = own!.logprobs.reduce((a, b) => a + b) / activeTokens([sequences[0]!]);
  assertAlmostEquals(scores[0]!.expert, mean, 1e-6);

  const [alone] = await likelihoodScores(expert, null, sequences, options);
  assertAlmostEquals(alone!.score, mean, 1e-6);
  const weighted = { ...options, entropyWeight: 0.1, policy: base };
  const [explored] = await likelihoodScores(expert, base, sequences, weighted);
  assertGreater(explored!.entropy, 0.3);
  assertAlmostEquals(explored!.score, scores[0]!.score + 0.1 * explored!.entropy, 1e-6);
  await assertRejects(
    () => likelihoodScores(expert, base, sequences, { ...options, entropyWeight: 0.1 }),
    TypeError,
    "no policy",
  );
});
