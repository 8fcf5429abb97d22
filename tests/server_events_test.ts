// Events as they happen: nothing is lost on the way, and who is slow is only late.

import { assertEquals } from "@std/assert";
import { EventLog, type RunEventBody } from "../src/run/events.ts";
import { RunHold } from "../src/run/control.ts";
import { MentorServer } from "../src/serve/serve.ts";
import {
  ask,
  begun,
  ended,
  freshRuns,
  makeRun,
  startNothing,
  stepEvent,
  testApp,
  until,
} from "./servers.ts";

interface Received {
  id?: string;
  event?: string;
  // deno-lint-ignore no-explicit-any -- whatever the server sends
  data: any;
}

/** Reads server-sent events; `take` ends the reading once there are so many. */
async function receive(response: Response, take = Infinity): Promise<Received[]> {
  const found: Received[] = [];
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const fields = block.split("\n").filter((line) => !line.startsWith(":"))
        .map((line) => line.split(/: (.*)/s).slice(0, 2));
      if (fields.length === 0) continue;
      const { data, ...rest } = Object.fromEntries(fields);
      found.push({ ...rest, data: JSON.parse(data) });
      if (found.length === take) return found;
    }
  }
  return found;
}

const linesOf = (received: readonly Received[]) =>
  received.map(({ id, event, data }) =>
    event ? `${event} ${data.lines}` : `${id!.split("-")[0]} ${data.step ?? 0}`
  );

const watch = async (app: ReturnType<typeof testApp>["app"], run: string, after?: string) =>
  await app.request(
    `/runs/${run}/events`,
    ask("GET", undefined, after ? { "last-event-id": after } : {}),
  );

Deno.test("events of a run that has ended come at once, and then no more", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { id } = makeRun(service.options.runs, [begun, stepEvent(1), stepEvent(2), ended(2)]);
  service.supervisor.tick();
  const response = await watch(app, id);
  assertEquals(response.headers.get("content-type"), "text/event-stream");
  const all = await receive(response);
  assertEquals(linesOf(all), ["1 0", "2 1", "3 2", "4 2"]);
  assertEquals(all[1]!.data.metrics.loss, 0.5);
  const rest = await receive(await watch(app, id, all[1]!.id));
  assertEquals(linesOf(rest), ["3 2", "4 2"]);
  assertEquals((await watch(app, id, all[3]!.id)).status, 204);
  assertEquals((await app.request(`/runs/${id}/events`, ask("HEAD"))).status, 200);
  assertEquals(service.streams, 0);
});

Deno.test("a client that has read the events elsewhere says which it has, and what it got counts more", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun, stepEvent(1), stepEvent(2)]);
  service.supervisor.tick();
  const after = (id: string, headers = {}) =>
    app.request(`/runs/${run.id}/events?after=${id}`, ask("GET", undefined, headers));
  const { feed } = service.watch(run.id);
  const leave = feed.join();
  {
    // More than the feed has seen so far.
    using log = new EventLog(run.events);
    log.emit(stepEvent(3));
    log.emit(ended(3));
  }
  service.supervisor.tick();
  const late = await receive(await after("4"));
  assertEquals(linesOf(late), ["5 3"]);
  leave();
  assertEquals((await after(late[0]!.id!)).status, 204);
  assertEquals(linesOf(await receive(await after("1"))), ["2 1", "3 2", "4 3", "5 3"]);
  assertEquals(linesOf(await receive(await after("1", { "last-event-id": "4" }))), ["5 3"]);
  assertEquals((await after("last")).status, 400);
  const stale = await receive(await after("2-00000000"));
  assertEquals(linesOf(stale), ["rewind 0", "1 0", "2 1", "3 2", "4 3", "5 3"]);
});

Deno.test("a client that had everything is let in again once the run goes on", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const stopped: RunEventBody = { type: "run-end", step: 1, status: "stopped" };
  const run = makeRun(service.options.runs, [begun, stepEvent(1), stopped]);
  service.supervisor.tick();
  const last = (await receive(await watch(app, run.id))).at(-1)!.id;
  assertEquals((await watch(app, run.id, last)).status, 204);
  await (await app.request(`/runs/${run.id}/resume`, ask("POST"))).body?.cancel();
  const response = await watch(app, run.id, last);
  assertEquals(response.status, 200);
  using _hold = await RunHold.take(run.path);
  using log = new EventLog(run.events);
  log.emit(stepEvent(2));
  assertEquals(linesOf(await receive(response, 1)), ["4 2"]);
});

Deno.test("a client that comes back again and again misses nothing of a running run", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun]);
  using hold = await RunHold.take(run.path);
  using log = new EventLog(run.events);
  service.supervisor.tick();
  const writing = (async () => {
    for (let step = 1; step <= 40; step++) {
      log.emit(stepEvent(step));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    log.emit(ended(40));
    hold.end();
  })();
  const found: Received[] = [];
  while (true) {
    const response = await watch(app, run.id, found.at(-1)?.id);
    if (response.status === 204) break;
    found.push(...await receive(response, 1 + Math.floor(Math.random() * 9)));
  }
  await writing;
  assertEquals(linesOf(found), [
    "1 0",
    ...Array.from({ length: 40 }, (_, i) => `${i + 2} ${i + 1}`),
    "42 40",
  ]);
});

Deno.test("a run that goes back to a checkpoint tells those who watch how far, also those who come back", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun]);
  using _hold = await RunHold.take(run.path);
  using log = new EventLog(run.events);
  service.supervisor.tick();
  const write = (...events: RunEventBody[]) => events.forEach((event) => log.emit(event));
  write(stepEvent(1), stepEvent(2), stepEvent(3));
  const watching = watch(app, run.id).then((response) => receive(response, 7));
  const left = await receive(await watch(app, run.id), 4);
  await until("watched", () => service.streams === 1);
  await new Promise((resolve) => setTimeout(resolve, 400));
  log.rewind(1);
  write(stepEvent(2, 7), stepEvent(3, 7));
  const found = await watching;
  assertEquals(linesOf(found), ["1 0", "2 1", "3 2", "4 3", "rewind 2", "3 2", "4 3"]);
  assertEquals(found.at(-1)!.data.metrics.loss, 7);
  const again = await receive(await watch(app, run.id, left.at(-1)!.id), 5);
  assertEquals(linesOf(again), ["rewind 0", "1 0", "2 1", "3 2", "4 3"]);
  // The lines that a client had before it left may be the ones that still hold.
  assertEquals(linesOf(await receive(await watch(app, run.id, left[1]!.id), 2)), ["3 2", "4 3"]);
});

Deno.test("a client that reads nothing holds up neither the run nor other clients", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun]);
  using hold = await RunHold.take(run.path);
  using log = new EventLog(run.events);
  service.supervisor.tick();
  const slow = await watch(app, run.id);
  const long: RunEventBody = { type: "warning", step: 1, message: "x".repeat(10_000) };
  for (let i = 0; i < 200; i++) log.emit(long);
  log.emit(ended(1));
  hold.end();
  assertEquals((await receive(await watch(app, run.id))).length, 202);
  // It was only late.
  assertEquals((await receive(slow)).length, 202);
});

Deno.test("a server that ends closes the streams, and clients go on with the next", async () => {
  const { app, service } = testApp();
  const run = makeRun(service.options.runs, [begun, stepEvent(1)]);
  using _hold = await RunHold.take(run.path);
  service.supervisor.tick();
  const watching = receive(await watch(app, run.id));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await service.close();
  const before = await watching;
  assertEquals(linesOf(before), ["1 0", "2 1"]);
  const next = testApp({ runs: service.options.runs });
  await using _service = next.service;
  next.service.supervisor.tick();
  using log = new EventLog(run.events);
  log.emit(stepEvent(2));
  const after = await receive(await watch(next.app, run.id, before.at(-1)!.id), 1);
  assertEquals(linesOf(after), ["3 2"]);
});

Deno.test("a file that cannot be read any more breaks the stream off, and nothing else", async () => {
  const runs = freshRuns();
  await using server = await MentorServer.open({ port: 0, runs, start: startNothing });
  const run = makeRun(runs, [begun, stepEvent(1)]);
  using _hold = await RunHold.take(run.path);
  const events = `${server.url}/runs/${run.id}/events`;
  await until("it is seen", async () => {
    const { status, body } = await fetch(`${server.url}/runs/${run.id}`);
    await body?.cancel();
    return status === 200;
  });
  const response = await fetch(events);
  const kept = Deno.readTextFileSync(run.events);
  Deno.removeSync(run.events);
  Deno.mkdirSync(run.events);
  assertEquals(linesOf(await receive(response)), ["1 0", "2 1"]);
  assertEquals((await fetch(events)).status, 500);
  Deno.removeSync(run.events);
  Deno.writeTextFileSync(run.events, kept);
  assertEquals(linesOf(await receive(await fetch(events), 2)), ["1 0", "2 1"]);
});
