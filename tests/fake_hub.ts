// A Hugging Face Hub on loopback, with its large files on another origin as the real one has them.

import { createHash } from "node:crypto";

/** A request as the fake servers saw it. */
export interface Seen {
  readonly host: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
  readonly token: string | null;
}

/** Answers in place of the fake server, or leaves a request to it. */
export type Hook = (request: Seen) => Response | undefined;

export const commit = "0123456789abcdef0123456789abcdef01234567";

/** One repository, the model `org/model` and the data set `org/data`, served until it is disposed. */
export class FakeHub implements AsyncDisposable {
  files: Record<string, Uint8Array<ArrayBuffer>>;
  /** Further names that the repository claims to have. */
  extraNames: string[] = [];
  readonly seen: Seen[] = [];
  hook: Hook = () => undefined;
  readonly #hub = serve((request) => this.#answerHub(request));
  readonly #cdn = serve((request) => this.#answerCdn(request));

  constructor(files: Record<string, Uint8Array<ArrayBuffer>>) {
    this.files = files;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#hub.addr.port}`;
  }

  /** Requests for the contents of large files. */
  get downloads(): Seen[] {
    return this.seen.filter(({ host }) => host === "cdn");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#hub.shutdown(), this.#cdn.shutdown()]);
  }

  #answerHub(request: Request): Response {
    const seen = this.#see("hub", request);
    const hooked = this.hook(seen);
    if (hooked) return hooked;
    const { path } = seen;
    if (/^\/api\/(models\/org\/model|datasets\/org\/data)\/revision\//.test(path)) {
      if (!/\/(main|v1|refs%2Fpr%2F1|[0-9a-f]{40})$/.test(path)) {
        return refuse(404, "RevisionNotFound");
      }
      const names = [...Object.keys(this.files), ...this.extraNames];
      const siblings = names.map((rfilename) => ({ rfilename }));
      return Response.json({ id: "org/model", sha: commit, siblings });
    }
    if (path.startsWith("/api/")) return refuse(401, "RepoNotFound");
    const name = decodeURIComponent(
      path.replace(/^\/(org\/model|datasets\/org\/data)\/resolve\/[^/]+\//, ""),
    );
    const bytes = this.files[name];
    if (!bytes) return refuse(404, "EntryNotFound");
    if (!/\.(safetensors|gguf|parquet)$/.test(name)) {
      return new Response(request.method === "HEAD" ? null : bytes, {
        headers: {
          etag: `W/"${sha1(bytes)}"`,
          "content-length": `${bytes.length}`,
          "x-repo-commit": commit,
        },
      });
    }
    return new Response(null, {
      status: 302,
      headers: {
        location: `http://127.0.0.1:${this.#cdn.addr.port}/${encodeURIComponent(name)}?signed=1`,
        "x-linked-etag": `"${sha256(bytes)}"`,
        "x-linked-size": `${bytes.length}`,
        "x-repo-commit": commit,
      },
    });
  }

  #answerCdn(request: Request): Response {
    const seen = this.#see("cdn", request);
    const hooked = this.hook(seen);
    if (hooked) return hooked;
    return partOf(this.files[decodeURIComponent(seen.path.slice(1))]!, seen.range);
  }

  #see(host: Seen["host"], request: Request): Seen {
    const seen: Seen = {
      host,
      method: request.method,
      path: new URL(request.url).pathname,
      range: request.headers.get("range"),
      token: request.headers.get("authorization"),
    };
    this.seen.push(seen);
    return seen;
  }
}

/** The bytes that a Range header asks for. */
export function partOf(bytes: Uint8Array<ArrayBuffer>, range: string | null): Response {
  if (range === null) return new Response(bytes);
  const from = Number(range.match(/^bytes=(\d+)-$/)![1]);
  if (from >= bytes.length) {
    return new Response(null, {
      status: 416,
      headers: { "content-range": `bytes */${bytes.length}` },
    });
  }
  return new Response(bytes.subarray(from), {
    status: 206,
    headers: { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` },
  });
}

/** A body that breaks off after some bytes. */
export function breakingOff(
  bytes: Uint8Array<ArrayBuffer>,
  headers: HeadersInit = {},
  status = 200,
) {
  let sent = false;
  const body = new ReadableStream({
    pull(controller) {
      if (sent) controller.error(new Error("cable cut"));
      else controller.enqueue(bytes);
      sent = true;
    },
  });
  return new Response(body, { status, headers });
}

export function refuse(status: number, code?: string, message?: string): Response {
  return new Response(null, {
    status,
    headers: {
      ...(code ? { "x-error-code": code } : {}),
      ...(message ? { "x-error-message": message } : {}),
    },
  });
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function sha1(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function serve(handler: (request: Request) => Response) {
  return Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {}, onError: () => new Response(null) },
    handler,
  );
}
