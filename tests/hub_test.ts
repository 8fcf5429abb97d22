// Downloads from a hub, against one on loopback: see fake_hub.ts.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import type { HubFault } from "../src/io/hub_client.ts";
import {
  HubError,
  hubFolder,
  type HubOptions,
  type HubProgress,
  resolveModel,
} from "../src/io/hub.ts";
import { datasetFile } from "../src/io/hub_dataset.ts";
import { disk } from "../src/io/disk.ts";
import { useFolder } from "../src/io/folder.ts";
import { findModel } from "../src/io/model_files.ts";
import { encodeSafetensors } from "../src/io/safetensors.ts";
import { breakingOff, commit, FakeHub, partOf, refuse, sha1, sha256 } from "./fake_hub.ts";

useFolder(disk);

const text = new TextEncoder();

/** Weights of 300 kB, so that they arrive in several pieces. */
const weights = encodeSafetensors(
  new Map([["w", {
    dtype: "F32",
    shape: [75_000],
    data: Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251),
  }]]),
);
const config = text.encode('{"model_type":"llama"}');

function small(): Record<string, Uint8Array<ArrayBuffer>> {
  return {
    "config.json": config,
    "tokenizer.json": text.encode("{}"),
    "README.md": text.encode("# Model"),
    "pytorch_model.bin": text.encode("pickle"),
    "model.safetensors": weights,
  };
}

const environment = [
  ...["HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"],
  ...["HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "XDG_CACHE_HOME"],
];

/** A hub and an empty cache, reached through the environment variables that all tools share. */
async function withHub(
  files: Record<string, Uint8Array<ArrayBuffer>>,
  body: (hub: FakeHub, cache: string, fetch: (options?: HubOptions) => Promise<string>) => Promise<
    void
  >,
): Promise<void> {
  const before = environment.map((name) => [name, Deno.env.get(name)] as const);
  const home = await Deno.makeTempDir();
  await using hub = new FakeHub(files);
  try {
    for (const name of environment) Deno.env.delete(name);
    Deno.env.set("HF_HOME", home);
    Deno.env.set("HF_ENDPOINT", hub.endpoint);
    const fetch = (options?: HubOptions) => hubFolder("org/model", { retryMs: 1, ...options });
    await body(hub, join(home, "hub"), fetch);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    await Deno.remove(home, { recursive: true });
  }
}

async function assertFault(
  work: () => Promise<unknown>,
  fault: HubFault,
  ...parts: string[]
): Promise<void> {
  const error = await assertRejects(work, HubError);
  assertEquals([error.fault, error.name], [fault, "HubError"], error.message);
  for (const part of parts) assert(error.message.includes(part), error.message);
}

/** All files below a folder. */
async function tree(folder: string, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(folder, prefix))) {
    const path = join(prefix, entry.name);
    if (entry.isDirectory) found.push(...await tree(folder, path));
    else found.push(path);
  }
  return found.sort();
}

Deno.test("a model is fetched once, what it needs alone, in the shared layout", async () => {
  await withHub(small(), async (hub, cache, fetch) => {
    const folder = await fetch();
    const root = join(cache, "models--org--model");
    assertEquals(folder, join(root, "snapshots", commit));
    const snapshot = ["config.json", "model.safetensors", "tokenizer.json"];
    const blobs = [sha1(config), sha1(text.encode("{}")), sha256(weights)];
    assertEquals(
      await tree(cache),
      [
        ...blobs.map((name) => `.locks/models--org--model/${name}.lock`),
        ...blobs.map((name) => `models--org--model/blobs/${name}`),
        "models--org--model/refs/main",
        ...snapshot.map((name) => `models--org--model/snapshots/${commit}/${name}`),
      ].sort(),
    );
    assertEquals(
      await Deno.readLink(join(folder, "model.safetensors")),
      `../../blobs/${sha256(weights)}`,
    );
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
    assertEquals(await Deno.readTextFile(join(root, "refs", "main")), commit);

    const model = await findModel(folder);
    assert(model.weights?.kind === "safetensors");
    using opened = await model.weights.open();
    assertEquals([...opened.entries.keys()], ["w"]);

    hub.seen.length = 0;
    assertEquals(await fetch(), folder);
    assertEquals(hub.seen.length, 1);
  });
});

Deno.test("a revision is a branch, a tag, a commit or a pull request", async () => {
  await withHub(small(), async (_hub, cache, fetch) => {
    const folder = await fetch({ revision: "refs/pr/1" });
    assertEquals(await fetch({ revision: commit }), folder);
    assertEquals(await fetch({ revision: "v1" }), folder);
    const refs = await tree(join(cache, "models--org--model", "refs"));
    assertEquals(refs, ["refs/pr/1", "v1"]);
    assertEquals(await fetch({ revision: "refs/pr/1", offline: true }), folder);
    await assertFault(() => fetch({ revision: "../x" }), "name", '"../x" is no revision');
    await assertFault(
      () => fetch({ revision: "v2" }),
      "revision",
      'it has no revision "v2"',
      "Name a branch, tag or commit",
    );
  });
});

Deno.test("shards are fetched as their index names them", async () => {
  const index = (map: unknown) => text.encode(JSON.stringify({ weight_map: map }));
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    "config.json": config,
    "model.safetensors.index.json": index({ w: "a.safetensors", v: "b.safetensors" }),
    "a.safetensors": weights,
    "b.safetensors": encodeSafetensors(new Map()),
    "consolidated.safetensors": weights,
  };
  await withHub(files, async (_hub, _cache, fetch) => {
    const folder = await fetch();
    assertEquals(await tree(folder), [
      "a.safetensors",
      "b.safetensors",
      "config.json",
      "model.safetensors.index.json",
    ]);
    assertEquals(await fetch({ offline: true }), folder);
    await Deno.remove(join(folder, "b.safetensors"));
    await assertFault(() => fetch({ offline: true }), "offline", "b.safetensors is missing");
  });
  files["model.safetensors.index.json"] = index({ w: "c.safetensors" });
  await withHub(files, async (_hub, _cache, fetch) => {
    await assertFault(() => fetch(), "file", "c.safetensors of", "no such file");
  });
});

Deno.test("GGUF files are fetched where there is one, or one is named", async () => {
  const gguf = text.encode("GGUF");
  await withHub({ "q4.gguf": gguf, "README.md": gguf }, async (_hub, _cache, fetch) => {
    assertEquals(await tree(await fetch()), ["q4.gguf"]);
  });
  const two = { ...small(), "q4.gguf": gguf, "big/q8.gguf": weights };
  await withHub(two, async (_hub, cache, fetch) => {
    const path = await resolveModel("org/model@v1:big/q8.gguf", { retryMs: 1 });
    const folder = join(cache, "models--org--model", "snapshots", commit);
    assertEquals(path, join(folder, "big/q8.gguf"));
    assertEquals(await Deno.readFile(path), weights);
    assertEquals(await tree(folder), ["big/q8.gguf", "config.json", "tokenizer.json"]);
    await assertFault(
      () => fetch({ files: ["q5.gguf"] }),
      "file",
      "q5.gguf",
      "its GGUF files are q4.gguf, big/q8.gguf",
    );
  });
  await withHub({ "a.gguf": gguf, "b.gguf": gguf }, async (_hub, _cache, fetch) => {
    await assertFault(() => fetch(), "weights", "as org/model:file.gguf: a.gguf, b.gguf");
  });
  await withHub({ "pytorch_model.bin": gguf }, async (_hub, _cache, fetch) => {
    await assertFault(() => fetch(), "weights", "PyTorch's format only");
  });
  await withHub({ "config.json": gguf }, async (_hub, _cache, fetch) => {
    await assertFault(() => fetch(), "weights", "it has none in safetensors or GGUF");
  });
});

Deno.test("an adapter is a model of its own", async () => {
  const files = { "adapter_config.json": config, "adapter_model.safetensors": weights };
  await withHub(files, async (_hub, _cache, fetch) => {
    const model = await findModel(await fetch());
    assert(model.weights === null && model.adapter !== null);
  });
});

Deno.test("a connection that breaks is taken up where it broke", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    let cuts = 0;
    // More cuts than failures in a row are allowed: each gets further.
    hub.hook = ({ host, range }) => {
      if (host !== "cdn" || cuts === 8) return undefined;
      const from = Number(range?.match(/\d+/)?.[0] ?? 0);
      cuts++;
      const piece = weights.slice(from, from + 20_000);
      if (range === null) return breakingOff(piece);
      const headers = {
        "content-range": `bytes ${from}-${weights.length - 1}/${weights.length}`,
      };
      return breakingOff(piece, headers, 206);
    };
    const folder = await fetch();
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
    assertEquals(hub.downloads.length, 9);
    assertEquals(hub.downloads[0]!.range, null);
    assert(hub.downloads.slice(1).every(({ range }) => /^bytes=[1-9]\d*-$/.test(range!)));
  });
});

Deno.test("a stopped download goes on in the next process", async () => {
  await withHub(small(), async (hub, cache, fetch) => {
    const stop = new AbortController();
    // Half of it, then silence, so that the stop comes for sure before the end.
    hub.hook = ({ host }) => {
      if (host !== "cdn") return undefined;
      return new Response(
        new ReadableStream({ start: (stream) => stream.enqueue(weights.slice(0, 100_000)) }),
      );
    };
    const onProgress = ({ file, done }: HubProgress) => {
      if (file === "model.safetensors" && done >= 100_000) stop.abort(new Error("stopped"));
    };
    await assertRejects(() => fetch({ signal: stop.signal, onProgress }), Error, "stopped");
    const blobs = join(cache, "models--org--model", "blobs");
    const partial = join(blobs, `${sha256(weights)}.incomplete`);
    assertEquals((await Deno.stat(partial)).size, 100_000);
    await assertFault(() => fetch({ offline: true }), "offline", "it was never fetched");

    hub.hook = () => undefined;
    hub.seen.length = 0;
    const folder = await fetch();
    assertEquals(hub.downloads.map(({ range }) => range), ["bytes=100000-"]);
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
    assert((await tree(cache)).every((name) => !name.endsWith(".incomplete")));
    await assertRejects(() => fetch({ signal: AbortSignal.abort(new Error("at once")) }), Error);
  });
});

Deno.test("a partial download that is damaged is thrown away, not built upon", async () => {
  for (const length of [1000, weights.length, weights.length + 1]) {
    await withHub(small(), async (hub, cache, fetch) => {
      const blobs = join(cache, "models--org--model", "blobs");
      await Deno.mkdir(blobs, { recursive: true });
      const partial = join(blobs, `${sha256(weights)}.incomplete`);
      await Deno.writeFile(partial, new Uint8Array(length).fill(7));
      const folder = await fetch();
      assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
      const ranges = length === 1000 ? ["bytes=1000-", null] : [null];
      assertEquals(hub.downloads.map(({ range }) => range), ranges);
    });
  }
});

Deno.test("a server without ranges starts over", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    let cut = false;
    hub.hook = ({ host }) => {
      if (host !== "cdn") return undefined;
      const answer = cut ? new Response(weights) : breakingOff(weights.slice(0, 5000));
      cut = true;
      return answer;
    };
    const folder = await fetch();
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
    hub.hook = ({ host }) => host === "cdn" ? breakingOff(weights.slice(0, 5000)) : undefined;
    await Deno.remove(join(folder, "../../blobs", sha256(weights)));
    await assertFault(() => fetch(), "network", "Cannot reach");
  });
});

Deno.test("content that is not what was announced is refused, and nothing of it stays", async () => {
  const lies: [fault: string, answer: (range: string | null) => Response][] = [
    ["300000 bytes", () => new Response(weights.slice(0, -8))],
    ["sends more than", () => {
      const body = new ReadableStream({
        start(stream) {
          stream.enqueue(weights);
          stream.enqueue(Uint8Array.of(1));
          stream.close();
        },
      });
      return new Response(body);
    }],
    // Short, and 416 for the rest.
    [
      "the server has 1000",
      (range) =>
        range === null
          ? breakingOff(weights.slice(0, 1000))
          : partOf(weights.slice(0, 1000), range),
    ],
    ["its SHA-256 is not", () => new Response(weights.slice().reverse())],
  ];
  for (const [fault, answer] of lies) {
    await withHub(small(), async (hub, cache, fetch) => {
      hub.hook = ({ host, range }) => host === "cdn" ? answer(range) : undefined;
      const message = fault === "300000 bytes" ? `${weights.length} bytes were announced` : fault;
      await assertFault(() => fetch(), "corrupt", message, "Nothing of it was kept");
      const blobs = join(cache, "models--org--model", "blobs");
      assertEquals((await Deno.stat(join(blobs, `${sha256(weights)}.incomplete`))).size, 0);
      await assertFault(() => fetch({ offline: true }), "offline");
      hub.hook = () => undefined;
      assertEquals(await Deno.readFile(join(await fetch(), "model.safetensors")), weights);
    });
  }
});

Deno.test("the same model fetched by several at once is downloaded once", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    const folders = await Promise.all([fetch(), fetch(), fetch()]);
    assertEquals(new Set(folders).size, 1);
    assertEquals(hub.downloads.length, 1);
    assertEquals(await Deno.readFile(join(folders[0]!, "model.safetensors")), weights);
  });
});

Deno.test("a download waits for that of another process, until it is stopped", async () => {
  await withHub(small(), async (hub, cache, fetch) => {
    const locks = join(cache, ".locks", "models--org--model");
    await Deno.mkdir(locks, { recursive: true });
    const file = await Deno.create(join(locks, `${sha256(weights)}.lock`));
    await file.lock(true);
    await assertRejects(() => fetch({ signal: AbortSignal.timeout(150) }), DOMException);
    assertEquals(hub.downloads.length, 0);
    const waiting = fetch();
    file.close();
    assertEquals(await Deno.readFile(join(await waiting, "model.safetensors")), weights);
  });
});

Deno.test("progress counts the bytes of all files", async () => {
  await withHub(small(), async (_hub, _cache, fetch) => {
    const steps: HubProgress[] = [];
    await fetch({ onProgress: (progress) => steps.push(progress) });
    const total = config.length + 2 + weights.length;
    assert(steps.every((step) => step.total === total));
    assert(steps.every(({ done }, i) => done >= (steps[i - 1]?.done ?? 0)));
    assertEquals(steps.at(-1), { file: "model.safetensors", done: total, total });
    assertEquals([...new Set(steps.map(({ file }) => file))], [
      "config.json",
      "tokenizer.json",
      "model.safetensors",
    ]);
  });
});

Deno.test("the token goes to the hub and to nobody else", async () => {
  await withHub(small(), async (hub, cache, fetch) => {
    const clear = () => Deno.remove(cache, { recursive: true });
    const tokens = () => new Set(hub.seen.splice(0).map(({ host, token }) => `${host} ${token}`));
    await Deno.writeTextFile(join(cache, "..", "token"), "hf_stored\n");
    await fetch();
    assertEquals(tokens(), new Set(["hub Bearer hf_stored", "cdn null"]));
    await clear();
    Deno.env.set("HF_TOKEN", " hf_env\n");
    await fetch();
    assertEquals(tokens(), new Set(["hub Bearer hf_env", "cdn null"]));
    await clear();
    await fetch({ token: "hf_option" });
    assertEquals(tokens(), new Set(["hub Bearer hf_option", "cdn null"]));
    await clear();
    await fetch({ token: false });
    assertEquals(tokens(), new Set(["hub null", "cdn null"]));
    await assertFault(() => fetch({ token: "a\nb" }), "token", "no spaces or line breaks");
  });
});

Deno.test("a repository that has moved is followed, with the token", async () => {
  await withHub(small(), async (hub, _cache, _fetch) => {
    hub.hook = ({ host, path }) => {
      if (host === "cdn" || !path.includes("old/name")) return undefined;
      const location = path.replace("old/name", "org/model");
      return new Response(null, { status: 307, headers: { location } });
    };
    const folder = await hubFolder("old/name", { token: "hf_x" });
    assert(folder.includes("models--old--name"));
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
    assert(hub.seen.every(({ host, token }) => host === "cdn" || token === "Bearer hf_x"));

    hub.hook = ({ path }) =>
      path.includes("loop")
        ? new Response(null, { status: 302, headers: { location: path } })
        : undefined;
    await assertFault(() => hubFolder("org/loop"), "server", "redirects more than 10 times");
  });
});

Deno.test("what a hub refuses is told apart", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    const cases: [Response, HubOptions, HubFault, string[]][] = [
      [refuse(401, "RepoNotFound"), {}, "repository", ["no such model", "set HF_TOKEN"]],
      [refuse(404, "RepoNotFound"), { token: "t" }, "repository", ["the rights of the token"]],
      [
        refuse(401, undefined, "Invalid credentials in Authorization header"),
        { token: "t" },
        "token",
        ["Invalid credentials", "Set HF_TOKEN", "/settings/tokens"],
      ],
      [refuse(401, "GatedRepo"), {}, "gated", ["Accept the model's licence", "set HF_TOKEN"]],
      [refuse(403, "GatedRepo", "ask first"), { token: "t" }, "gated", ["ask first", "/org/model"]],
      [refuse(400), {}, "server", ["answered 400", "Check HF_ENDPOINT"]],
      [new Response("<html>"), {}, "server", ["has no commit and list of files"]],
      [Response.json({ sha: "../../x", siblings: [] }), {}, "server", ["no commit"]],
    ];
    for (const [response, options, fault, parts] of cases) {
      hub.seen.length = 0;
      hub.hook = () => response;
      await assertFault(() => fetch(options), fault, ...parts);
      assertEquals(hub.seen.length, 1, "not tried again");
    }
    // A gated model shows its files to all, and refuses their contents.
    hub.hook = ({ method }) => method === "HEAD" ? refuse(403, "GatedRepo") : undefined;
    await assertFault(() => fetch(), "gated", "config.json of");
  });
});

Deno.test("a busy or failing hub is asked again, a few times", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    const times = new Map<string, number>();
    hub.hook = ({ method, path }) => {
      const count = (times.get(method + path) ?? 0) + 1;
      times.set(method + path, count);
      return count > 2 ? undefined : refuse(count === 1 ? 503 : 429);
    };
    assertEquals(await Deno.readFile(join(await fetch(), "model.safetensors")), weights);
    hub.seen.length = 0;
    hub.hook = () => refuse(502);
    await assertFault(() => fetch(), "server", "answered 502", "Try again later");
    assertEquals(hub.seen.length, 5);
    hub.hook = () => refuse(429);
    await assertFault(() => fetch(), "server", "answered 429", "set HF_TOKEN");

    let asked = 0;
    hub.hook = () =>
      asked++ === 0
        ? new Response(null, { status: 429, headers: { "retry-after": "1" } })
        : undefined;
    const started = performance.now();
    await fetch();
    assert(performance.now() - started >= 1000);
    // Waiting can be stopped as well.
    hub.hook = () => new Response(null, { status: 503, headers: { "retry-after": "50" } });
    await assertRejects(() => fetch({ signal: AbortSignal.timeout(50) }), DOMException);
  });
});

Deno.test("a hub that can't be reached is named, with the cache as a way out", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    await fetch();
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const endpoint = `http://127.0.0.1:${listener.addr.port}`;
    listener.close();
    const parts = ["Connection refused", endpoint, "HF_ENDPOINT to a mirror", "HF_HUB_OFFLINE=1"];
    await assertFault(() => fetch({ endpoint }), "network", ...parts);
    await assertFault(() => fetch({ endpoint: "ftp://x" }), "network", '"ftp://x"');
    hub.seen.length = 0;
    Deno.env.set("HF_HUB_OFFLINE", "1");
    Deno.env.set("HF_ENDPOINT", endpoint);
    assert((await fetch()).endsWith(commit));
    assertEquals(hub.seen.length, 0);
  });
});

Deno.test("offline, what the cache lacks is named", async () => {
  await withHub(small(), async (_hub, _cache, fetch) => {
    const offline = { offline: true };
    await assertFault(() => fetch(offline), "offline", '"org/model" at "main"', "never fetched");
    const folder = await fetch();
    assertEquals(await fetch({ ...offline, revision: commit }), folder);
    await assertFault(() => fetch({ ...offline, revision: "v1" }), "offline", '"v1"');
    const other = commit.replaceAll("0", "f");
    await assertFault(() => fetch({ ...offline, revision: other }), "offline", "never fetched");
    await assertFault(
      () => fetch({ ...offline, files: ["q4.gguf"] }),
      "offline",
      "q4.gguf is missing from",
    );
    await Deno.remove(join(folder, "config.json"));
    await assertFault(() => fetch(offline), "offline", "config.json is missing from");
    await Deno.remove(join(folder, "model.safetensors"));
    await assertFault(() => fetch(offline), "offline", "it has none in safetensors or GGUF");
  });
});

Deno.test("a content whose link or blob is gone is put back", async () => {
  await withHub(small(), async (hub, _cache, fetch) => {
    const folder = await fetch();
    hub.seen.length = 0;
    await Deno.remove(join(folder, "model.safetensors"));
    await fetch();
    assertEquals(hub.downloads.length, 0);
    await Deno.remove(join(folder, "../../blobs", sha256(weights)));
    await fetch();
    assertEquals(hub.downloads.length, 1);
    assertEquals(await Deno.readFile(join(folder, "model.safetensors")), weights);
  });
});

Deno.test("file names that lead out of the folder are not followed", async () => {
  const files = { ...small(), "config.json": config };
  await withHub(files, async (hub, cache, fetch) => {
    hub.extraNames = ["../../../tokenizer.json", "/etc/tokenizer.json", "..", "a/../../b.gguf"];
    await fetch();
    assert(hub.seen.every(({ path }) => !path.includes("..") && !path.includes("etc")));
    assertEquals([...Deno.readDirSync(join(cache, ".."))].map(({ name }) => name), ["hub"]);
    await assertFault(() => fetch({ files: ["a/../../b.gguf"] }), "file", "no such file");
  });
  await withHub(files, async (hub, _cache, fetch) => {
    hub.hook = ({ path, method }) =>
      method === "HEAD" && path.endsWith("config.json")
        ? new Response(null, { headers: { etag: '"../../../x"', "content-length": "3" } })
        : undefined;
    await assertFault(() => fetch(), "server", "doesn't say the hash and size of config.json");
  });
});

Deno.test({
  name: "a full disk is said to be full",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withHub(small(), async (_hub, cache, fetch) => {
      const blobs = join(cache, "models--org--model", "blobs");
      await Deno.mkdir(blobs, { recursive: true });
      await Deno.symlink("/dev/full", join(blobs, `${sha1(config)}.incomplete`));
      await assertFault(() => fetch(), "disk", "The disk is full", "HF_HUB_CACHE");
      await Deno.writeTextFile(join(cache, "file"), "");
      const cacheDir = join(cache, "file");
      await assertFault(() => fetch({ cacheDir }), "disk", `Cannot write "${cacheDir}`);
    }),
});

const scoped = Deno.makeTempDirSync();
Deno.test({
  name: "where links can't be made, files are copied",
  // Links need the right to write everywhere.
  permissions: { write: [scoped], read: true, net: true, env: true },
  async fn() {
    try {
      await using hub = new FakeHub(small());
      const folder = await hubFolder("org/model", {
        endpoint: hub.endpoint,
        cacheDir: scoped,
        token: false,
        offline: false,
      });
      const path = join(folder, "model.safetensors");
      assertEquals((await Deno.lstat(path)).isFile, true);
      assertEquals(await Deno.readFile(path), weights);
    } finally {
      await Deno.remove(scoped, { recursive: true });
    }
  },
});

Deno.test("a model is a folder, a GGUF file, or a name on the hub", async () => {
  await withHub(small(), async (_hub, cache) => {
    const home = join(cache, "..");
    const gguf = join(home, "q4.gguf");
    await Deno.writeTextFile(gguf, "GGUF");
    await Deno.writeTextFile(join(home, "notes.txt"), "");
    assertEquals(await resolveModel(home), home);
    assertEquals(await resolveModel(gguf), gguf);
    const folder = await resolveModel("org/model");
    assert(folder.endsWith(commit));
    assertEquals(await resolveModel("org/model@v1"), folder);
    await assertFault(() => resolveModel("org/model@v2"), "revision", "There is no folder");
    await assertFault(() => resolveModel("org/other"), "repository", '"org/other" either');
    const wrong = ["./no/such", "model", "a/b/c", "", "../up/x", "org/model:x.bin", "org/a--b"];
    for (const model of wrong) {
      await assertFault(
        () => resolveModel(model),
        "name",
        `"${model}"`,
        "no such folder or file",
        "of the form org/name",
      );
    }
    await assertFault(() => resolveModel(join(home, "notes.txt")), "name", "not a .gguf file");
    await assertFault(() => hubFolder("a b/c"), "name", "has the form org/name");
  });
});

Deno.test("a file of a data set is fetched alone, in the shared layout, and found offline", async () => {
  const files = { "data/train.parquet": weights, "data/test.jsonl": config, "README.md": config };
  await withHub(files, async (hub, cache) => {
    const fetch = (path: string, options?: HubOptions) =>
      datasetFile(`hf://datasets/${path}`, { retryMs: 1, ...options });
    const path = await fetch("org/data/data/train.parquet");
    const root = join(cache, "datasets--org--data");
    assertEquals(path, join(root, "snapshots", commit, "data/train.parquet"));
    assertEquals(await Deno.readFile(path), weights);
    assertEquals(await tree(join(root, "snapshots", commit)), ["data/train.parquet"]);
    hub.seen.length = 0;
    assertEquals(await fetch("org/data/data/train.parquet"), path);
    assertEquals(hub.seen.map((seen) => seen.path), ["/api/datasets/org/data/revision/main"]);
    assertEquals(await fetch("org/data/data/train.parquet", { offline: true }), path);
    assertEquals(await fetch("org/data@refs%2Fpr%2F1/data/train.parquet"), path);

    const offline = () => fetch("org/data/data/test.jsonl", { offline: true });
    await assertFault(offline, "offline", "data/test.jsonl", "it was never fetched");
    await assertFault(
      () => fetch("org/data/train.csv"),
      "file",
      "there is no such file; the data set has data/train.parquet, data/test.jsonl",
    );
    await assertFault(
      () => fetch("org/data"),
      "file",
      "no file of it; the data set has data/train.parquet, data/test.jsonl",
    );
    await assertFault(() => fetch("org/data", { offline: true }), "offline", "never fetched");
    await assertFault(
      () => fetch("org/other/x.csv"),
      "repository",
      "there is no such data set",
      "for a private data set set HF_TOKEN",
    );
    for (const wrong of ["data/x.csv", "org/data/../x.csv", "org/data@../x.csv", "org/data/"]) {
      await assertFault(() => fetch(wrong), "name", "hf://datasets/org/name/file");
    }
  });
});
