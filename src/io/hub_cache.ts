/**
 * The cache of downloads that Hugging Face's tools share, in their layout, here of a model; names of
 * data sets begin with `datasets`:
 *
 * ```text
 * models--org--name/refs/main                     the commit that a revision stands for
 * models--org--name/blobs/<etag>                  contents, each once
 * models--org--name/snapshots/<commit>/<file>     links to contents
 * .locks/models--org--name/<etag>.lock            held while a content is downloaded
 * ```
 *
 * Contents and links appear whole, by renaming, so that no reader takes half a file for all of it.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { dirname, join, relative } from "@std/path";
import { writeError } from "./checkpoint.ts";
import { type HubClient, HubError, type HubKind, type RemoteFile } from "./hub_client.ts";
import { download } from "./hub_download.ts";

/** Milliseconds between two looks at a lock that another process holds. */
const lockPollMs = 100;

/** Where Hugging Face's tools keep what, by the environment variables that they share. */
export function hubPlaces(): { cache: string; token: string } {
  const user = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? ".";
  const place = (name: string) => Deno.env.get(name)?.replace(/^~(?=$|[/\\])/, user) || undefined;
  const home = place("HF_HOME") ??
    join(place("XDG_CACHE_HOME") ?? join(user, ".cache"), "huggingface");
  return {
    cache: place("HF_HUB_CACHE") ?? place("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    token: place("HF_TOKEN_PATH") ?? join(home, "token"),
  };
}

/** One repository in the cache. */
export class HubCache {
  readonly #root: string;
  readonly #locks: string;

  /** Looks at nothing yet. */
  constructor(cacheDir: string, id: string, kind: HubKind = "models") {
    const name = `${kind}--${id.replaceAll("/", "--")}`;
    this.#root = join(cacheDir, name);
    this.#locks = join(cacheDir, ".locks", name);
  }

  /** The folder of a commit, whether it is there or not. */
  snapshot(commit: string): string {
    return join(this.#root, "snapshots", commit);
  }

  /** The commit that a revision stood for when it was last fetched; null if it never was. */
  async commit(revision: string): Promise<string | null> {
    if (/^[0-9a-f]{40}$/.test(revision)) return revision;
    try {
      return (await Deno.readTextFile(join(this.#root, "refs", revision))).trim();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw unwritable(this.#root, error);
    }
  }

  /** Says which commit a revision stands for, once all its files are there. */
  async setCommit(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const path = join(this.#root, "refs", revision);
    await onDisk(path, () => appear(path, (temporary) => Deno.writeTextFile(temporary, commit)));
  }

  /** Whether a commit's file is there, and not just a link to what has been removed. */
  async has(commit: string, name: string): Promise<boolean> {
    try {
      return (await Deno.stat(join(this.snapshot(commit), name))).isFile;
    } catch {
      return false;
    }
  }

  /**
   * Downloads a file of a commit, or the rest of it where an earlier download was interrupted.
   *
   * @param onBytes is told how many bytes of it are there
   * @throws {HubError} if it can't be had, isn't what was announced, or can't be stored
   */
  async fetch(
    client: HubClient,
    commit: string,
    file: RemoteFile,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const blob = join(this.#root, "blobs", file.etag);
    await onDisk(blob, async () => {
      await Deno.mkdir(dirname(blob), { recursive: true });
      using _lock = await lock(join(this.#locks, `${file.etag}.lock`), signal);
      const size = await Deno.stat(blob).then((info) => info.size, () => null);
      if (size !== file.size) await download(client, file, blob, onBytes);
      await link(blob, join(this.snapshot(commit), file.name));
    });
    onBytes(file.size);
  }
}

/** Waits until no other process, and nothing else in this one, holds the lock. */
async function lock(path: string, signal?: AbortSignal): Promise<Disposable> {
  await Deno.mkdir(dirname(path), { recursive: true });
  const file = await Deno.open(path, { write: true, create: true });
  try {
    while (!await file.tryLock(true)) {
      await delay(lockPollMs);
      signal?.throwIfAborted();
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Makes `pointer` show the contents of `blob`, by a relative link: a cache may be moved. */
async function link(blob: string, pointer: string): Promise<void> {
  await appear(pointer, async (temporary) => {
    try {
      await Deno.symlink(relative(dirname(pointer), blob), temporary);
    } catch {
      // Windows gives links to administrators only, and some file systems have none.
      await Deno.copyFile(blob, temporary);
    }
  });
}

/** Makes a file under a temporary name and renames it into place. */
async function appear(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${crypto.randomUUID()}.incomplete`;
  try {
    await make(temporary);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/** Runs `work`, whose errors of the file system become a {@linkcode HubError}. */
async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // Those of the network are HubErrors already; a stop is whatever its signal says.
    const isSystem = typeof (error as { code?: unknown } | null)?.code === "string" ||
      Object.values(Deno.errors).some((kind) => error instanceof kind);
    if (!isSystem) throw error;
    throw unwritable(path, error);
  }
}

function unwritable(path: string, error: unknown): HubError {
  return new HubError(
    "disk",
    `${writeError(path, error).message}. HF_HUB_CACHE names the cache of models; what was ` +
      "downloaded so far is kept, and the rest is fetched next time",
    { cause: error },
  );
}
