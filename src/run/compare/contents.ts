/**
 * What lies behind the paths that settings name.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { join } from "@std/path";
import { CheckpointError } from "../../io/checkpoint.ts";
import { locateModel } from "../model_source.ts";
import { locateTasks } from "../tasks/file.ts";
import { toolFile } from "../tools/mod.ts";
import type { Regime } from "./regime.ts";

/** Files of a model's folder that decide what it does. */
const MODEL_FILES = /\.(safetensors|gguf|json|jinja)$/i;

/**
 * SHA-256 of what is in the model that arms start from, the task file and the modules of tools, by the
 * setting that names it; what is not given is left out.
 *
 * @throws {CheckpointError} if one cannot be read.
 */
export async function contentsOf({ shared, given }: Regime): Promise<Record<string, string>> {
  const { from, tasks, tools } = shared;
  return {
    ...(given ? { from: await digest(await modelFiles(from)) } : {}),
    ...(tasks === null ? {} : { tasks: await digest([await locateTasks(tasks)]) }),
    ...(tools === null
      ? {}
      : { tools: await digest(tools.flatMap((source) => toolFile(source) ?? [])) }),
  };
}

/** The files of a model, and of the adapter on it. */
async function modelFiles(name: string): Promise<string[]> {
  const { path, adapter } = await locateModel(name);
  return [path, ...(adapter && adapter.path !== path ? [adapter.path] : [])].flatMap(filesOf);
}

function filesOf(path: string): string[] {
  if (Deno.statSync(path).isFile) return [path];
  return Array.from(Deno.readDirSync(path), ({ name }) => name)
    .filter((name) => MODEL_FILES.test(name)).sort().map((name) => join(path, name));
}

async function digest(files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files) await addFile(hash, file);
  return hash.digest("hex");
}

async function addFile(hash: Hash, path: string): Promise<void> {
  try {
    using file = await Deno.open(path);
    for await (const bytes of file.readable) hash.update(bytes);
  } catch (error) {
    throw new CheckpointError(`Cannot read "${path}": ${(error as Error).message}`);
  }
}
