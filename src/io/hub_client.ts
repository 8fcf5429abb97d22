/**
 * Requests to a server that speaks the Hugging Face Hub's protocol: redirects, credentials, retries,
 * and what its refusals mean.
 *
 * Written over `fetch`: `@huggingface/hub` (2.17) downloads every file of a repository, does not
 * resume, verify, lock or tell progress, and prints to standard output.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { retryAfter, rootMessage } from "./http.ts";

/**
 * What went wrong with a hub: a bad `name`; a repository, `revision` or `file` that is not there;
 * credentials that are wrong (`token`) or not enough (`gated`); a hub that can't be reached
 * (`network`), must not be (`offline`) or fails (`server`); content that isn't what was announced
 * (`corrupt`); a cache that can't be written (`disk`); a repository without weights to choose
 * (`weights`).
 */
export type HubFault =
  | "name"
  | "repository"
  | "revision"
  | "file"
  | "token"
  | "gated"
  | "network"
  | "offline"
  | "server"
  | "corrupt"
  | "disk"
  | "weights";

/** Something could not be fetched; the message says why and what to do. */
export class HubError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "HubError";
  /** The kind of fault, for a caller that reacts to some. */
  readonly fault: HubFault;

  /** An error of one kind. */
  constructor(fault: HubFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** A fault that may be gone in a moment. */
class PassingError extends HubError {
  /** Milliseconds that the server asks to be left alone for. */
  readonly after: number;

  constructor(fault: HubFault, message: string, after = 0, options?: ErrorOptions) {
    super(fault, message, options);
    this.after = after;
  }
}

/** What a repository holds, as the hub's addresses have it. */
export type HubKind = "models" | "datasets";

/** How a hub is reached. */
export interface HubClientOptions {
  /** Models by default. */
  readonly kind?: HubKind | undefined;
  /** Its address, without a path. */
  readonly endpoint: string;
  /** Sent to the endpoint and to nobody else. */
  readonly token: string | null;
  /** Milliseconds before the first retry; they double with each one. */
  readonly retryMs: number;
  /** Stops what is under way. */
  readonly signal?: AbortSignal | undefined;
}

/** One file as the hub announces it. */
export interface RemoteFile {
  /** Its name in the repository, with folders. */
  readonly name: string;
  /** Where it is downloaded from. */
  readonly url: string;
  /** Names its content: the SHA-256 of large files, Git's hash of small ones. */
  readonly etag: string;
  /** Bytes in all. */
  readonly size: number;
}

/** An answer whose body arrives piece by piece; to be disposed, as it may not be read to its end. */
export interface HubAnswer extends AsyncDisposable {
  /** HTTP status: 200, 206 or 416. */
  readonly status: number;
  /** HTTP headers. */
  readonly headers: Headers;
  /** The body. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** How often in a row something is tried that doesn't get any further. */
const attempts = 5;
const maxRedirects = 10;
/** Milliseconds without a byte after which a connection counts as dead. */
const stallMs = 60_000;
/** The longest wait that a server may ask for, in milliseconds. */
const longestWait = 60_000;

/** Asks one repository at one revision. */
export class HubClient {
  readonly #options: HubClientOptions;
  readonly #endpoint: URL;
  readonly #id: string;
  readonly #revision: string;
  readonly #kind: HubKind;
  /** Path of its page. */
  readonly #page: string;
  /** What an error calls it. */
  readonly #noun: string;

  /**
   * Checks the options; connects to nothing yet.
   *
   * @throws {HubError} if the endpoint is not an address or the token can't be one
   */
  constructor(id: string, revision: string, options: HubClientOptions) {
    const endpoint = URL.parse(options.endpoint);
    if (endpoint === null || !/^https?:$/.test(endpoint.protocol)) {
      throw new HubError(
        "network",
        `Cannot use "${options.endpoint}" as a hub: it is not an http or https address. ` +
          "Correct HF_ENDPOINT, or unset it to use https://huggingface.co",
      );
    }
    if (options.token !== null && !/^[\x21-\x7e]+$/.test(options.token)) {
      throw new HubError("token", "Cannot use HF_TOKEN: a token has no spaces or line breaks");
    }
    this.#options = options;
    this.#endpoint = endpoint;
    this.#id = id;
    this.#revision = revision;
    const { kind = "models" } = options;
    this.#kind = kind;
    this.#page = kind === "models" ? id : `${kind}/${id}`;
    this.#noun = kind === "models" ? "model" : "data set";
  }

  /** The commit that the revision stands for, and the names of the files in it. */
  async repository(): Promise<{ commit: string; names: string[] }> {
    const revision = encodeURIComponent(this.#revision);
    const url = this.#url(`api/${this.#kind}/${this.#id}/revision/${revision}`);
    return await this.retrying(async () => {
      const { response, chunks } = await this.#send("GET", url);
      if (!response.ok) throw await this.#refusal(response, null);
      const bytes = await Array.fromAsync(chunks());
      let info: { sha?: unknown; siblings?: { rfilename?: unknown }[] } | null;
      try {
        info = JSON.parse(await new Blob(bytes as Uint8Array<ArrayBuffer>[]).text());
      } catch {
        info = null;
      }
      const names = Array.isArray(info?.siblings)
        ? info.siblings.map((sibling) => sibling?.rfilename)
        : [];
      // The commit becomes the name of a folder.
      if (
        typeof info?.sha !== "string" || !/^[0-9a-f]{7,64}$/.test(info.sha) ||
        !names.every((name) => typeof name === "string")
      ) throw this.#notAHub("its answer about the repository has no commit and list of files");
      return { commit: info.sha, names };
    });
  }

  /** Size and hash of a file at a commit. */
  async file(commit: string, name: string): Promise<RemoteFile> {
    const path = name.split("/").map(encodeURIComponent).join("/");
    const url = this.#url(`${this.#page}/resolve/${commit}/${path}`);
    return await this.retrying(async () => {
      const { response, linked } = await this.#send("HEAD", url);
      if (response.status >= 400) throw await this.#refusal(response, name);
      const etag = (linked.etag ?? response.headers.get("etag") ?? "")
        .replace(/^W\//, "").replaceAll('"', "");
      const size = Number(linked.size ?? response.headers.get("content-length") ?? NaN);
      // The hash becomes the name of a file.
      if (!/^[\w-][\w.+=-]{0,127}$/.test(etag) || !Number.isSafeInteger(size) || size < 0) {
        throw this.#notAHub(`it doesn't say the hash and size of ${name}`);
      }
      return { name, url, etag, size };
    });
  }

  /** A file's bytes from `offset` on; 416 where the server has none. */
  async content(file: RemoteFile, offset: number): Promise<HubAnswer> {
    const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const { response, chunks } = await this.#send("GET", file.url, headers);
    const { status } = response;
    if (status !== 200 && status !== 206 && status !== 416) {
      throw await this.#refusal(response, file.name);
    }
    return {
      status,
      headers: response.headers,
      chunks: chunks(),
      async [Symbol.asyncDispose]() {
        // Fails where the body was read, which has ended or cancelled it.
        await response.body?.cancel().catch(() => {});
      },
    };
  }

  /** An error for a transfer that ended early; {@linkcode HubClient.retrying} tries again. */
  interrupted(reason: string, cause?: unknown): HubError {
    return new PassingError(
      "network",
      `Cannot reach ${this.#endpoint.origin} for "${this.#id}": ${reason}. Check the connection ` +
        "and proxy, set HF_ENDPOINT to a mirror, or HF_HUB_OFFLINE=1 to use what the cache holds; " +
        "what was downloaded so far is kept",
      0,
      { cause },
    );
  }

  /**
   * Repeats `work` after faults that may pass, with growing pauses.
   *
   * @param progressed whether the last try got further than any before, which resets the count
   */
  async retrying<T>(work: () => Promise<T>, progressed = () => false): Promise<T> {
    const { signal, retryMs } = this.#options;
    for (let failures = 0;;) {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof PassingError)) throw error;
        failures = progressed() ? 1 : failures + 1;
        if (failures === attempts) throw error;
        // Many processes that fail together should not come back together.
        const pause = retryMs * 2 ** (failures - 1) * (1 + Math.random() / 4);
        await delay(Math.max(error.after, pause), undefined, { signal }).catch(() => {});
        signal?.throwIfAborted();
      }
    }
  }

  #url(path: string): string {
    return `${this.#endpoint.href.replace(/\/+$/, "")}/${path}`;
  }

  /**
   * Follows redirects by hand: large files lie on other hosts, which must not see the token, and
   * what a hub says about them stands in the redirect. With HEAD such a redirect is the answer.
   */
  async #send(method: "GET" | "HEAD", address: string, headers: Record<string, string> = {}) {
    const { token, signal } = this.#options;
    const stall = new AbortController();
    const both = signal ? AbortSignal.any([signal, stall.signal]) : stall.signal;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = async <T>(step: Promise<T>): Promise<T> => {
      timer = setTimeout(() => stall.abort(), stallMs);
      try {
        return await step;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Deno.errors.NotCapable) {
          throw new HubError(
            "network",
            `Cannot reach ${this.#endpoint.origin} for "${this.#id}": ${error.message}`,
            { cause: error },
          );
        }
        const silent = `nothing arrived for ${stallMs / 1000} s`;
        throw this.interrupted(stall.signal.aborted ? silent : rootMessage(error), error);
      } finally {
        clearTimeout(timer);
      }
    };

    let url = new URL(address);
    const linked: { etag: string | null; size: string | null } = { etag: null, size: null };
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const isHub = url.origin === this.#endpoint.origin;
      const response = await watch(fetch(url, {
        method,
        redirect: "manual",
        signal: both,
        headers: {
          ...headers,
          // A compressed body has another length than the one announced, and no ranges.
          "accept-encoding": "identity",
          "user-agent": "mentor",
          ...(isHub && token !== null ? { authorization: `Bearer ${token}` } : {}),
        },
      }));
      if (isHub) {
        linked.etag ??= response.headers.get("x-linked-etag");
        linked.size ??= response.headers.get("x-linked-size");
      }
      const location = response.headers.get("location");
      const next = location === null ? null : URL.parse(location, url);
      const redirects = response.status >= 300 && response.status < 400 && next !== null;
      const isAnswer = method === "HEAD" && linked.etag !== null && next?.origin !== url.origin;
      if (!redirects || isAnswer) {
        const chunks = async function* () {
          const reader = response.body?.getReader();
          if (!reader) return;
          try {
            for (;;) {
              const { done, value } = await watch(reader.read());
              if (done) return;
              yield value;
            }
          } finally {
            await reader.cancel().catch(() => {});
          }
        };
        return { response, linked, chunks };
      }
      await response.body?.cancel();
      url = next;
    }
    throw this.#notAHub(`it redirects more than ${maxRedirects} times`);
  }

  async #refusal(response: Response, file: string | null): Promise<HubError> {
    await response.body?.cancel();
    const { status, headers } = response;
    const { token } = this.#options;
    const code = headers.get("x-error-code");
    const said = headers.get("x-error-message");
    const what = file === null ? `"${this.#id}"` : `${file} of "${this.#id}"`;
    const from = `Cannot fetch ${what} from ${this.#endpoint.origin}`;
    const page = `${this.#endpoint.origin}/${this.#page}`;

    if (code === "GatedRepo" || status === 403) {
      return new HubError(
        "gated",
        `${from}: access is restricted${
          said ? ` (${said})` : ""
        }. Accept the ${this.#noun}'s licence at ` +
          `${page}, and set HF_TOKEN to a token of that account that may read it ` +
          `(${this.#endpoint.origin}/settings/tokens)`,
      );
    }
    if (code === "RevisionNotFound") {
      return new HubError(
        "revision",
        `${from}: it has no revision "${this.#revision}". Name a branch, tag or commit of ${page}`,
      );
    }
    if (code === "EntryNotFound") {
      return new HubError("file", `${from}: there is no such file at "${this.#revision}"`);
    }
    if (status === 401 && token !== null && code !== "RepoNotFound") {
      return new HubError(
        "token",
        `${from}: the token is not valid${
          said ? ` (${said})` : ""
        }. Set HF_TOKEN to a token from ` +
          `${this.#endpoint.origin}/settings/tokens, or unset it and remove the stored one`,
      );
    }
    if (status === 401 || status === 404) {
      return new HubError(
        "repository",
        `${from}: there is no such ${this.#noun}, or it is private. Check the spelling of the name` +
          (token === null
            ? `; for a private ${this.#noun} set HF_TOKEN`
            : " and the rights of the token"),
      );
    }
    const message = `${from}: the server answered ${status}${said ? ` (${said})` : ""}`;
    if (status === 408 || status === 429 || status >= 500) {
      const remedy = status === 429
        ? "It limits how much is asked of it: try again later, or set HF_TOKEN"
        : "Try again later, or set HF_HUB_OFFLINE=1 to use what the cache holds";
      const after = Math.min(longestWait, retryAfter(headers, Date.now()) ?? 0);
      return new PassingError("server", `${message}. ${remedy}`, after);
    }
    return new HubError("server", `${message}. Check HF_ENDPOINT and the name`);
  }

  #notAHub(fault: string): HubError {
    return new HubError(
      "server",
      `Cannot fetch "${this.#id}" from ${this.#endpoint.origin}: ${fault}. ` +
        "Check that HF_ENDPOINT is the address of a Hugging Face Hub",
    );
  }
}
