/**
 * Models from a Hugging Face Hub, through the cache that Hugging Face's tools share.
 *
 * @module
 */

import { join } from "@std/path";
import { type HubOptions, isInside, isOffline, openHub } from "./hub_access.ts";
import { HubCache, hubPlaces } from "./hub_cache.ts";
import { HubError } from "./hub_client.ts";
import { isGguf, isModelText, modelFileNames } from "./model_files.ts";
import { readShardIndex } from "./shards.ts";

export { HubError };
export type { HubOptions, HubProgress } from "./hub_access.ts";

/** How many files are asked about at the same time. */
const concurrentQuestions = 8;

/**
 * Fetches a model unless the cache has it, and returns the folder where its files lie.
 *
 * Only what a model needs is downloaded: config, tokenizer, chat template, and weights in
 * safetensors, or the one GGUF file where there are none.
 *
 * @param id `org/name`
 * @throws {HubError} if it can't be had; its `fault` says why
 */
export async function hubFolder(id: string, options: HubOptions = {}): Promise<string> {
  const { revision = "main", files, signal, onProgress } = options;
  if (!isModelId(id)) {
    throw new HubError("name", `Cannot fetch "${id}": a model's name has the form org/name`);
  }
  if (!isInside(revision)) {
    throw new HubError("name", `Cannot fetch "${id}": "${revision}" is no revision's name`);
  }
  const cache = new HubCache(options.cacheDir ?? hubPlaces().cache, id);
  if (isOffline(options)) return await cachedFolder(cache, id, revision, files);

  const client = await openHub(id, revision, options);
  signal?.throwIfAborted();
  const { commit, names: all } = await client.repository();
  // A name from a server must not lead out of the cache.
  const names = all.filter(isInside);
  const { weights, sharded } = chooseWeights(id, names, files);
  const folder = cache.snapshot(commit);
  if (sharded) {
    const index = modelFileNames.index;
    if (!await cache.has(commit, index)) {
      await cache.fetch(client, commit, await client.file(commit, index), () => {}, signal);
    }
    weights.push(...await shardsOf(folder, `${index} of "${id}"`));
  }

  const missing: string[] = [];
  // Weights come last: where they are, the rest is too.
  for (const name of [...names.filter(isModelText), ...weights]) {
    if (!await cache.has(commit, name)) missing.push(name);
  }
  const remote = [];
  for (let i = 0; i < missing.length; i += concurrentQuestions) {
    const some = missing.slice(i, i + concurrentQuestions);
    remote.push(...await Promise.all(some.map((name) => client.file(commit, name))));
  }
  const total = remote.reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const file of remote) {
    const report = (bytes: number) =>
      onProgress?.({ file: file.name, done: before + bytes, total });
    await cache.fetch(client, commit, file, report, signal);
    before += file.size;
  }
  await cache.setCommit(revision, commit);
  return folder;
}

/**
 * Where a model lies: a folder or `.gguf` file as it is, or else the cached folder or file of a
 * model on the hub.
 *
 * @param model a path, or `org/name`, with `@revision` and `:file.gguf` after it as needed
 * @throws {HubError} if it is neither
 */
export async function resolveModel(model: string, options: HubOptions = {}): Promise<string> {
  const info = await Deno.stat(model).catch(() => null);
  if (info?.isDirectory || (info?.isFile && isGguf(model))) return model;
  const name = model.match(/^([^@:]+)(?:@([^:]+))?(?::(.+))?$/);
  const [, id = "", revision = options.revision, file] = name ?? [];
  if (info || !isModelId(id) || !id.includes("/") || (file !== undefined && !isGguf(file))) {
    throw new HubError(
      "name",
      `Cannot find the model "${model}": ${
        info ? "it is a file, but not a .gguf file" : "there is no such folder or file"
      }, and it is not a name on the hub of the form org/name, org/name@revision or ` +
        "org/name:file.gguf",
    );
  }
  try {
    const files = file === undefined ? options.files : [file];
    const folder = await hubFolder(id, { ...options, revision, files });
    return file === undefined ? folder : join(folder, file);
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new HubError(error.fault, `${error.message}. There is no folder "${model}" either`, {
      cause: error,
    });
  }
}

/** The folder of a model that the cache holds whole. */
async function cachedFolder(
  cache: HubCache,
  id: string,
  revision: string,
  files: readonly string[] | undefined,
): Promise<string> {
  const unusable = (fault: string) =>
    new HubError(
      "offline",
      `Cannot take "${id}" at "${revision}" from the cache: ${fault}. Fetch it once with a ` +
        "connection, without HF_HUB_OFFLINE",
    );
  const commit = await cache.commit(revision);
  const folder = commit === null ? null : cache.snapshot(commit);
  const present = folder === null ? [] : await Array.fromAsync(
    Deno.readDir(folder),
    ({ name }) => name,
  ).catch(() => []);
  if (commit === null || folder === null || present.length === 0) {
    throw unusable("it was never fetched");
  }

  const needed = [...files ?? []];
  if (!files) {
    const { weights, sharded } = chooseWeights(id, present, files, unusable);
    needed.push(...weights);
    if (sharded) {
      needed.push(...await shardsOf(folder, `${modelFileNames.index} of "${id}"`));
    }
    if (needed.includes(modelFileNames.weights) || sharded) needed.push(modelFileNames.config);
  }
  const missing = [];
  for (const name of needed) if (!await cache.has(commit, name)) missing.push(name);
  if (missing.length > 0) throw unusable(`${missing.join(", ")} is missing from ${folder}`);
  return folder;
}

/** Which of a repository's files are the weights; shards are named by their index. */
function chooseWeights(
  id: string,
  names: readonly string[],
  files: readonly string[] | undefined,
  error = (fault: string) => new HubError("weights", `Cannot choose weights of "${id}": ${fault}`),
): { weights: string[]; sharded: boolean } {
  const ggufs = names.filter(isGguf);
  if (files) {
    const missing = files.filter((name) => !names.includes(name));
    if (missing.length === 0) return { weights: [...files], sharded: false };
    throw new HubError(
      "file",
      `Cannot fetch ${missing.join(", ")} of "${id}": there is no such file` +
        (ggufs.length > 0 ? `; its GGUF files are ${ggufs.join(", ")}` : ""),
    );
  }
  const { weights, index, adapter } = modelFileNames;
  const adapters = names.includes(adapter) ? [adapter] : [];
  if (names.includes(weights)) return { weights: [weights, ...adapters], sharded: false };
  if (names.includes(index)) return { weights: adapters, sharded: true };
  if (adapters.length > 0) return { weights: adapters, sharded: false };
  if (ggufs.length === 1) return { weights: ggufs, sharded: false };
  if (ggufs.length > 1) {
    throw error(`it has several GGUF files. Name one, as ${id}:file.gguf: ${ggufs.join(", ")}`);
  }
  const pickled = names.some((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  throw error(
    pickled
      ? "they are in PyTorch's format only. Take a revision or another model with safetensors " +
        "(https://huggingface.co/spaces/safetensors/convert makes one)"
      : "it has none in safetensors or GGUF",
  );
}

async function shardsOf(folder: string, label: string): Promise<Set<string>> {
  const bytes = await Deno.readFile(join(folder, modelFileNames.index));
  return new Set(readShardIndex(bytes, label).values());
}

function isModelId(id: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(id) && !/\.\.|--/.test(id);
}
