import { assert, assertGreater, assertLess } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { Random } from "../src/random.ts";
import { grpoStep } from "../src/rl/grpo.ts";
import { Learner } from "../src/rl/learner.ts";
import type { Reward, RewardTerms } from "../src/rl/reward.ts";
import { demonstration, sftStep } from "../src/rl/sft.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { grpoOptions } from "../src/run/options.ts";
import { digitChat as chat, digitConfig as config, digitTask as task } from "./digits.ts";

const adamw = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0, gradClip: 1 } as const;

const nothing: RewardTerms = {
  correctness: 0,
  tools: 0,
  arguments: 0,
  validity: 0,
  format: 0,
  penalty: 0,
};

/** Pays 1 for the answer 7 and nothing else. */
const seven: Reward = {
  preset: "sparse",
  needsReference: false,
  score({ answer }) {
    const total = Number(answer === "7");
    return { total, terms: nothing, weighted: nothing };
  },
};

Deno.test("imitation learns a distribution, and reinforcement moves it to what is rewarded", async () => {
  using gpu = await Gpu.open();
  using model = Decoder.create(gpu, config, { seed: 1 });
  using learner = new Learner(model, adamw);
  const random = new Random("digits");
  const losses: number[] = [];
  for (let step = 0; step < 60; step++) {
    const batch = Array.from({ length: 32 }, () => {
      const one = task(String(random.int(0, 9)));
      return demonstration(chat, one, one.reference!);
    });
    const update = sftStep(learner, batch, { learningRate: 1e-2, tokenBudget: 4096 });
    const { loss } = await update.metrics();
    losses.push(loss);
  }
  // Three tokens per answer, of which only the digit is uncertain: log(10) / 3 nats is the floor.
  assertGreater(losses[0]!, 4);
  assertLess(losses.at(-1)!, Math.log(10) / 3 + 0.1);

  using generator = new Generator(model, {
    slots: 64,
    length: 12,
    stops: chat.stops,
  });
  const rewards: number[] = [];
  for (let step = 0; step < 12; step++) {
    const { metrics } = await grpoStep(
      {
        learner,
        generator,
        chat,
        reward: seven,
        reference: null,
        draw: (n) => Array(n).fill(task("7")),
      },
      8,
      {
        temperature: 1,
        topK: 0,
        topP: 1,
        seed: 3,
        maxTokens: 12,
        maxCalls: 1,
        stream: `step/${step}`,
      },
      {
        ...grpoOptions(resolveConfig(), { learningRate: 5e-3, entropyCoefficient: 0 }),
        tokenBudget: 4096,
      },
      step / 12,
    );
    rewards.push(metrics.reward!);
    // The sampler and the trainer are the same policy before the first update of a step.
    if (step === 0) assertLess(metrics["sampling/sampling_logp_difference/mean"]!, 0.2);
  }
  assertLess(rewards[0]!, 0.4);
  assertGreater(rewards.at(-1)!, 0.8);
  assert(rewards.every(Number.isFinite));
});
