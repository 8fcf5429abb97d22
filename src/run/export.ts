/**
 * A trained model in the form that Transformers, vLLM and llama.cpp's converter load.
 *
 * @module
 */

import { saveFolder } from "../io/checkpoint.ts";
import { findModel } from "../io/model_files.ts";
import { Decoder } from "../model/decoder.ts";
import { openAdapter } from "./adapter.ts";
import { ConfigError, resolveConfig } from "./config/mod.ts";
import { loadTokenizer, locateModel } from "./model_source.ts";
import {
  hubProgress,
  type OnProgress,
  restoreAdapter,
  storageOf,
  tokenizerFiles,
} from "./student.ts";

/** Names of types in safetensors. */
const stored = { f32: "F32", bf16: "BF16", f16: "F16" } as const;

/** Says which tokens end a turn, among other things; nothing of it changes in training. */
const GENERATION = "generation_config.json";

/** What was written. */
export interface Exported {
  /** Where it is. */
  readonly folder: string;
  /** Type of the weights. */
  readonly dtype: "F32" | "BF16" | "F16";
  /** Whether adapters were merged into them. */
  readonly merged: boolean;
}

/**
 * Writes the model of `from`, adapters merged into it, to the folder `out`, in the type `dtype`: as
 * its file has it by default.
 *
 * @param input settings of a run, of which these three count
 * @throws {ConfigError} if there is no folder to write to.
 * @throws {CheckpointError} if files cannot be read or written; nothing is half-written.
 */
export async function exportModel(
  input: Readonly<Record<string, unknown>>,
  onProgress?: OnProgress,
): Promise<Exported> {
  const config = resolveConfig({ flags: input });
  const { from, out, dtype } = config;
  if (out === null) throw new ConfigError("Cannot export: say where the model goes with --out");
  const { path, adapter } = await locateModel(from, hubProgress(onProgress));
  using gpu = await openAdapter(config);
  using model = await Decoder.load(gpu, path, {
    ...storageOf({ train: false, dtype }),
    onProgress: (done, total) => onProgress?.("load", done, total),
  });
  if (adapter) await restoreAdapter(model, adapter, 0);
  const kept = [...model.weights.values()].find(({ shape }) => shape.length > 1)!.dtype;
  const files = await findModel(path);
  await saveFolder(out, {
    ...await model.files(stored[kept]),
    ...tokenizerFiles(await loadTokenizer(path)),
    ...(files.names.includes(GENERATION) ? { [GENERATION]: await files.read(GENERATION) } : {}),
  });
  return { folder: out, dtype: stored[kept], merged: adapter !== null };
}
