/**
 * Reads the adapters that PEFT stored.
 *
 * @module
 */

import { findModel, modelFileNames } from "../io/model_files.ts";
import { CheckpointError, decodeSafetensors, type StoredTensor } from "../io/safetensors.ts";
import type { Decoder } from "./decoder.ts";
import type { AdapterFiles, Adapters } from "./lora.ts";
import { loraFromPeft } from "./lora_config.ts";
import { parseObject } from "./open.ts";

const { adapterConfig, adapter } = modelFileNames;

/**
 * Adds stored adapters to a model. Where that fails at their tensors, it has adapters that change
 * nothing.
 *
 * @param from a folder with `adapter_config.json` and `adapter_model.safetensors`, or their contents
 * @param options `seed` is that of their dropout
 * @throws {CheckpointError} if a file is missing or damaged, or they are not for this model.
 * @throws {TypeError} if the config asks for maths that is not implemented, or the model can have no
 * adapters.
 * @throws {RangeError} if a target is no linear layer of the model.
 */
export async function loadAdapters(
  model: Decoder,
  from: string | AdapterFiles,
  options: { seed?: number } = {},
): Promise<Adapters> {
  const { json, tensors, label } = typeof from === "string" ? await fromFolder(from) : {
    json: parseObject(new TextEncoder().encode(from[adapterConfig]), adapterConfig),
    tensors: decodeSafetensors(from[adapter], adapter).tensors,
    label: adapter,
  };
  const adapters = model.adapt(loraFromPeft(json), options);
  adapters.restore(tensors, label);
  return adapters;
}

async function fromFolder(path: string) {
  const files = await findModel(path);
  if (!files.adapter) {
    throw new CheckpointError(
      `Cannot load adapters from "${path}": it holds a model and no ${adapter}`,
    );
  }
  const json = parseObject(await files.read(adapterConfig), `${path}/${adapterConfig}`);
  const tensors = new Map<string, StoredTensor>();
  using source = await files.adapter.open();
  for (const name of source.entries.keys()) tensors.set(name, await source.read(name));
  return { json, tensors, label: path };
}
