import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
} from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { decodeSafetensors } from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { ValueHead } from "../src/model/value_head.ts";
import * as reference from "../src/ops/reference/mod.ts";
import { Random } from "../src/random.ts";
import { DivergedError, Learner } from "../src/rl/learner.ts";
import { type PpoOptions, type PpoSample, ppoUpdate } from "../src/rl/ppo.ts";
import { estimateAdvantages, explainedVariance } from "../src/rl/ppo_advantages.ts";
import { rollout } from "../src/rl/rollout.ts";
import { scoreTokens, scoreValues } from "../src/rl/score_tokens.ts";
import { demonstration, sftStep } from "../src/rl/sft.ts";
import { tiny, weightBytes } from "./models.ts";
import { digitChat as chat, digitConfig as config, digitTask as task } from "./digits.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

const adamw = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1, gradClip: 1 } as const;

const options: PpoOptions = {
  learningRate: 1e-3,
  tokenBudget: 64,
  stream: "step/0",
  klCoefficient: 0,
};

/** A policy, its head, and samples whose log-probabilities are those of the policy as it begins. */
async function setUp(
  count = 10,
  score: (i: number, ids: Uint32Array) => number = (i) => i % 2,
) {
  const model = Decoder.create(gpu, tiny, { seed: 5 });
  const head = new ValueHead(gpu, tiny.hiddenSize);
  const random = new Random("samples");
  const sequences = Array.from({ length: count }, (_, i) => {
    const length = 4 + (i * 5) % 11;
    const ids = Uint32Array.from({ length }, () => random.int(0, tiny.vocabSize - 1));
    // A prompt of two tokens, and one in five that a tool wrote.
    return { ids, mask: ids.map((id, t) => t > 1 && (t === 2 || id % 5) ? 1 : 0) };
  }).map(({ ids, mask }) => ({ ids, mask: Uint8Array.from(mask) }));
  const scores = await scoreTokens(model, sequences, { tokenBudget: 64 });
  const samples = sequences.map((sequence, i): PpoSample => ({
    ...sequence,
    logprobs: scores[i]!.logprobs,
    score: score(i, sequence.ids),
    finished: true,
  }));
  return { model, head, samples };
}

Deno.test("rewards are the divergence at each token and the score at the last, tools skipped", async () => {
  const zeros = new Float32Array(6);
  const episode = {
    ids: new Uint32Array(6),
    mask: Uint8Array.of(0, 0, 1, 0, 1, 0),
    oldLogprobs: Float32Array.of(0, 0, -1, 0, -2, 0),
    referenceLogprobs: Float32Array.of(0, 0, -1.5, 0, -1, 0),
    oldValues: Float32Array.of(0, 0, 0.25, 0, -0.5, 0),
    score: 2,
    finished: false,
  };
  const other = { ...episode, oldValues: zeros, score: 1, finished: true };
  const settings = {
    klCoefficient: 0.1,
    klForm: "k1",
    missingEosPenalty: 0.75,
    whitenRewards: false,
    gamma: 0.9,
    lambda: 0.8,
  } as const;
  const { episodes, metrics } = await estimateAdvantages(gpu, [episode, other], settings);
  const rewards = [-0.05, 0.1 + 1.25, -0.05, 0.1 + 1];
  const values = [0.25, -0.5, 0, 0];
  const expected = reference.generalisedAdvantages(rewards, values, [2, 2], settings);
  const whitened = reference.whiten(expected.advantages);
  episodes.forEach(({ advantages, returns }, i) => {
    for (const [t, n] of [[2, 2 * i], [4, 2 * i + 1]] as const) {
      assertAlmostEquals(advantages[t]!, whitened[n]!, 1e-5);
      assertAlmostEquals(returns[t]!, expected.returns[n]!, 1e-6);
    }
    for (const t of [0, 1, 3, 5]) assertEquals([advantages[t], returns[t]], [0, 0]);
  });
  assertAlmostEquals(metrics["objective/kl"]!, -0.5, 1e-6);
  assertAlmostEquals(metrics["objective/scores"]!, (1.25 + 1) / 2, 1e-6);
  assertAlmostEquals(metrics["objective/rlhf_reward"]!, (1.25 + 1) / 2 + 0.05, 1e-6);
  assertAlmostEquals(metrics["values/mean"]!, -0.0625, 1e-6);
});

Deno.test("explained variance is 1 of the returns themselves, 0 of a constant", () => {
  const returns = Float32Array.of(1, 2, 4);
  assertEquals(explainedVariance(returns, returns), 1);
  assertEquals(explainedVariance(Float32Array.of(3, 3, 3), returns), 0);
  assertLess(explainedVariance(returns.map((x) => -x), returns), -1);
  assertEquals(explainedVariance(returns, Float32Array.of(3, 3, 3)), 0);
});

Deno.test("the first update is on policy, and later ones move away from it", async () => {
  for (const recompute of [false, true]) {
    const { model, head, samples } = await setUp();
    using learner = new Learner(model, { ...adamw, extra: head.parameters });
    const context = { learner, head, critic: null, reference: null };
    const first = await ppoUpdate(context, samples, { ...options, recompute, epochs: 1 });
    assertLess(first.metrics.approx_kl!, 1e-9);
    assertEquals([first.metrics["clip_ratio/region_mean"], first.metrics["clip_ratio/dual_mean"]], [
      0,
      0,
    ]);
    assertEquals(first.metrics.epochs, 1);
    // A head that starts at zero explains nothing, and its loss is half the mean squared return.
    assertEquals(first.metrics.explained_variance, 0);
    assertEquals(first.metrics["values/mean"], 0);
    assertGreater(first.metrics["loss/value_avg"]!, 0.1);
    const more = await ppoUpdate(context, samples, { ...options, recompute, miniBatches: 3 });
    assertGreater(more.metrics.approx_kl!, 1e-4);
    assertEquals(more.metrics.epochs, 4);
    assertEquals(learner.optimizer.steps, 1 + 4 * 3);
    assert(Object.values(more.metrics).every(Number.isFinite));
    head[Symbol.dispose]();
    model[Symbol.dispose]();
  }
});

Deno.test("the same update gives the same bits, and leaves the unused rows of the head zero", async () => {
  const run = async () => {
    const { model, head, samples } = await setUp();
    using learner = new Learner(model, { ...adamw, extra: head.parameters });
    const context = { learner, head, critic: null, reference: null };
    const { metrics } = await ppoUpdate(context, samples, { ...options, miniBatches: 2 });
    const [weight, bias] = await gpu.read(...head.parameters.values());
    const after = { metrics, bytes: await weightBytes(model), weight, bias };
    head[Symbol.dispose]();
    model[Symbol.dispose]();
    return after;
  };
  const first = await run();
  assertEquals(await run(), first);
  const C = tiny.hiddenSize;
  const [weight, bias] = [new Float32Array(first.weight!), new Float32Array(first.bias!)];
  assert(weight.subarray(0, C).every((w) => w !== 0) && bias[0] !== 0);
  assert(weight.subarray(C).every((w) => w === 0) && bias.subarray(1).every((b) => b === 0));
});

Deno.test("a step like the last one creates no buffer", async () => {
  const { model, head, samples } = await setUp();
  using learner = new Learner(model, { ...adamw, extra: head.parameters });
  const context = { learner, head, critic: null, reference: model };
  const step = () =>
    ppoUpdate(context, samples, { ...options, miniBatches: 2, klCoefficient: 0.1 });
  await step();
  const { created } = gpu.memory();
  for (let i = 0; i < 3; i++) await step();
  assertEquals(gpu.memory().created, created);
  head[Symbol.dispose]();
  model[Symbol.dispose]();
});

Deno.test("samples without a score or a sampled token leave no trace", async () => {
  const run = async (change: (samples: PpoSample[]) => PpoSample[]) => {
    const { model, head, samples } = await setUp();
    using learner = new Learner(model, { ...adamw, extra: head.parameters });
    const context = { learner, head, critic: null, reference: null };
    const { metrics } = await ppoUpdate(context, change(samples), options);
    head[Symbol.dispose]();
    model[Symbol.dispose]();
    return metrics;
  };
  const alone = await run((samples) => samples);
  const among = await run((samples) => [
    { ...samples[1]!, score: NaN },
    ...samples,
    { ...samples[0]!, mask: new Uint8Array(samples[0]!.ids.length) },
  ]);
  assertEquals(among, alone);
  assertEquals(await run((samples) => samples.map((one) => ({ ...one, score: NaN }))), {
    epochs: 0,
  });
});

Deno.test("a single token is a rollout too", async () => {
  const { model, head, samples } = await setUp();
  using learner = new Learner(model, { ...adamw, extra: head.parameters });
  const { ids, logprobs } = samples[0]!;
  const mask = ids.map((_, t) => t === 2 ? 1 : 0);
  const one = { ids, logprobs, mask: Uint8Array.from(mask), score: 1, finished: true };
  const context = { learner, head, critic: null, reference: null };
  const { metrics } = await ppoUpdate(context, [one], { ...options, whitenRewards: true });
  assert(Object.values(metrics).every(Number.isFinite));
  assertEquals(metrics["returns/mean"], 1);
  head[Symbol.dispose]();
  model[Symbol.dispose]();
});

Deno.test("epochs end when the policy has moved too far, and only then is an update waited for", async () => {
  for (const targetKl of [0, 1e-6]) {
    const { model, head, samples } = await setUp();
    using learner = new Learner(model, { ...adamw, extra: head.parameters });
    const log: string[] = [];
    const update = learner.update.bind(learner);
    learner.update = (...work) => {
      const { metrics } = update(...work);
      log.push("submitted");
      return { metrics: () => (log.push("awaited"), metrics()) };
    };
    const context = { learner, head, critic: null, reference: null };
    const { metrics } = await ppoUpdate(context, samples, { ...options, targetKl });
    if (targetKl === 0) {
      assertEquals(log, [...Array(4).fill("submitted"), ...Array(4).fill("awaited")]);
    } else {
      // The first epoch is on policy; the second finds it moved.
      assertEquals(metrics.epochs, 2);
      assertEquals(log.slice(0, 3), ["submitted", "awaited", "submitted"]);
    }
    head[Symbol.dispose]();
    model[Symbol.dispose]();
  }
});

Deno.test("a critic of its own learns the returns and leaves the policy's loss alone", async () => {
  const { model, head, samples } = await setUp(12, (_, ids) => ids[2]! % 2);
  using critic = new Learner(Decoder.create(gpu, tiny, { seed: 9 }), {
    ...adamw,
    extra: head.parameters,
  });
  using learner = new Learner(model, adamw);
  using frozen = Decoder.create(gpu, tiny, { seed: 5 });
  const context = { learner, head, critic, reference: frozen };
  const explained: number[] = [];
  for (let step = 0; step < 12; step++) {
    const { metrics } = await ppoUpdate(context, samples, {
      ...options,
      learningRate: 0,
      criticLearningRate: 3e-3,
      klCoefficient: 0.05,
    });
    explained.push(metrics.explained_variance!);
    assertLess(Math.abs(metrics["objective/kl"]!), 1e-4); // the reference is the policy
    assertGreater(metrics["critic/grad_norm"]!, 0);
    assertEquals(critic.optimizer.steps, 4 * (step + 1));
  }
  assertEquals(explained[0], 0);
  assertGreater(explained.at(-1)!, 0.9);
  // Values are the critic's: those of the policy's hidden states are others.
  const [own] = await scoreValues(critic.model, head, samples, options);
  const [others] = await scoreValues(model, head, samples, options);
  assert(own!.some((value, t) => Math.abs(value - others![t]!) > 0.05));
  critic.model[Symbol.dispose]();
  head[Symbol.dispose]();
  model[Symbol.dispose]();
});

Deno.test("what can't be updated is refused with the remedy", async () => {
  const { model, head, samples } = await setUp(3);
  using learner = new Learner(model, { ...adamw, extra: head.parameters });
  using without = new Learner(model, adamw);
  const context = { learner, head, critic: null, reference: null };
  const refuse = async (
    work: Promise<unknown>,
    error: new (message: string) => Error,
    message: string,
  ) => void await assertRejects(() => work, error, message);
  await refuse(
    ppoUpdate(context, samples, { ...options, klCoefficient: 0.05 }),
    TypeError,
    "klCoefficient is 0.05, but there is no reference policy",
  );
  await refuse(
    ppoUpdate({ ...context, learner: without }, samples, options),
    TypeError,
    "the policy does not train the value head; make its learner with { extra: head.parameters }",
  );
  await refuse(
    ppoUpdate(context, samples, { ...options, epochs: 0 }),
    RangeError,
    "epochs is 0, it must be a positive integer",
  );
  const infinite = samples.map((one, i) => ({ ...one, score: i === 2 ? Infinity : 0 }));
  await refuse(
    ppoUpdate(context, infinite, options),
    RangeError,
    "the score of sample 2 is Infinity; give NaN to leave a sample out",
  );
  const broken = samples.map((one) => ({ ...one, logprobs: one.logprobs.map(() => NaN) }));
  const before = await weightBytes(model);
  await refuse(ppoUpdate(context, broken, options), DivergedError, "Cannot update the model");
  assertEquals(await weightBytes(model), before);
  head[Symbol.dispose]();
  model[Symbol.dispose]();
});

Deno.test("PPO moves a policy to what is rewarded, and its values learn to tell", async () => {
  using model = Decoder.create(gpu, config, { seed: 1 });
  using head = new ValueHead(gpu, config.hiddenSize);
  using learner = new Learner(model, {
    ...adamw,
    weightDecay: 0,
    epsilon: 1e-5,
    extra: head.parameters,
  });
  const random = new Random("digits");
  for (let step = 0; step < 60; step++) {
    const batch = Array.from({ length: 32 }, () => {
      const one = task(String(random.int(0, 9)));
      return demonstration(chat, one, one.reference!);
    });
    await sftStep(learner, batch, { learningRate: 1e-2, tokenBudget: 4096 }).metrics();
  }
  const { tensors } = decodeSafetensors(await weightBytes(model));
  using frozen = Decoder.fromTensors(gpu, config, tensors, { frozen: true });
  using generator = new Generator(model, { slots: 64, length: 12, stops: chat.stops });
  // The larger the digit the larger the reward.
  const sampling = { temperature: 1, topK: 0, topP: 1, seed: 3, maxTokens: 12, maxCalls: 1 };
  const history: Record<string, number>[] = [];
  for (let step = 0; step < 12; step++) {
    const stream = `step/${step}`;
    const [rollouts] = await rollout(generator, chat, [task("9")], 192, { ...sampling, stream });
    const samples = rollouts!.map(({ ids, mask, logprobs, episode }) => ({
      ids,
      mask,
      logprobs,
      score: /^[0-9]$/.test(episode.answer ?? "") ? Number(episode.answer) / 9 : 0,
      finished: episode.finished,
    }));
    const { metrics } = await ppoUpdate(
      { learner, head, critic: null, reference: frozen },
      samples,
      {
        learningRate: 5e-4,
        tokenBudget: 4096,
        stream,
        miniBatches: 4,
        valueCoefficient: 1,
        valueClip: Infinity,
        targetKl: 0.03,
      },
    );
    history.push(metrics);
  }
  const of = (name: string) => history.map((metrics) => metrics[name]!);
  const late = (name: string) => of(name).slice(-3).reduce((sum, value) => sum + value) / 3;
  // Digits are worth a half of the reward on average as long as all are as likely.
  assertLess(of("objective/scores")[0]!, 0.65);
  assertGreater(late("objective/scores"), 0.85);
  assertEquals(of("explained_variance")[0], 0);
  assertGreater(late("explained_variance"), 0.2);
  assertLess(Math.abs(of("objective/kl")[0]!), 1e-3);
  assertGreater(late("objective/kl"), 0.5);
});
