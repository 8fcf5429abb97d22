// Small models with low-rank adapters, and those of PEFT (see tests/golden/make_lora_goldens.py).

import type { Gpu } from "../src/gpu/device.ts";
import {
  decodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { fromHuggingFace } from "../src/model/families.ts";
import { type Adapters, defaultLora, type LoraConfig, loraFromPeft } from "../src/model/lora.ts";
import { Random } from "../src/random.ts";
import { tiny } from "./models.ts";

/** Names of the goldens. */
export const loraGoldens = ["qwen3", "llama3", "gpt2"];

/** The files of a folder of goldens. */
function goldenFolder(path: string) {
  const folder = new URL(`./golden/${path}/`, import.meta.url);
  return {
    json: (file: string) => JSON.parse(Deno.readTextFileSync(new URL(file, folder))),
    tensors: (file: string) =>
      decodeSafetensors(Deno.readFileSync(new URL(file, folder)), file).tensors,
  };
}

/** A model of one family, and the tokens of its golden. */
export function familyGolden(name: string) {
  const { json, tensors } = goldenFolder(`families/${name}`);
  return {
    config: fromHuggingFace(json("config.json")),
    weights: tensors("model.safetensors"),
    ids: Uint32Array.from(json("expected.json").ids as number[]),
  };
}

/** Adapters that PEFT stored, the model of the family that they are for, and what PEFT computed. */
export function loraGolden(name: string) {
  const { json, tensors } = goldenFolder(`lora/${name}`);
  return {
    ...familyGolden(name),
    json: json("adapter_config.json") as Record<string, unknown>,
    adapters: tensors("adapter_model.safetensors"),
    expected: tensors("expected.safetensors"),
    loss: json("expected.json").loss as number,
  };
}

/** A golden's base with its adapters. */
export function adaptedGolden(gpu: Gpu, name: string, storage: { dtype?: "bf16" } = {}): Decoder {
  const { config, weights, json, adapters } = loraGolden(name);
  const model = Decoder.fromTensors(gpu, config, weights, { frozen: true, ...storage });
  model.adapt(loraFromPeft(json)).restore(adapters, name);
  return model;
}

/** A tiny model with adapters that change something. */
export function adaptedTiny(gpu: Gpu, lora: Partial<LoraConfig> = {}, seed = 4): Decoder {
  const model = Decoder.create(gpu, tiny, { seed, frozen: true });
  scramble(model.adapt({ ...defaultLora, ...lora }, { seed }));
  return model;
}

/** Gives adapters random matrices of one size. */
export function scramble(adapters: Adapters): void {
  const random = new Random("adapters");
  const zeros = adapters.takeApart(
    new Map([...adapters.parameters].map(([name, { size }]) => [name, new Float32Array(size)])),
  );
  const filled = [...zeros].map(([name, tensor]): [string, StoredTensor] => {
    const values = toFloat32(tensor).map(() => 0.6 * random.float() - 0.3);
    return [name, { ...tensor, data: fromFloat32(values, "F32") }];
  });
  adapters.restore(new Map(filled), "random");
}
