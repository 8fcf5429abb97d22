// What the load bench makes of what it sees; the bench itself takes minutes.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { paired, type WatchedStep } from "../bench/load/pairs.ts";
import { Child } from "../bench/load/processes.ts";
import { type LoadReport, misses, renderLoad } from "../bench/load/report.ts";
import { RunHold } from "../src/run/control.ts";
import { EventLog } from "../src/run/events.ts";
import { Listener } from "../src/serve/listener.ts";
import { MentorServer } from "../src/serve/serve.ts";
import { begun, freshRuns, makeRun, stepEvent, until } from "./servers.ts";

const local = { host: "127.0.0.1", port: 0 };

const steps = (watched: (step: number) => boolean, slowdown: number): WatchedStep[] =>
  Array.from({ length: 8 }, (_, step) => ({
    step,
    watched: watched(step),
    // Steps differ by far more than clients cost.
    seconds: (step + 1) * (watched(step) ? slowdown : 1),
  }));

Deno.test("steps are compared with themselves, whatever others take", () => {
  const odd = (step: number) => step % 2 === 1;
  const { change, ci95, aloneMs, steps: count } = paired(
    steps(odd, 1.25),
    steps((step) => !odd(step), 1.25),
  );
  assertEquals([count, aloneMs], [8, 4500]);
  for (const each of [change, ...ci95]) assert(Math.abs(each + 0.2) < 1e-9, String(each));
  // Those that were watched twice, or never, tell nothing.
  const half = paired(steps(odd, 1.25), steps((step) => step < 4 && !odd(step), 1.25));
  assertEquals(half.steps, 6);
});

const report: LoadReport = {
  loadAverage: 0.25,
  clients: 200,
  requestsPerSecond: 1000,
  training: { steps: 80, aloneMs: 700, watchedMs: 707, change: -0.01, ci95: [-0.02, 0.001] },
  serverCpu: { alone: 0.01, watched: 0.02, asked: 0.2 },
  resident: { begin: 100e6, end: 101e6, most: 110e6 },
  runs: { count: 30_000, p50: 1, p99: 8, most: 20 },
  empty: { count: 30_000, p50: 0.5, p99: 4, most: 19 },
};

Deno.test("the report says whether the targets are met, and which are not", () => {
  assertEquals(misses(report), []);
  const text = renderLoad(report);
  assertStringIncludes(text, "-1.0 % (-2.0 % to 0.1 %)");
  assertStringIncludes(text, "p50 2.00, p99 2.00");
  assert(/targets +met$/.test(text), text);
  const found = misses({
    ...report,
    training: { ...report.training, change: -0.06 },
    resident: { ...report.resident, end: 120e6 },
    runs: { ...report.runs, p99: 51 },
  });
  assertEquals(found.length, 3);
  for (const [i, part] of ["6.0 %", "51.0 ms", "20.0 %"].entries()) {
    assertStringIncludes(found[i]!, part);
  }
});

Deno.test("the latency of a request counts from when it was due, also while others are waited for", async () => {
  let asked = 0;
  await using requests = new Child("requests.ts", "100", "1");
  await using server = await Listener.open(async () => {
    // One request of a hundred is slow, and holds up the connection for those behind it.
    if (asked++ === 20) await new Promise((resolve) => setTimeout(resolve, 300));
    return Response.json({});
  }, local);
  const latencies = await requests.ask<number[]>(`${server.url}/ 1`);
  assertEquals(latencies.length, 100);
  const late = latencies.filter((ms) => ms > 100).length;
  assert(late >= 15, `${late} of them late`);
});

Deno.test("watchers come in after the lines that they have, and say what they got", async () => {
  const runs = freshRuns();
  const run = makeRun(runs, [begun, stepEvent(1)]);
  using _hold = await RunHold.take(run.path);
  using log = new EventLog(run.events);
  const server = await MentorServer.open({ ...local, runs });
  await using watchers = new Child("watchers.ts", `${server.url}/runs/${run.id}/events`, "5");
  assertEquals(await watchers.ask<number[]>("2"), []);
  const streams = async () => {
    const response = await fetch(`${server.url}/metrics`);
    return Number(/^mentor_event_streams (\d+)$/m.exec(await response.text())![1]);
  };
  assertEquals(await streams(), 5);
  log.emit(stepEvent(2));
  // The feed looks at the file four times a second.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const bytes = await watchers.ask<number[]>("");
  assertEquals(bytes.length, 5);
  assertEquals(new Set(bytes).size, 1);
  assert(bytes[0]! > 100 && bytes[0]! < 400, String(bytes[0]));
  await until("all have left", async () => await streams() === 0);
  await server.close();
});
