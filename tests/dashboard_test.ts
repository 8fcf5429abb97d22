// The pages of the dashboard as the server sends them; tests/browser has a browser use them.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { assets, assetUrl } from "../src/web/assets.ts";
import { ask, begun, ended, freshRuns, makeRun, root, stepEvent, testApp } from "./servers.ts";

const reader = newToken("plots", "read", null);
const controller = newToken("laptop", "control", null);
const tokenFile = join(root, "tokens");
Deno.writeTextFileSync(tokenFile, `${reader.line}\n${controller.line}\n`);
const tokens = readTokens(tokenFile);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

Deno.test("the list shows every run with its state, and where older ones are", async () => {
  const runs = freshRuns();
  const { app, service } = testApp({ runs });
  await using _service = service;
  const empty = await (await app.request("/", ask("GET"))).text();
  assertStringIncludes(empty, "There are no runs yet");
  const done = makeRun(runs, [begun, stepEvent(9), ended(9)]);
  const waiting = makeRun(runs, []);
  service.supervisor.tick();
  const page = await (await app.request("/", ask("GET"))).text();
  assertStringIncludes(page, `href="/ui/runs/${done.id}"`);
  assertStringIncludes(page, `href="/ui/runs/${waiting.id}"`);
  assertStringIncludes(page, "finished");
  assertStringIncludes(page, "9 of 9");
  const one = await (await app.request("/?limit=1", ask("GET"))).text();
  const [, next] = /href="\/\?after=([^"]+)"/.exec(one)!;
  assert(one.includes(next!), "the last run of the page");
  assertEquals((await app.request("/?limit=none", ask("GET"))).status, 400);
});

Deno.test("what a page loads is there, never changes under its name, and comes from the server", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const response = await app.request("/", ask("GET"));
  assertEquals(response.headers.get("cache-control"), "no-store");
  const page = await response.text();
  const loaded = [...page.matchAll(/(?:src|rel="stylesheet" href)="([^"]+)"/g)].map(([, url]) =>
    url!
  );
  assert(loaded.length >= 3, page);
  for (const url of loaded) {
    const file = await app.request(url, ask("GET"));
    assertEquals(file.status, 200, url);
    assertStringIncludes(file.headers.get("cache-control")!, "immutable");
    await file.body?.cancel();
  }
  assert(!/<(script|style)>|style="|\bon\w+="/.test(page), "nothing that the policy forbids");
  for (const file of ["nothing.js", "toString", "..%2fapp.ts"]) {
    assertEquals((await app.request(`/ui/assets/${file}`, ask("GET"))).status, 404, file);
  }
});

Deno.test("a browser without a token is sent to where one is given, a program is refused", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const page = await app.request("/ui/runs/one?step=2", ask("GET"));
  assertEquals(page.status, 302);
  assertEquals(page.headers.get("location"), "/ui/sign-in?to=%2Fui%2Fruns%2Fone");
  assertEquals((await app.request("/runs", ask("GET"))).status, 401);
  assertEquals((await app.request("/ui/sign-in", ask("GET"))).status, 200);
  assertEquals((await app.request(assetUrl("page.js"), ask("GET"))).status, 200);
  assertEquals(Object.keys(assets).includes("session.js"), true);
});

Deno.test("a token becomes a cookie that no script and no other site can use, with the same rights", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const cookieOf = async (token: string, headers = {}) => {
    const response = await app.request(
      "/session",
      ask("POST", undefined, { ...bearer(token), ...headers }),
    );
    return [response.status, response.headers.get("set-cookie")] as const;
  };
  const [status, cookie] = await cookieOf(reader.token);
  assertEquals(status, 204);
  for (const part of ["HttpOnly", "SameSite=Strict", "Path=/"]) assertStringIncludes(cookie!, part);
  assert(!cookie!.includes("Secure"));
  const [, secure] = await cookieOf(reader.token, { "x-forwarded-proto": "https" });
  assertStringIncludes(secure!, "Secure");
  assertEquals(await cookieOf("wrong"), [401, null]);
  const withCookie = { cookie: `mentor_token=${reader.token}` };
  const page = await app.request("/", ask("GET", undefined, withCookie));
  assertEquals(page.status, 200);
  assertStringIncludes(await page.text(), "Sign out plots");
  assertEquals((await app.request("/runs", ask("POST", { steps: 1 }, withCookie))).status, 403);
  const acting = { cookie: `mentor_token=${controller.token}` };
  const foreign = { ...acting, origin: "https://elsewhere.example" };
  assertEquals((await app.request("/runs", ask("POST", { steps: 1 }, foreign))).status, 403);
  assertEquals((await app.request("/runs", ask("POST", { steps: 1 }, acting))).status, 201);
  const out = await app.request("/session", ask("DELETE", undefined, acting));
  assertStringIncludes(out.headers.get("set-cookie")!, "Max-Age=0");
});
