/**
 * A trained model in the form that Transformers, vLLM and llama.cpp's converter load.
 *
 * @module
 */

import { saveFolder } from "../io/checkpoint.ts";
import { openAdapter } from "./adapter.ts";
import { ConfigError, type RunConfig } from "./config.ts";
import { loadStudent, tokenizerFiles } from "./student.ts";

/** Names of types in safetensors. */
const stored = { f32: "F32", bf16: "BF16", f16: "F16" } as const;

/**
 * Writes the model of `config.from`, adapters merged into it, to the folder `config.out`, in the
 * type `config.dtype`: as its file has it by default.
 *
 * @throws {ConfigError} if there is no folder to write to.
 * @throws {CheckpointError} if files cannot be read or written; nothing is half-written.
 */
export async function exportModel(
  config: RunConfig,
  onProgress?: (what: string, done: number, total: number) => void,
): Promise<{ folder: string; dtype: string; merged: boolean }> {
  const { from, out, dtype } = config;
  if (out === null) throw new ConfigError("Cannot export: say where the model goes with --out");
  using gpu = await openAdapter(config);
  using student = await loadStudent(gpu, from, { dtype, onProgress });
  const { model, tokenizer } = student;
  const kept = [...model.weights.values()].find(({ shape }) => shape.length > 1)!.dtype;
  const type = stored[kept];
  await saveFolder(out, { ...await model.files(type), ...tokenizerFiles(tokenizer) });
  return { folder: out, dtype: type, merged: model.adapters !== null };
}
