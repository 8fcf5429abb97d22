// Runs that a real server makes, in processes that are killed.

import { getPriority } from "node:os";
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { train } from "../mod.ts";
import {
  isHeld,
  queueFile,
  readProcess,
  readRequest,
  RunHold,
  writeProcess,
} from "../src/run/control.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { RunIndex } from "../src/serve/index/run_index.ts";
import { settings, studentFolder, traces } from "./runs.ts";
import { ask, freshRuns, ServerProcess, testApp, until } from "./servers.ts";

/** Settings of a run over HTTP: it has no place of its own. */
async function request(more: Record<string, unknown> = {}) {
  const { out: _, ...rest } = await settings({ evaluation: { prompts: 0 }, ...more });
  return rest;
}

const stateOf = async (server: ServerProcess, id: string) =>
  (await server.ask("GET", `/runs/${id}`)).body.state as string;

/** The traces without what a pause adds. */
async function unpaused(run: string) {
  const all = await traces(run);
  const events = all.events.filter(({ type }) => type !== "paused" && type !== "resumed");
  return { ...all, events };
}

Deno.test("runs over HTTP wait for their turn, pause, stop, go on, and equal those of the command line", async () => {
  const whole = await train(await settings({ evaluation: { prompts: 0 } }));
  const runs = freshRuns();
  await using server = await ServerProcess.start(runs, "--allow", await studentFolder());
  const start = async () => {
    const { status, headers, body } = await server.ask("POST", "/runs", await request());
    assertEquals([status, headers.get("location")], [201, `/runs/${body.id}`]);
    return body.id as string;
  };
  const [first, second] = [await start(), await start()];
  assertEquals(await stateOf(server, second), "queued");
  assertEquals((await server.ask("POST", `/runs/${first}/pause`)).status, 202);
  await until("paused", async () => await stateOf(server, first) === "paused");
  // Where both want a core the server, which is as nice as this process, comes first.
  const { pid } = readProcess(join(runs, first))!;
  assertEquals(getPriority(pid), Math.min(19, getPriority() + 5));
  assertEquals(await stateOf(server, second), "queued");
  assertEquals((await server.ask("POST", `/runs/${first}/stop`)).status, 202);
  await until("stopped", async () => await stateOf(server, first) === "stopped");
  assertEquals((await server.ask("POST", `/runs/${first}/resume`)).status, 202);
  await until("both finished", async () => {
    const { body } = await server.ask("GET", "/runs?state=finished");
    return body.runs.length === 2;
  });
  for (const id of [first, second]) {
    assertEquals(await unpaused(join(runs, id)), await traces(whole.run));
  }
  assertEquals((await server.ask("POST", `/runs/${first}/pause`)).status, 409);
});

/** Kills at random moments, of which the seconds of a run with its start are drawn. */
const MOMENTS = Number(Deno.env.get("MENTOR_KILLS") ?? 3);

Deno.test("whatever is killed and when, the run goes on to the same bytes", async () => {
  const long = { steps: 20 * MOMENTS, checkpoint: { everySteps: 4 } };
  const whole = await train(await settings({ evaluation: { prompts: 0 }, ...long }));
  const runs = freshRuns();
  const allow = ["--allow", await studentFolder()];
  let server = await ServerProcess.start(runs, ...allow);
  try {
    const { body } = await server.ask("POST", "/runs", await request(long));
    const path = join(runs, body.id);
    let kills = 0;
    for (let i = 0; i < MOMENTS; i++) {
      await until(
        "a process",
        async () => isHeld(path) || await stateOf(server, body.id) === "finished",
      );
      await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 1000));
      if (!isHeld(path)) break;
      kills++;
      const victim = ["run", "server", "both"][i % 3]!;
      if (victim !== "run") await server.kill();
      if (victim !== "server" && isHeld(path)) Deno.kill(readProcess(path)!.pid, "SIGKILL");
      if (victim !== "run") server = await ServerProcess.start(runs, ...allow);
      if (victim === "server") {
        const state = await stateOf(server, body.id);
        assert(state === "running" || state === "finished", `${state} after the server was killed`);
        continue;
      }
      await until("seen", async () => await stateOf(server, body.id) !== "running", 5);
      assertEquals(await stateOf(server, body.id), "interrupted");
      assertEquals((await server.ask("POST", `/runs/${body.id}/resume`)).status, 202);
    }
    await until("finished", async () => await stateOf(server, body.id) === "finished");
    assert(kills > 0, "it had finished before anything was killed");
    const leftovers = [...Deno.readDirSync(path)].map(({ name }) => name)
      .filter((name) => name.startsWith(".checkpoint"));
    assertEquals(leftovers, []);
    assertEquals(await traces(path), await traces(whole.run));
  } finally {
    await server[Symbol.asyncDispose]();
  }
  const rows = () => {
    using index = new RunIndex(runs);
    index.refresh();
    return ["runs", "metrics", "episodes"].map((table) =>
      index.database.prepare(`SELECT * FROM ${table}`).all()
    );
  };
  const before = rows();
  assert(before.every((table) => table.length > 0));
  RunIndex.rebuild(runs);
  assertEquals(rows(), before);
});

Deno.test("a run that cannot begin fails with the reason", async () => {
  const runs = freshRuns();
  const tasks = join(runs, "tasks.jsonl");
  await Deno.writeTextFile(tasks, "no JSON\n");
  const student = await studentFolder();
  await using server = await ServerProcess.start(runs, "--allow", `${student},${runs}`);
  const { body } = await server.ask("POST", "/runs", await request({ tasks }));
  await until("failed", async () => await stateOf(server, body.id) === "failed");
  const failed = (await server.ask("GET", `/runs/${body.id}`)).body;
  assert(failed.message.includes("tasks.jsonl"), failed.message);
  assert(failed.lastWords.includes("tasks.jsonl"), failed.lastWords);
});

Deno.test("a process with the number of the one before is told apart from it", async () => {
  let started = 0;
  const { app, service } = testApp({
    start: () => {
      started++;
      return Promise.resolve({ pid: 7, exit: Promise.resolve({ code: 3, signal: null }) });
    },
  });
  await using _ = service;
  const id = service.supervisor.create(resolveConfig({ flags: { steps: 1 } }));
  const folder = join(service.options.runs, id);
  writeProcess(folder, { pid: 7, started: "2026-01-01T00:00:00.000Z" });
  service.supervisor.tick();
  const { state, message } = await (async () => {
    await until("given up", () => service.index.get(id)?.state === "failed", 5);
    return await (await app.request(`/runs/${id}`, ask("GET"))).json();
  })();
  assertEquals([state, started], ["failed", 1]);
  assert(message.includes("code 3 before it took the run on"), message);
});

Deno.test("runs wait in the order of asking, also after the clock was put back", async () => {
  const { app, service } = testApp({ parallel: 1 });
  await using _ = service;
  const start = async () => (await (await app.request("/runs", ask("POST", {}))).json()).id;
  const [, second] = [await start(), await start()];
  const later = Date.now() + 3_600_000;
  Deno.writeTextFileSync(queueFile(join(service.options.runs, second)), `{"place": ${later}}`);
  const third = await start();
  assertEquals(service.supervisor.queue().slice(-2), [second, third]);
});

Deno.test("runs that are starting when the server ends are stopped as well", async () => {
  const { service } = testApp({ start: () => Promise.resolve({ ...slow, exit: exit.promise }) });
  const slow = { pid: Deno.pid };
  const exit = Promise.withResolvers<{ code: number | null; signal: string | null }>();
  const id = service.supervisor.create(resolveConfig({ flags: { steps: 1 } }));
  const folder = join(service.options.runs, id);
  service.supervisor.tick();
  const closed = service.close({ stopRuns: true });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const hold = await RunHold.take(folder);
  await until("asked", () => readRequest(folder) === "stop", 5);
  hold.end();
  exit.resolve({ code: 0, signal: null });
  await closed;
});
