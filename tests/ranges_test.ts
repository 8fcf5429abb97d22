// Models whose vocabulary table is larger than what a dispatch may see of a buffer.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { boundRows, slice, spans } from "../src/gpu/ranges.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { nllGradients } from "../src/model/nll.ts";
import { smallBinding } from "../src/ops/checks/ranges.ts";
import { tensorShapes } from "../src/model/parameters.ts";
import { elements } from "../src/tensor.ts";
import { assertClose, packed, tiny, Trainer } from "./models.ts";

const gpu = await Gpu.open();
const small = await Gpu.open({ largestBinding: smallBinding });
Deno.test.afterAll(() => [gpu, small].forEach((opened) => opened.close()));

/** Its table has 1,000 rows of 144 bytes, of which such a device sees 896 at once. */
const config = { ...tiny, vocabSize: 1000 };
const ids = Uint32Array.of(7, 951, 3, 3, 918, 0, 444, 999, 7, 895, 896, 31, 3);

for (const tiedEmbeddings of [false, true]) {
  const kind = tiedEmbeddings ? "a tied" : "an untied";
  const build = (on: Gpu) => Decoder.create(on, { ...config, tiedEmbeddings }, { seed: 4 });

  Deno.test(`${kind} table in ranges gives the same logits, bit for bit`, async () => {
    using whole = build(gpu);
    using ranged = build(small);
    assert(ranged.head.bytes > small.largestBinding);
    assertEquals(await ranged.logits(ids), await whole.logits(ids));
  });

  Deno.test(`${kind} table in ranges gets the same gradients`, async () => {
    using whole = build(gpu);
    using ranged = build(small);
    const expected = await nllGradients(whole, ids);
    const { loss, gradients } = await nllGradients(ranged, ids);
    assert(Math.abs(loss - expected.loss) < 1e-6 * loss);
    for (const [name, gradient] of expected.gradients) {
      assertClose(gradients.get(name)!, gradient, 1e-6, name);
    }
  });

  Deno.test(`${kind} table in ranges is trained alike, without allocating`, async () => {
    using whole = build(gpu);
    using ranged = build(small);
    using expected = new Trainer(whole);
    using trainer = new Trainer(ranged);
    const batches = [packed(ids, [6, 7]), packed(ids.subarray(2), [11])];
    for (let step = 0; step < 3; step++) {
      const { loss, norm } = await expected.step(batches, 1e-3);
      const { created } = small.memory();
      const { bindGroups } = small.stats();
      const found = await trainer.step(batches, 1e-3);
      if (step > 0) {
        assertEquals(small.memory().created, created);
        assertEquals(small.stats().bindGroups, bindGroups);
      }
      assert(Math.abs(found.loss - loss) < 1e-6 * loss, `loss ${found.loss}, not ${loss}`);
      assert(Math.abs(found.norm - norm) < 1e-5 * norm, `norm ${found.norm}, not ${norm}`);
    }
    const values = await ranged.values();
    for (const [name, value] of await whole.values()) {
      assertClose(values.get(name)!, value, 1e-4, name);
    }
    const state = await trainer.optimizer.state();
    for (const [name, { first, second }] of await expected.optimizer.state()) {
      assertClose(state.get(name)!.first, first, 1e-4, `first moment of ${name}`);
      assertClose(state.get(name)!.second, second, 1e-4, `second moment of ${name}`);
    }
  });

  Deno.test(`${kind} table in ranges generates the same tokens`, async () => {
    const run = async (on: Gpu) => {
      using model = build(on);
      using generator = new Generator(model, { slots: 3, length: 40, stops: [1, 2] });
      const tokens: number[][] = [];
      const sequences = Array.from({ length: 4 }, (_, i) => ({
        prompt: ids.subarray(i),
        stream: i,
        limit: 36,
        onTurn: (turn: { tokens: readonly number[] }) => (tokens[i] = [...turn.tokens], null),
      }));
      await generator.run(sequences, { temperature: 1, topK: 0, topP: 1, seed: 5 });
      return tokens;
    };
    assertEquals(await run(small), await run(gpu));
  });
}

Deno.test("a table beyond 128 MiB, the limit of many adapters, learns on both sides of it", async () => {
  const limit = 2 ** 27;
  using gpu = await Gpu.open({ largestBinding: limit });
  const hiddenSize = 128;
  const vocabSize = limit / 4 / hiddenSize + 64;
  const sizes = { ...tiny, vocabSize, hiddenSize, tiedEmbeddings: true };
  const tensors = new Map(
    [...tensorShapes(sizes)].map(([name, shape]) => {
      const values = new Float32Array(elements(shape));
      for (let i = 0; i < values.length; i++) values[i] = ((i * 7919) % 1009) / 5045 - 0.1;
      if (shape.length === 1) values.fill(1);
      return [name, { dtype: "F32", shape, data: new Uint8Array(values.buffer) } as const];
    }),
  );
  using model = Decoder.fromTensors(gpu, sizes, tensors);
  using trainer = new Trainer(model);
  const ids = [5, vocabSize - 1, vocabSize - 64, 17, vocabSize - 65, vocabSize - 1, 5];
  const losses: number[] = [];
  for (let step = 0; step < 4; step++) {
    losses.push((await trainer.step([packed(ids, [ids.length])], 1e-2)).loss);
  }
  assert(losses.at(-1)! < losses[0]! - 1, `losses are ${losses}`);
});

Deno.test("a binding that the device can't see at once is refused by name", () => {
  const table = small.allocate(smallBinding + 16, "other", "table");
  const clear = (range?: { offset: number; size: number }) =>
    small.dispatch("add", "clear", {
      bindings: { y: { buffer: table, range } },
      params: { count: 4 },
      workgroups: [1],
    });
  const error = assertThrows(() => clear(), RangeError);
  for (const part of ["add.clear", '"y" has 131088 bytes', "131072"]) {
    assert(error.message.includes(part), error.message);
  }
  clear({ offset: 256, size: 1024 });
  small.discard();
  small.free([table]);
});

Deno.test("a matrix with rows too long to be cut is refused", () => {
  assertEquals(boundRows(small, 32, 4096), 32);
  assertEquals(boundRows(small, 1000, 144), 896);
  const error = assertThrows(() => boundRows(small, 100, 4096), RangeError);
  assert(error.message.includes("100 rows of 4096 bytes"), error.message);
});

Deno.test("spans cover everything once, and slices of slices add up", () => {
  assertEquals(spans(10, 4), [{ first: 0, count: 4 }, { first: 4, count: 4 }, {
    first: 8,
    count: 2,
  }]);
  assertEquals(spans(4, 4), [{ first: 0, count: 4 }]);
  const buffer = {} as GPUBuffer;
  const part = slice(slice({ buffer }, 512, 4096), 256, 1024);
  assertEquals(part, { buffer, range: { offset: 768, size: 1024 } });
});
