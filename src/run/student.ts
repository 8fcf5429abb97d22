/**
 * The model that a run works on, with its tokenizer and chat format, from files and back.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { Gpu } from "../gpu/device.ts";
import { CheckpointError, saveFolder } from "../io/checkpoint.ts";
import type { HubOptions } from "../io/hub.ts";
import type { StoredTensor } from "../io/safetensors.ts";
import { sizedConfig, type sizes } from "../model/config.ts";
import { Decoder } from "../model/decoder.ts";
import type { LoraConfig } from "../model/lora.ts";
import type { FloatType } from "../tensor.ts";
import { type ChatFormat, compactChat } from "../text/chat_template.ts";
import { templateChat } from "../text/template_chat.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import { ConfigError, type RunConfig } from "./config/mod.ts";
import { type AdapterSource, loadTokenizer, locateModel } from "./model_source.ts";

/** A model that can talk. */
export interface Student extends Disposable {
  readonly model: Decoder;
  readonly tokenizer: Tokenizer;
  readonly chat: ChatFormat;
  /** Where its weights came from, for adapters to say what they belong to; null if from nowhere. */
  readonly base: string | null;
}

/** Is told how far something long is. */
export type OnProgress = (what: string, done: number, total: number) => void;

/** Tells of downloads in the words of everything else. */
export function hubProgress(onProgress: OnProgress | undefined): HubOptions {
  return { onProgress: ({ file, done, total }) => onProgress?.(`download ${file}`, done, total) };
}

/** What a model is loaded for. */
export interface StudentOptions {
  /** Whether it is to be trained; its weights are frozen otherwise. */
  readonly train?: boolean;
  /** Adapters to train instead of the weights; none where the rank is 0. */
  readonly lora?: RunConfig["lora"];
  /** How it is talked to. */
  readonly chat?: RunConfig["chat"];
  /** How frozen weights are kept. */
  readonly dtype?: RunConfig["dtype"];
  /** Of the adapters' first values. */
  readonly seed?: number;
  /** Called while files are downloaded or tensors loaded. */
  readonly onProgress?: OnProgress | undefined;
  /** Access to the Hub. */
  readonly hub?: HubOptions;
}

/** What models that ask for the date are told: a run must not depend on the day that it is made. */
const DATE = new Date(2024, 6, 26);

/** The chat format of a tokenizer: the embedded student's, or that of its template. */
export function chatOf(tokenizer: Tokenizer, chat?: RunConfig["chat"]): ChatFormat {
  if (tokenizer.hasToken("<|end_call|>")) return compactChat(tokenizer);
  const { format = "auto", system = null } = chat ?? {};
  return templateChat(tokenizer, {
    now: DATE,
    ...(format === "auto" ? {} : { format }),
    ...(system === null ? {} : { system }),
  });
}

function student(
  model: Decoder,
  tokenizer: Tokenizer,
  base: string | null,
  chat?: RunConfig["chat"],
): Student {
  const { vocabSize } = model.config;
  // Control tokens alone may lie beyond: Gemma's has one for images, which its text models lack.
  if (vocabSize < tokenizer.textSize) {
    throw new CheckpointError(
      `Cannot use the model: its vocabulary has ${vocabSize} tokens, the tokenizer ` +
        `${tokenizer.textSize}. Check that they belong together`,
    );
  }
  return {
    model,
    tokenizer,
    base,
    chat: chatOf(tokenizer, chat),
    [Symbol.dispose]: () => model[Symbol.dispose](),
  };
}

/** A student with random weights. */
export function newStudent(gpu: Gpu, size: keyof typeof sizes, seed: number): Student {
  const tokenizer = Tokenizer.bytes();
  const model = Decoder.create(gpu, sizedConfig(size, tokenizer.vocabSize), { seed });
  return student(model, tokenizer, null);
}

/**
 * Loads a student: a folder, a GGUF file, a model of the Hub, or an adapter for one of these.
 *
 * @param name what the user calls it
 * @throws {CheckpointError} if a file is missing or damaged.
 * @throws {HubError} if the Hub does not give it.
 * @throws {ChatTemplateError} if the model has no chat template.
 */
export async function loadStudent(
  gpu: Gpu,
  name: string,
  { train = false, lora, chat, dtype = "auto", seed = 0, onProgress, hub = {} }: StudentOptions =
    {},
): Promise<Student> {
  const source = await locateModel(name, { ...hubProgress(onProgress), ...hub });
  if (source.adapter && lora && lora.rank > 0) requireSame(source.adapter.config, loraOf(lora));
  const tokenizer = await loadTokenizer(source.path);
  const adapts = source.adapter !== null || (train && lora !== undefined && lora.rank > 0);
  const model = await Decoder.load(gpu, source.path, {
    ...storageOf({ train: train && !adapts, dtype }),
    onProgress: (done, total) => onProgress?.("load", done, total),
  });
  try {
    if (source.adapter) await restoreAdapter(model, source.adapter, seed);
    else if (adapts) model.adapt(loraOf(lora!), { seed });
    return student(model, tokenizer, source.hubId ?? resolve(source.path), chat);
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/** An adapter that is trained on keeps its shape. */
function requireSame(given: LoraConfig, wanted: LoraConfig): void {
  if (JSON.stringify({ ...given, rankStabilised: false }) === JSON.stringify(wanted)) return;
  throw new ConfigError(
    `Cannot train an adapter of rank ${given.rank}, alpha ${given.alpha}, dropout ${given.dropout} ` +
      `on ${given.targets} with other settings of lora: leave them out, or merge it first ` +
      "(./mentor export) and begin a new one",
  );
}

/** How weights are kept: in f32 where they are trained. */
export function storageOf(
  { train, dtype }: { train: boolean; dtype: RunConfig["dtype"] },
): { frozen: boolean; dtype?: FloatType } {
  if (train) return { frozen: false, dtype: "f32" };
  return dtype === "auto" ? { frozen: true } : { frozen: true, dtype };
}

/** The adapters that a config asks for. */
export function loraOf({ rank, alpha, dropout, targets }: RunConfig["lora"]): LoraConfig {
  const all = targets.includes("all-linear");
  return {
    rank,
    alpha,
    dropout,
    targets: all ? "all-linear" : targets,
    rankStabilised: false,
  };
}

/** Gives a model the adapters that were trained before. */
export async function restoreAdapter(
  model: Decoder,
  adapter: AdapterSource,
  seed: number,
): Promise<void> {
  const adapters = model.adapt(adapter.config, { seed });
  using source = await adapter.open();
  const tensors = new Map<string, StoredTensor>();
  for (const name of source.entries.keys()) tensors.set(name, await source.read(name));
  adapters.restore(tensors, source.label);
}

/**
 * Everything that makes the folder of a student: tokenizer, and config and weights or, where there
 * are adapters, these in PEFT's format.
 */
export async function studentFiles(
  { model, tokenizer, base }: Pick<Student, "model" | "tokenizer" | "base">,
  dtype: "F32" | "BF16" = "F32",
): Promise<Record<string, Uint8Array | string>> {
  const { adapters } = model;
  return {
    ...(adapters ? await adapters.files(base) : await model.files(dtype)),
    ...tokenizerFiles(tokenizer),
  };
}

/** The files of a tokenizer, its chat template also where newer tools look for it. */
export function tokenizerFiles(tokenizer: Tokenizer): Record<string, string> {
  const { tokenizer: json, config } = tokenizer.toJSON();
  const template = tokenizer.chatTemplate;
  return {
    "tokenizer.json": json,
    "tokenizer_config.json": config,
    ...(template === null ? {} : { "chat_template.jinja": template }),
  };
}

/** Writes a student as a folder that Transformers, or PEFT, loads. */
export async function saveStudent(
  student: Student,
  folder: string,
  dtype: "F32" | "BF16" = "F32",
): Promise<void> {
  await saveFolder(folder, await studentFiles(student, dtype));
}
