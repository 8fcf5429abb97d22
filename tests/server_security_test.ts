// Who gets in, with what, and what a request may not do.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { Hono } from "hono";
import { ConfigError } from "../mod.ts";
import { settings } from "../src/run/config/schema.ts";
import { MAX_BODY } from "../src/serve/body.ts";
import { guardIdentity, type ServeEnv } from "../src/serve/guards.ts";
import { answerProblem } from "../src/serve/problem.ts";
import { RateLimit } from "../src/serve/rate_limit.ts";
import type { RequestRecord } from "../src/serve/request_log.ts";
import { MentorServer } from "../src/serve/serve.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { ask, begun, ended, freshRuns, makeRun, root, testApp } from "./servers.ts";

const reader = newToken("plots", "read", null);
const controller = newToken("laptop", "control", 30);
const expired = newToken("old", "control", 1, new Date("2020-01-01"));
const tokenFile = join(root, "tokens");
Deno.writeTextFileSync(
  tokenFile,
  `# who may ask\n\n${[reader, controller, expired].map(({ line }) => line).join("\n")}\n`,
);
const tokens = readTokens(tokenFile);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

Deno.test("tokens decide who may look and who may act", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const wrong = controller.token.slice(0, -1) + (controller.token.endsWith("A") ? "B" : "A");
  const rows: [what: string, status: number, method: string, headers: Record<string, string>][] = [
    ["no token", 401, "GET", {}],
    ["a wrong token", 401, "GET", bearer(wrong)],
    ["the hash in the file", 401, "GET", bearer(reader.line.split(" ")[2]!)],
    ["another scheme", 401, "GET", { authorization: `Basic ${reader.token}` }],
    ["an expired token", 401, "GET", bearer(expired.token)],
    ["a token for reading", 200, "GET", bearer(reader.token)],
    ["a token for reading, to start", 403, "POST", bearer(reader.token)],
    ["a token for control", 200, "GET", bearer(controller.token)],
    ["a token for control, to start", 201, "POST", bearer(controller.token)],
    ["any name of the host", 200, "GET", { ...bearer(reader.token), host: "gpu.example" }],
  ];
  for (const [what, status, method, headers] of rows) {
    const body = method === "POST" ? { steps: 1 } : undefined;
    const response = await app.request("/runs", ask(method, body, headers));
    assertEquals(response.status, status, what);
    if (status === 401) {
      assert(response.headers.get("www-authenticate")!.startsWith("Bearer"), what);
    }
  }
  assertEquals((await app.request("/health", ask("GET"))).status, 200);
  assertEquals((await app.request("/metrics", ask("GET"))).status, 401);
});

Deno.test("whoever guesses tokens is slowed down, and nobody else", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const statuses = [];
  for (let i = 0; i < 20; i++) {
    statuses.push((await app.request("/runs", ask("GET", undefined, bearer("guess")))).status);
  }
  assert(statuses.includes(429), String(statuses));
  assertEquals(
    (await app.request("/runs", ask("GET", undefined, bearer(reader.token)))).status,
    200,
  );
});

Deno.test("a token file that cannot be used is refused with its line", () => {
  const refused = (text: string, what: string) => {
    Deno.writeTextFileSync(join(root, "bad"), text);
    assertThrows(() => readTokens(join(root, "bad")), ConfigError, what);
  };
  refused("", "holds no token");
  refused("# a comment\nplots all 00\n", "line 2");
  refused("plots read 00\n", "SHA-256");
  for (const date of ["tomorrow", "5", "2027-02-31", "2027-01-31 or so"]) {
    refused(`${reader.line} ${date}\n`, "date");
  }
  assertThrows(() => readTokens(join(root, "none")), ConfigError, "none");
  assertThrows(() => newToken("two words", "read", null), ConfigError, "two words");
});

Deno.test("a token counts for as many days as it was made for, and then no more", async () => {
  const made = new Date("2026-01-01T23:59:00Z");
  const { token, line } = newToken("short", "read", 1, made);
  Deno.writeTextFileSync(join(root, "short"), `${line}\r\n`);
  const tokens = readTokens(join(root, "short"));
  const statusAfter = async (hours: number) => {
    const app = new Hono<ServeEnv>().onError(answerProblem);
    app.use(guardIdentity({ tokens, origins: [], now: () => made.getTime() + hours * 3_600_000 }));
    app.get("/runs", (c) => c.text(c.get("identity").name!));
    return (await app.request("/runs", ask("GET", undefined, bearer(token)))).status;
  };
  assertEquals(await Promise.all([0, 23, 24, 48].map(statusAfter)), [200, 200, 200, 401]);
});

Deno.test("without tokens another machine is refused, wherever the app listens", async () => {
  const from = async (hostname: string, more = {}) => {
    const { app, service } = testApp(more);
    await using _service = service;
    const remoteAddr = { transport: "tcp", hostname, port: 9 };
    const request = new Request(
      "http://localhost/runs",
      ask("GET", undefined, bearer(reader.token)),
    );
    return (await app.fetch(request, { remoteAddr })).status;
  };
  for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    assertEquals(await from(address), 200, address);
  }
  for (const address of ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "fe80::1"]) {
    assertEquals(await from(address), 403, address);
    assertEquals(await from(address, { tokens }), 200, address);
  }
});

Deno.test("without tokens the server listens to this machine alone", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    await assertRejects(
      () => MentorServer.open({ host, port: 0, runs: freshRuns() }),
      ConfigError,
      host,
    );
  }
  const server = await MentorServer.open({ port: 0, runs: freshRuns() });
  assert(server.url.startsWith("http://127.0.0.1:"));
  const port = Number(new URL(server.url).port);
  await assertRejects(
    () => MentorServer.open({ port, runs: freshRuns() }),
    ConfigError,
    String(port),
  );
  await server.close();
});

Deno.test("pages from elsewhere can neither act nor read", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const rows: [what: string, status: number, method: string, headers: Record<string, string>][] = [
    ["this machine", 200, "GET", {}],
    ["this machine by address", 200, "GET", { host: "127.0.0.1:8000" }],
    ["this machine by its other address", 200, "GET", { host: "[::1]:8000" }],
    ["this machine in capitals", 200, "GET", { host: "LocalHost:8000" }],
    ["a name that begins like this machine", 421, "GET", { host: "127.0.0.1.evil.example" }],
    ["a name below this machine's", 421, "GET", { host: "evil.localhost" }],
    ["any address", 421, "GET", { host: "0.0.0.0:8000" }],
    ["no name", 421, "GET", { host: "" }],
    ["a proxy's word for it", 421, "GET", {
      host: "evil.example",
      "x-forwarded-host": "localhost",
      "x-forwarded-for": "127.0.0.1",
      forwarded: "for=127.0.0.1;host=localhost",
    }],
    ["DNS rebinding", 421, "GET", { host: "evil.example" }],
    ["DNS rebinding, to act", 421, "POST", { host: "evil.example:8000" }],
    ["CSRF", 403, "POST", { origin: "https://evil.example" }],
    ["CSRF from a page without origin", 403, "POST", { origin: "null" }],
    ["a page of this server", 201, "POST", {
      host: "localhost:8000",
      origin: "http://localhost:8000",
    }],
    ["a page of another port", 403, "POST", {
      host: "localhost:8000",
      origin: "http://localhost:3000",
    }],
    ["a form", 415, "POST", { "content-type": "application/x-www-form-urlencoded" }],
    ["a form with files", 415, "POST", { "content-type": "multipart/form-data; boundary=x" }],
    ["text", 415, "POST", { "content-type": "text/plain" }],
  ];
  for (const [what, status, method, headers] of rows) {
    const body = method === "POST" ? { steps: 1 } : undefined;
    const response = await app.request("/runs", ask(method, body, headers));
    assertEquals(response.status, status, what);
    assertEquals(response.headers.get("access-control-allow-origin"), null, what);
  }
  const preflight = await app.request(
    "/runs",
    ask("OPTIONS", undefined, { origin: "https://evil.example" }),
  );
  assertEquals(preflight.headers.get("access-control-allow-origin"), null);
});

Deno.test("an origin that is allowed may ask, and no other", async () => {
  const { app, service } = testApp({ origins: ["https://plots.example"] });
  await using _service = service;
  const from = async (origin: string) => {
    const response = await app.request("/runs", ask("POST", { steps: 1 }, { origin }));
    return [response.status, response.headers.get("access-control-allow-origin")];
  };
  assertEquals(await from("https://plots.example"), [201, "https://plots.example"]);
  assertEquals((await from("https://evil.example"))[0], 403);
});

Deno.test("a body that is too large, too deep or no JSON object is refused", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const deep = (levels: number) => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`;
  const rows: [what: string, status: number, body: string][] = [
    ["large", 413, `{"from":"${"x".repeat(MAX_BODY)}"}`],
    ["deep", 400, deep(40)],
    ["very deep", 400, deep(400_000)],
    ["quotes and brackets in a text", 400, `{"from":"\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}`],
    ["cut short", 400, `{"steps":`],
    ["a list", 400, "[]"],
    ["null", 400, "null"],
    ["nothing", 400, ""],
    ["a prototype", 400, `{"__proto__":{"steps":1}}`],
    ["an unknown setting", 400, `{"stpes":1}`],
  ];
  for (const [what, status, body] of rows) {
    const response = await app.request("/runs", ask("POST", body));
    assertEquals(response.status, status, what);
    assertEquals(response.headers.get("content-type"), "application/problem+json", what);
  }
  // Without its length said in advance.
  const chunks = ReadableStream.from(Array(20).fill(new TextEncoder().encode("x".repeat(100_000))));
  const endless = new Request("http://localhost/runs", { ...ask("POST"), body: chunks });
  assertEquals((await app.request(endless)).status, 413);
  assertEquals(service.index.list({ limit: -1 }), []);
  const refused = await (await app.request("/runs", ask("POST", deep(40)))).json();
  assert(refused.detail.includes("nested more than 32 levels"), refused.detail);
});

Deno.test("an action takes JSON or nothing, so that no form of a page is one", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { id } = makeRun(service.options.runs, [begun, ended(9)]);
  const status = async (action: string, headers: Record<string, string>, body?: string) => {
    const request = { method: "POST", headers: { host: "localhost", ...headers }, body };
    return (await app.request(`/runs/${id}/${action}`, request)).status;
  };
  for (const action of ["pause", "resume", "stop"]) {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      assertEquals(await status(action, { "content-type": type }, "a=b"), 415, type);
      assertEquals(await status(action, { "content-type": type }), 415, type);
    }
    assertEquals(await status(action, {}, "a=b"), 415);
  }
  // It gets as far as the run, which has ended.
  assertEquals(await status("stop", {}), 409);
});

Deno.test("a config names no file, model, address or code that the operator did not allow", async () => {
  const outside = join(root, "outside");
  const allowed = join(root, "allowed");
  for (const folder of [outside, allowed]) {
    Deno.mkdirSync(folder);
    Deno.writeTextFileSync(join(folder, "tasks.jsonl"), "");
  }
  Deno.symlinkSync(outside, join(allowed, "link"));
  const { app, service } = testApp({ allowed: { places: [allowed, "org/small"] } });
  await using _service = service;
  const trained = makeRun(service.options.runs, [begun, ended(9)]);
  Deno.mkdirSync(trained.model);
  const good: Record<string, unknown>[] = [
    {},
    { from: "scratch" },
    { from: "org/small" },
    { from: trained.model },
    { tasks: join(allowed, "tasks.jsonl") },
    { tools: ["calculator"] },
  ];
  for (const config of good) {
    const response = await app.request("/runs", ask("POST", config));
    assertEquals(response.status, 201, JSON.stringify(config));
  }
  const bad: [path: string, value: unknown][] = [
    ["from", "org/large"],
    ["from", "https://evil.example/model"],
    ["from", "http://169.254.169.254/latest"],
    ["from", "/etc"],
    ["from", join(allowed, "..", "outside")],
    ["tasks", "/etc/passwd"],
    ["tasks", join(outside, "tasks.jsonl")],
    ["tasks", join(allowed, "link", "tasks.jsonl")],
    ["tasks", join(allowed, "none.jsonl")],
    ["tasks", trained.events],
    ["tools", ["mine.ts"]],
    ["tools", "./mine.ts"],
    ["tools", ["https://evil.example/tool.ts"]],
    ["tools", ["calculator", "python"]],
    ["tools", "search:/etc/passwd"],
    ["tasks", "hf://datasets/org/name/train.parquet"],
    ["distill.teacher", "org/large"],
    ["likelihood.expert", "/etc"],
    ["likelihood.base", "org/large"],
    ["out", "/elsewhere"],
    ["resume", trained.path],
    ["tuning", "/etc/passwd"],
  ];
  // Whatever else takes a path, also what is added later.
  for (const { path, allowed } of settings) {
    if (!/\bpaths?\b/.test(allowed)) continue;
    bad.push([path, "/etc/passwd"], [path, join(outside, "tasks.jsonl")]);
  }
  for (const [path, value] of bad) {
    const keys = path.split(".");
    const config = keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
    const response = await app.request("/runs", ask("POST", config));
    const body = await response.json();
    assertEquals([response.status, body.errors?.[0].path], [400, path], `${path} = ${value}`);
  }
});

Deno.test("no path leads out of the runs", async () => {
  const runs = freshRuns();
  const { app, service } = testApp({ runs });
  await using _service = service;
  const run = makeRun(runs, [begun, ended(9)]);
  Deno.mkdirSync(run.checkpoint(3));
  Deno.writeTextFileSync(join(run.checkpoint(3), "state.json"), "{}");
  Deno.symlinkSync("/etc/passwd", join(run.checkpoint(3), "passwd"));
  Deno.symlinkSync("/etc", run.checkpoint(4));
  Deno.symlinkSync("/etc", run.model);
  service.supervisor.tick();
  const ask200 = `/runs/${run.id}/checkpoints/3/state.json`;
  assertEquals((await app.request(ask200, ask("GET"))).status, 200);
  for (
    const path of [
      "/runs/../etc",
      "/runs/%2e%2e/etc",
      "/runs/..%2f..%2fetc",
      "/runs/%2fetc%2fpasswd",
      `/runs/${run.id}%00`,
      "/runs/.hidden",
      `/runs/${run.id}/checkpoints/4`,
      `/runs/${run.id}/checkpoints/4/passwd`,
      `/runs/${run.id}/model`,
      `/runs/${run.id}/model/passwd`,
      `/runs/${run.id}/checkpoints/../config.json`,
      `/runs/${run.id}/checkpoints/3/..%2f..%2fconfig.json`,
      `/runs/${run.id}/checkpoints/3/%2e%2e%2fconfig.json`,
      `/runs/${run.id}/checkpoints/..%2f..%2f/config.json`,
      `/runs/${run.id}/checkpoints/-1/state.json`,
      `/runs/${run.id}/checkpoints/3/passwd`,
      `/runs/${run.id}/checkpoints/3/${"%61".repeat(200)}`,
      `/runs/${run.id}/model/state.json`,
    ]
  ) {
    const response = await app.request(path, ask("GET"));
    assert([400, 404].includes(response.status), `${path}: ${response.status}`);
    assertEquals(response.headers.get("content-type"), "application/problem+json", path);
  }
});

Deno.test("nothing in a query or header reaches the database or the answer's head", async () => {
  const runs = freshRuns();
  const { app, service } = testApp({ runs });
  await using _service = service;
  const run = makeRun(runs, [begun, ended(9)]);
  service.supervisor.tick();
  for (
    const [path, status] of [
      [`/runs?after=${encodeURIComponent("x' OR '1'='1")}`, 400],
      [`/runs?state=${encodeURIComponent("queued'; DROP TABLE runs; --")}`, 400],
      ["/runs?limit=1e9", 400],
      ["/runs?limit=-1", 400],
      ["/runs?limit=0", 400],
      ["/runs?limit=501", 400],
      ["/runs?limit=0x10", 400],
      [`/runs/${run.id}/metrics?names=${encodeURIComponent("x'; DROP TABLE metrics; --")}`, 200],
      [`/runs/${run.id}/metrics?points=99999999999999999999`, 400],
      [`/runs/${run.id}/episodes?step=${encodeURIComponent("1 OR 1=1")}`, 400],
      [`/runs/${run.id}%0d%0aSet-Cookie:%20a=b`, 400],
    ] as const
  ) {
    const response = await app.request(path, ask("GET"));
    assertEquals(response.status, status, path);
    assertEquals(response.headers.get("set-cookie"), null, path);
  }
  assertEquals(service.index.list({ limit: -1 }).length, 1);
});

Deno.test("an answer forbids whatever a page does not need, and a failure shows nothing", async () => {
  const logged: RequestRecord[] = [];
  const { app, service } = testApp({ onRequest: (record) => logged.push(record) });
  await using _service = service;
  const response = await app.request("/docs", ask("GET"));
  const header = (name: string) => response.headers.get(name) ?? "";
  // Also where something is wrong.
  for (const path of ["/runs", "/runs/none", "/runs/.."]) {
    const { headers } = await app.request(path, ask("GET"));
    assertEquals(headers.get("x-content-type-options"), "nosniff", path);
    assertEquals(headers.get("cross-origin-resource-policy"), "same-origin", path);
  }
  assert(header("content-security-policy").includes("default-src 'none'"));
  assertEquals(header("x-content-type-options"), "nosniff");
  assertEquals(header("x-frame-options"), "DENY");
  assert(!/https?:\/\//.test((await response.text()).replaceAll("http://www.w3.org", "")));
  service.index.list = () => {
    throw new Error(`SQLITE_FULL: ${service.options.runs}`);
  };
  const failed = await app.request("/runs", ask("GET"));
  assertEquals(failed.status, 500);
  const body = await failed.text();
  assert(!/SQLITE|runs|\.ts|\n\s+at /.test(body), body);
  assert(logged.at(-1)!.error!.includes("SQLITE_FULL"));
});

Deno.test("a client that asks too often waits, and others do not", () => {
  let now = 0;
  const limit = new RateLimit(4, () => now);
  const taken = (client: string, count: number) =>
    Array.from({ length: count }, () => limit.take(client)).filter((wait) => wait === 0).length;
  assertEquals([taken("a", 10), taken("b", 3)], [4, 3]);
  now += 500;
  assertEquals(taken("a", 10), 2);
  now += 60_000;
  assertEquals(taken("a", 10), 4);
  // Who asks twice as often as allowed is let in half of the time, and not never.
  let granted = 0;
  for (let i = 0; i < 80; i++) {
    now += 125;
    granted += taken("a", 1);
  }
  assertEquals(granted, 40);
});

Deno.test("who asks too often is told when to try again, and others are not held up", async () => {
  const { app, service } = testApp({ tokens, rate: 3 });
  await using _service = service;
  const get = (token: string) => app.request("/runs", ask("GET", undefined, bearer(token)));
  const answers = [];
  for (let i = 0; i < 8; i++) answers.push(await get(reader.token));
  const refused = answers.filter(({ status }) => status !== 200);
  assert(refused.length >= 4 && answers[2]!.ok, String(answers.map(({ status }) => status)));
  for (const { status, headers } of refused) {
    assertEquals([status, headers.get("retry-after")], [429, "1"]);
    assertEquals(headers.get("content-type"), "application/problem+json");
  }
  assertEquals((await get(controller.token)).status, 200);
});

Deno.test("more requests at a time than the server takes are put off, and those that go make room", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const ending: (() => void)[] = [];
  const slow = Array.from({ length: 256 }, () => {
    const body = new ReadableStream({
      start: (controller) => void ending.push(() => controller.close()),
    });
    return app.request(new Request("http://localhost/runs", { ...ask("POST"), body }));
  });
  const busy = await app.request("/runs", ask("GET"));
  assertEquals([busy.status, busy.headers.get("retry-after")], [503, "1"]);
  ending.forEach((end) => end());
  assertEquals(new Set((await Promise.all(slow)).map(({ status }) => status)), new Set([400]));
  assertEquals((await app.request("/runs", ask("GET"))).status, 200);
});
