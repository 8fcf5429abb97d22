// A run is deleted with all that is its own, at once for whoever looks, and never while it is made.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { CheckpointError } from "../src/io/checkpoint.ts";
import { lockRun, queueFile, RunHold } from "../src/run/control.ts";
import { hideRun, removeHidden } from "../src/run/delete.ts";
import { EventLog } from "../src/run/events.ts";
import { listRuns } from "../src/run/store.ts";
import { tables } from "../src/serve/index/schema.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import {
  ask,
  begun,
  ended,
  freshRuns,
  makeRun,
  root,
  stepEvent,
  testApp,
  until,
} from "./servers.ts";

/** Asks for a run to be deleted. @returns the status, and what the answer says */
async function remove(
  { app }: Pick<ReturnType<typeof testApp>, "app">,
  id: string,
  headers: Record<string, string> = {},
): Promise<[status: number, detail: string]> {
  const response = await app.request(`/runs/${id}`, ask("DELETE", undefined, headers));
  const text = await response.text();
  return [response.status, text === "" ? "" : JSON.parse(text).detail];
}

/** Names in a folder of runs, without those of the index. */
const names = (runs: string) =>
  [...Deno.readDirSync(runs)].map(({ name }) => name).filter((name) => !name.startsWith("index"));

Deno.test("a run of every state without a process is deleted, and nothing of it is left", async () => {
  const opened = testApp({ start: () => new Promise(() => {}) });
  const { service, app } = opened;
  await using _service = service;
  const { runs } = service.options;
  const made = {
    finished: makeRun(runs, [begun, stepEvent(1), ended(9)], [{
      ...{ step: 1, group: 0, sample: 0, task: "a", reward: 1, correct: true },
    }]),
    stopped: makeRun(runs, [begun, { type: "run-end", step: 1, status: "stopped" }]),
    failed: makeRun(runs, [begun, { type: "run-end", step: 0, status: "failed", message: "no" }]),
    interrupted: makeRun(runs, [begun, stepEvent(1)]),
    damaged: makeRun(runs, [begun]),
    queued: makeRun(runs, []),
  };
  Deno.writeTextFileSync(join(made.damaged.path, "config.json"), "{");
  Deno.mkdirSync(made.finished.model);
  Deno.writeTextFileSync(join(made.finished.model, "config.json"), "{}");
  // The first in the queue is being started; this one waits.
  const first = makeRun(runs, []);
  for (const [place, { path }] of [first, made.queued].entries()) {
    Deno.writeTextFileSync(queueFile(path), JSON.stringify({ place }));
  }
  service.supervisor.tick();
  for (const [state, { id }] of Object.entries(made)) {
    assertEquals(service.index.get(id)?.state, state);
    assertEquals(await remove(opened, id), [204, ""], state);
    assertEquals((await app.request(`/runs/${id}`, ask("GET"))).status, 404, state);
    assertEquals((await remove(opened, id))[0], 404, state);
  }
  assertEquals(service.supervisor.queue(), [first.id]);
  assertEquals(names(runs), [first.id]);
  for (const [table, column] of Object.entries(tables)) {
    const rows = service.index.database.prepare(`SELECT ${column} AS id FROM ${table}`).all();
    assert(rows.every(({ id }) => id === first.id), table);
  }
});

Deno.test("a run that is being made is not deleted", async () => {
  const opened = testApp();
  await using service = opened.service;
  const { runs } = service.options;
  const run = makeRun(runs, [begun, stepEvent(1)]);
  const damaged = makeRun(runs, [begun]);
  Deno.writeTextFileSync(join(damaged.path, "config.json"), "{");
  {
    using _hold = await RunHold.take(run.path);
    using _other = await RunHold.take(damaged.path);
    service.supervisor.tick();
    const [status, detail] = await remove(opened, run.id);
    assertEquals(status, 409);
    assertMatch(detail, /^Cannot delete run ".*": it is running, and has to be queued or finished/);
    assertMatch((await remove(opened, damaged.id))[1], /a process is making it; stop that first/);
    assertEquals(names(runs).sort(), [run.id, damaged.id].sort());
  }
  assertEquals((await remove(opened, run.id))[0], 204);
  assertEquals((await remove(opened, damaged.id))[0], 204);
});

Deno.test("of two who delete a run at the same time one did, and the other finds none", async () => {
  const opened = testApp();
  await using service = opened.service;
  const { id } = makeRun(service.options.runs, [begun, ended(9)]);
  service.supervisor.tick();
  const both = await Promise.all([remove(opened, id), remove(opened, id)]);
  assertEquals(both.map(([status]) => status).sort(), [204, 404]);
});

Deno.test("a process that waits for a run while it is deleted does not bring it back", async () => {
  const runs = freshRuns();
  const { path } = makeRun(runs, [begun, ended(9)]);
  const lock = await lockRun(path);
  const waiting = RunHold.take(path);
  await removeHidden(hideRun(path));
  lock!.close();
  await assertRejects(() => waiting, CheckpointError, "The folder is not there");
  assertEquals(names(runs), []);
});

Deno.test("the streams of a deleted run end, also of a client that has much to read yet", async () => {
  const opened = testApp();
  await using service = opened.service;
  const { id, path } = makeRun(service.options.runs, [begun]);
  {
    using log = new EventLog(join(path, "events.jsonl"));
    for (let step = 1; step <= 3000; step++) log.emit(stepEvent(step));
  }
  service.supervisor.tick();
  const response = await opened.app.request(`/runs/${id}/events`, ask("GET"));
  const reader = response.body!.getReader();
  await reader.read();
  assertEquals(service.streams, 1);
  assertEquals((await remove(opened, id))[0], 204);
  let bytes = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    bytes += next.value.length;
  }
  assert(bytes < 200_000, `${bytes} bytes came after the run was deleted`);
  assertEquals(service.streams, 0);
  assertEquals((await opened.app.request(`/runs/${id}/events`, ask("GET"))).status, 404);
});

Deno.test("a link beside the runs is none of them, and what links in a run point to stays as it was", async () => {
  const opened = testApp();
  await using service = opened.service;
  const { runs } = service.options;
  const outside = makeRun(freshRuns(), [begun, ended(9)]);
  Deno.symlinkSync(outside.path, join(runs, "linked"));
  const { id, path } = makeRun(runs, [begun, ended(9)]);
  Deno.symlinkSync(outside.path, join(path, "model"));
  Deno.symlinkSync(outside.events, join(path, "report.html"));
  service.supervisor.tick();
  assertEquals((await remove(opened, "linked"))[0], 404);
  assertEquals((await remove(opened, id))[0], 204);
  assertEquals(names(runs), ["linked"]);
  assertEquals(listRuns(join(outside.path, ".."))[0]?.status, "finished");
});

Deno.test("a run is not there while it is deleted, and what a killed server left goes with the next", async () => {
  const runs = freshRuns();
  const { path } = makeRun(runs, [begun, ended(9)]);
  const kept = makeRun(runs, [begun, ended(9)]);
  const strange = join(runs, ".kept.deleted-by-somebody");
  Deno.mkdirSync(strange);
  hideRun(path);
  assertEquals(names(runs).length, 3);
  assertEquals(listRuns(runs).map(({ id }) => id), [kept.id]);
  const { service } = testApp({ runs });
  await using _service = service;
  service.open();
  assertEquals(service.index.list({ limit: -1 }).map(({ id }) => id), [kept.id]);
  await until("it is removed", () => names(runs).length === 2);
  assertEquals(names(runs).sort(), [".kept.deleted-by-somebody", kept.id].sort());
});

Deno.test("a run whose model is offered stays", async () => {
  const runs = freshRuns();
  const { id, model } = makeRun(runs, [begun, ended(9)]);
  Deno.mkdirSync(model);
  const opened = testApp({ runs, inference: { models: { mine: model } } });
  await using service = opened.service;
  service.supervisor.tick();
  const [status, detail] = await remove(opened, id);
  assertEquals(status, 409);
  assertMatch(detail, /its model ".*" is offered; start the server without it first/);
  assertEquals(names(runs), [id]);
});

Deno.test("only who may control the server deletes, and no page from elsewhere", async () => {
  const [reader, owner] = [newToken("reader", "read", null), newToken("owner", "control", null)];
  const file = join(root, "tokens");
  Deno.writeTextFileSync(file, `${reader.line}\n${owner.line}\n`);
  const origin = "https://plots.example";
  const opened = testApp({ tokens: readTokens(file), origins: [origin] });
  await using service = opened.service;
  const { id } = makeRun(service.options.runs, [begun, ended(9)]);
  service.supervisor.tick();
  const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });
  const rows: [what: string, status: number, headers: Record<string, string>][] = [
    ["no token", 401, {}],
    ["a token for reading", 403, bearer(reader)],
    ["another origin", 403, { ...bearer(owner), origin: "https://evil.example" }],
    ["a form", 415, { ...bearer(owner), "content-type": "text/plain" }],
    ["an origin that may", 204, { ...bearer(owner), origin }],
  ];
  for (const [what, status, headers] of rows) {
    assertEquals((await remove(opened, id, headers))[0], status, what);
  }
  const preflight = await opened.app.request(
    `/runs/${id}`,
    ask("OPTIONS", undefined, { origin, "access-control-request-method": "DELETE" }),
  );
  assertMatch(preflight.headers.get("access-control-allow-methods") ?? "", /DELETE/);
});
