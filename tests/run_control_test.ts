// A run is steered by files in its folder, whoever started it.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { basename, join } from "@std/path";
import { CheckpointError, train } from "../mod.ts";
import { temporaryName } from "../src/io/checkpoint.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import {
  isHeld,
  queueFile,
  readProcess,
  readRequest,
  RunHold,
  sendRequest,
} from "../src/run/control.ts";
import { readEvents } from "../src/run/events.ts";
import { RunFolder } from "../src/run/store.ts";
import { folder, freshPath, settings, traces } from "./runs.ts";

const quick = (more: Record<string, unknown> = {}) =>
  settings({ evaluation: { prompts: 0 }, ...more });

/** The traces without what a pause adds. */
async function unpaused(run: string) {
  const all = await traces(run);
  const events = all.events.filter(({ type }) => type !== "paused" && type !== "resumed");
  return { ...all, events };
}

Deno.test("who takes a run on clears away what a killed process left half written", async () => {
  const run = RunFolder.create(resolveConfig({ flags: { out: freshPath() } }));
  const plant = (path: string, age = 0) => {
    Deno.mkdirSync(path);
    Deno.writeTextFileSync(join(path, "model.safetensors"), "weights");
    const then = new Date(Date.now() - age);
    Deno.utimeSync(path, then, then);
  };
  const write = (path: string, age = 0) => {
    Deno.writeTextFileSync(path, "{");
    const then = new Date(Date.now() - age);
    Deno.utimeSync(path, then, then);
  };
  plant(run.checkpoint(2));
  plant(temporaryName(run.checkpoint(4)));
  plant(temporaryName(run.model), 3_600_000);
  // Killed before the new one took the place of the old one, and after that.
  plant(join(run.path, ".checkpoint-6.previous"));
  plant(join(run.path, ".checkpoint-2.previous"));
  write(temporaryName(run.events), 3_600_000);
  // Somebody may be about to give this one its name, and these are nobody's leftovers.
  const request = temporaryName(join(run.path, "control.json"));
  write(request);
  plant(join(run.path, ".notes.saving-mine"));
  write(join(run.path, ".hidden"), 3_600_000);
  {
    using _hold = await RunHold.take(run.path);
    assertEquals([...Deno.readDirSync(run.path)].map(({ name }) => name).sort(), [
      ...[".hidden", ".notes.saving-mine", basename(request), "checkpoint-2", "checkpoint-6"]
        .sort(),
      ...["config.json", "process.json", "run.lock"],
    ]);
    assertEquals(run.checkpoints(), [2, 6]);
  }
});

for (const method of ["grpo", "sft"]) {
  Deno.test(`a ${method} run that was paused goes on to the same bytes`, async () => {
    const whole = await train(await quick({ method }));
    const config = await quick({ method });
    const run = config.out as string;
    const waited: number[] = [];
    const paused = await train(config, {
      onEvent(event) {
        if (event.type === "step" && event.step === 1) sendRequest(run, "pause");
        if (event.type !== "paused") return;
        waited.push(event.step);
        assert(Deno.statSync(join(run, `checkpoint-${event.step}`, "state.json")).isFile);
        assertEquals([isHeld(run), readRequest(run)], [true, "pause"]);
        setTimeout(() => sendRequest(run, null), 50);
      },
    });
    assertEquals([paused.status, waited.length], ["done", 1]);
    assertEquals(await unpaused(run), await traces(whole.run));
  });
}

Deno.test("a run is stopped by its folder, also out of a pause, and goes on to the same bytes", async () => {
  const whole = await train(await quick());
  const config = await quick();
  const run = config.out as string;
  const stopped = await train(config, {
    onEvent(event) {
      if (event.type === "step") sendRequest(run, "pause");
      if (event.type === "paused") sendRequest(run, "stop");
    },
  });
  assertEquals([stopped.status, isHeld(run), readRequest(run)], ["stopped", false, null]);
  assert(readEvents(join(run, "events.jsonl")).some(({ type }) => type === "paused"));
  // What was asked of the process before is not asked of this one.
  sendRequest(run, "stop");
  assertEquals((await train({ resume: run })).status, "done");
  assertEquals(await traces(run), await traces(whole.run));
});

Deno.test("a run that was killed before its first checkpoint begins again", async () => {
  const whole = await train(await quick());
  const { path } = RunFolder.create(resolveConfig({ flags: await quick() }));
  for (const name of ["events.jsonl", "episodes.jsonl"]) {
    const bytes = await Deno.readFile(join(whole.run, name));
    await Deno.writeFile(join(path, name), bytes.subarray(0, bytes.length / 2));
  }
  await Deno.writeTextFile(queueFile(path), "{}");
  await train({ resume: path });
  assertEquals(await traces(path), await traces(whole.run));
  await assertRejects(() => Deno.stat(queueFile(path)), Deno.errors.NotFound);
});

Deno.test("two processes do not make one run, and what stopped one is kept", async () => {
  const config = await quick({ tasks: join(folder, "none.jsonl") });
  const run = RunFolder.create(resolveConfig({ flags: config }));
  {
    using _hold = await RunHold.take(run.path);
    assertEquals([isHeld(run.path), readProcess(run.path)?.pid], [true, Deno.pid]);
    await assertRejects(() => train({ resume: run.path }), CheckpointError, `process ${Deno.pid}`);
  }
  assertEquals(isHeld(run.path), false);
  await assertRejects(() => train({ resume: run.path }), CheckpointError, "none.jsonl");
  const { ended, error } = readProcess(run.path)!;
  assert(ended !== undefined && error!.includes("none.jsonl"), error);
  assertEquals(isHeld(run.path), false);
});

for (const method of ["sft", "grpo"] as const) {
  Deno.test(`a signal in the course of a ${method} run is heard within a few steps`, async () => {
    const stopping = new AbortController();
    const stop = () => stopping.abort();
    Deno.addSignalListener("SIGUSR2", stop);
    try {
      let steps = 0;
      const { status } = await train(
        await quick({ method, steps: 40, checkpoint: { everySteps: 0 } }),
        {
          signal: stopping.signal,
          onEvent({ type }) {
            if (type !== "step" || ++steps !== 2) return;
            new Deno.Command("kill", { args: ["-USR2", `${Deno.pid}`] }).outputSync();
          },
        },
      );
      assertEquals(status, "stopped");
      assert(steps <= 8, `${steps} steps`);
    } finally {
      Deno.removeSignalListener("SIGUSR2", stop);
    }
  });
}
