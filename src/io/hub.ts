/**
 * Models from a Hugging Face Hub, through the cache that Hugging Face's tools share.
 *
 * @module
 */

import { join } from "@std/path";
import { isPlainName } from "./folder.ts";
import { HubCache, hubPlaces } from "./hub_cache.ts";
import { HubClient, HubError } from "./hub_client.ts";
import { isGguf, isModelText, modelFileNames } from "./model_files.ts";
import { readShardIndex } from "./shards.ts";

export { HubError };

/** How far a download is. */
export interface HubProgress {
  /** The file that is downloaded. */
  readonly file: string;
  /** Bytes of `total` that are there. */
  readonly done: number;
  /** Bytes in all of the files that were not in the cache whole. */
  readonly total: number;
}

/** How a model is fetched. */
export interface HubOptions {
  /** Branch, tag or commit; `main` by default. */
  readonly revision?: string;
  /**
   * Credentials; by default `HF_TOKEN`, or what `hf auth login` has stored. `false` sends none.
   */
  readonly token?: string | false;
  /** The cache; by default `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string;
  /** Takes what the cache holds and asks nobody; by default as `HF_HUB_OFFLINE` says. */
  readonly offline?: boolean;
  /** Address of the hub; by default `HF_ENDPOINT`, or `https://huggingface.co`. */
  readonly endpoint?: string;
  /** Weights to fetch in place of those in safetensors: the name of a GGUF file, usually. */
  readonly files?: readonly string[];
  /** Is told about the download, several times per file. */
  readonly onProgress?: (progress: HubProgress) => void;
  /** Stops the download; the next one goes on from there. */
  readonly signal?: AbortSignal;
  /** Milliseconds before a failed request is repeated, doubled each time; 500 by default. */
  readonly retryMs?: number;
}

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
  if (options.offline ?? isTrue(Deno.env.get("HF_HUB_OFFLINE"))) {
    return await cachedFolder(cache, id, revision, files);
  }

  const client = new HubClient(id, revision, {
    endpoint: options.endpoint ?? (Deno.env.get("HF_ENDPOINT") || "https://huggingface.co"),
    token: await credentials(options.token),
    retryMs: options.retryMs ?? 500,
    signal,
  });
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

async function credentials(token: string | false | undefined): Promise<string | null> {
  if (token !== undefined) return token === false ? null : token;
  const fromEnvironment = Deno.env.get("HF_TOKEN")?.trim();
  if (fromEnvironment) return fromEnvironment;
  if (isTrue(Deno.env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return null;
  try {
    return (await Deno.readTextFile(hubPlaces().token)).trim() || null;
  } catch {
    return null;
  }
}

function isModelId(id: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(id) && !/\.\.|--/.test(id);
}

/** Whether a path stays in the folder it starts from. */
function isInside(path: string): boolean {
  return path.split("/").every(isPlainName);
}

function isTrue(value: string | undefined): boolean {
  return /^(1|true|yes|on)$/i.test(value ?? "");
}
