// The decoder against PyTorch (tests/golden), and what is promised about configs and files.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { Gpu } from "../src/gpu/device.ts";
import { disk } from "../src/io/disk.ts";
import { useFolder } from "../src/io/folder.ts";
import { CheckpointError, decodeSafetensors, type StoredTensor } from "../src/io/safetensors.ts";
import { parameterSpecs, tensorShapes } from "../src/model/parameters.ts";
import { llamaConfig, sizedConfig } from "../src/model/config.ts";
import { fromHuggingFace, toHuggingFace } from "../src/model/families.ts";
import { Decoder } from "../src/model/decoder.ts";
import { nllGradients, tokenStatistics } from "../src/model/nll.ts";
import { lmHead } from "../src/ops/lm_head.ts";
import { Random } from "../src/random.ts";
import { Tape } from "../src/tape.ts";
import { elements, Parameter } from "../src/tensor.ts";
import { assertClose, golden, packed, tiny, Trainer, weightBytes } from "./models.ts";

/** Of the largest entry of a tensor; both sides round to f32 on the way. */
const TOLERANCE = 1e-5;
/** Of losses and gradient norms after up to ten updates. */
const TRAINING_TOLERANCE = 1e-4;

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());
useFolder(disk);

const ids = Uint32Array.of(7, 51, 3, 3, 18, 0, 44, 29, 7, 12, 50, 31, 3);

for (const name of ["llama_untied", "llama_tied"] as const) {
  const { model: build, expected, training } = golden(gpu, name);
  const ids: Uint32Array = Uint32Array.from(training.ids);
  const lengths: number[] = training.packedLengths;

  Deno.test(`${name}: logits equal PyTorch's`, async () => {
    using model = build();
    assertClose(await model.logits(ids), expected("logits"), TOLERANCE, "logits");
  });

  Deno.test(`${name}: packed sequences get PyTorch's logits of each alone`, async () => {
    using model = build();
    const tape = new Tape(gpu, { recording: false });
    const reading = gpu.read(model.project(tape, model.packed(tape, ids, lengths)));
    gpu.endStep();
    const [logits] = await reading;
    assertClose(new Float32Array(logits!), expected("packed_logits"), TOLERANCE, "packed logits");
  });

  Deno.test(`${name}: the gradient of every tensor equals PyTorch's`, async () => {
    using model = build();
    const { loss, gradients } = await nllGradients(model, ids);
    assert(Math.abs(loss - training.loss) < TOLERANCE * training.loss, `loss is ${loss}`);
    assertEquals([...gradients.keys()], [...tensorShapes(model.config).keys()]);
    for (const [tensor, gradient] of gradients) {
      assertClose(gradient, expected(`gradients.${tensor}`), TOLERANCE, tensor);
    }
  });

  for (const together of [false, true]) {
    const batch = together ? "the packed batch" : "one sequence";
    Deno.test(`${name}: ten AdamW steps on ${batch} follow PyTorch's`, async () => {
      const { learningRate, beta1, beta2, weightDecay, maxNorm } = training.optimizer;
      const losses: number[] = together ? training.packedLosses : training.losses;
      const norms: number[] = together ? training.packedGradientNorms : training.gradientNorms;
      using model = build();
      using trainer = new Trainer(model, { betas: [beta1, beta2], weightDecay, gradClip: maxNorm });
      const batches = [packed(ids, together ? lengths : [ids.length])];
      for (const [i, expectedLoss] of losses.entries()) {
        const { loss, norm } = await trainer.step(batches, learningRate);
        const what = `of step ${i + 1} is`;
        assert(Math.abs(loss - expectedLoss) < TRAINING_TOLERANCE, `loss ${what} ${loss}`);
        const error = Math.abs(norm - norms[i]!) / Math.max(1, norms[i]!);
        assert(error < TRAINING_TOLERANCE, `gradient norm ${what} ${norm}, not ${norms[i]}`);
      }
      assertEquals(trainer.optimizer.steps, losses.length);
    });
  }
}

Deno.test("micro-batches add up to the gradient of the whole batch", async () => {
  const { model: build, training } = golden(gpu, "llama_tied");
  const [first] = training.packedLengths as number[];
  using model = build();
  using trainer = new Trainer(model);
  const { loss, norm } = await trainer.step([
    packed(ids.subarray(0, first), [first!]),
    packed(ids.subarray(first), [ids.length - first!]),
  ], 0);
  assert(Math.abs(loss - training.packedLoss) < TOLERANCE * training.packedLoss);
  assert(Math.abs(norm - training.packedGradientNorms[0]) < TOLERANCE * norm);
});

Deno.test("a learning rate of 0 leaves the weights as they are, bit for bit", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  const before = await weightBytes(model);
  await trainer.step([packed(ids, [ids.length])], 0);
  assertEquals(await weightBytes(model), before);
});

Deno.test("logits after an update are those of the updated weights", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  const before = await model.logits(ids);
  await trainer.step([packed(ids, [ids.length])], 1e-2);
  const after = await model.logits(ids);
  const files = await model.files();
  const { tensors } = decodeSafetensors(files["model.safetensors"]);
  using copy = Decoder.fromTensors(gpu, tiny, tensors);
  assertEquals(after, await copy.logits(ids));
  assert(after.some((x, i) => Math.abs(x - before[i]!) > 1e-3));
});

Deno.test("weights that were recorded in a step that is dropped are not taken for current", async () => {
  using model = Decoder.create(gpu, tiny);
  const tape = new Tape(gpu, { recording: false });
  model.packed(tape, ids, [ids.length]);
  gpu.discard();
  using other = Decoder.create(gpu, tiny);
  assertEquals(await model.logits(ids), await other.logits(ids));
});

Deno.test("training goes on where restored weights and moments left off", async () => {
  const batches = [packed(ids, [ids.length])];
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  for (let i = 0; i < 3; i++) await trainer.step(batches, 1e-2);
  const { tensors } = decodeSafetensors(await weightBytes(model));
  const state = await trainer.optimizer.state();
  using resumed = Decoder.fromTensors(gpu, tiny, tensors);
  using second = new Trainer(resumed);
  second.optimizer.restore(state, 3);
  for (let i = 0; i < 2; i++) {
    assertEquals(await second.step(batches, 1e-2), await trainer.step(batches, 1e-2));
  }
  assertEquals(await weightBytes(resumed), await weightBytes(model));

  state.delete("model.norm.weight");
  assertThrows(() => second.optimizer.restore(state, 3), TypeError, '"model.norm.weight"');
});

Deno.test("a gradient that is not finite changes neither weights nor moments", async () => {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  await trainer.step([packed(ids, [ids.length])], 1e-2);
  const weights = await weightBytes(model);
  const moments = await trainer.optimizer.state();
  const norm = model.parameters.get("model.norm.weight")!;
  const good = new Float32Array((await gpu.read(norm))[0]!);
  gpu.write(norm, good.map((x, i) => i === 5 ? NaN : x));
  const { norm: gradientNorm } = await trainer.step([packed(ids, [ids.length])], 1e-2);
  assert(!Number.isFinite(gradientNorm));
  const [clip] = await gpu.read(trainer.optimizer.clip);
  assertEquals(new Float32Array(clip!)[2], 0);
  gpu.write(norm, good);
  assertEquals(await weightBytes(model), weights);
  assertEquals(await trainer.optimizer.state(), moments);
});

Deno.test("a decoder from scratch depends on its seed only", async () => {
  using model = Decoder.create(gpu, tiny, { seed: 1 });
  using same = Decoder.create(gpu, tiny, { seed: 1 });
  using other = Decoder.create(gpu, tiny, { seed: 2 });
  assertEquals(await weightBytes(model), await weightBytes(same));
  assert((await model.logits(ids))[0] !== (await other.logits(ids))[0]);
});

Deno.test("a decoder from scratch predicts almost uniformly", async () => {
  using model = Decoder.create(gpu, sizedConfig("nano", 264));
  const { loss } = await nllGradients(model, Uint32Array.from({ length: 40 }, (_, i) => i * 6));
  assert(Math.abs(loss - Math.log(264)) < 1, `loss is ${loss}`);
});

for (const tiedEmbeddings of [false, true]) {
  const kind = tiedEmbeddings ? "tied" : "untied";
  Deno.test(`a saved model with ${kind} embeddings loads to the same logits, bit for bit`, async () => {
    const folder = join(await Deno.makeTempDir(), "model");
    try {
      using model = Decoder.create(gpu, { ...tiny, tiedEmbeddings }, { seed: 7 });
      using trainer = new Trainer(model);
      await trainer.step([packed(ids, [ids.length])], 1e-2);
      await model.save(folder);
      using loaded = await Decoder.load(gpu, folder);
      assertEquals(loaded.config, model.config);
      assertEquals(await loaded.logits(ids), await model.logits(ids));
      await model.save(folder); // replaces the folder as a whole
      assertEquals(await weightBytes(loaded), Deno.readFileSync(join(folder, "model.safetensors")));
    } finally {
      await Deno.remove(join(folder, ".."), { recursive: true });
    }
  });
}

/** Another reader of safetensors, written from the format's description alone. */
function readElsewhere(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const { __metadata__: metadata, ...entries } = header;
  const read = (name: string) => {
    const { shape, data_offsets: [begin, end] } = entries[name];
    const count = shape.reduce((a: number, b: number) => a * b, 1);
    assertEquals(end - begin, count * 4, name);
    const first = 8 + size + begin;
    return Float32Array.from({ length: count }, (_, i) => view.getFloat32(first + 4 * i, true));
  };
  return { size, metadata, entries, read };
}

Deno.test("a saved model is readable by another reader", async () => {
  using model = Decoder.create(gpu, tiny, { seed: 3 });
  const files = await model.files();
  const { size, metadata, entries, read } = readElsewhere(files["model.safetensors"]);
  assertEquals(size % 8, 0);
  assertEquals(metadata, { format: "pt" });
  assertEquals(Object.keys(entries), [...tensorShapes(tiny).keys()]);
  for (const [name, shape] of tensorShapes(tiny)) {
    assertEquals([entries[name].dtype, entries[name].shape], ["F32", shape], name);
    assertEquals(read(name), (await model.values()).get(name)!, name);
  }
  assertEquals(fromHuggingFace(JSON.parse(files["config.json"])), tiny);
});

Deno.test("tensors that are stacked in one weight come apart as they were put together", async () => {
  const values = new Map(
    [...tensorShapes(tiny)].map(([name, shape], i) => {
      const length = elements(shape);
      return [name, Float32Array.from({ length }, (_, n) => i + n / length)];
    }),
  );
  const tensors = new Map(
    [...tensorShapes(tiny)].map(([name, shape]) => {
      const data = new Uint8Array(values.get(name)!.buffer);
      return [name, { dtype: "F32", shape: [...shape], data } as const];
    }),
  );
  using model = Decoder.fromTensors(gpu, tiny, tensors);
  assertEquals(await model.values(), values);
  const qkv = parameterSpecs(tiny)
    .find(({ name }) => name === "model.layers.0.self_attn.qkv_proj.weight")!;
  const parts = ["q", "k", "v"].map((part) => `model.layers.0.self_attn.${part}_proj.weight`);
  assertEquals(qkv.parts.map(({ name }) => name), parts);
});

Deno.test("a model saved in half precision loads to the rounded weights", async () => {
  using model = Decoder.create(gpu, tiny, { seed: 3 });
  for (const dtype of ["BF16", "F16"] as const) {
    const { tensors } = decodeSafetensors((await model.files(dtype))["model.safetensors"]);
    using loaded = Decoder.fromTensors(gpu, tiny, tensors);
    assertClose(await loaded.logits(ids), await model.logits(ids), 0.02, dtype);
    assertEquals((await loaded.files(dtype))["model.safetensors"].length > 0, true);
  }
});

Deno.test("loading names the file that is missing, cut short or not JSON", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await assertRejects(() => Decoder.load(gpu, folder), CheckpointError, "config.json");
    using model = Decoder.create(gpu, tiny);
    const files = await model.files();
    const write = (name: string, content: string | Uint8Array) =>
      typeof content === "string"
        ? Deno.writeTextFileSync(join(folder, name), content)
        : Deno.writeFileSync(join(folder, name), content);
    write("config.json", files["config.json"]);
    await assertRejects(() => Decoder.load(gpu, folder), CheckpointError, "model.safetensors");
    write("model.safetensors", files["model.safetensors"].subarray(0, 5000));
    await assertRejects(() => Decoder.load(gpu, folder), CheckpointError, "cut short");
    for (const damaged of ["{", "null", "[1]"]) {
      write("config.json", damaged);
      await assertRejects(() => Decoder.load(gpu, folder), CheckpointError, "config.json");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a checkpoint that does not fit its config is refused with every fault listed", async () => {
  using model = Decoder.create(gpu, tiny);
  const { tensors } = decodeSafetensors(await weightBytes(model));
  const changed = new Map<string, StoredTensor>(tensors);
  changed.delete("model.norm.weight");
  changed.set(
    "model.layers.2.mlp.up_proj.weight",
    tensors.get("model.layers.1.mlp.up_proj.weight")!,
  );
  const q = "model.layers.0.self_attn.q_proj.weight";
  changed.set(q, { ...tensors.get(q)!, shape: [36, 32] });
  const error = assertThrows(
    () => Decoder.fromTensors(gpu, tiny, changed, { label: "some/model.safetensors" }),
    CheckpointError,
    "some/model.safetensors",
  );
  for (
    const fault of [
      '"model.norm.weight" is missing',
      '"model.layers.2.mlp.up_proj.weight" is not part of this model',
      `"${q}" has shape [36, 32], config expects [32, 36]`,
    ]
  ) assert(error.message.includes(fault), error.message);

  const { tensors: headless } = decodeSafetensors(await weightBytes(model));
  headless.delete("lm_head.weight");
  assertThrows(() => Decoder.fromTensors(gpu, tiny, headless), CheckpointError, '"lm_head.weight"');
});

Deno.test("tensors that some programs store beside the weights are passed over", async () => {
  using model = Decoder.create(gpu, tiny);
  const { tensors } = decodeSafetensors(await weightBytes(model));
  tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", {
    dtype: "F32",
    shape: [4],
    data: new Uint8Array(16),
  });
  // Transformers ties such a head to the embedding, whatever the file says.
  using tied = Decoder.fromTensors(gpu, { ...tiny, tiedEmbeddings: true }, tensors);
  assertEquals(tied.head.label, "model.embed_tokens.weight");
});

Deno.test("a config survives the way to config.json and back", () => {
  const configs = [
    tiny,
    llamaConfig({ ...tiny, tiedEmbeddings: true, ropeTheta: 5e5 }),
    sizedConfig("nano", 264),
  ];
  for (const config of configs) {
    assertEquals(fromHuggingFace(JSON.parse(JSON.stringify(toHuggingFace(config)))), config);
  }
});

Deno.test("config.json of Transformers 4 and 5 is read, with its defaults", () => {
  const base = {
    model_type: "llama",
    vocab_size: 52,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  };
  const four = fromHuggingFace({ ...base, rope_theta: 5e5, rope_scaling: null });
  const parameters = { rope_type: "default", rope_theta: 5e5 };
  assertEquals(fromHuggingFace({ ...base, rope_parameters: parameters }), four);
  const read = llamaConfig({
    vocabSize: 52,
    hiddenSize: 32,
    intermediateSize: 48,
    layers: 2,
    heads: 4,
    kvHeads: 4,
    headDim: 8,
    maxPositions: 2048,
    ropeTheta: 5e5,
    normEpsilon: 1e-6,
    tiedEmbeddings: false,
  });
  assertEquals(four, read);
});

Deno.test("a config that names other maths, or sizes that do not fit, is refused", () => {
  const json = toHuggingFace(tiny);
  const refused: [Record<string, unknown>, typeof TypeError | typeof RangeError, string][] = [
    [{ model_type: "mamba" }, TypeError, '"model_type" is "mamba"'],
    [{ hidden_act: "gelu" }, TypeError, '"hidden_act" is "gelu"'],
    [
      { rope_scaling: { rope_type: "llama3", factor: 8 } },
      TypeError,
      '"rope_scaling.low_freq_factor"',
    ],
    [{ rope_parameters: { rope_type: "dynamic" } }, TypeError, '"dynamic"'],
    [
      { rope_parameters: { rope_type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [2] } },
      TypeError,
      "of longrope differ",
    ],
    [{ rope_interleaved: true }, TypeError, '"rope_interleaved" is true'],
    [{ pretraining_tp: 2 }, TypeError, '"pretraining_tp" is 2'],
    [{ residual_multiplier: 0.22 }, TypeError, '"residual_multiplier" (0.22) is not known'],
    [{ quantization_config: { bits: 4 } }, TypeError, '"quantization_config"'],
    [{ model_type: "qwen2", attention_bias: true }, TypeError, '"attention_bias" is true'],
    [{ model_type: "gemma3" }, TypeError, '"text_config"'],
    [
      { model_type: "gemma3_text", attn_logit_softcapping: 50 },
      TypeError,
      '"attn_logit_softcapping" is 50',
    ],
    [{ vocab_size: undefined }, TypeError, '"vocab_size" is undefined'],
    [{ hidden_size: "36" }, TypeError, '"hidden_size" is "36"'],
    [{ hidden_size: 34 }, RangeError, "hiddenSize is 34"],
    [{ intermediate_size: 45 }, RangeError, "intermediateSize is 45"],
    [{ num_hidden_layers: 0 }, RangeError, "layers is 0"],
    [{ num_hidden_layers: 1.5 }, RangeError, "layers is 1.5"],
    [{ num_key_value_heads: 3 }, RangeError, "4 heads"],
    [{ head_dim: 12 }, RangeError, "headDim is 12"],
    [{ head_dim: undefined }, RangeError, "headDim is 9"],
  ];
  for (const [change, error, message] of refused) {
    assertThrows(() => fromHuggingFace({ ...json, ...change }), error, message);
  }
  assertThrows(() => sizedConfig("nano", 0), RangeError, "vocabSize is 0");
});

Deno.test("a token outside the vocabulary and a sequence beyond the context are refused", async () => {
  using model = Decoder.create(gpu, tiny);
  const before = await model.logits(ids);
  await assertRejects(
    () => model.logits(Uint32Array.of(1, 52)),
    RangeError,
    "Cannot embed token 52: the vocabulary has 52 tokens",
  );
  await assertRejects(() => nllGradients(model, Uint32Array.of(1, 60, 2)), RangeError, "token 60");
  await assertRejects(
    () => model.logits(new Uint32Array(65)),
    RangeError,
    "sequence of 65 tokens: the model's context is 64",
  );
  await assertRejects(() => nllGradients(model, Uint32Array.of(1)), RangeError, "two or more");
  assertEquals((await model.logits(new Uint32Array(64))).length, 64 * 52);
  assertEquals(await model.logits(ids), before);
});

Deno.test("a packed batch whose lengths or targets do not fit is refused", () => {
  using model = Decoder.create(gpu, tiny);
  const batch = { ids, lengths: [7, 6], targets: Uint32Array.of(3) };
  const statistics = (change: Partial<typeof batch>) => () =>
    tokenStatistics(new Tape(gpu), model, { ...batch, ...change });
  assertThrows(statistics({ lengths: [7, 5] }), RangeError, "13 tokens");
  assertThrows(statistics({ lengths: [13, 0] }), RangeError, "empty");
  assertThrows(statistics({ targets: Uint32Array.of(3, 7) }), RangeError, "first of its sequence");
  assertThrows(statistics({ targets: Uint32Array.of(0) }), RangeError, "first of its sequence");
  assertThrows(statistics({ targets: Uint32Array.of(13) }), RangeError, "13");
  assertThrows(statistics({ targets: new Uint32Array(0) }), RangeError, "no tokens");
  gpu.discard();
});

Deno.test("an LM head in chunks gives the log-probabilities and gradients of one chunk", async () => {
  const [N, C, V] = [9, 36, 200];
  const random = new Random("chunks");
  const normal = (n: number) => Float32Array.from({ length: n }, () => 2 * random.float() - 1);
  const w = new Parameter(gpu, [V, C], "head", normal(V * C));
  const x = new Parameter(gpu, [N, C], "hidden", normal(N * C));
  const targets = Uint32Array.from({ length: N }, (_, i) => (i * 67) % V);
  const run = async (chunk: number) => {
    const tape = new Tape(gpu);
    const wanted = tape.upload(targets, "targets");
    const { logprob, entropy } = lmHead(tape, x, w, wanted, { temperature: 0.7, chunk });
    logprob.grad = tape.upload(Float32Array.from(targets, (t) => t / V - 0.3), "dlogprob");
    entropy.grad = tape.upload(new Float32Array(N).fill(0.1), "dentropy");
    const early = await gpu.read(logprob, entropy);
    tape.backward();
    const late = await gpu.read(x.grad!, w.grad!);
    gpu.endStep();
    x.grad = w.grad = null;
    return [...early, ...late].map((buffer) => new Float32Array(buffer));
  };
  const whole = await run(V);
  for (const chunk of [64, 128]) {
    const chunked = await run(chunk);
    ["logprob", "entropy", "dx", "dw"].forEach((what, i) =>
      assertClose(chunked[i]!, whole[i]!, 1e-6, `${what} in chunks of ${chunk}`)
    );
  }
  gpu.free([...w.buffers(), ...x.buffers()]);
});

Deno.test("disposing a model gives its memory back", async () => {
  using warm = Decoder.create(gpu, tiny);
  await nllGradients(warm, ids);
  const { liveBytes } = gpu.memory();
  {
    using model = Decoder.create(gpu, tiny);
    using trainer = new Trainer(model);
    await trainer.step([packed(ids, [ids.length])], 1e-2);
    await nllGradients(model, ids);
    assert(gpu.memory().liveBytes > liveBytes + sizeOf(model));
  }
  const { liveBytes: after, byOwner } = gpu.memory();
  // Scratch stays with the GPU for the next step; what belongs to the model is gone.
  assertEquals(after - liveBytes <= 4096, true, JSON.stringify(byOwner));
});

/** Bytes of its weights. */
function sizeOf(model: Decoder): number {
  return [...model.parameters.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}
