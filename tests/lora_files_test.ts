// The files of low-rank adapters: PEFT's names for them, and what is refused.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import {
  CheckpointError,
  decodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { defaultLora, type LoraConfig, loraFromPeft, loraToPeft } from "../src/model/lora.ts";
import { adaptedGolden, adaptedTiny, familyGolden, loraGolden, loraGoldens } from "./adapters.ts";
import { tiny } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

for (const name of loraGoldens) {
  Deno.test(`${name}: adapters are written with PEFT's names, shapes and bits`, async () => {
    const { config, weights, json, adapters } = loraGolden(name);
    using model = adaptedGolden(gpu, name);
    const files = await model.adapters!.files("some/base");
    const { tensors, metadata } = decodeSafetensors(files["adapter_model.safetensors"]);
    assertEquals(metadata, { format: "pt" });
    assertEquals(new Map([...tensors].sort()), new Map([...adapters].sort()));
    const written = JSON.parse(files["adapter_config.json"]);
    assertEquals(written["base_model_name_or_path"], "some/base");
    for (const [field, value] of Object.entries(written)) {
      if (field !== "base_model_name_or_path") assertEquals(value, json[field], field);
    }
    using again = Decoder.fromTensors(gpu, config, weights, { frozen: true });
    const loaded = again.adapt(loraFromPeft(written));
    loaded.restore(tensors, "files");
    assertEquals(loaded.config, model.adapters!.config);
    assertEquals(await loaded.values(), await model.adapters!.values());
  });
}

Deno.test("stored adapters that do not fit are refused with every fault listed, and change nothing", async () => {
  using model = adaptedTiny(gpu, { targets: ["q_proj", "down_proj"] });
  const adapters = model.adapters!;
  const before = await adapters.values();
  const changed = new Map(before);
  const name = (layer: number, module: string, matrix: string) =>
    `base_model.model.model.layers.${layer}.${module}.lora_${matrix}.weight`;
  const [gone, bent, extra] = [
    name(0, "self_attn.q_proj", "A"),
    name(1, "mlp.down_proj", "B"),
    name(1, "mlp.up_proj", "A"),
  ];
  changed.delete(gone);
  changed.set(bent, { ...before.get(bent)!, shape: [8, 36] });
  changed.set(extra, before.get(gone)!);
  const error = assertThrows(
    () => adapters.restore(changed, "some/folder"),
    CheckpointError,
    'Cannot load adapters from "some/folder"',
  );
  for (
    const fault of [
      `"${gone}" is missing`,
      `"${bent}" has shape [8, 36], expected [36, 8]`,
      `"${extra}" is not part of these adapters`,
    ]
  ) assert(error.message.includes(fault), error.message);
  const many = assertThrows(
    () => model.base.adapt(defaultLora).restore(new Map(), "other"),
    CheckpointError,
  );
  assert(many.message.includes("; and 16 more"), many.message);
  assertEquals(await adapters.values(), before);
});

Deno.test("half-precision adapters are taken as what they round to", async () => {
  using model = adaptedTiny(gpu, { rank: 2, targets: ["up_proj"] });
  const adapters = model.adapters!;
  const start = await adapters.values();
  for (const dtype of ["BF16", "F16"] as const) {
    const stored = [...start].map(([name, tensor]): [string, StoredTensor] => [
      name,
      { ...tensor, dtype, data: fromFloat32(toFloat32(tensor), dtype) },
    ]);
    adapters.restore(new Map(stored), dtype);
    const values = await adapters.values();
    for (const [name, tensor] of stored) {
      assertEquals(toFloat32(values.get(name)!), toFloat32(tensor), name);
    }
  }
});

Deno.test("targets that are no linear layers, ranks and shares out of range are refused by name", () => {
  using model = Decoder.create(gpu, tiny, { frozen: true });
  const refused: [Partial<LoraConfig>, string][] = [
    [{ targets: ["q_proj", "c_attn"] }, "Cannot adapt c_attn: the linear layers of this model are"],
    [{ targets: ["lm_head"] }, "lm_head"],
    [
      { targets: ["embed_tokens"] },
      "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
    ],
    [{ targets: ["proj"] }, "Cannot adapt proj"],
    [{ targets: [] }, "Cannot adapt nothing"],
    [{ rank: 0 }, "rank is 0"],
    [{ rank: 1.5 }, "rank is 1.5"],
    [{ alpha: 0 }, "alpha 0"],
    [{ alpha: NaN }, "alpha NaN"],
    [{ alpha: Infinity }, "alpha Infinity"],
    [{ dropout: 1 }, "dropout 1"],
    [{ dropout: -0.1 }, "dropout -0.1"],
  ];
  for (const [change, message] of refused) {
    assertThrows(() => model.adapt({ ...defaultLora, ...change }), RangeError, message);
  }
  assertEquals(model.adapters, null);
  model.adapt({ ...defaultLora, targets: ["layers.1.self_attn.q_proj", "mlp.down_proj"] });
  assertEquals([...model.adapters!.parameters.keys()], [
    "model.layers.0.mlp.down_proj.lora_A",
    "model.layers.0.mlp.down_proj.lora_B",
    "model.layers.1.self_attn.qkv_proj.lora_A",
    "model.layers.1.self_attn.qkv_proj.lora_B",
    "model.layers.1.mlp.down_proj.lora_A",
    "model.layers.1.mlp.down_proj.lora_B",
  ]);
  assertThrows(() => model.adapt(defaultLora), TypeError, "has some already");
  using trained = Decoder.create(gpu, tiny);
  assertThrows(() => trained.adapt(defaultLora), TypeError, "{ frozen: true }");
});

Deno.test("a config of PEFT's is read as it is meant, with PEFT's defaults", () => {
  const least = { peft_type: "LORA", r: 4, target_modules: ["q_proj"] };
  const expected = { rank: 4, alpha: 8, dropout: 0, targets: ["q_proj"], rankStabilised: false };
  assertEquals(loraFromPeft(least), expected);
  assertEquals(
    loraFromPeft({
      ...least,
      ...{ lora_alpha: 32, lora_dropout: 0.05, use_rslora: true, target_modules: "all-linear" },
      ...{ init_lora_weights: "gaussian", use_dora: false, modules_to_save: [], rank_pattern: {} },
    }),
    { rank: 4, alpha: 32, dropout: 0.05, targets: "all-linear", rankStabilised: true },
  );
  for (const name of ["qwen3", "gpt2"]) {
    const lora = { ...defaultLora, dropout: 0.1, targets: ["a", "b"], rankStabilised: true };
    const json = loraToPeft(lora, familyGolden(name).config, null);
    assertEquals(json["fan_in_fan_out"], name === "gpt2");
    assertEquals(loraFromPeft(json), lora);
  }
});

Deno.test("a config of PEFT's that asks for what is not implemented is refused by name", () => {
  const { json } = loraGolden("qwen3");
  const refused: [Record<string, unknown>, string][] = [
    [{ peft_type: "LOHA" }, '"peft_type" is "LOHA", only "LORA" is implemented'],
    [{ bias: "all" }, '"bias" is "all", only "none" is implemented'],
    [{ lora_bias: true }, '"lora_bias" is true, only false is implemented'],
    [{ use_dora: true }, '"use_dora" is true'],
    [{ use_qalora: true }, '"use_qalora" is true'],
    [{ use_bdlora: { nblocks: 2 } }, '"use_bdlora" is {"nblocks":2}'],
    [{ use_something_new: true }, '"use_something_new" is true'],
    [{ use_rslora: 1 }, '"use_rslora" is 1, expected true or false'],
    [
      { init_lora_weights: "pissa" },
      '"init_lora_weights" is "pissa", only true, false, "gaussian"',
    ],
    [{ layers_to_transform: [0] }, '"layers_to_transform" is [0], only null is implemented'],
    [{ layers_to_transform: 0 }, '"layers_to_transform" is 0'],
    [{ modules_to_save: ["lm_head"] }, '"modules_to_save" is ["lm_head"]'],
    [{ exclude_modules: ["q_proj"] }, '"exclude_modules"'],
    [{ trainable_token_indices: [1] }, '"trainable_token_indices"'],
    [{ target_parameters: ["w"] }, '"target_parameters"'],
    [{ layer_replication: [[0, 1]] }, '"layer_replication"'],
    [{ alora_invocation_tokens: [1] }, '"alora_invocation_tokens"'],
    [{ arrow_config: {} }, '"arrow_config"'],
    [{ kasa_config: {} }, '"kasa_config"'],
    [{ monteclora_config: {} }, '"monteclora_config"'],
    [{ velora_config: {} }, '"velora_config"'],
    [{ rank_pattern: { q_proj: 4 } }, '"rank_pattern" is {"q_proj":4}, only one rank and alpha'],
    [{ alpha_pattern: { q_proj: 4 } }, '"alpha_pattern" is {"q_proj":4}'],
    [{ r: undefined }, '"r" is undefined, expected a number'],
    [{ r: "8" }, '"r" is "8"'],
    [{ lora_alpha: "16" }, '"lora_alpha" is "16"'],
    [{ lora_dropout: true }, '"lora_dropout" is true'],
    [{ target_modules: null }, '"target_modules" is null, expected a list of names'],
    [{ target_modules: ".*q_proj" }, '"target_modules" is ".*q_proj"'],
    [{ target_modules: ["q_proj", 3] }, '"target_modules" is ["q_proj",3]'],
  ];
  for (const [change, message] of refused) {
    assertThrows(() => loraFromPeft({ ...json, ...change }), TypeError, message);
  }
});
