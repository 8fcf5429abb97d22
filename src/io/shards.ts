/**
 * Models whose tensors are spread over several safetensors files, with an index that says which
 * tensor lies in which file.
 *
 * @module
 */

import { isPlainName } from "./folder.ts";
import { CheckpointError, openSafetensors } from "./safetensors.ts";
import type { ByteSource, TensorSource } from "./source.ts";

/** How many of a list of faults an error names. */
const namedFaults = 10;

/**
 * The file of every tensor, from an index (`model.safetensors.index.json`).
 *
 * @param index the bytes of the index
 * @param label its name in error messages
 * @throws {CheckpointError} if it is not an index, or names a file outside of its folder
 */
export function readShardIndex(index: Uint8Array, label: string): Map<string, string> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(index));
  } catch (error) {
    throw new CheckpointError(
      `Cannot read ${label}: it is not JSON (${(error as Error).message}). Copy or save it again`,
    );
  }
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new CheckpointError(
      `Cannot read ${label}: it has no "weight_map" of tensor names to file names. ` +
        "Copy or save it again",
    );
  }
  const files = new Map<string, string>();
  const faults: string[] = [];
  for (const [tensor, file] of Object.entries(map)) {
    // An index comes from elsewhere: it must not have files read that lie outside of its folder.
    if (typeof file === "string" && isPlainName(file)) files.set(tensor, file);
    else faults.push(`tensor "${tensor}" is in ${JSON.stringify(file)}, not a plain file name`);
  }
  if (files.size === 0 && faults.length === 0) faults.push('its "weight_map" is empty');
  if (faults.length > 0) throw unreadable(label, faults);
  return files;
}

/**
 * Opens all shards of an index as one source; of each only the header is read at once.
 *
 * @param index the bytes of `model.safetensors.index.json`
 * @param open opens a shard by its file name, in the folder of the index
 * @param label the index's name in error messages
 * @throws {CheckpointError} listing all shards that can't be opened, all tensors that are not in
 * the shard the index says, and all that are in two
 */
export async function openShards(
  index: Uint8Array,
  open: (file: string) => Promise<ByteSource>,
  label = "model.safetensors.index.json",
): Promise<TensorSource> {
  const files = readShardIndex(index, label);
  const shards = new Map<string, TensorSource>();
  const dispose = () => {
    for (const shard of shards.values()) shard[Symbol.dispose]();
  };
  const faults: string[] = [];
  for (const file of new Set(files.values())) {
    try {
      shards.set(file, await openSafetensors(await open(file)));
    } catch (error) {
      if (!(error instanceof CheckpointError)) {
        dispose();
        throw error;
      }
      faults.push(`${file}: ${error.message}`);
    }
  }

  const shardOf = new Map<string, TensorSource>();
  const entries = new Map<string, { dtype: string; shape: readonly number[] }>();
  for (const shard of shards.values()) {
    for (const [tensor, entry] of shard.entries) {
      const other = shardOf.get(tensor);
      if (other) faults.push(`tensor "${tensor}" is in both ${other.label} and ${shard.label}`);
      shardOf.set(tensor, shard);
      entries.set(tensor, entry);
    }
  }
  for (const [tensor, file] of files) {
    const shard = shards.get(file);
    if (shard && !shard.entries.has(tensor)) faults.push(`tensor "${tensor}" is not in ${file}`);
  }
  if (faults.length > 0) {
    dispose();
    throw unreadable(label, faults);
  }
  return {
    label,
    entries,
    async read(name) {
      const shard = shardOf.get(name);
      if (!shard) throw new CheckpointError(`Cannot read ${label}: it has no tensor "${name}"`);
      return await shard.read(name);
    },
    [Symbol.dispose]: dispose,
  };
}

function unreadable(label: string, faults: readonly string[]): CheckpointError {
  const more = faults.length - namedFaults;
  return new CheckpointError(
    `Cannot read ${label}: ${faults.slice(0, namedFaults).join("; ")}` +
      `${more > 0 ? `; and ${more} more` : ""}. Copy or save the model again as a whole`,
  );
}
