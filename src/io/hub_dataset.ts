/**
 * Files of data sets from a Hugging Face Hub, through the cache that Hugging Face's tools share.
 *
 * @module
 */

import { join } from "@std/path";
import { type HubOptions, isInside, isOffline, openHub } from "./hub_access.ts";
import { HubCache, hubPlaces } from "./hub_cache.ts";
import { HubError } from "./hub_client.ts";

const SCHEME = "hf://";

/** Files that may hold tasks. */
const DATA = /\.(jsonl?|csv|tsv|parquet)$/;

/** Whether a path is an address of the Hub. */
export function isHubAddress(path: string): boolean {
  return path.startsWith(SCHEME);
}

/**
 * Fetches a file of a data set unless the cache has it, and returns where it lies.
 *
 * @param address `hf://datasets/org/name/path/in/it`, with `@revision` behind the name as needed; as
 * Hugging Face's tools have it, a `/` in a revision is written `%2F`
 * @throws {HubError} if it can't be had; its `fault` says why
 */
export async function datasetFile(address: string, options: HubOptions = {}): Promise<string> {
  const { id, name, revision = options.revision ?? "main" } = parse(address);
  const { signal, onProgress } = options;
  const cache = new HubCache(options.cacheDir ?? hubPlaces().cache, id, "datasets");
  if (isOffline(options)) {
    const commit = await cache.commit(revision);
    const known = commit !== null && name !== "" && await cache.has(commit, name);
    if (known) return join(cache.snapshot(commit), name);
    throw new HubError(
      "offline",
      `Cannot take "${address}" from the cache: it was never fetched. Fetch it once with a ` +
        "connection, without HF_HUB_OFFLINE",
    );
  }
  const client = await openHub(id, revision, options, "datasets");
  signal?.throwIfAborted();
  const { commit, names } = await client.repository();
  if (!names.includes(name)) {
    const others = names.filter((each) => DATA.test(each));
    const problem = name === ""
      ? "it names a data set, and no file of it"
      : "there is no such file";
    throw new HubError(
      "file",
      `Cannot fetch "${address}": ${problem}` +
        (others.length > 0 ? `; the data set has ${some(others)}` : ""),
    );
  }
  if (!await cache.has(commit, name)) {
    const file = await client.file(commit, name);
    const report = (done: number) => onProgress?.({ file: name, done, total: file.size });
    await cache.fetch(client, commit, file, report, signal);
  }
  await cache.setCommit(revision, commit);
  return join(cache.snapshot(commit), name);
}

function parse(address: string): { id: string; revision?: string; name: string } {
  const found = /^hf:\/\/datasets\/(\w[\w.-]*\/\w[\w.-]*)(?:@([^/]+))?(?:\/(.+))?$/.exec(address);
  const [, id = "", revision, name] = found ?? [];
  const branch = revision?.replaceAll(/%2F/gi, "/");
  const paths = [name, branch].filter((path) => path !== undefined);
  // Two names of which the second is a file's lack the one of the organisation.
  const lacksName = name === undefined && DATA.test(id);
  if (!found || lacksName || /\.\.|--/.test(id) || !paths.every(isInside)) {
    throw new HubError(
      "name",
      `Cannot fetch "${address}": a file of a data set is named hf://datasets/org/name/file, or ` +
        "hf://datasets/org/name@revision/file",
    );
  }
  return { id, name: name ?? "", ...(branch ? { revision: branch } : {}) };
}

/** The first of many names. */
function some(names: readonly string[]): string {
  const rest = names.length - 8;
  return names.slice(0, 8).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
