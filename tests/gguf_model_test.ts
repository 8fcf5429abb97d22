import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CheckpointError, toFloat32 } from "../src/io/safetensors.ts";
import { ggufConfig } from "../src/model/gguf.ts";
import { llama3Scaling } from "../src/model/gguf_rope.ts";
import { ggufTensors } from "../src/model/gguf_tensors.ts";
import { ggufBytes, openBytes, type Tensor, type Value } from "./gguf_files.ts";

/** A table of two embeddings, without which a file is no model. */
const table: Tensor = { shape: [2, 8], data: Array.from({ length: 16 }, (_, i) => i) };

/** The fields that every architecture has; C 8, H 4, KV 2, D 4. */
function fields(architecture: string, more: Record<string, Value> = {}): Record<string, Value> {
  const own = {
    block_count: 2,
    context_length: 128,
    embedding_length: 8,
    feed_forward_length: 12,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.key_length": 4,
    "attention.value_length": 4,
    "attention.layer_norm_rms_epsilon": { f32: 1e-6 },
    "rope.freq_base": { f32: 500000 },
    ...more,
  };
  return {
    "general.architecture": architecture,
    ...Object.fromEntries(
      Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value]),
    ),
  };
}

function open(metadata: Record<string, Value>, tensors: Record<string, Tensor> = {}) {
  return openBytes(ggufBytes(metadata, { "token_embd.weight": table, ...tensors }));
}

async function config(metadata: Record<string, Value>, tensors: Record<string, Tensor> = {}) {
  return await ggufConfig(await open(metadata, tensors));
}

const rotaryConfig = {
  vocab_size: 2,
  tie_word_embeddings: true,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-6,
  rope_theta: 500000,
  rope_scaling: null,
};

Deno.test("each architecture's config has the fields of its Hugging Face family", async () => {
  const bias: Tensor = { shape: [16], data: new Array(16).fill(0) };
  assertEquals(
    await config({
      ...fields("llama", { "rope.dimension_count": 4 }),
      "tokenizer.ggml.bos_token_id": 0,
      "tokenizer.ggml.eos_token_id": 1,
      "tokenizer.ggml.eot_token_id": 0,
      "tokenizer.ggml.padding_token_id": 1,
    }, { "output.weight": table, "blk.0.attn_q.bias": bias }),
    {
      ...rotaryConfig,
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      tie_word_embeddings: false,
      bos_token_id: 0,
      eos_token_id: [1, 0],
      pad_token_id: 1,
      hidden_act: "silu",
      attention_bias: true,
      mlp_bias: false,
    },
  );
  assertEquals(await config(fields("qwen2")), {
    ...rotaryConfig,
    architectures: ["Qwen2ForCausalLM"],
    model_type: "qwen2",
    hidden_act: "silu",
    use_sliding_window: false,
  });
  assertEquals(await config(fields("qwen3")), {
    ...rotaryConfig,
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    hidden_act: "silu",
    use_sliding_window: false,
    attention_bias: false,
  });
  const gemma = { ...fields("gemma3", { block_count: 7, "attention.sliding_window": 16 }) };
  assertEquals(await config(gemma), {
    ...rotaryConfig,
    architectures: ["Gemma3ForCausalLM"],
    model_type: "gemma3_text",
    num_hidden_layers: 7,
    hidden_activation: "gelu_pytorch_tanh",
    attention_bias: false,
    query_pre_attn_scalar: 4,
    sliding_window: 16,
    layer_types: [
      ...Array(5).fill("sliding_attention"),
      "full_attention",
      "sliding_attention",
    ],
    rope_local_base_freq: 10000,
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
  });
  const gpt2 = fields("gpt2", { "attention.layer_norm_epsilon": { f32: 1e-5 } });
  assertEquals(await config(gpt2), {
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    vocab_size: 2,
    tie_word_embeddings: true,
    n_embd: 8,
    n_layer: 2,
    n_head: 4,
    n_inner: 12,
    n_positions: 128,
    n_ctx: 128,
    layer_norm_epsilon: 1e-5,
    activation_function: "gelu_new",
  });
});

Deno.test("Gemma's layers slide as the file says, and 27B scales by C / H", async () => {
  const types = async (more: Record<string, Value>) =>
    (await config(fields("gemma3", more)))["layer_types"];
  const [sliding, full] = ["sliding_attention", "full_attention"];
  const window = { "attention.sliding_window": 16 };
  const pattern = (value: Value) => ({ ...window, "attention.sliding_window_pattern": value });
  assertEquals(await types(pattern(2)), [sliding, full]);
  assertEquals(await types(pattern([false, true])), [full, sliding]);
  assertEquals(await types({}), [full, full]);
  const large = await config(fields("gemma3", { ...window, block_count: 62 }));
  assertEquals(large["query_pre_attn_scalar"], 2);
});

Deno.test("the head size falls back to what older converters wrote", async () => {
  const older = fields("qwen2");
  delete older["qwen2.attention.key_length"];
  delete older["qwen2.attention.value_length"];
  assertEquals((await config(older))["head_dim"], 2);
  assertEquals((await config({ ...older, "qwen2.rope.dimension_count": 6 }))["head_dim"], 6);
});

Deno.test("linear and YaRN scaling of rotary frequencies come from the metadata", async () => {
  const scaling = async (more: Record<string, Value>) =>
    (await config(fields("llama", more)))["rope_scaling"];
  const kind = (type: string, more: Record<string, Value> = {}) =>
    scaling({ "rope.scaling.type": type, "rope.scaling.factor": { f32: 4 }, ...more });
  assertEquals(await kind("none"), null);
  assertEquals(await kind("linear"), { rope_type: "linear", factor: 4 });
  assertEquals(await scaling({ "rope.scale_linear": { f32: 2 } }), {
    rope_type: "linear",
    factor: 2,
  });
  const yarn = { rope_type: "yarn", factor: 4, beta_fast: 32, beta_slow: 1 };
  assertEquals(await kind("yarn", { "rope.scaling.original_context_length": 32 }), {
    ...yarn,
    original_max_position_embeddings: 32,
  });
  assertEquals(await kind("yarn", { "rope.scaling.attn_factor": { f32: 0.5 } }), {
    ...yarn,
    original_max_position_embeddings: 128,
    attention_factor: 0.5 * (0.1 * Math.log(4) + 1),
  });
  await assertRejects(() => kind("longrope"), CheckpointError, 'type" is "longrope"; supported');
});

/** The divisors that llama.cpp's converter stores for Llama 3's parameters, [D / 2]. */
function llama3Factors(pairs: number, theta: number, factor: number, low: number, high: number) {
  const original = 8192;
  return Float32Array.from({ length: pairs }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** (i / pairs);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

Deno.test("Llama 3's parameters are solved from the divisors that the file has", async () => {
  const parameters = (factor: number) => ({
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  });
  for (const [pairs, factor] of [[32, 32], [64, 32], [64, 8]] as const) {
    const factors = llama3Factors(pairs, 500000, factor, 1, 4);
    assertEquals(llama3Scaling(factors, 500000), parameters(factor));
  }
  // Only the ratios of the three matter: 2, 8 and 16384 give the same divisors.
  const same = llama3Scaling(llama3Factors(64, 500000, 8, 2, 8), 500000);
  assertEquals(same, { ...parameters(8), original_max_position_embeddings: 4096 });
  assertEquals(llama3Scaling(new Float32Array(64).fill(1), 500000), null);
  assertEquals(llama3Scaling(Float32Array.from({ length: 64 }, (_, i) => 1 + i), 500000), null);

  const file = (data: number[]) =>
    config(fields("llama"), { "rope_freqs.weight": { shape: [data.length], data } });
  assertEquals((await file([1, 3]))["rope_scaling"], {
    rope_type: "longrope",
    short_factor: [1, 3],
    long_factor: [1, 3],
    attention_factor: 1,
    original_max_position_embeddings: 128,
  });
  for (const data of [[1, 0], [1, 2, 3]]) {
    await assertRejects(() => file(data), CheckpointError, "expected 2 above 0");
  }
});

Deno.test("a model that its family can't express is refused with the reason", async () => {
  const faults: [Record<string, Value>, string][] = [
    [{}, '"general.architecture" is undefined, supported are llama, qwen2, qwen3, gemma3, gpt2'],
    [{ "general.architecture": "toString" }, 'is "toString", supported are'],
    [{ "general.architecture": "llama" }, 'it has no "llama.'],
    [fields("llama", { expert_count: 8 }), "it has 8 experts per layer"],
    [fields("llama", { "rope.dimension_count": 2 }), "values of 4 and rotate 2 elements"],
    [fields("llama", { "attention.value_length": 2 }), "values of 2 and rotate 4 elements"],
    [fields("llama", { block_count: "2" }), '"llama.block_count" is "2", expected one number'],
    [fields("llama", { feed_forward_length: [12, 16] }), "is a list whose values differ"],
  ];
  for (const [metadata, message] of faults) {
    const error = await assertRejects(() => config(metadata), CheckpointError);
    assert(error.message.includes(message), error.message);
    assert(error.message.startsWith("Cannot read model.gguf: "), error.message);
  }
  const equal = await config(fields("llama", { feed_forward_length: [12, 12] }));
  assertEquals(equal["intermediate_size"], 12);
  await assertRejects(
    async () => ggufConfig(await openBytes(ggufBytes(fields("llama")))),
    CheckpointError,
    "no table of embeddings",
  );
});

Deno.test("Llama's rotary halves come back as Transformers has them, in every type", async () => {
  // [H * D, C] and [KV * D, C] as in a Hugging Face checkpoint; llama.cpp's converter interleaves
  // the halves of each head: row (half, pair) goes to row (pair, half).
  const [C, D] = [8, 4];
  const weight = (heads: number) => Float32Array.from({ length: heads * D * C }, (_, i) => i);
  const converted = (values: Float32Array, width: number, heads: number) => {
    const to = new Float32Array(values.length);
    for (let head = 0; head < heads; head++) {
      for (let half = 0; half < 2; half++) {
        for (let pair = 0; pair < D / 2; pair++) {
          const row = (head * D + half * (D / 2) + pair) * width;
          const target = (head * D + pair * 2 + half) * width;
          to.set(values.subarray(row, row + width), target);
        }
      }
    }
    return to;
  };
  const [q, k] = [weight(4), weight(2)];
  const bias = Float32Array.from({ length: 4 * D }, (_, i) => i);
  const half = new Uint8Array(new Float16Array(converted(k, C, 2)).buffer);
  using tensors = ggufTensors(
    await open(fields("llama"), {
      "blk.1.attn_q.weight": { shape: [4 * D, C], data: converted(q, C, 4) },
      "blk.1.attn_q.bias": { shape: [4 * D], data: converted(bias, 1, 4) },
      "blk.1.attn_k.weight": { shape: [2 * D, C], type: 1, data: half },
      "blk.1.attn_v.weight": { shape: [2 * D, C], data: k },
      "rope_freqs.weight": { shape: [2], data: [1, 1] },
    }),
  );
  const attention = "model.layers.1.self_attn";
  assertEquals([...tensors.entries.keys()], [
    "model.embed_tokens.weight",
    `${attention}.q_proj.weight`,
    `${attention}.q_proj.bias`,
    `${attention}.k_proj.weight`,
    `${attention}.v_proj.weight`,
  ]);
  const values = async (name: string) => toFloat32(await tensors.read(name));
  assertEquals(await values(`${attention}.q_proj.weight`), q);
  assertEquals(await values(`${attention}.q_proj.bias`), bias);
  assertEquals(await values(`${attention}.k_proj.weight`), k);
  assertEquals((await tensors.read(`${attention}.k_proj.weight`)).dtype, "F16");
  assertEquals(await values(`${attention}.v_proj.weight`), k);
  await assertRejects(() => tensors.read("lm_head.weight"), CheckpointError, "no tensor for");
});

Deno.test("Qwen's tensors are renamed and else as they are", async () => {
  const data = Float32Array.from({ length: 16 * 8 }, (_, i) => i);
  const tensors = ggufTensors(
    await open(fields("qwen3"), {
      "blk.0.attn_q.weight": { shape: [16, 8], data },
      "blk.0.attn_q_norm.weight": { shape: [4], data: [1, 2, 3, 4] },
      "output.weight": table,
    }),
  );
  const read = async (name: string) => toFloat32(await tensors.read(name));
  assertEquals(await read("model.layers.0.self_attn.q_proj.weight"), data);
  assertEquals([...await read("model.layers.0.self_attn.q_norm.weight")], [1, 2, 3, 4]);
  assertEquals([...await read("lm_head.weight")], [...table.data as number[]]);
});

Deno.test("Gemma's norms lose the 1 that the converter added", async () => {
  const half = new Uint8Array(Float16Array.of(1, 1.5).buffer);
  const tensors = ggufTensors(
    await open(fields("gemma3"), {
      "output_norm.weight": { shape: [2], data: [1, 1.25] },
      "blk.0.ffn_norm.weight": { shape: [2], data: [0.5, 3] },
      "blk.0.post_ffw_norm.weight": { shape: [2], type: 1, data: half },
      "blk.0.post_attention_norm.weight": { shape: [2], data: [2, 1] },
    }),
  );
  const expected: Record<string, number[]> = {
    "model.norm.weight": [0, 0.25],
    "model.layers.0.pre_feedforward_layernorm.weight": [-0.5, 2],
    "model.layers.0.post_feedforward_layernorm.weight": [0, 0.5],
    "model.layers.0.post_attention_layernorm.weight": [1, 0],
  };
  for (const [name, values] of Object.entries(expected)) {
    const tensor = await tensors.read(name);
    assertEquals(tensors.entries.get(name)!.dtype, tensor.dtype);
    assertEquals([...toFloat32(tensor)], values, name);
  }
  assertEquals((await tensors.read("model.embed_tokens.weight")).shape, [2, 8]);
});

Deno.test("GPT-2's matrices are [in, out] again, its tables and vectors as they are", async () => {
  const half = new Uint8Array(Float16Array.of(1, 2, 3, 4, 5, 6).buffer);
  const tensors = ggufTensors(
    await open(fields("gpt2"), {
      "position_embd.weight": { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
      "blk.0.attn_qkv.weight": { shape: [3, 2], data: [1, 2, 3, 4, 5, 6] },
      "blk.0.attn_qkv.bias": { shape: [3], data: [1, 2, 3] },
      "blk.0.ffn_down.weight": { shape: [2, 3], type: 1, data: half },
      "output_norm.bias": { shape: [2], data: [1, 2] },
    }),
  );
  const expected: [string, number[], number[]][] = [
    ["transformer.wpe.weight", [2, 3], [1, 2, 3, 4, 5, 6]],
    ["transformer.h.0.attn.c_attn.weight", [2, 3], [1, 3, 5, 2, 4, 6]],
    ["transformer.h.0.attn.c_attn.bias", [3], [1, 2, 3]],
    ["transformer.h.0.mlp.c_proj.weight", [3, 2], [1, 4, 2, 5, 3, 6]],
    ["transformer.ln_f.bias", [2], [1, 2]],
  ];
  for (const [name, shape, values] of expected) {
    const tensor = await tensors.read(name);
    assertEquals([tensors.entries.get(name)!.shape, tensor.shape], [shape, shape], name);
    assertEquals([...toFloat32(tensor)], values, name);
  }
});

Deno.test("a tensor that the family doesn't have is refused when the file is opened", async () => {
  for (const name of ["blk.0.ffn_gate_exps.weight", "blk.x.attn_q.weight", "lora", "toString"]) {
    const gguf = await open(fields("llama"), { [name]: { shape: [1], data: [1] } });
    assertThrows(
      () => ggufTensors(gguf),
      CheckpointError,
      `"${name}" is not part of a llama model`,
    );
  }
  const odd = { "blk.0.attn_q.weight": { shape: [6, 8], data: new Array(48).fill(0) } };
  const gguf = await open(fields("llama"), odd);
  assertThrows(() => ggufTensors(gguf), CheckpointError, "6 rows, which 4 heads of two halves");
});
