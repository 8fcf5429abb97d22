// What a connection may do to the server: take its time, take nothing, and go.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { BodyError, requestText } from "../src/io/http.ts";
import { MAX_BODY } from "../src/serve/body.ts";
import { Listener } from "../src/serve/listener.ts";
import type { RequestRecord } from "../src/serve/request_log.ts";
import { type Listening, MentorServer, type ServerOptions } from "../src/serve/serve.ts";
import { ask, freshRuns, testApp, until } from "./servers.ts";

const encoder = new TextEncoder();
const local = { host: "127.0.0.1", port: 0 };
const limits = { headers: 0.5, request: 1 };

const serve = (options: ServerOptions & Listening = {}) =>
  MentorServer.open({ ...local, limits, runs: freshRuns(), ...options });

/** A connection on which a client says what it likes. */
async function connect(url: string, says: string): Promise<Deno.TcpConn> {
  const { hostname, port } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(encoder.encode(says));
  return connection;
}

/** What comes until the server ends the connection, at most so long. */
async function rest(connection: Deno.TcpConn, seconds = 10): Promise<string> {
  const timer = setTimeout(() => connection.close(), 1000 * seconds);
  let text = "";
  try {
    const decoder = new TextDecoder();
    for await (const chunk of connection.readable) text += decoder.decode(chunk);
    return text;
  } catch (error) {
    // The server may end it with bytes of the client on the way.
    if (error instanceof Deno.errors.ConnectionReset) return text;
    throw new Error(`Not ended within ${seconds} s, after: ${text}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Sends a bit more every 50 ms, until the server has had enough. */
async function drip(connection: Deno.TcpConn, bit: string): Promise<void> {
  try {
    while (true) {
      await connection.write(encoder.encode(bit));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } catch {
    // It is over.
  }
}

Deno.test("a request that does not come to its end is cut off, however it dawdles", async () => {
  const server = await serve();
  const head = "POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const rows: [what: string, says: string, bit?: string][] = [
    ["nothing", ""],
    ["half a line", "GET /ru"],
    ["half a header", "GET /runs HTTP/1.1\r\nHost: localhost\r\nX-"],
    ["a line bit by bit", "GET /", "x"],
    ["a header bit by bit", "GET /runs HTTP/1.1\r\nHost: localhost\r\nX-", "x"],
    ["header after header", "GET /runs HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n"],
    ["a second request bit by bit", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", "x"],
    ["no body", `${head}Content-Length: 1000\r\n\r\n`],
    ["a body bit by bit", `${head}Content-Length: 1000\r\n\r\n{`, " "],
    ["chunk after chunk", `${head}Transfer-Encoding: chunked\r\n\r\n`, "1\r\n \r\n"],
  ];
  const answers = await Promise.all(rows.map(async ([what, says, bit]) => {
    const connection = await connect(server.url, says);
    if (bit !== undefined) void drip(connection, bit);
    return [what, (await rest(connection)).split("\r\n")[0]!] as const;
  }));
  for (const [what, line] of answers) {
    const status = what.startsWith("a second") ? "200 OK" : "408 Request Timeout";
    assertEquals(line, `HTTP/1.1 ${status}`, what);
  }
  await server.close();
});

Deno.test("connections that never finish their request hold nobody up", async () => {
  const server = await serve();
  const slow = await Promise.all(Array.from({ length: 300 }, async () => {
    const connection = await connect(server.url, "GET /runs HTTP/1.1\r\nHost: localhost\r\nX-");
    void drip(connection, "x");
    return connection;
  }));
  const started = performance.now();
  for (const path of ["/health", "/runs"]) {
    const response = await fetch(server.url + path, { signal: AbortSignal.timeout(2000) });
    assertEquals(response.status, 200);
    await response.body?.cancel();
  }
  assert(performance.now() - started < 2000);
  await Promise.all(slow.map((connection) => rest(connection)));
  await server.close();
});

Deno.test("connections beyond the limit are closed at once, and there is room again later", async () => {
  const server = await serve({ limits: { headers: 0.5, request: 1, connections: 3 } });
  const held = await Promise.all([1, 2, 3].map(() => connect(server.url, "GET / HT")));
  assertEquals(await rest(await connect(server.url, "")), "");
  await Promise.all(held.map((connection) => rest(connection)));
  const response = await fetch(`${server.url}/health`);
  assertEquals(response.status, 200);
  await response.body?.cancel();
  await server.close();
});

Deno.test("a connection that had an answer is kept for the next request", async () => {
  const server = await serve();
  const request = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
  const connection = await connect(server.url, `${request}\r\n`);
  const buffer = new Uint8Array(4096);
  await connection.read(buffer);
  await new Promise((resolve) => setTimeout(resolve, 2000 * limits.request));
  await connection.write(encoder.encode(`${request}Connection: close\r\n\r\n`));
  assert((await rest(connection)).startsWith("HTTP/1.1 200 OK"));
  await server.close();
});

Deno.test("an answer may take longer than a request", async () => {
  await using server = await Listener.open(async () => {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return new Response("late");
  }, { ...local, limits });
  assertEquals(await (await fetch(server.url)).text(), "late");
});

Deno.test("a body that does not come in time, or breaks off, is told apart", async () => {
  const request = (body: ReadableStream) =>
    new Request("http://localhost", { method: "POST", body });
  const late = await assertRejects(
    () => requestText(request(new ReadableStream()), 10, 0.05),
    BodyError,
    "within 0.05 s",
  );
  assertEquals(late.status, 408);
  const { app, service } = testApp();
  await using _service = service;
  const broken = new ReadableStream({ start: (controller) => controller.error("reset") });
  const response = await app.request("http://localhost/runs", { ...ask("POST"), body: broken });
  assertEquals(response.status, 400);
  assertEquals((await response.json()).detail, "The connection ended before the body");
});

Deno.test("a body that is too long is refused before all of it was sent", async () => {
  const records: RequestRecord[] = [];
  const server = await serve({ onRequest: (record) => records.push(record) });
  const head = "POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const half = " ".repeat(MAX_BODY / 2 + 1);
  for (
    const says of [
      `${head}Content-Length: ${MAX_BODY + 1}\r\n\r\n`,
      `${head}Transfer-Encoding: chunked\r\n\r\n${`80001\r\n${half}\r\n`.repeat(2)}`,
    ]
  ) {
    const answer = await rest(await connect(server.url, says));
    assert(answer.startsWith("HTTP/1.1 413 "), answer);
    assert(answer.includes('"title":"Content too large"'), answer);
  }
  assertEquals(records.map(({ status, client }) => [status, client]), [
    [413, "127.0.0.1"],
    [413, "127.0.0.1"],
  ]);
  await server.close();
});

Deno.test("a client that takes nothing is sent no more than fits on the way, until it goes", async () => {
  let made = 0;
  let cancelled = false;
  let aborted = false;
  const chunk = new Uint8Array(64 * 1024);
  await using server = await Listener.open((request) => {
    request.signal.addEventListener("abort", () => aborted = true);
    return new Response(
      new ReadableStream({
        pull(controller) {
          made += chunk.length;
          controller.enqueue(chunk);
        },
        cancel() {
          cancelled = true;
        },
      }),
    );
  }, { ...local, limits });
  const connection = await connect(server.url, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  let before = -1;
  await until("nothing more is made", async () => {
    const still = made === before && made > 0;
    before = made;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return still;
  });
  assert(made < 32e6, String(made));
  connection.close();
  await until("told of it", () => cancelled && aborted);
});

Deno.test("a server that ends finishes the requests that are there, and waits for no others", async () => {
  const begun = Promise.withResolvers<void>();
  const server = await Listener.open(async () => {
    begun.resolve();
    await new Promise((resolve) => setTimeout(resolve, 300));
    return new Response("whole");
  }, { ...local, limits: { headers: 60, request: 60 } });
  const half = await connect(server.url, "GET / HTTP/1.1\r\nHost: lo");
  const answer = fetch(server.url).then((response) => response.text());
  await begun.promise;
  await server.close();
  assertEquals(await answer, "whole");
  assertEquals(await rest(half), "");
  await assertRejects(() => fetch(server.url));
});
