// What the dashboard knows of a run from its events, however these are.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { RunHold } from "../src/run/control.ts";
import { EventLog } from "../src/run/events.ts";
import { RunHistories } from "../src/serve/run_histories.ts";
import { ask, begun, ended, freshRuns, makeRun, stepEvent, testApp } from "./servers.ts";

Deno.test("a history is read on where it stopped, and anew where its run went back", async () => {
  const { path, events } = makeRun(freshRuns(), [begun, stepEvent(1), stepEvent(2)]);
  const histories = new RunHistories();
  const stepsOf = async () => {
    const { history, last } = await histories.read(path);
    return [history.columns.get("loss")?.get("grpo")?.steps, last?.split("-")[0]];
  };
  assertEquals(await stepsOf(), [[1, 2], "3"]);
  using log = new EventLog(events);
  log.emit(stepEvent(3));
  const both = await Promise.all([stepsOf(), stepsOf()]);
  assertEquals(both, [[[1, 2, 3], "4"], [[1, 2, 3], "4"]]);
  log.rewind(1);
  assertEquals(await stepsOf(), [[1], "2"]);
  log.emit(stepEvent(2, 7));
  Deno.writeTextFileSync(events, 'no JSON\n{"type":"step","step":"3"}\n', { append: true });
  assertEquals(await stepsOf(), [[1, 2], "5"]);
});

Deno.test("events that are not as they should be are left out, and the pages show the others", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const run = makeRun(service.options.runs, [begun, stepEvent(1), stepEvent(2), ended(2)]);
  const odd: unknown[] = [null, "x", {}, { toString: 1 }, [null], [{}], [{
    name: 1,
    split: "train",
  }]];
  const keys = ["type", "step", "method", "domains", "message", "status", "metrics", "timing"];
  const lines = ["run-start", "step", "eval", "warning", "run-end", "paused"].flatMap((type) =>
    keys.flatMap((key) =>
      odd.map((value) => ({
        ...{ time: "2026-11-24T23:18:00Z", type, step: 3, method: "grpo", metrics: {} },
        ...{ domains: [{ name: "arith", split: "train" }], message: "amiss", status: "done" },
        [key]: value,
      }))
    )
  );
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  Deno.writeTextFileSync(run.events, text, { append: true });
  service.supervisor.tick();
  for (const path of [`runs/${run.id}`, `compare?run=${run.id}`]) {
    const response = await app.request(`/ui/${path}`, ask("GET"));
    const page = await response.text();
    assertEquals(response.status, 200, path);
    assertStringIncludes(page, "<b>Loss</b>");
  }
});

Deno.test("the page of a run is as new as its last event, before anybody looked at all runs again", async () => {
  const { app, service } = testApp();
  await using _service = service;
  const { id, path, events } = makeRun(service.options.runs, [begun, stepEvent(1)]);
  using _hold = await RunHold.take(path);
  service.supervisor.tick();
  const page = async () => await (await app.request(`/ui/runs/${id}`, ask("GET"))).text();
  assertStringIncludes(await page(), ">running</span>");
  using log = new EventLog(events);
  log.emit(stepEvent(2));
  log.emit({ type: "paused", step: 2 });
  const paused = await page();
  assertStringIncludes(paused, ">paused</span>");
  assertStringIncludes(paused, "2 of 9");
});
