/**
 * A model's config and tensors, whatever files hold them.
 *
 * @module
 */

import { openGguf } from "../io/gguf.ts";
import { findModel, modelFileNames } from "../io/model_files.ts";
import { CheckpointError } from "../io/safetensors.ts";
import type { TensorSource } from "../io/source.ts";
import { ggufConfig } from "./gguf.ts";
import { ggufTensors } from "./gguf_tensors.ts";

/** A model that can be read. */
export interface OpenModel extends Disposable {
  /** What `config.json` says, or would say. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Its tensors by their Hugging Face names. */
  readonly source: TensorSource;
}

/**
 * Opens a folder or a GGUF file; reads the headers alone.
 *
 * @throws {CheckpointError} if a file is missing or damaged, or the folder holds but an adapter.
 */
export async function openModel(path: string): Promise<OpenModel> {
  const files = await findModel(path);
  const { weights } = files;
  if (!weights) {
    throw new CheckpointError(
      `Cannot load a model from "${path}": it holds an adapter for another model, and not that one`,
    );
  }
  if (weights.kind === "gguf") {
    const gguf = await openGguf(await weights.open());
    try {
      return opened(await ggufConfig(gguf), ggufTensors(gguf));
    } catch (error) {
      gguf[Symbol.dispose]();
      throw error;
    }
  }
  const { config } = modelFileNames;
  const json = parseObject(await files.read(config), `${path}/${config}`);
  return opened(json, await weights.open());
}

function opened(json: Record<string, unknown>, source: TensorSource): OpenModel {
  return { json, source, [Symbol.dispose]: () => source[Symbol.dispose]() };
}

/**
 * A JSON object.
 *
 * @throws {CheckpointError} if the bytes are none.
 */
export function parseObject(bytes: Uint8Array, label: string): Record<string, unknown> {
  const broken = (fault: string) =>
    new CheckpointError(`Cannot read "${label}": ${fault}. Copy the file again`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw broken((error as Error).message);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw broken("it is not a JSON object");
  }
  return value as Record<string, unknown>;
}
