// The pages of the dashboard as the server sends them; tests/browser has a browser use them.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { resolveConfig } from "../src/run/config/mod.ts";
import { RunHold, sendRequest } from "../src/run/control.ts";
import { EventLog, type RunEventBody } from "../src/run/events.ts";
import type { Chart } from "../src/run/report/chart.ts";
import { RunFolder } from "../src/run/store.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { assetUrl } from "../src/web/assets.ts";
import { labelsOf } from "../src/web/run_labels.ts";
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
  const old = await app.request("/ui/assets/page.js?v=old", ask("GET"));
  assertEquals(old.headers.get("cache-control"), "no-store");
  await old.body?.cancel();
  for (const file of ["nothing.js", "toString", "..%2fapp.ts"]) {
    assertEquals((await app.request(`/ui/assets/${file}`, ask("GET"))).status, 404, file);
  }
});

Deno.test("a browser without a token is sent to where one is given, a program is refused", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const page = await app.request("/ui/runs/one?step=2", ask("GET"));
  assertEquals(page.status, 302);
  assertEquals(page.headers.get("location"), "/ui/sign-in?to=%2Fui%2Fruns%2Fone%3Fstep%3D2");
  assertEquals((await app.request("/runs", ask("GET"))).status, 401);
  assertEquals((await app.request("/ui/sign-in", ask("GET"))).status, 200);
  assertEquals((await app.request(assetUrl("page.js"), ask("GET"))).status, 200);
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

/** Everything that has a meaning in HTML. */
const HOSTILE = `</script><img src=x onerror=alert(1)>"'&amp;`;

Deno.test("the page of a run has its state, what can be asked of it, and why it failed", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { runs } = service.options;
  const pageOf = async ({ id }: { id: string }) => {
    service.supervisor.tick();
    const response = await app.request(`/ui/runs/${id}`, ask("GET"));
    assertEquals(response.status, 200);
    return await response.text();
  };
  const actions = (page: string) =>
    [...page.matchAll(/data-action="\/runs\/[^"]+\/(\w+)"/g)].map(([, action]) => action);
  const follows = (page: string) => /<body( data-(?:events|every)="[^"]*")?>/.exec(page)![1] ?? "";

  const done = makeRun(runs, [begun, stepEvent(1), stepEvent(2), ended(2)]);
  const finished = await pageOf(done);
  assertEquals(actions(finished), []);
  assertEquals(follows(finished), "");
  assertStringIncludes(finished, `href="/ui/runs/${done.id}/episodes"`);
  assertStringIncludes(finished, `href="/ui/start?like=${done.id}"`);
  assertStringIncludes(finished, "<b>Loss</b>");

  const queued = makeRun(runs, []);
  Deno.writeTextFileSync(join(queued.path, "queued.json"), '{"place":1}');
  const waiting = await pageOf(queued);
  assertEquals(actions(waiting), ["stop"]);
  assertEquals(follows(waiting), ` data-events="/runs/${queued.id}/events"`);

  const live = makeRun(runs, [begun, stepEvent(1), stepEvent(2)]);
  {
    using hold = await RunHold.take(live.path);
    const running = await pageOf(live);
    assertEquals(actions(running), ["pause", "stop"]);
    assertStringIncludes(follows(running), `/runs/${live.id}/events?after=3-`);
    assertStringIncludes(running, "2 of 9");
    assertStringIncludes(running, "about 3.5 s left");
    sendRequest(live.path, "pause");
    assertEquals(actions(await pageOf(live)), ["resume", "stop"]);
    using log = new EventLog(live.events);
    log.emit({ type: "paused", step: 2 });
    const paused = await pageOf(live);
    assertEquals(actions(paused), ["resume", "stop"]);
    assertStringIncludes(paused, ">paused</span>");
    sendRequest(live.path, "stop");
    assertEquals(actions(await pageOf(live)), []);
    hold.end();
  }
  Deno.writeTextFileSync(join(live.path, "log.txt"), `a trace ${HOSTILE}`);
  const interrupted = await pageOf(live);
  assertEquals(actions(interrupted), ["resume"]);
  assertEquals(follows(interrupted), ' data-every="5000"');
  assertStringIncludes(interrupted, "a trace &lt;/script&gt;");

  const failed = await pageOf(makeRun(runs, [
    begun,
    { type: "warning", step: 1, message: `amiss ${HOSTILE}` },
    { type: "run-end", step: 1, status: "failed", message: `broke ${HOSTILE}` },
  ]));
  assertEquals(actions(failed), ["resume"]);
  assertStringIncludes(failed, "broke &lt;/script&gt;");
  assertStringIncludes(failed, "Step 1: amiss &lt;/script&gt;");
  assertEquals(
    actions(
      await pageOf(makeRun(runs, [
        begun,
        { type: "run-end", step: 1, status: "stopped" },
      ])),
    ),
    ["resume"],
  );

  const broken = makeRun(runs, [begun]);
  Deno.writeTextFileSync(
    join(broken.path, "config.json"),
    `{"method": ${JSON.stringify(HOSTILE)}}`,
  );
  const damaged = await pageOf(broken);
  assertEquals(actions(damaged), []);
  assertStringIncludes(damaged, ">damaged</span>");
  assertStringIncludes(damaged, "They cannot be read");
  assertStringIncludes(damaged, "<dt>Reward</dt><dd>\u2013</dd>");
  for (const page of [interrupted, failed, damaged]) assert(!page.includes("<img"), page);
});

Deno.test("a token for reading sees what it may not ask for, and why", async () => {
  const { app, service } = testApp({ tokens });
  await using _service = service;
  const { id } = makeRun(service.options.runs, [
    begun,
    { type: "run-end", step: 1, status: "stopped" },
  ]);
  service.supervisor.tick();
  const pageFor = async (token: string) =>
    await (await app.request(`/ui/runs/${id}`, ask("GET", undefined, bearer(token)))).text();
  const page = await pageFor(reader.token);
  assertStringIncludes(page, ' disabled aria-describedby="read-only">Resume<');
  assertStringIncludes(page, 'id="read-only">Your token may read alone');
  assert(!(await pageFor(controller.token)).includes("disabled"));
});

Deno.test("a run's report is sent as a file, unless it would hold others up", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun, stepEvent(1), ended(1)]);
  const bare = makeRun(service.options.runs, []);
  service.supervisor.tick();
  const report = (id: string) => app.request(`/ui/runs/${id}/report`, ask("GET"));
  const sent = await report(run.id);
  assertEquals(
    sent.headers.get("content-disposition"),
    `attachment; filename="${run.id}.html"`,
  );
  assertStringIncludes(await sent.text(), `<title>Run ${run.id}</title>`);
  assertEquals((await report(bare.id)).status, 409);
  Deno.truncateSync(run.episodes, 17 * 2 ** 20);
  const large = await report(run.id);
  assertEquals(large.status, 409);
  assertStringIncludes(await large.text(), "./mentor report");
  const page = await (await app.request(`/ui/runs/${run.id}`, ask("GET"))).text();
  assert(!page.includes(`/ui/runs/${run.id}/report`));
});

Deno.test("what cannot be shown is a page that says why, and for a program a document", async () => {
  const { app, service } = testApp();
  await using _service = service;
  for (
    const [path, status, detail] of [
      ["/ui/runs/nothing", 404, "There is no run &quot;nothing&quot;"],
      ["/ui/nowhere", 404, "There is nothing at /ui/nowhere"],
      ["/ui/runs/%3Cb%3E", 400, "a run&#39;s name has letters"],
      ["/ui/compare?run=nothing", 404, "There is no run"],
      ["/?state=tired", 400, "The request cannot be used"],
    ] as const
  ) {
    const response = await app.request(path, ask("GET"));
    assertEquals(response.status, status, path);
    assertEquals(response.headers.get("content-type"), "text/html; charset=UTF-8", path);
    const page = await response.text();
    assertStringIncludes(page, detail);
    assertStringIncludes(page, 'aria-label="Pages"');
  }
  for (const path of ["/runs/nothing", "/ui/assets/nothing.js", "/nowhere"]) {
    const response = await app.request(path, ask("GET"));
    assertEquals(response.headers.get("content-type"), "application/problem+json", path);
    await response.body?.cancel();
  }
});

Deno.test("the list is narrowed down by state, and pages of it keep to that", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { runs } = service.options;
  const done = [1, 2].map(() => makeRun(runs, [begun, ended(1)]).id);
  const stopped = makeRun(runs, [begun, { type: "run-end", step: 1, status: "stopped" }]).id;
  service.supervisor.tick();
  const list = async (query: string) => await (await app.request(`/${query}`, ask("GET"))).text();
  const shown = (page: string) =>
    [...page.matchAll(/href="\/ui\/runs\/([^"]+)"/g)].map(([, id]) => id);
  assertEquals(shown(await list("")).length, 3);
  assertEquals(shown(await list("?state=stopped")), [stopped]);
  const one = await list("?state=finished&limit=1");
  const [, older] = /href="(\/\?state=finished&amp;after=[^"]+)"/.exec(one)!;
  const two = await list(older!.replace("&amp;", "&").slice(1));
  assertEquals([...shown(one), ...shown(two)].sort(), done.sort());
  assertStringIncludes(
    one,
    'href="/?state=finished" aria-current="true">finished <small>2</small>',
  );
  assertStringIncludes(await list("?state=paused"), "No run is paused");
});

Deno.test("runs are compared by what differs, their last evaluations and their curves", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { runs } = service.options;
  const evaluation = (step: number, pass1: number): RunEventBody => ({
    ...{ type: "eval", step, phase: step === 0 ? "before" : "after" },
    domains: [
      { name: "arith", split: "train", pass1, ci95: [pass1 - 0.1, pass1 + 0.1] },
      { name: HOSTILE, split: "train", pass1, ci95: [pass1 - 0.1, pass1 + 0.1] },
    ],
  });
  const make = (settings: Record<string, unknown>, pass1: number) => {
    const run = RunFolder.create(resolveConfig({ flags: settings }), runs);
    using log = new EventLog(run.events);
    [begun, evaluation(0, 0.1), stepEvent(1), stepEvent(2), evaluation(2, pass1), ended(2)]
      .forEach((event) => log.emit(event));
    return run;
  };
  const made = Array.from({ length: 8 }, (_, seed) => make({ seed }, 0.5));
  const other = make({ seed: 0, reward: "sparse" }, 0.25);
  const broken = makeRun(runs, [begun]);
  Deno.writeTextFileSync(join(broken.path, "config.json"), "{");
  service.supervisor.tick();
  const compare = async (...chosen: { id: string }[]) => {
    const query = chosen.map(({ id }) => `run=${id}`).join("&");
    const response = await app.request(`/ui/compare?${query}`, ask("GET"));
    assertEquals(response.status, 200);
    const page = await response.text();
    assert(!page.includes("<img"), page);
    const [, data] = /id="data">(.*?)<\/script>/s.exec(page)!;
    return { page, charts: JSON.parse(data!).charts as Chart[] };
  };
  const linesOf = (charts: Chart[], title: string) =>
    charts.find((chart) => chart.title === title)?.lines.map(({ label }) => label);

  const none = await compare();
  assertEquals(none.page.match(/type="checkbox"/g)?.length, 10);
  assertEquals(none.charts, []);

  const one = await compare(made[0]!);
  assertStringIncludes(one.page, "Choose another run");
  assertEquals(one.page.match(/type="checkbox"[^>]* checked/g)?.length, 1);

  const two = await compare(made[0]!, other);
  assertEquals(linesOf(two.charts, "Loss"), ["flex", "sparse"]);
  assertEquals(linesOf(two.charts, "pass@1 in evaluation, trained on"), ["flex", "sparse"]);
  assertStringIncludes(two.page, "<code>reward</code></th><td>flex</td><td>sparse</td>");
  assert(!two.page.includes("<code>seed</code>"), "both have one");
  // Of two domains the interval of the mean is narrower by the root of 2.
  assertStringIncludes(two.page, "50.0 [42.9, 57.1]");
  assertStringIncludes(two.page, "25.0 [17.9, 32.1]");
  assertStringIncludes(two.page, "&lt;/script&gt;");

  const eight = await compare(...made);
  assertEquals(linesOf(eight.charts, "Loss"), Array.from({ length: 7 }, (_, i) => `seed ${i}`));
  assertStringIncludes(eight.page, "The first 7 of the 8 that were chosen are compared");

  const unlike = await compare(made[0]!, broken);
  assertStringIncludes(unlike.page, ">damaged</span>");
});

Deno.test("runs are told apart by as little as can be", () => {
  const labels = (...configs: (Record<string, unknown> | null)[]) =>
    labelsOf(configs.map((config, i) => ({ id: `run-${i}`, config })));
  assertEquals(labels({ method: "ppo", seed: 1 }, { method: "grpo", seed: 2 }), ["ppo", "grpo"]);
  assertEquals(labels({ rollout: { group: 4 }, out: "a" }, { rollout: { group: 8 }, out: "b" }), [
    "group 4",
    "group 8",
  ]);
  const [ppo, grpo] = [{ method: "ppo" }, { method: "grpo" }];
  assertEquals(
    labels({ ...ppo, seed: 1 }, { ...ppo, seed: 2 }, { ...grpo, seed: 1 }),
    ["ppo, seed 1", "ppo, seed 2", "grpo, seed 1"],
  );
  assertEquals(labels({ ...ppo, out: "a" }, { ...ppo, out: "b" }), ["run-0", "run-1"]);
  assertEquals(labels({ from: "x".repeat(90) }, { from: "y".repeat(90) }), ["run-0", "run-1"]);
  assertEquals(labels(ppo, null), ["run-0", "run-1"]);
});
