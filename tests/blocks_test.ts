// What a tape keeps of a model's blocks: all of it, what goes in (to compute the rest again), or, without
// gradients, nothing. The numbers are the same, to the bit.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { defaultLora } from "../src/model/lora.ts";
import { nllGradients } from "../src/model/nll.ts";
import { linear } from "../src/ops/linear.ts";
import { Tape } from "../src/tape.ts";
import { Parameter, Weight } from "../src/tensor.ts";
import { adaptedGolden, familyGolden, scramble } from "./adapters.ts";
import { packed, tiny, Trainer } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

const checkpoints = true;
/** Eight layers, so that what is kept of each shows. */
const deep = layered(8);

function layered(layers: number) {
  return { ...tiny, layers, windows: new Array(layers).fill(null), maxPositions: 128 };
}

const ids = Uint32Array.from({ length: 96 }, (_, t) => (t * t + 3 * t) % 52);

for (const name of ["llama3", "qwen2", "qwen3", "gemma3_text", "gpt2"]) {
  Deno.test(`${name}: with checkpoints, loss and every gradient are the same bits`, async () => {
    const { config, weights, ids } = familyGolden(name);
    using model = Decoder.fromTensors(gpu, config, weights);
    const expected = await nllGradients(model, ids);
    assertEquals(await nllGradients(model, ids, { checkpoints }), expected);
  });

  Deno.test(`${name}: so are those of adapters, which drop the same inputs both times`, async () => {
    const { config, weights, ids } = familyGolden(name);
    using model = Decoder.fromTensors(gpu, config, weights, { frozen: true });
    scramble(model.adapt({ ...defaultLora, rank: 3, dropout: 0.25 }));
    const expected = await nllGradients(model, ids, { draw: 3 });
    assertEquals(await nllGradients(model, ids, { draw: 3, checkpoints }), expected);
    const other = await nllGradients(model, ids, { draw: 4, checkpoints });
    assertNotEquals(other.loss, expected.loss);
  });
}

Deno.test("adapters in the last layer alone have the same gradients with checkpoints", async () => {
  using model = Decoder.create(gpu, tiny, { frozen: true });
  scramble(model.adapt({ ...defaultLora, targets: ["model.layers.1.self_attn.v_proj"] }));
  const expected = await nllGradients(model, ids.subarray(0, 20));
  assertEquals(await nllGradients(model, ids.subarray(0, 20), { checkpoints }), expected);
  using plain = Decoder.create(gpu, tiny, { frozen: true });
  const none = await nllGradients(plain, ids.subarray(0, 20), { checkpoints });
  assertEquals(none.gradients.size, 0);
});

Deno.test("a block in which nothing wants a gradient is not computed again", () => {
  const weight = new Weight(gpu, [8, 8], "frozen");
  const trained = new Parameter(gpu, [8, 8], "trained");
  const input = new Weight(gpu, [4, 8], "input");
  const runs = { frozen: 0, trained: 0 };
  const tape = new Tape(gpu, { checkpoints });
  const between = tape.block(input, (tape, x) => (runs.frozen++, linear(tape, x, weight)));
  assertEquals(between.needsGrad, false);
  const y = tape.block(between, (tape, x) => (runs.trained++, linear(tape, x, trained)));
  assertEquals(y.needsGrad, true);
  y.grad = tape.tensor(y.shape, "dy");
  tape.backward();
  assertEquals(runs, { frozen: 1, trained: 2 });
  assertEquals([between.grad, trained.grad === null], [null, false]);
  gpu.discard();
  gpu.free([weight, trained, input].flatMap((tensor) => tensor.buffers()));
});

/** Bytes of scratch that `work` needed on a device of its own: a pool keeps the most it ever had. */
async function scratchOf(work: (gpu: Gpu) => Promise<unknown>): Promise<number> {
  using own = await Gpu.open();
  await work(own);
  return own.memory().byOwner["activations"]!;
}

for (const adapted of [false, true]) {
  const what = adapted ? "adapters with dropout" : "every weight";
  Deno.test(`with checkpoints, training ${what} of eight layers takes less than a third of the scratch`, async () => {
    const gradients = (checkpoints: boolean) => async (gpu: Gpu) => {
      using model = Decoder.create(gpu, deep, { frozen: adapted });
      if (adapted) model.adapt({ ...defaultLora, dropout: 0.1 });
      await nllGradients(model, ids, { checkpoints });
    };
    const [all, few] = [await scratchOf(gradients(false)), await scratchOf(gradients(true))];
    assert(few < all / 3, `${few} bytes with checkpoints, ${all} without`);
  });
}

Deno.test("updates with checkpoints are those without, and the second one creates nothing", async () => {
  const train = async (checkpoints: boolean) => {
    using model = Decoder.create(gpu, deep, { frozen: true });
    const adapters = model.adapt({ ...defaultLora, rank: 3, dropout: 0.2 });
    using trainer = new Trainer(model);
    const batches = [packed(ids, [40, 56]), packed(ids.subarray(0, 31), [31])];
    const metrics = [await trainer.step(batches, 1e-2, { draw: 0, checkpoints })];
    const [{ created }, { bindGroups }] = [gpu.memory(), gpu.stats()];
    for (let draw = 1; draw < 4; draw++) {
      metrics.push(await trainer.step(batches, 1e-2, { draw, checkpoints }));
    }
    assertEquals([gpu.memory().created, gpu.stats().bindGroups], [created, bindGroups]);
    return { metrics, values: await adapters.values() };
  };
  assertEquals(await train(true), await train(false));
});

/** The tokens of two sequences that are drawn while the other one is. */
async function sample(model: Decoder): Promise<number[][]> {
  using generator = new Generator(model, { slots: 2, length: 64, stops: [99, 99] });
  const found: number[][] = [[], []];
  await generator.run(
    [ids.subarray(0, 20), ids.subarray(7, 12)].map((prompt, stream) => ({
      prompt,
      stream,
      limit: 48,
      onTurn({ tokens }) {
        found[stream]!.push(...tokens);
        return null;
      },
    })),
    { temperature: 1, topK: 0, topP: 1, seed: 0 },
  );
  return found;
}

Deno.test("scratch of generation and evaluation does not grow with the number of layers", async () => {
  for (const work of [sample, (model: Decoder) => model.logits(ids)]) {
    const [few, many] = await Promise.all([2, 8].map((layers) =>
      scratchOf(async (gpu) => {
        using model = Decoder.create(gpu, layered(layers));
        await work(model);
      })
    ));
    // Which buffers batches of several sizes share differs a little.
    assert(many! < 1.05 * few!, `${many} bytes for 8 layers, ${few} for 2`);
  }
});

Deno.test("hidden states are the same bits whatever the tape keeps of the blocks", async () => {
  using model = adaptedGolden(gpu, "qwen3");
  const { ids } = familyGolden("qwen3");
  const tapes = [{}, { checkpoints }, { recording: false }];
  const found: Float32Array[] = [];
  for (const options of tapes) {
    const hidden = model.packed(new Tape(gpu, options), ids, [9, 16]);
    found.push(new Float32Array((await gpu.read(hidden))[0]!));
    gpu.endStep();
  }
  assertEquals(found, [found[0], found[0], found[0]]);
});
