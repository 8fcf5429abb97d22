/**
 * Mentor itself as a contender (`--backend webgpu`), measured the way the others are.
 *
 *     deno run -A bench/peers/mentor.ts --work step --data DIR
 *
 * @module
 */

import { Gpu } from "../../src/gpu/device.ts";
import type { Bindable } from "../../src/gpu/recorder.ts";
import { decodeSafetensors } from "../../src/io/safetensors.ts";
import { fromHuggingFace } from "../../src/model/families.ts";
import { DecodeSlots, type Round, type SampledToken } from "../../src/model/decode_slots.ts";
import { Decoder } from "../../src/model/decoder.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { nllLoss } from "../../src/ops/policy_loss.ts";
import { Learner } from "../../src/rl/learner.ts";
import { packSequences } from "../../src/rl/packing.ts";
import { prepareOperation } from "./mentor_ops.ts";
import { matmulChain, matmulFactors } from "./operations.ts";
import { adamw, decodeLengths, type Job, readTokens, serve, timed } from "./protocol.ts";

/** No token has this id: nothing ends a sequence before its limit. */
const NO_STOP = 0xfffffffe;
/** Tokens between two looks of the host: a `Generator` has 6, which does not divide 64. */
const STEPS_PER_READ = 8;

await serve("mentor", async ({ work, data, backend }) => {
  if (backend !== "webgpu") throw new Error(`Mentor has no ${backend} backend`);
  const gpu = await Gpu.open();
  switch (work.kind) {
    case "matmul":
      return await prepareMatmul(gpu, work.n);
    case "step":
      return await prepareStep(gpu, data);
    case "decode":
      return await prepareDecode(gpu, data, work.batch);
    default:
      return await prepareOperation(gpu, work.kind);
  }
});

async function prepareMatmul(gpu: Gpu, n: number): Promise<Job> {
  const factors = matmulFactors(n);
  const [y, w, even, odd] = ["y", "w", "even product", "odd product"].map((label) => ({
    buffer: gpu.allocate(n * n * 4, "other", label),
  })) as [Bindable, Bindable, Bindable, Bindable];
  gpu.write(y.buffer, factors.y);
  gpu.write(w.buffer, factors.w);
  const chain = matmulChain(n);
  const run = () =>
    timed(async () => {
      let product = y;
      for (let i = 0; i < chain; i++) {
        const next = i % 2 === 0 ? even : odd;
        matmul(gpu, "nn", product, w, next, { M: n, N: n, K: n });
        product = next;
      }
      const [first] = await gpu.read({ ...product, bytes: 4 });
      return new Float32Array(first!)[0]!;
    }, chain);
  return { value: (await run()).value, run };
}

async function prepareStep(gpu: Gpu, data: string): Promise<Job> {
  const { inputs, targets } = await readTokens(data);
  // Mentor predicts tokens of the sequence itself: it runs the last target through the model too,
  // one token more per sequence than the others do.
  const sequences = inputs.map((row, b) => ({
    ids: Uint32Array.of(...row, targets[b]!.at(-1)!),
    mask: Uint8Array.of(0, ...row.map(() => 1)),
  }));
  const batches = packSequences(sequences, Infinity);
  const count = batches[0]!.targets.length;
  const weight = new Float32Array(count).fill(1 / count);
  const fresh = async () =>
    new Learner(await load(gpu, data), {
      betas: [adamw.beta1, adamw.beta2],
      epsilon: adamw.eps,
      weightDecay: adamw.decay,
      gradClip: Infinity,
    });
  const step = async (learner: Learner) => {
    const update = learner.update(batches, (tape, statistics, _batch, sums) => {
      nllLoss(tape, statistics, tape.upload(weight, "weight"), sums);
    }, { learningRate: adamw.rate });
    return (await update.metrics()).loss;
  };

  const warm = await fresh();
  const value = await step(warm);
  await step(warm);
  warm[Symbol.dispose]();
  warm.model[Symbol.dispose]();
  const learner = await fresh();
  return { value, run: () => timed(() => step(learner)) };
}

async function prepareDecode(gpu: Gpu, data: string, batch: number): Promise<Job> {
  const model = await load(gpu, data);
  const { inputs } = await readTokens(data);
  const { prompt, steps } = decodeLengths;
  const slots = new DecodeSlots(model, batch, prompt + steps, STEPS_PER_READ, [NO_STOP, NO_STOP]);
  const prompts = Array.from({ length: batch }, (_, b) => inputs[b % inputs.length]!);
  const active = [...prompts.keys()];
  const greedy = { temperature: 0, topK: 0, topP: 1, seed: 0 };
  // The slots rather than the generator around them: it can't tell prefill from decoding.
  const run = async () => {
    slots.clear();
    slots.prefill(
      prompts.flatMap((tokens, slot) =>
        tokens.slice(0, prompt - 1).map((token, position) => ({ slot, position, token }))
      ),
    );
    prompts.forEach((tokens, slot) =>
      slots.start(slot, {
        token: tokens[prompt - 1]!,
        position: prompt - 1,
        end: prompt + steps - 1,
        stream: slot,
        sampling: greedy,
      })
    );
    await gpu.settle();
    return await timed(async () => {
      const sampled: SampledToken[] = [];
      const rounds: Round[] = [];
      for (let step = 0; step < steps; step += STEPS_PER_READ) {
        rounds.push(slots.decode(active));
        if (rounds.length === gpu.tuning.roundsInFlight) {
          sampled.push(...await rounds.shift()!.take());
        }
      }
      for (const round of rounds) sampled.push(...await round.take());
      return sampled.filter(({ slot }) => slot === 0).map(({ token }) => token);
    });
  };
  return { value: (await run()).value, run };
}

async function load(gpu: Gpu, data: string): Promise<Decoder> {
  const config = fromHuggingFace(JSON.parse(await Deno.readTextFile(`${data}/config.json`)));
  const { tensors } = decodeSafetensors(await Deno.readFile(`${data}/model.safetensors`));
  return Decoder.fromTensors(gpu, config, tensors);
}
