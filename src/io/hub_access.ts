/**
 * How a hub is reached: by options, or by the environment variables that Hugging Face's tools share.
 *
 * @module
 */

import { isPlainName } from "./folder.ts";
import { hubPlaces } from "./hub_cache.ts";
import { HubClient, type HubKind } from "./hub_client.ts";

/** How far a download is. */
export interface HubProgress {
  /** The file that is downloaded. */
  readonly file: string;
  /** Bytes of `total` that are there. */
  readonly done: number;
  /** Bytes in all of the files that were not in the cache whole. */
  readonly total: number;
}

/** How something is fetched. */
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

/** Whether the cache alone is asked. */
export function isOffline({ offline }: HubOptions): boolean {
  return offline ?? isTrue(Deno.env.get("HF_HUB_OFFLINE"));
}

/** A client for one repository; connects to nothing yet. @throws {HubError} on unusable options */
export async function openHub(
  id: string,
  revision: string,
  { endpoint, token, retryMs = 500, signal }: HubOptions,
  kind?: HubKind,
): Promise<HubClient> {
  return new HubClient(id, revision, {
    endpoint: endpoint ?? (Deno.env.get("HF_ENDPOINT") || "https://huggingface.co"),
    token: await credentials(token),
    ...{ retryMs, signal, kind },
  });
}

/** Whether a path stays in the folder it starts from. */
export function isInside(path: string): boolean {
  return path.split("/").every(isPlainName);
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

function isTrue(value: string | undefined): boolean {
  return /^(1|true|yes|on)$/i.test(value ?? "");
}
