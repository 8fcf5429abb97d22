/**
 * The model that a run works on, with its tokenizer and chat format, from a folder and back.
 *
 * @module
 */

import { join } from "@std/path";
import type { Gpu } from "../gpu/device.ts";
import { CheckpointError, readFolder, saveFolder } from "../io/checkpoint.ts";
import { sizedConfig, type sizes } from "../model/config.ts";
import { Decoder } from "../model/decoder.ts";
import { type ChatFormat, compactChat } from "../text/chat_template.ts";
import { templateChat } from "../text/template_chat.ts";
import { Tokenizer } from "../text/tokenizer.ts";

/** A model that can talk. */
export interface Student extends Disposable {
  readonly model: Decoder;
  readonly tokenizer: Tokenizer;
  readonly chat: ChatFormat;
}

/** What models that ask for the date are told: a run must not depend on the day that it is made. */
const DATE = new Date(2024, 6, 26);

function chatOf(tokenizer: Tokenizer): ChatFormat {
  return tokenizer.hasToken("<|end_call|>")
    ? compactChat(tokenizer)
    : templateChat(tokenizer, { now: DATE });
}

function student(model: Decoder, tokenizer: Tokenizer): Student {
  if (model.config.vocabSize < tokenizer.vocabSize) {
    throw new CheckpointError(
      `Cannot use the model: its vocabulary has ${model.config.vocabSize} tokens, the tokenizer ` +
        `${tokenizer.vocabSize}. Check that they belong together`,
    );
  }
  return {
    model,
    tokenizer,
    chat: chatOf(tokenizer),
    [Symbol.dispose]: () => model[Symbol.dispose](),
  };
}

/** A student with random weights. */
export function newStudent(gpu: Gpu, size: keyof typeof sizes, seed: number): Student {
  const tokenizer = Tokenizer.bytes();
  return student(Decoder.create(gpu, sizedConfig(size, tokenizer.vocabSize), { seed }), tokenizer);
}

/**
 * Loads a student from a folder; a relative path that is not there is looked up beside this
 * package, so that `assets/base-nano` works from anywhere.
 *
 * @throws {CheckpointError} if a file is missing or damaged.
 * @throws {ChatTemplateError} if the model has no chat template.
 */
export async function loadStudent(gpu: Gpu, path: string): Promise<Student> {
  const folder = await located(path);
  const model = await Decoder.load(gpu, folder);
  const files = await readFolder(folder, ["tokenizer.json", "tokenizer_config.json"]);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const tokenizer = Tokenizer.fromJSON(
    text(files["tokenizer.json"]),
    await withTemplate(folder, text(files["tokenizer_config.json"])),
  );
  return student(model, tokenizer);
}

/** Everything that makes the folder of a student: config, weights, tokenizer. */
export async function studentFiles(
  { model, tokenizer }: Student,
  dtype: "F32" | "BF16" = "F32",
): Promise<Record<string, Uint8Array | string>> {
  const { tokenizer: json, config } = tokenizer.toJSON();
  return {
    ...await model.files(dtype),
    "tokenizer.json": json,
    "tokenizer_config.json": config,
  };
}

/** Writes a student as a folder that Transformers loads. */
export async function saveStudent(
  student: Student,
  folder: string,
  dtype: "F32" | "BF16" = "F32",
): Promise<void> {
  await saveFolder(folder, await studentFiles(student, dtype));
}

/** Newer models have their template in a file of its own; in memory it belongs to the config. */
async function withTemplate(folder: string, config: string): Promise<string> {
  let template: string;
  try {
    template = await Deno.readTextFile(join(folder, "chat_template.jinja"));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return config;
    throw error;
  }
  return JSON.stringify({ ...JSON.parse(config), chat_template: template });
}

async function located(path: string): Promise<string> {
  const beside = new URL(`../../${path}/`, import.meta.url);
  for (const place of [path, beside.protocol === "file:" ? beside.pathname : path]) {
    try {
      await Deno.stat(join(place, "config.json"));
      return place;
    } catch {
      // The next place, or the error of reading the given one below.
    }
  }
  return path;
}
