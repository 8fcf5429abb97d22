// How the weights of a model are kept: trained, or frozen in 4 or 2 bytes each.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import "../mod.ts"; // gives models a file system
import { Gpu } from "../src/gpu/device.ts";
import { OutOfMemoryError } from "../src/gpu/errors.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { decodeSafetensors, type TensorDtype, toFloat32 } from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { Generator } from "../src/model/generator.ts";
import { nllGradients } from "../src/model/nll.ts";
import { glu } from "../src/ops/glu.ts";
import { linear } from "../src/ops/linear.ts";
import { lmHead } from "../src/ops/lm_head.ts";
import { smallBinding } from "../src/ops/checks/ranges.ts";
import { Tape } from "../src/tape.ts";
import { createParameters, type FloatType, Parameter } from "../src/tensor.ts";
import { tiny } from "./models.ts";

const gpu = await Gpu.open();
const small = await Gpu.open({ largestBinding: smallBinding });
Deno.test.afterAll(() => [gpu, small].forEach((opened) => opened.close()));

const ids = Uint32Array.of(7, 51, 3, 3, 18, 0, 44, 29, 7, 12, 50, 31, 3);

/** A checkpoint of a random model in some precision. */
async function checkpoint(dtype: TensorDtype, config = tiny) {
  using model = Decoder.create(gpu, config, { seed: 6 });
  return decodeSafetensors((await model.files(dtype))["model.safetensors"]).tensors;
}

async function sample(model: Decoder): Promise<number[]> {
  using generator = new Generator(model, { slots: 2, length: 32, stops: [1, 2] });
  const tokens: number[] = [];
  const onTurn = (turn: { tokens: readonly number[] }) => (tokens.push(...turn.tokens), null);
  await generator.run([{ prompt: ids, stream: 0, limit: 32, onTurn }], {
    ...{ temperature: 1, topK: 0, topP: 1, seed: 2 },
  });
  return tokens;
}

for (const tiedEmbeddings of [false, true]) {
  for (const dtype of ["bf16", "f16"] as const) {
    const config = { ...tiny, tiedEmbeddings };
    const what = `a ${tiedEmbeddings ? "tied" : "untied"} model frozen in ${dtype}`;
    const load = async (storage: { dtype?: FloatType; frozen?: boolean } = {}, on = gpu) =>
      Decoder.fromTensors(
        on,
        config,
        await checkpoint(dtype.toUpperCase() as TensorDtype, config),
        storage,
      );

    Deno.test(`${what} computes what its weights do in f32, bit for bit`, async () => {
      using wide = await load();
      using narrow = await load({ dtype, frozen: true });
      assertEquals(await narrow.values(), await wide.values());
      assertEquals(await narrow.logits(ids), await wide.logits(ids));
      assertEquals(await sample(narrow), await sample(wide));
      const { loss, gradients } = await nllGradients(narrow, ids);
      assertEquals(loss, (await nllGradients(wide, ids)).loss);
      assertEquals(gradients.size, 0);
    });

    Deno.test(`${what} takes half the memory, and is saved as it was loaded`, async () => {
      const bytes = (model: Decoder) =>
        [...model.weights.values()].flatMap((weight) => weight.buffers())
          .reduce((sum, { size }) => sum + size, 0);
      using wide = await load({ frozen: true });
      using narrow = await load({ dtype, frozen: true });
      const vectors = (2 * tiny.layers + 1) * tiny.hiddenSize * 4;
      assertEquals(bytes(narrow) - vectors, (bytes(wide) - vectors) / 2);
      assertEquals(narrow.parameters.size, 0);
      const stored = dtype.toUpperCase() as TensorDtype;
      const { tensors } = decodeSafetensors((await narrow.files(stored))["model.safetensors"]);
      assertEquals(tensors, await checkpoint(stored, config));
    });
  }
}

Deno.test("what a frozen model passes back to what is trained below it is what f32 does", async () => {
  const tensors = await checkpoint("BF16");
  const adapterGradient = async (dtype: FloatType) => {
    using model = Decoder.fromTensors(gpu, tiny, tensors, { dtype, frozen: true });
    const own = (name: string) => model.weights.get(`model.layers.0.mlp.${name}.weight`)!;
    const values = Float32Array.from({ length: 36 * 36 }, (_, i) => ((i * 31) % 17) / 100 - 0.08);
    const adapter = new Parameter(gpu, [36, 36], "adapter", values);
    const tape = new Tape(gpu);
    const x = linear(tape, model.packed(tape, ids, [ids.length]), adapter);
    const inner = glu(tape, linear(tape, x, own("gate_up_proj")), "silu");
    const y = linear(tape, inner, own("down_proj"), { residual: x });
    const { logprob } = lmHead(tape, y, model.head, tape.upload(ids, "targets"));
    logprob.grad = tape.tensor(logprob.shape, "dlogprob");
    gpu.write(logprob.grad.buffer, new Float32Array(ids.length).fill(1));
    tape.backward();
    const [content] = await gpu.read(adapter.grad!);
    gpu.endStep();
    gpu.free(adapter.buffers());
    return new Float32Array(content!);
  };
  const found = await adapterGradient("bf16");
  assert(found.some((v) => v !== 0));
  assertEquals(found, await adapterGradient("f32"));
});

Deno.test("a frozen table in bf16 larger than a binding computes the same", async () => {
  const config = { ...tiny, vocabSize: 2000, tiedEmbeddings: true };
  const tensors = await checkpoint("BF16", config);
  const storage = { dtype: "bf16", frozen: true } as const;
  using whole = Decoder.fromTensors(gpu, config, tensors, storage);
  using ranged = Decoder.fromTensors(small, config, tensors, storage);
  assert(ranged.head.bytes > smallBinding);
  const tokens = Uint32Array.of(1999, 7, 1800, 910, 911, 0);
  assertEquals(await ranged.logits(tokens), await whole.logits(tokens));
  assertEquals(await sample(ranged), await sample(whole));
});

Deno.test("weights are converted to the type that they are kept in, vectors excepted", async () => {
  const tensors = await checkpoint("F32");
  using narrow = Decoder.fromTensors(gpu, tiny, tensors, { dtype: "f16", frozen: true });
  const exact = new Map([...tensors].map(([name, tensor]) => [name, toFloat32(tensor)]));
  for (const [name, values] of await narrow.values()) {
    const wide = exact.get(name)!;
    const expected = tensors.get(name)!.shape.length === 1
      ? wide
      : new Float32Array(new Float16Array(wide));
    assertEquals(values, expected, name);
  }
});

Deno.test("a model that does not fit leaves nothing behind, and may fit in bf16", async () => {
  const tensors = await checkpoint("BF16");
  using probe = Decoder.fromTensors(gpu, tiny, tensors, { dtype: "bf16", frozen: true });
  const needed = [...probe.weights.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  using empty = await Gpu.open();
  const { liveBytes } = empty.memory();
  const rope = 2 * tiny.maxPositions * tiny.headDim * 4;
  using budget = await Gpu.open({ memoryBudget: liveBytes + needed + rope });
  assertThrows(
    () => Decoder.fromTensors(budget, tiny, tensors, { frozen: true }),
    OutOfMemoryError,
  );
  assertEquals(budget.memory().byOwner.weights, undefined);
  using model = Decoder.fromTensors(budget, tiny, tensors, { dtype: "bf16", frozen: true });
  assert(model.weights.size > 0);
});

Deno.test("weights of two bytes are not trained", async () => {
  const tensors = await checkpoint("F32");
  const error = assertThrows(
    () => Decoder.fromTensors(gpu, tiny, tensors, { dtype: "bf16" }),
    TypeError,
  );
  assert(error.message.includes("frozen: true"), error.message);
});

Deno.test("weights are kept in two bytes where the adapter's products are right, and else in f32", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using model = Decoder.create(gpu, tiny);
    await saveFolder(`${folder}/model`, await model.files("F16"));
    const typeOn = async (adapter: Gpu, dtype?: "bf16") => {
      using loaded = await Decoder.load(adapter, `${folder}/model`, {
        frozen: true,
        ...dtype && { dtype },
      });
      return loaded.head.dtype;
    };
    assertEquals([await typeOn(gpu), await typeOn(gpu, "bf16")], ["f16", "bf16"]);

    // A look-up, a product and three with the transpose: each has to be right.
    for (let spoilt = 0; spoilt < 5; spoilt++) {
      using wrong = await Gpu.open();
      const { read } = wrong;
      Object.assign(wrong, {
        async read(...requests: Parameters<Gpu["read"]>) {
          const contents = await read.apply(wrong, requests);
          assertEquals(contents.length, 5);
          new Uint32Array(contents[spoilt]!)[60_000]! ^= 1; // the last bit of a number
          return contents;
        },
      });
      assertEquals(await typeOn(wrong), "f32");
      await assertRejects(() => typeOn(wrong, "bf16"), TypeError, "multiplies them wrongly");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("buffers read one after the other are what they hold, however many go at a time", async () => {
  const buffers = [3, 1, 2].map((value) => {
    const buffer = gpu.allocate(16, "other", "read");
    gpu.write(buffer, new Uint32Array(4).fill(value));
    return buffer;
  });
  const found: number[] = [];
  for await (const content of gpu.readEach(buffers.map((buffer) => ({ buffer, bytes: 16 })))) {
    found.push(new Uint32Array(content)[0]!);
  }
  assertEquals(found, [3, 1, 2]);
  gpu.free(buffers);
});

Deno.test("parameters share buffers side by side, and have one of their own where they are large", () => {
  using counting = gpu.rehearse();
  const MiB = 2 ** 20;
  const made = createParameters(
    counting,
    new Map([
      ["a", [3, 4]],
      ["b", [100 * MiB / 4]],
      ["c", [150 * MiB / 4]],
      ["d", [100 * MiB / 4]],
      ["e", [300 * MiB / 4]],
      ["f", [4]],
    ]),
  );
  const [a, b, c, d, e, f] = [...made.values()] as [Parameter, ...Parameter[]];
  assertEquals([a.range, b!.range], [{ offset: 0, size: 48 }, { offset: 256, size: 100 * MiB }]);
  assertEquals([b!.buffer, c!.buffer], [a.buffer, a.buffer]);
  assertEquals(c!.range!.offset, 256 + 100 * MiB);
  assertEquals(new Set([a, d!, e!, f!].map(({ buffer }) => buffer)).size, 4);
  for (const parameter of made.values()) {
    const { buffer, range } = parameter.gradientStorage();
    assertEquals([range, buffer.size], [parameter.range, parameter.buffer.size]);
  }
  counting.free([...made.values()].flatMap((parameter) => parameter.buffers()));
  const { weights = 0, gradients = 0 } = counting.memory().byOwner;
  assertEquals([weights, gradients], [0, 0]);
});
