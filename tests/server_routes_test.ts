// What the routes answer, without a port.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { hc } from "hono/client";
import { join } from "@std/path";
import { settings } from "../src/run/config/schema.ts";
import type { App } from "../server.ts";
import {
  ask,
  begun,
  ended,
  freshRuns,
  makeRun,
  startNothing,
  stepEvent,
  testApp,
} from "./servers.ts";

/** An app over three runs of the past, the newest last. */
function pastRuns(start = startNothing) {
  const runs = freshRuns();
  const steps = Array.from({ length: 9 }, (_, i) => stepEvent(i + 1));
  const made = [
    makeRun(runs, [begun, ...steps, ended(9)], [
      { step: 1, group: 0, sample: 0, task: "a", reward: 1, correct: true, text: "é" },
      { step: 1, group: 0, sample: 1, task: "a", reward: 0, correct: false },
      { step: 2, group: 0, sample: 0, task: "b", reward: 1, correct: true },
    ]),
    makeRun(runs, [begun, stepEvent(1)]),
    makeRun(runs, [begun, { type: "run-end", step: 0, status: "failed", message: "no GPU" }]),
  ];
  made.forEach(({ path }, i) => {
    const day = new Date(Date.UTC(2026, 0, i + 1));
    Deno.utimeSync(join(path, "config.json"), day, day);
  });
  const opened = testApp({ runs, start });
  opened.service.index.refresh();
  const get = async (path: string) => {
    const response = await opened.app.request(path, ask("GET"));
    return { status: response.status, body: await response.json() };
  };
  return { ...opened, made, get, ids: made.map(({ id }) => id) };
}

Deno.test("a run is begun with a config, whose faults are named field by field", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const response = await app.request("/runs", ask("POST", { steps: 3, rollout: { prompts: 2 } }));
  const { id, state, config } = await response.json();
  assertEquals([response.status, response.headers.get("location")], [201, `/runs/${id}`]);
  assertEquals([state, config.steps, config.rollout.prompts, config.seed], ["queued", 3, 2, 0]);
  const refused = await app.request(
    "/runs",
    ask("POST", { steps: -1, rollout: { prompts: "two" }, stpes: 4, seed: 1 }),
  );
  const problem = await refused.json();
  assertEquals(refused.status, 400);
  assertEquals(problem.errors.map(({ path }: { path: string }) => path), [
    ...["steps", "rollout.prompts", "stpes"],
  ]);
  assert(problem.errors[2].message.includes('did you mean "steps"'));
  const together = await app.request("/runs", ask("POST", { method: "distill" }));
  assert((await together.json()).detail.includes("distill.teacher"));
});

Deno.test("runs are listed newest first, by pages and by state", async () => {
  const { service, get, ids: [oldest, middle, newest] } = pastRuns();
  await using _service = service;
  const first = (await get("/runs?limit=2")).body;
  assertEquals(first.runs.map(({ id }: { id: string }) => id), [newest, middle]);
  assertEquals(first.next, middle);
  const second = (await get(`/runs?limit=2&after=${first.next}`)).body;
  assertEquals([second.runs.map(({ id }: { id: string }) => id), second.next], [[oldest], null]);
  const states = { finished: oldest, interrupted: middle, failed: newest };
  for (const [state, id] of Object.entries(states)) {
    const { runs } = (await get(`/runs?state=${state}`)).body;
    assertEquals(runs.map((run: { id: string }) => run.id), [id], state);
  }
  const failed = (await get(`/runs/${newest}`)).body;
  assertEquals([failed.message, failed.lastWords, failed.model], ["no GPU", null, false]);
  assertEquals((await get("/runs/none")).status, 404);
});

Deno.test("curves are had in parts, and with fewer points than steps", async () => {
  const { service, get, ids: [id] } = pastRuns();
  await using _service = service;
  const all = (await get(`/runs/${id}/metrics`)).body.metrics;
  const names = all.map(({ name }: { name: string }) => name);
  assertEquals(names, ["loss", "reward", "timing/seconds"]);
  const some = (await get(`/runs/${id}/metrics?names=loss,none&fromStep=2&toStep=4`)).body.metrics;
  assertEquals(some.length, 1);
  assertEquals([some[0].step, some[0].value], [[2, 3, 4], [1, 1.5, 2]]);
  const fewer = (await get(`/runs/${id}/metrics?names=reward&points=3`)).body.metrics[0];
  assertEquals(fewer.step, [3, 6, 9]);
  assertEquals([fewer.value, fewer.min, fewer.max], [[-2, -5, -8], [-3, -6, -9], [-1, -4, -7]]);
  const late = "2200-01-01T00:00:00Z";
  assertEquals((await get(`/runs/${id}/metrics?fromTime=${late}`)).body.metrics, []);
  for (const time of ["yesterday", "2026-01-01T00:00:00%2B05"]) {
    assertEquals((await get(`/runs/${id}/metrics?fromTime=${time}`)).status, 400, time);
  }
  // Asked for over and over, a curve is sent once.
  const often = await get(`/runs/${id}/metrics?names=${Array(500).fill("loss").join()}`);
  assertEquals(often.body.metrics.length, 1);
});

Deno.test("episodes are had by pages, by step and by outcome", async () => {
  const { service, get, ids: [id] } = pastRuns();
  await using _service = service;
  const lines = async (query: string) => {
    const { episodes, next } = (await get(`/runs/${id}/episodes${query}`)).body;
    return [episodes.map(({ line }: { line: number }) => line), next];
  };
  assertEquals(await lines(""), [[1, 2, 3], null]);
  assertEquals(await lines("?limit=2"), [[1, 2], 2]);
  assertEquals(await lines("?limit=2&after=2"), [[3], null]);
  assertEquals(await lines("?step=1"), [[1, 2], null]);
  assertEquals(await lines("?correct=true"), [[1, 3], null]);
  assertEquals(await lines("?step=1&group=0&task=a&correct=false"), [[2], null]);
  assertEquals(await lines("?group=1"), [[], null]);
  assertEquals(await lines("?task=%25"), [[], null]);
  assertEquals(await lines("?order=newest"), [[3, 1, 2], null]);
  assertEquals(await lines("?order=newest&limit=2"), [[3, 1], 1]);
  assertEquals(await lines("?order=newest&limit=2&after=1"), [[2], null]);
  assertEquals(await lines("?order=newest&after=99"), [[], null]);
  assertEquals((await get(`/runs/${id}/episodes?order=random`)).status, 400);
  const { episodes } = (await get(`/runs/${id}/episodes?limit=1`)).body;
  assertEquals([episodes[0].task, episodes[0].text], ["a", "é"]);
});

Deno.test("a checkpoint's files are listed and sent, also in parts", async () => {
  const { app, service, get, made: [run], ids: [id] } = pastRuns();
  await using _service = service;
  Deno.mkdirSync(run!.checkpoint(4));
  Deno.writeTextFileSync(join(run!.checkpoint(4), "state.json"), "0123456789");
  assertEquals((await get(`/runs/${id}/checkpoints/4`)).body, {
    files: [{ name: "state.json", bytes: 10 }],
  });
  assertEquals((await get(`/runs/${id}`)).body.checkpoints, [4]);
  assertEquals((await get(`/runs/${id}/model`)).status, 404);
  const path = `/runs/${id}/checkpoints/4/state.json`;
  for (
    const [range, status, text] of [
      ["", 200, "0123456789"],
      ["bytes=2-4", 206, "234"],
      ["bytes=7-", 206, "789"],
      ["bytes=-2", 206, "89"],
      ["bytes=8-99", 206, "89"],
      ["bytes=0-1,3-4", 200, "0123456789"],
      ["lines=1-2", 200, "0123456789"],
    ] as const
  ) {
    const response = await app.request(path, ask("GET", undefined, { range }));
    assertEquals([response.status, await response.text()], [status, text], range);
    assertEquals(response.headers.get("content-length"), String(text.length));
  }
  const beyond = await app.request(path, ask("GET", undefined, { range: "bytes=10-" }));
  assertEquals([beyond.status, beyond.headers.get("content-range")], [416, "bytes */10"]);
  await beyond.body?.cancel();
});

Deno.test("a run that is spoilt or removed by hand is no error of the server", async () => {
  const { app, service, made: [run], ids: [id] } = pastRuns();
  await using _service = service;
  const statuses = (paths: string[]) =>
    Promise.all(paths.map(async (path) => {
      const response = await app.request(`/runs/${id}${path}`, ask("GET"));
      await response.body?.cancel();
      return response.status;
    }));
  Deno.writeTextFileSync(run!.checkpoint(3), "no folder");
  assertEquals(await statuses(["/checkpoints/3", "/checkpoints/3/state.json"]), [404, 404]);
  Deno.writeTextFileSync(join(run!.path, "config.json"), "{");
  assertEquals(await statuses([""]), [200]);
  // Before the next look at the folders.
  Deno.removeSync(run!.path, { recursive: true });
  assertEquals(await statuses(["", "/metrics", "/episodes", "/model"]), [200, 200, 200, 404]);
  service.supervisor.tick();
  assertEquals(await statuses(["", "/metrics", "/episodes", "/events"]), [404, 404, 404, 404]);
});

Deno.test("what is not there, or not for that method, is a problem that says so", async () => {
  const { app, service } = testApp();
  await using _service = service;
  for (
    const [method, path, status] of [
      ["GET", "/nothing", 404],
      ["DELETE", "/runs", 405],
      ["PUT", "/runs/x", 405],
      ["GET", "/runs/x/pause", 405],
      ["POST", "/runs/x/pause", 404],
      ["POST", "/health", 405],
    ] as const
  ) {
    const response = await app.request(path, ask(method));
    const problem = await response.json();
    assertEquals([response.status, problem.status], [status, status], `${method} ${path}`);
    assertEquals(response.headers.get("content-type"), "application/problem+json");
    if (status === 405) assert(response.headers.get("allow") !== null);
  }
});

Deno.test("a typed client speaks to the server", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const client = hc<App>("http://localhost", {
    fetch: (input: RequestInfo | URL, init?: RequestInit) => app.request(input as string, init),
  });
  const list = await (await client.runs.$get({ query: { limit: "2" } })).json();
  list.next satisfies string | null;
  assertEquals(list.runs, []);
  const missing = await client.runs[":id"].stop.$post({ param: { id: "none" } });
  assertEquals(missing.status as number, 404);
});

Deno.test("numbers for Prometheus have a help, a type, and a value in each line", async () => {
  const { app, service } = pastRuns();
  await using _service = service;
  await app.request("/health", ask("GET"));
  const text = await (await app.request("/metrics", ask("GET"))).text();
  for (const line of text.trimEnd().split("\n")) {
    const form =
      /^(# (HELP|TYPE) mentor_\w+ .+|mentor_\w+(\{\w+="[\w]+"(,\w+="\w+")*\})? [\d.e+-]+)$/;
    assert(form.test(line), line);
  }
  assert(text.includes('mentor_runs{state="finished"} 1\n'));
  assert(text.includes('mentor_http_requests_total{method="GET",status="2xx"} 1\n'));
});

// deno-lint-ignore no-explicit-any -- a document in JSON, of which the test looks at some
type Document = any;

Deno.test("the OpenAPI document names every route and every setting, and its page all of them", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const document: Document = await (await app.request("/openapi.json", ask("GET"))).json();
  assertEquals(document.openapi.slice(0, 3), "3.1");
  const routes = app.routes.filter(({ method, path }) =>
    // OpenAI describes its own API; pages are for people.
    method !== "ALL" && !/^\/(docs|openapi|v1|ui\/|$)/.test(path)
  )
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  const described = Object.entries<object>(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assertEquals([...new Set(routes)].sort(), described.sort());
  const body = document.paths["/runs"].post.requestBody.content["application/json"].schema;
  for (const { path } of settings) {
    const found = path.split(".").reduce((schema, key) => schema?.properties?.[key], body);
    assert(found?.description, path);
  }
  const page = await (await app.request("/docs", ask("GET"))).text();
  for (const path of Object.keys(document.paths)) assert(page.includes(path), path);
});

Deno.test("whatever is sent to whatever route, nothing breaks", async () => {
  const { app, service, ids } = pastRuns(() => Promise.reject(new Error("no process")));
  await using _service = service;
  const document: Document = await (await app.request("/openapi.json", ask("GET"))).json();
  const operations = Object.entries<Document>(document.paths).flatMap(([path, item]) =>
    Object.entries<Document>(item).map(([method, operation]) => ({ path, method, operation }))
  );
  const word = fc.oneof(
    fc.constantFrom("0", "1", "-1", "true", "state.json", "2026-01-01T00:00:00Z", "..", "%00"),
    fc.constantFrom(...ids),
    fc.string({ unit: "grapheme", minLength: 1 }),
  );
  const setting = fc.tuple(fc.constantFrom(...settings), fc.oneof(fc.integer(), fc.jsonValue()));
  const config = setting.map(([{ path }, value]) =>
    JSON.stringify(path.split(".").reduceRight<unknown>((inner, key) => ({ [key]: inner }), value))
  );
  const request = fc.record({
    operation: fc.constantFrom(...operations),
    words: fc.array(word, { minLength: 3, maxLength: 3 }),
    query: fc.dictionary(
      fc.constantFrom(
        "limit",
        "after",
        "state",
        "names",
        "points",
        "fromStep",
        "step",
        "correct",
        "order",
        "task",
      ),
      word,
    ),
    body: fc.oneof(fc.json(), fc.string(), fc.constant(""), config),
    header: fc.constantFrom("last-event-id", "range", "origin", "x-other"),
    value: fc.constantFrom(
      "1",
      "bytes=1-",
      "bytes=-0",
      "http://localhost",
      "9999999",
      "1-00000000",
    ),
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ operation: { path, method }, words, query, ...rest }) => {
      let i = 0;
      const place = path.replace(/\{\w+\}/g, () => encodeURIComponent(words[i++]!));
      const response = await app.request(
        `${place}?${new URLSearchParams(query)}`,
        ask(method.toUpperCase(), method === "post" ? rest.body : undefined, {
          [rest.header]: rest.value,
        }),
      );
      await response.body?.cancel();
      assert(response.status < 500, `${method} ${place}: ${response.status}`);
    }),
    { numRuns: 300 },
  );
});
