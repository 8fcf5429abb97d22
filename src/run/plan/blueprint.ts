/**
 * What a plan needs to know of a run's models: nothing of their weights.
 *
 * @module
 */

import { type DecoderConfig, sizedConfig } from "../../model/config.ts";
import { fromHuggingFace } from "../../model/families.ts";
import type { LoraConfig } from "../../model/lora_config.ts";
import { openModel } from "../../model/open.ts";
import { storedType } from "../../model/stored_types.ts";
import type { FloatType } from "../../tensor.ts";
import { Tokenizer } from "../../text/tokenizer.ts";
import { type Onlooker, onlookers } from "../auxiliary.ts";
import type { RunConfig } from "../config/mod.ts";
import { loadTokenizer, locateModel } from "../model_source.ts";
import { hubProgress, type OnProgress } from "../student.ts";

/** The sizes of a model, its tokens, and how its file has the weights. */
export interface Sizes {
  readonly config: DecoderConfig;
  readonly tokenizer: Tokenizer;
  readonly stored: FloatType;
  /** Of the adapter that comes with it. */
  readonly lora: LoraConfig | null;
}

/** The student's, and of the models beside it. */
export interface Blueprint extends Sizes {
  readonly onlookers: Readonly<Partial<Record<Onlooker, Sizes>>>;
}

/**
 * Reads the sizes of all models that a config names.
 *
 * @throws {CheckpointError} if a model cannot be read.
 */
export async function draw(config: RunConfig, onProgress?: OnProgress): Promise<Blueprint> {
  const others: Partial<Record<Onlooker, Sizes>> = {};
  for (const { role, name } of onlookers(config)) {
    others[role] = await measure(name, onProgress);
  }
  if (config.from !== "scratch") {
    return { ...await measure(config.from, onProgress), onlookers: others };
  }
  const tokenizer = Tokenizer.bytes();
  const sizes = sizedConfig(config.size, tokenizer.vocabSize);
  return { tokenizer, config: sizes, stored: "f32", lora: null, onlookers: others };
}

async function measure(name: string, onProgress?: OnProgress): Promise<Sizes> {
  const { path, adapter } = await locateModel(name, hubProgress(onProgress));
  using model = await openModel(path);
  return {
    tokenizer: await loadTokenizer(path),
    config: fromHuggingFace(model.json),
    stored: storedType(model.source.entries),
    lora: adapter?.config ?? null,
  };
}
