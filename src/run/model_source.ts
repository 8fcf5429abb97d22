/**
 * From what a user calls a model to the files it is made of: a folder, a GGUF file, a model of the
 * Hub, or an adapter for one of these.
 *
 * @module
 */

import { dirname, isAbsolute, join } from "@std/path";
import { CheckpointError } from "../io/safetensors.ts";
import { openGguf } from "../io/gguf.ts";
import { type HubOptions, resolveModel } from "../io/hub.ts";
import { findModel, modelFileNames, type ModelFiles } from "../io/model_files.ts";
import type { TensorSource } from "../io/source.ts";
import { type LoraConfig, loraFromPeft } from "../model/lora.ts";
import { parseObject } from "../model/open.ts";
import { ggufTokenizer } from "../text/gguf_tokenizer.ts";
import { Tokenizer } from "../text/tokenizer.ts";

/** An adapter that was trained before. */
export interface AdapterSource {
  /** Its folder. */
  readonly path: string;
  /** What it adapts. */
  readonly config: LoraConfig;
  /** Opens its tensors. */
  open(): Promise<TensorSource>;
}

/** A model's files. */
export interface ModelSource {
  /** The base model's id on the Hub, `@revision` with it; null where it is not from there. */
  readonly hubId: string | null;
  /** Folder or GGUF file of the base model. */
  readonly path: string;
  /** An adapter for it, where that was asked for. */
  readonly adapter: AdapterSource | null;
}

/**
 * Finds a model, downloading it where it is one of the Hub. A relative path that is not there is
 * looked up beside this package, so that `assets/base-nano` works from anywhere.
 *
 * @throws {CheckpointError} if a file is missing or damaged.
 * @throws {HubError} if the Hub does not give it.
 */
export async function locateModel(name: string, hub: HubOptions = {}): Promise<ModelSource> {
  const { path, hubId } = await find(name, hub);
  const files = await findModel(path);
  if (!files.adapter) return { hubId, path, adapter: null };
  const adapter = await openAdapterFolder(files);
  if (files.weights) return { hubId, path, adapter };
  const json = parseObject(await files.read(modelFileNames.adapterConfig), path);
  const base = json["base_model_name_or_path"];
  if (typeof base !== "string" || base === "") {
    throw new CheckpointError(
      `Cannot use the adapter in "${path}": its "base_model_name_or_path" does not say which model ` +
        "it belongs to. Write the model's folder or Hub id there",
    );
  }
  const near = isAbsolute(base) ? base : join(dirname(path), base);
  const revision = typeof json["revision"] === "string" ? `@${json["revision"]}` : "";
  const own = await find(await exists(near) ? near : base + revision, hub);
  if (!(await findModel(own.path)).weights) {
    throw new CheckpointError(
      `Cannot use the adapter in "${path}": "${base}", the model that it belongs to, is an adapter ` +
        "itself. Merge that one first: ./mentor export --model FOLDER --out FOLDER",
    );
  }
  return { ...own, adapter };
}

async function find(
  name: string,
  hub: HubOptions,
): Promise<{ path: string; hubId: string | null }> {
  const near = await beside(name);
  if (near !== null) return { path: near, hubId: null };
  return { path: await resolveModel(name, hub), hubId: await exists(name) ? null : name };
}

async function openAdapterFolder({ path, adapter, read }: ModelFiles): Promise<AdapterSource> {
  const json = parseObject(await read(modelFileNames.adapterConfig), path);
  return { path, config: loraFromPeft(json), open: () => adapter!.open() };
}

/**
 * A model's tokenizer, its chat template with it.
 *
 * @param path folder or GGUF file
 * @throws {CheckpointError} if there is none that can be read.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const files = await findModel(path);
  const text = async (name: string) => new TextDecoder().decode(await files.read(name));
  if (files.names.includes("tokenizer.json")) {
    const has = (name: string) => files.names.includes(name);
    const config = has("tokenizer_config.json") ? await text("tokenizer_config.json") : "{}";
    if (!has("chat_template.jinja")) {
      return Tokenizer.fromJSON(await text("tokenizer.json"), config);
    }
    // Newer models have their template in a file of its own; in memory it belongs to the config.
    const own = parseObject(new TextEncoder().encode(config), `${path}/tokenizer_config.json`);
    const whole = { ...own, chat_template: await text("chat_template.jinja") };
    return Tokenizer.fromJSON(await text("tokenizer.json"), JSON.stringify(whole));
  }
  if (files.weights?.kind !== "gguf") {
    throw new CheckpointError(
      `Cannot find a tokenizer in "${path}": it holds no tokenizer.json. Save one there, in Python: ` +
        "AutoTokenizer.from_pretrained(model).save_pretrained(folder)",
    );
  }
  using gguf = await openGguf(await files.weights.open());
  const { tokenizer, config } = ggufTokenizer(gguf.metadata);
  return Tokenizer.fromJSON(JSON.stringify(tokenizer), JSON.stringify(config));
}

async function beside(name: string): Promise<string | null> {
  if (await exists(name)) return null;
  const place = new URL(`../../${name}/`, import.meta.url);
  if (place.protocol !== "file:") return null;
  return await exists(join(place.pathname, modelFileNames.config)) ? place.pathname : null;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}
