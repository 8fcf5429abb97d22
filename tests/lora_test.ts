// Low-rank adapters against PEFT (see tests/golden/make_lora_goldens.py), and what is promised about
// their base and their dropout.

import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { OutOfMemoryError } from "../src/gpu/errors.ts";
import {
  decodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { defaultLora, loraFromPeft } from "../src/model/lora.ts";
import { nllGradients } from "../src/model/nll.ts";
import { elementwise } from "../src/ops/launch.ts";
import { linear } from "../src/ops/linear.ts";
import type { Dropout } from "../src/ops/lora.ts";
import { Random } from "../src/random.ts";
import { Tape } from "../src/tape.ts";
import { Parameter } from "../src/tensor.ts";
import { adaptedGolden, adaptedTiny, loraGolden, loraGoldens } from "./adapters.ts";
import { assertClose, packed, tiny, Trainer } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

const ids = Uint32Array.of(7, 51, 3, 3, 18, 0, 44, 29, 7, 12, 50, 31, 3);

for (const name of loraGoldens) {
  Deno.test(`${name}: logits, loss and the gradient of every adapter agree with PEFT`, async () => {
    const { ids, expected, loss, adapters } = loraGolden(name);
    using model = adaptedGolden(gpu, name);
    assertClose(await model.logits(ids), toFloat32(expected.get("logits")!), 1e-4, "logits");
    const actual = await nllGradients(model, ids);
    assert(Math.abs(actual.loss - loss) < 1e-5 * loss, `loss ${actual.loss}, expected ${loss}`);
    assertEquals([...actual.gradients.keys()].sort(), [...adapters.keys()].sort());
    for (const [tensor, gradient] of actual.gradients) {
      const stored = toFloat32(expected.get(`gradients.${tensor}`)!);
      assertClose(gradient, stored, 1e-3, `gradient of ${tensor}`);
    }
  });

  Deno.test(`${name}: adapters on a base in bf16 agree with PEFT on the rounded base`, async () => {
    const { config, ids, weights, json, adapters, expected } = loraGolden(name);
    using model = adaptedGolden(gpu, name, { dtype: "bf16" });
    const stored = toFloat32(expected.get("bf16.logits")!);
    assertClose(await model.logits(ids), stored, 1e-4, "logits");
    const rounded = new Map(
      [...weights].map(([name, tensor]): [string, StoredTensor] => [
        name,
        tensor.shape.length === 1
          ? tensor
          : { ...tensor, dtype: "BF16", data: fromFloat32(toFloat32(tensor), "BF16") },
      ]),
    );
    using wide = Decoder.fromTensors(gpu, config, rounded, { frozen: true });
    wide.adapt(loraFromPeft(json)).restore(adapters, name);
    assertEquals(await nllGradients(model, ids), await nllGradients(wide, ids));
  });

  Deno.test(`${name}: the base is the model without adapters, and takes no memory`, async () => {
    const { config, ids, weights } = loraGolden(name);
    using model = adaptedGolden(gpu, name);
    using plain = Decoder.fromTensors(gpu, config, weights, { frozen: true });
    const before = gpu.memory();
    {
      using base = model.base;
      assertEquals(gpu.memory(), before);
      assertEquals(base.parameters.size, 0);
      assertEquals(await base.logits(ids), await plain.logits(ids));
      assertEquals(await base.values(), await plain.values());
    }
    assertEquals(gpu.memory().byOwner["weights"], before.byOwner["weights"]);
    assertNotEquals(await model.logits(ids), await plain.logits(ids));
  });

  Deno.test(`${name}: merged adapters give the logits and the tokens of those beside the base`, async () => {
    const { config, ids } = loraGolden(name);
    using model = adaptedGolden(gpu, name);
    const { tensors } = decodeSafetensors((await model.files())["model.safetensors"]);
    using merged = Decoder.fromTensors(gpu, config, tensors);
    assertClose(await merged.logits(ids), await model.logits(ids), 1e-5, "logits");
    assertEquals(await continuation(merged, ids), await continuation(model, ids));
  });
}

/** 24 greedy tokens. */
async function continuation(model: Decoder, prompt: Uint32Array): Promise<number[]> {
  const none = 0xfffffffe;
  using generator = new Generator(model, { slots: 1, length: 64, stops: [none, none] });
  const tokens: number[] = [];
  const onTurn = (turn: { tokens: readonly number[] }) => (tokens.push(...turn.tokens), null);
  const sequence = { prompt, stream: 0, limit: prompt.length + 24, onTurn };
  await generator.run([sequence], { temperature: 0, topK: 0, topP: 1, seed: 0 });
  return tokens;
}

Deno.test("adapters change nothing as they begin, and are those of their seed", async () => {
  using model = Decoder.create(gpu, tiny, { frozen: true });
  const before = await model.logits(ids);
  const adapters = model.adapt({ ...defaultLora, rank: 3 }, { seed: 1 });
  assertEquals(await model.logits(ids), before);
  const values = await adapters.values();
  for (const [name, tensor] of values) {
    const numbers = toFloat32(tensor);
    if (name.endsWith("lora_B.weight")) assert(numbers.every((x) => x === 0), name);
    else {
      const bound = 1 / Math.sqrt(tensor.shape[1]!);
      assert(numbers.every((x) => x !== 0 && Math.abs(x) <= bound), name);
      assert(numbers.some((x) => Math.abs(x) > 0.8 * bound), name);
    }
  }
  using same = Decoder.create(gpu, tiny, { frozen: true });
  assertEquals(await same.adapt({ ...defaultLora, rank: 3 }, { seed: 1 }).values(), values);
  using other = Decoder.create(gpu, tiny, { frozen: true });
  assertNotEquals(await other.adapt({ ...defaultLora, rank: 3 }, { seed: 2 }).values(), values);
});

Deno.test("AdamW trains the adapters alone: the base keeps every bit", async () => {
  for (
    const targets of ["all-linear", ["v_proj", "k_proj", "model.layers.1.mlp.up_proj"]] as const
  ) {
    using model = Decoder.create(gpu, tiny, { frozen: true, seed: 8 });
    const weights = await model.base.values();
    const adapters = model.adapt({ ...defaultLora, rank: 3, targets });
    using trainer = new Trainer(model);
    const batches = [packed(ids, [7, 6]), packed(ids, [13])];
    const losses: number[] = [];
    for (let step = 0; step < 6; step++) losses.push((await trainer.step(batches, 1e-2)).loss);
    losses.reduce((before, loss) => (assert(loss < before, `losses are ${losses}`), loss));
    assertEquals(await model.base.values(), weights);
    // What is stored beside the adapters, to fill blocks and ranks up, stays 0.
    using copy = Decoder.create(gpu, tiny, { frozen: true, seed: 8 });
    copy.adapt(adapters.config).restore(await adapters.values(), "values");
    const contents = async ({ parameters }: Decoder) => await gpu.read(...parameters.values());
    assertEquals(await contents(copy), await contents(model));
    assertEquals(await copy.logits(ids), await model.logits(ids));
  }
});

Deno.test("a frozen base holds no gradients: the adapters' are all there are", async () => {
  using own = await Gpu.open();
  using model = Decoder.create(own, tiny, { frozen: true });
  assertEquals((await nllGradients(model, ids)).gradients.size, 0);
  assertEquals(own.memory().byOwner["gradients"], undefined);
  const adapters = model.adapt({ ...defaultLora, targets: ["o_proj"] });
  const bytes = [...adapters.parameters.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  assertEquals(bytes, tiny.layers * 4 * 8 * (32 + 36));
  await nllGradients(model, ids);
  const gradients = own.memory().byOwner["gradients"]!;
  const room = 256 * adapters.parameters.size; // ranges begin at multiples of 256
  assert(gradients >= bytes && gradients < bytes + room, `${gradients}`);
});

Deno.test("adapters that do not fit leave nothing behind", async () => {
  using probe = await Gpu.open();
  using measured = Decoder.create(probe, tiny, { frozen: true });
  const { liveBytes } = probe.memory();
  measured.adapt(defaultLora);
  const memoryBudget = (liveBytes + probe.memory().liveBytes) / 2;
  using tight = await Gpu.open({ memoryBudget });
  using model = Decoder.create(tight, tiny, { frozen: true });
  assertEquals(tight.memory().liveBytes, liveBytes);
  assertThrows(() => model.adapt(defaultLora), OutOfMemoryError);
  assertEquals(tight.memory().liveBytes, liveBytes);
  assertEquals(model.adapters, null);
});

/** What an op makes of x, and every gradient. */
async function adaptOnce(values: readonly Float32Array[], dropout: Dropout | null) {
  const [T, K, N, R] = [9, 12, 20, 4];
  const shapes = [[T, K], [T, N], [R, K], [N, R]];
  const inputs = values.map((own, i) => new Parameter(gpu, shapes[i]!, "input", own));
  const [x, base, a, b] = inputs as [Parameter, Parameter, Parameter, Parameter];
  const tape = new Tape(gpu);
  const adapter = { a, b, blocks: [{ first: 0, last: N }], scale: 1.5 };
  const w = tape.upload(new Float32Array(N * K), "zeros", [N, K]);
  const y = linear(tape, x, w, { residual: base, adapted: { adapter, dropout } });
  y.grad = tape.tensor([T, N], "dy");
  gpu.write(y.grad.buffer, Float32Array.from({ length: T * N }, (_, i) => Math.sin(i)));
  const early = await gpu.read(y);
  tape.backward();
  const late = await gpu.read(...inputs.map(({ grad }) => grad!));
  gpu.endStep();
  gpu.free(inputs.flatMap((input) => input.buffers()));
  return [...early, ...late].map((content) => new Float32Array(content));
}

Deno.test("dropout is the op on masked inputs, and masks their gradient", async () => {
  const random = new Random("dropout");
  const values = [9 * 12, 9 * 20, 4 * 12, 20 * 4]
    .map((length) => Float32Array.from({ length }, () => 2 * random.float() - 1));
  const dropout = { rate: 0.25, seed: 3, stream: 17 };
  // The mask that the kernel draws, with its 1 / (1 - rate).
  const ones = gpu.upload(new Float32Array(9 * 12).fill(1), "ones");
  const tape = new Tape(gpu);
  const mask = tape.tensor([9 * 12], "mask");
  const params = { ...dropout, count: 9 * 12, scale: 1 / (1 - dropout.rate), beta: 0 };
  elementwise(gpu, "lora", "dropout", 9 * 3, { x: { buffer: ones }, y: mask }, params);
  const drawn = new Float32Array((await gpu.read(mask))[0]!);
  gpu.endStep();
  assertEquals([...new Set(drawn)].sort(), [0, Math.fround(1 / 0.75)]);

  const masked = values[0]!.map((x, i) => x * drawn[i]!);
  const [y, dx, dbase, da, db] = await adaptOnce(values, dropout);
  const expected = await adaptOnce([masked, ...values.slice(1)], null);
  assertEquals([y, dbase, da, db], [0, 2, 3, 4].map((i) => expected[i]));
  assertEquals(dx, expected[1]!.map((d, i) => d * drawn[i]!));
});

Deno.test("with dropout the gradient is that of the loss with the same draw", async () => {
  using model = adaptedTiny(gpu, { dropout: 0.3, rank: 4 });
  const adapters = model.adapters!;
  const start = await adapters.values();
  const { gradients } = await nllGradients(model, ids, { draw: 5 });
  const square = [...gradients.values()].flatMap((g) => [...g]).reduce((s, x) => s + x * x, 0);
  // Along the gradient the loss grows by its square; a step so small that it hardly bends.
  const step = 5e-3 / square;
  const lossAt = async (factor: number) => {
    const moved = [...start].map(([name, tensor]): [string, StoredTensor] => {
      const g = gradients.get(name)!;
      const values = toFloat32(tensor).map((x, i) => x + factor * step * g[i]!);
      return [name, { ...tensor, data: fromFloat32(values, "F32") }];
    });
    adapters.restore(new Map(moved), "moved");
    return (await nllGradients(model, ids, { draw: 5 })).loss;
  };
  const slope = (await lossAt(1) - await lossAt(-1)) / (2 * step);
  assert(
    Math.abs(slope / square - 1) < 2e-3,
    `the loss grows by ${slope}, gradient^2 is ${square}`,
  );
});

Deno.test("evaluation ignores dropout; another draw drops others, the same one the same", async () => {
  using model = adaptedTiny(gpu, { dropout: 0.5 });
  using plain = adaptedTiny(gpu, { dropout: 0 });
  assertEquals(await model.logits(ids), await plain.logits(ids));
  assertEquals(await continuation(model, ids), await continuation(plain, ids));
  const first = await nllGradients(model, ids, { draw: 1 });
  assertEquals(await nllGradients(model, ids, { draw: 1 }), first);
  const losses = new Set([first.loss, (await nllGradients(plain, ids)).loss]);
  for (const draw of [0, 2, 3]) losses.add((await nllGradients(model, ids, { draw })).loss);
  assertEquals(losses.size, 5);
});
