// Tools that are called over HTTP: which there are, and what a call can't do.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { MAX_BODY } from "../src/serve/body.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { LazySandbox } from "../src/tools/sandbox/lazy.ts";
import { ToolUnavailableError } from "../src/tools/tool.ts";
import { ask, root, testApp } from "./servers.ts";

type App = ReturnType<typeof testApp>["app"];

async function call(app: App, name: string, args: unknown) {
  const response = await app.request(`/tools/${name}`, ask("POST", { arguments: args }));
  return { status: response.status, body: await response.json() };
}

async function names(app: App): Promise<string[]> {
  const { tools } = await (await app.request("/tools", ask("GET"))).json();
  return (tools as { name: string }[]).map(({ name }) => name);
}

Deno.test("the tools that are allowed and run here are listed, modules and servers are not", async () => {
  const module = join(root, "tools.ts");
  Deno.writeTextFileSync(module, `throw new Error("this ran in the server");`);
  const tools = ["units", "units", module, "servers.json", "search:texts.jsonl", "table", "python"];
  const { app, service } = testApp({ allowed: { tools } });
  await using _service = service;
  assertEquals(await names(app), ["convert", "python"]);
  assertEquals(service.tools.specs[1]!.parameters.required, ["code"]);
  const { app: usual, service: other } = testApp();
  await using _other = other;
  assertEquals(await names(usual), ["add", "sub", "mul", "div"]);
});

Deno.test("a call answers with what a model would be told", async () => {
  const { app, service } = testApp({ allowed: { tools: ["calculator", "javascript"] } });
  await using _service = service;
  const rows: [name: string, args: unknown, status: string, result: string | RegExp][] = [
    ["add", { a: 34, b: 8 }, "ok", "42"],
    ["div", { a: 1, b: 0 }, "failed", "error: division by zero"],
    ["add", { a: "34", b: 8 }, "bad-arguments", /^error: a: /],
    ["add", {}, "bad-arguments", /^error: .*required/],
    ["add", [34, 8], "bad-arguments", /^error: /],
    ["javascript", { code: "6 * 7" }, "ok", "42"],
    ["javascript", { code: "Deno.exit()" }, "failed", /^error: .*Deno/],
  ];
  for (const [name, args, status, result] of rows) {
    const answer = await call(app, name, args);
    const what = `${name} ${JSON.stringify(args)}`;
    assertEquals([answer.status, answer.body.status], [200, status], what);
    if (typeof result === "string") assertEquals(answer.body.result, result, what);
    else assertMatch(answer.body.result, result, what);
  }
});

Deno.test("what is not allowed is not there, and who may read alone may not call", async () => {
  const reader = newToken("plots", "read", null);
  const controller = newToken("laptop", "control", null);
  const file = join(root, "tokens");
  Deno.writeTextFileSync(file, `${reader.line}\n${controller.line}\n`);
  const { app, service } = testApp({ tokens: readTokens(file) });
  await using _service = service;
  const sum = { arguments: { a: 1, b: 2 } };
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const may = bearer(controller.token);
  const text = { ...may, "content-type": "text/plain" };
  const foreign = { ...may, origin: "https://elsewhere.example" };
  const deep = `{"arguments":{"a":${"[".repeat(40)}${"]".repeat(40)}}}`;
  const rows: [status: number, path: string, body: unknown, headers: Record<string, string>][] = [
    [200, "/tools/add", sum, may],
    [401, "/tools/add", sum, {}],
    [403, "/tools/add", sum, bearer(reader.token)],
    [403, "/tools/add", sum, foreign],
    [404, "/tools/python", { arguments: { code: "1" } }, may],
    [404, "/tools/convert", { arguments: {} }, may],
    [404, "/tools/toString", sum, may],
    [404, "/tools/__proto__", sum, may],
    [400, "/tools/..%2fadd", sum, may],
    [400, `/tools/${"a".repeat(65)}`, sum, may],
    [400, "/tools/add", { ...sum, world: {} }, may],
    [400, "/tools/add", { arguments: "1 2" }, may],
    [400, "/tools/add", {}, may],
    [400, "/tools/add", deep, may],
    [413, "/tools/add", { arguments: { a: "x".repeat(MAX_BODY) } }, may],
    [415, "/tools/add", sum, text],
  ];
  for (const [status, path, body, headers] of rows) {
    const response = await app.request(path, ask("POST", body, headers));
    assertEquals(response.status, status, `${path} ${JSON.stringify(body).slice(0, 80)}`);
    if (status !== 200) {
      assertEquals(response.headers.get("content-type"), "application/problem+json", path);
    }
    await response.body?.cancel();
  }
  assertEquals((await app.request("/tools", ask("GET", undefined, may))).status, 200);
  const look = await app.request("/tools", ask("GET", undefined, bearer(reader.token)));
  assertEquals(look.status, 200);
});

Deno.test("hostile arguments are refused, or fail, and leave nothing behind", async () => {
  const { app, service } = testApp({ allowed: { tools: ["calculator", "units", "dates"] } });
  await using _service = service;
  const values = ['"__proto__"', "1e308", "-1e999", '"\\u0000"', "null", "[[]]", '{"a":{}}'];
  const names = ["__proto__", "constructor", "%zz", "a", "value", "date", "days", "months"];
  for (const { name } of service.tools.specs) {
    for (const value of values) {
      const all = names.map((key) => `${JSON.stringify(key)}:${value}`);
      for (const args of [...all, all.join(), `"date":"2024-01-31","months":${value}`]) {
        const body = `{"arguments":{${args}}}`;
        const response = await app.request(`/tools/${name}`, ask("POST", body));
        const { status } = await response.json();
        assertEquals([response.status, status === "ok"], [200, false], `${name} ${body}`);
      }
    }
  }
  assertEquals(Object.keys(Object.prototype), []);
  const far = await call(app, "add_days", { date: "2024-01-31", days: 2 ** 53 - 1 });
  assertEquals(far.body.status, "failed");
});

Deno.test("Python that never ends is cut, and the next call is right", async () => {
  const { app, service } = testApp({ allowed: { tools: ["python"] } });
  await using _service = service;
  const begin = performance.now();
  const endless = await call(app, "python", { code: "while True: pass" });
  assertEquals([endless.status, endless.body.status], [200, "failed"]);
  assertMatch(endless.body.result, /^error: it ran for more than \d+ ms/);
  assert(performance.now() - begin < 120_000);
  const inside = await call(app, "python", { code: "open('/etc/passwd').read()" });
  assertEquals(inside.body.status, "failed");
  assertEquals((await call(app, "python", { code: "6 * 7" })).body, { status: "ok", result: "42" });
  const long = await call(app, "python", { code: "print('x' * 10**6)" });
  assert(long.body.result.length < 4096);
});

Deno.test("calls beyond a limit are refused at once, and those that run end with the server", async () => {
  const { app, service } = testApp({ allowed: { tools: ["calculator", "javascript"] } });
  const endless = { code: "await new Promise(() => {})" };
  const running = Array.from({ length: 8 }, () => call(app, "javascript", endless));
  const ninth = await app.request("/tools/add", ask("POST", { arguments: { a: 1, b: 2 } }));
  assertEquals([ninth.status, ninth.headers.get("retry-after")], [503, "1"]);
  await service.close();
  for (const { status, body } of await Promise.all(running)) {
    assertEquals(status, 503);
    assertMatch(body.detail, /ended/);
  }
});

Deno.test("a tool that can't be had is no fault of the call, and may be there the next time", async () => {
  let tries = 0;
  const closed: string[] = [];
  const lazy = new LazySandbox(() => {
    if (tries++ === 0) return Promise.reject(new ToolUnavailableError("no processes"));
    const done = { status: "ok", value: "1", stdout: "", error: null, ms: 0 } as const;
    return Promise.resolve({
      run: () => Promise.resolve(done),
      [Symbol.asyncDispose]: () => Promise.resolve(void closed.push("closed")),
    });
  });
  const first = await lazy.run("1").catch((error) => error);
  assert(first instanceof ToolUnavailableError);
  assertEquals((await lazy.run("1")).value, "1");
  assertEquals((await lazy.run("1")).value, "1");
  assertEquals(tries, 2);
  await lazy[Symbol.asyncDispose]();
  assertEquals(closed, ["closed"]);
  assertMatch(String(await lazy.run("1").catch((error) => error)), /closed/);
  const { app, service } = testApp();
  await using _service = service;
  const unavailable = new ToolUnavailableError("no processes");
  service.tools.call = () => Promise.resolve({ status: "failed", text: "error", unavailable });
  const answer = await call(app, "add", { a: 1, b: 2 });
  assertEquals(answer.status, 503);
  assertMatch(answer.body.detail, /"add" can't be had now: no processes/);
});
