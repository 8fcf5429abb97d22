// In steady state a step costs no allocation, and nothing depends on when it runs: the recorder,
// the scopes and the read-backs must hand the same buffers out in the same order every time.

import { assert, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { Memory, Scope } from "../src/gpu/memory.ts";
import { Decoder } from "../src/model/decoder.ts";
import { generate } from "../src/model/generate.ts";
import { Generator } from "../src/model/generator.ts";
import { nllGradients, type PackedBatch } from "../src/model/nll.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { packed, tiny, Trainer, weightBytes } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

/** Three micro-batches of different lengths; like tokens, they differ from step to step. */
function microBatches(step: number): PackedBatch[] {
  return [[9, 5, 12], [20], [3, 3, 8, 2]].map((lengths, batch) => {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const ids = Array.from({ length: total }, (_, t) => (step * 5 + batch * 11 + t * t) % 52);
    return packed(ids, lengths);
  });
}

/** What `work` cost in buffers created, bind groups and submits, and live bytes gained. */
async function costOf(work: () => Promise<unknown>) {
  const [stats, memory] = [gpu.stats(), gpu.memory()];
  await work();
  const [after, left] = [gpu.stats(), gpu.memory()];
  return {
    buffers: left.created - memory.created,
    bindGroups: after.bindGroups - stats.bindGroups,
    submits: after.submits - stats.submits,
    bytes: left.liveBytes - memory.liveBytes,
  };
}

const nothing = { buffers: 0, bindGroups: 0, bytes: 0 };

Deno.test("the second training step creates no buffer and no bind group, and is one submit", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  await trainer.step(microBatches(0), 1e-3);
  for (let step = 1; step < 4; step++) {
    const cost = await costOf(() => trainer.step(microBatches(step), 1e-3));
    assertEquals(cost, { ...nothing, submits: 1 }, `step ${step + 1}`);
  }
});

Deno.test("scratch of sizes that are no longer wanted is given up", () => {
  const device = {
    limits: { maxBufferSize: Infinity },
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy() {} }),
  } as unknown as GPUDevice;
  const memory = new Memory(device, Infinity);
  const scope = new Scope(memory, "activations", 0);
  const step = (...sizes: number[]) => {
    for (const size of sizes) scope.take(size, "scratch");
    scope.reset();
    return scope.evict(3);
  };
  assertEquals(step(1 << 20, 1 << 20, 1 << 12), false);
  for (let i = 0; i < 2; i++) assertEquals(step(1 << 12), false);
  assertEquals(memory.report().liveBytes, 2 * (1 << 20) + (1 << 12));
  assertEquals(step(1 << 12), true);
  assertEquals(memory.report().liveBytes, 1 << 12);
  assertEquals(step(1 << 20), false);
  assertEquals(memory.report().liveBytes, (1 << 20) + (1 << 12));
});

Deno.test("200 training steps leave the live bytes unchanged, and learn", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  const losses = [(await trainer.step(microBatches(0), 3e-3)).loss];
  const cost = await costOf(async () => {
    for (let step = 1; step <= 200; step++) {
      losses.push((await trainer.step(microBatches(step % 2), 3e-3)).loss);
    }
  });
  assertEquals(cost, { ...nothing, submits: 200 });
  assert(losses.at(-1)! < losses[0]! / 5, `loss went from ${losses[0]} to ${losses.at(-1)}`);
});

Deno.test("generation, gradients and logits repeat without allocating", async () => {
  using model = Decoder.create(gpu, tiny);
  using generator = new Generator(model, { slots: 3, length: 40, stops: [3, 7] });
  const ids = Uint32Array.from({ length: 13 }, (_, t) => t * 3);
  const rollout = () =>
    generator.run(
      Array.from({ length: 7 }, (_, i) => ({
        prompt: ids.subarray(i % 2, 13),
        stream: i,
        limit: 30,
        onTurn: () => Uint32Array.of(1, 2),
      })),
      { temperature: 1, topK: 0, topP: 1, seed: 1 },
    );
  const works = [rollout, () => nllGradients(model, ids), () => model.logits(ids)];
  for (const work of works) await work();
  for (const work of works) {
    const { submits, ...cost } = await costOf(work);
    assertEquals(cost, nothing);
    assert(work === rollout || submits === 1);
  }
});

Deno.test("training and generation in turn do not disturb each other", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  using generator = new Generator(model, { slots: 2, length: 24, stops: [99, 99] });
  const prompt = Uint32Array.of(1, 2, 3);
  const iteration = async (step: number) => {
    const sequence = { prompt, stream: step, limit: 24, onTurn: () => null };
    await generator.run([sequence], { temperature: 1, topK: 0, topP: 1, seed: 0 });
    await trainer.step(microBatches(step), 1e-3);
  };
  await iteration(0);
  for (let step = 1; step < 4; step++) {
    const { submits: _, ...cost } = await costOf(() => iteration(step));
    assertEquals(cost, nothing, `iteration ${step + 1}`);
  }
});

Deno.test("generate() gives all of its memory back", async () => {
  const tokenizer = Tokenizer.bytes();
  using model = Decoder.create(gpu, { ...tiny, vocabSize: tokenizer.vocabSize });
  const work = () => generate(model, tokenizer, ["ab", "c"], { maxTokens: 6 });
  await work();
  assertEquals((await costOf(work)).bytes, 0);
});

Deno.test("two identical runs give the same weights and moments, bit for bit", async () => {
  const run = async () => {
    using model = Decoder.create(gpu, tiny, { seed: 11 });
    using trainer = new Trainer(model);
    const metrics = [];
    for (let step = 0; step < 5; step++) metrics.push(await trainer.step(microBatches(step), 1e-2));
    return { metrics, weights: await weightBytes(model), state: await trainer.optimizer.state() };
  };
  const first = await run();
  assertEquals(await run(), first);
  using other = await Gpu.open();
  using model = Decoder.create(other, tiny, { seed: 11 });
  using trainer = new Trainer(model);
  for (let step = 0; step < 5; step++) await trainer.step(microBatches(step), 1e-2);
  assertEquals(await weightBytes(model), first.weights, "on a device of its own");
});

Deno.test("an update does not depend on what ran before it", async () => {
  const run = async (before: (model: Decoder) => Promise<unknown>) => {
    using model = Decoder.create(gpu, tiny, { seed: 12 });
    using trainer = new Trainer(model);
    await before(model);
    await trainer.step(microBatches(0), 1e-2);
    return await weightBytes(model);
  };
  const expected = await run(() => Promise.resolve());
  assertEquals(await run((model) => model.logits(Uint32Array.of(1, 2, 3))), expected);
  assertEquals(await run((model) => nllGradients(model, Uint32Array.of(9, 8, 7, 6))), expected);
});
