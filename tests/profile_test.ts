// Where the time of a run goes: the sums, the trace file, and that measuring changes nothing.

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { CheckpointError, evaluate, type Profile, train } from "../mod.ts";
import type { GpuSpan, ProfileDetail } from "../src/gpu/profiler.ts";
import { readEvents } from "../src/run/events.ts";
import { summarize, Tally } from "../src/run/profile.ts";
import { TraceWriter } from "../src/run/trace.ts";
import { renderProfile } from "../src/run/watch.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

const span = (name: string, start: number, end: number): GpuSpan => ({ name, start, end });

function tally(...spans: GpuSpan[]): Tally {
  const sum = new Tally();
  for (const one of spans) sum.add(one);
  return sum;
}

interface TraceEvent {
  ph: string;
  name: string;
  pid: number;
  tid: number;
  ts: number;
  dur: number;
  args?: { name: string };
}

function readTrace(path: string): { traceEvents: TraceEvent[]; otherData: unknown } {
  return JSON.parse(Deno.readTextFileSync(path));
}

Deno.test("spans are added up by name, in the order in which names come", () => {
  const sum = tally(span("b", 0, 2), span("a", 3, 4), span("b", 5, 8));
  assertEquals(sum.rows(), [{ name: "b", calls: 2, ms: 5 }, { name: "a", calls: 1, ms: 1 }]);
  assertEquals(tally().rows(), []);
});

Deno.test("time in which spans overlap counts once", () => {
  assertEquals(tally(span("a", 0, 2), span("b", 3, 4)).busy, 3);
  assertEquals(tally(span("a", 0, 2), span("b", 1, 4), span("c", 3, 5)).busy, 5);
  assertEquals(tally(span("a", 0, 9), span("b", 1, 2), span("c", 8, 10)).busy, 10);
  assertEquals(tally(span("a", 1, 1)).busy, 0);
});

Deno.test("a summary has shares of the time, and what no phase covers", () => {
  const gpu = tally(span("small", 0, 100), span("large", 50, 350));
  const host = tally(span("rollout", 0, 600), span("update", 600, 900));
  const { phases, kernels, ...totals } = summarize(1, gpu, host);
  assertEquals(totals, { seconds: 1, gpuBusy: 0.35, hostShare: 0.65 });
  assertEquals(kernels, [
    { name: "large", calls: 1, ms: 300, meanUs: 300_000, share: 0.75 },
    { name: "small", calls: 1, ms: 100, meanUs: 100_000, share: 0.25 },
  ]);
  assertEquals(phases, [
    { name: "rollout", calls: 1, ms: 600, share: 0.6 },
    { name: "update", calls: 1, ms: 300, share: 0.3 },
    { name: "other", calls: 1, ms: 100, share: 0.1 },
  ]);
  const nothing = summarize(0, tally(), tally());
  assertEquals([nothing.gpuBusy, nothing.kernels], [0, []]);
});

Deno.test("a trace is Chrome's format, with names for its processes and threads", () => {
  const path = join(folder, "trace.json");
  using trace = new TraceWriter(path);
  trace.add("host", [span('odd "name"', 2, 5)]);
  trace.add("GPU", [span("a", 1.0000004, 2.5), span("b", 2.5, 2.75), span("c", 2.6, 3)]);
  trace.add("GPU", [span("d", 3, 3)]);
  trace.finish({ adapter: "x" });
  const { traceEvents, otherData } = readTrace(path);
  assertEquals(otherData, { adapter: "x", events: 5, limit: 200_000, dropped: 0 });
  const named = traceEvents.filter(({ ph }) => ph === "M");
  assertEquals(named.map(({ name, pid, args }) => [name, pid, args!.name]), [
    ["process_name", 1, "host"],
    ["thread_name", 1, "host"],
    ["process_name", 2, "GPU"],
    ["thread_name", 2, "GPU"],
  ]);
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  // What overlaps gets a thread of its own.
  assertEquals(spans.map(({ name, pid, tid, ts, dur }) => [name, pid, tid, ts, dur]), [
    ['odd "name"', 1, 1, 2000, 3000],
    ["a", 2, 1, 1000, 1500],
    ["b", 2, 1, 2500, 250],
    ["c", 2, 2, 2600, 400],
    ["d", 2, 1, 3000, 0],
  ]);
});

Deno.test("a trace stops at its limit, says so, and is still valid", () => {
  const path = join(folder, "capped.json");
  using trace = new TraceWriter(path, 3);
  const spans = [0, 1].map((i) => span("a", i, i + 1));
  for (let i = 0; i < 4; i++) trace.add("GPU", spans);
  trace.finish();
  assertEquals(trace.dropped, 5);
  const { traceEvents, otherData } = readTrace(path);
  assertEquals(traceEvents.filter(({ ph }) => ph === "X").length, 3);
  assertEquals(otherData, { events: 3, limit: 3, dropped: 5 });
});

Deno.test("a trace has its name only when it is whole, and leaves nothing else", () => {
  const place = join(folder, "place");
  Deno.mkdirSync(place);
  const names = () => Array.from(Deno.readDirSync(place), ({ name }) => name);
  {
    using trace = new TraceWriter(join(place, "profile.json"));
    trace.add("host", [span("a", 0, 1)]);
    assertEquals(names().includes("profile.json"), false);
  }
  assertEquals(names(), []);
  using trace = new TraceWriter(join(place, "profile.json"));
  trace.finish();
  assertEquals(names(), ["profile.json"]);
  assertThrows(() => new TraceWriter(join(folder, "none", "x")), CheckpointError, "Cannot write");
});

Deno.test("a profile is shown as tables, with the cost of measuring", () => {
  const gpu = tally(...Array.from({ length: 25 }, (_, i) => span(`kernel ${i}`, i, i + 1)));
  const profile = (detail: ProfileDetail, trace: Profile["trace"]): Profile => {
    const phases = [{ name: "evaluate before", calls: 1, ms: 7, share: 0 }];
    return { ...summarize(0.05, gpu, tally()), detail, steps: 2, phases, trace };
  };
  const shown = renderProfile(profile("kernels", { path: "run/profile.json", dropped: 7 }));
  const lines = shown.split("\n");
  assertEquals(lines[0], "Profile: 2 steps in 0.05 s, GPU busy 50.0 %, host 50.0 %");
  assert(lines.some((line) => /^kernel 19 +1 +1\.0 +1000\.0 +4\.0$/.test(line)), shown);
  assert(lines.some((line) => /^5 others +5 +5\.0 +1000\.0 +20\.0$/.test(line)), shown);
  assert(lines.some((line) => /^evaluate before +1 +7\.0 +-$/.test(line)), shown);
  assert(shown.includes("--profile=submits"));
  assert(lines.at(-1)!.includes("run/profile.json") && lines.at(-1)!.includes("7 events"));
  assert(lines.every((line) => line.length <= 100), shown);
  assertEquals(renderProfile(profile("submits", null)).includes("--profile"), false);
});

/** A run as small as can be, and what it leaves. */
async function run(out: string, profile?: ProfileDetail) {
  const rollout = { prompts: 2, group: 2, slots: 4 };
  const result = await train(
    { out: join(folder, out), steps: 2, rollout, evaluation: { prompts: 0 } },
    { profile },
  );
  const weights = await Deno.readFile(join(result.model, "model.safetensors"));
  const metrics = readEvents(join(result.run, "events.jsonl"))
    .flatMap((event) => event.type === "step" ? [event.metrics] : []);
  const config = JSON.parse(await Deno.readTextFile(join(result.run, "config.json")));
  return { result, left: { weights, metrics, config: { ...config, out: null } } };
}

Deno.test("a profiled run learns the same, and leaves a profile of its steps", async () => {
  const plain = await run("plain");
  assertEquals(plain.result.profile, undefined);
  for (const detail of ["kernels", "submits"] as const) {
    const { result, left } = await run(detail, detail);
    assertEquals(left, plain.left);
    const profile = result.profile!;
    const { seconds, gpuBusy, hostShare, kernels, phases, steps } = profile;
    assertEquals([profile.detail, steps], [detail, 2]);
    assert(seconds > 0 && seconds < result.seconds);
    assert(gpuBusy > 0 && gpuBusy < 1, `busy ${gpuBusy}`);
    assertAlmostEquals(gpuBusy + hostShare, 1, 1e-9);
    assertAlmostEquals(kernels.reduce((sum, { share }) => sum + share, 0), 1, 1e-9);
    assertEquals(kernels.some(({ name }) => name === "adamw.step"), detail === "kernels");
    assertEquals(phases.map(({ name, calls }) => [name, calls]), [
      ["rollout", 2],
      // Rewards, and what passes over the episodes tell.
      ["scoring", 4],
      ["update", 2],
      ["checkpoint", 1],
      ["other", 2],
    ]);
    assertAlmostEquals(phases.reduce((sum, { share }) => sum + share, 0), 1, 1e-9);

    const { traceEvents, otherData } = readTrace(join(result.run, "profile.json"));
    assertEquals(profile.trace, { path: join(result.run, "profile.json"), dropped: 0 });
    assertEquals((otherData as { detail: string }).detail, detail);
    const onGpu = traceEvents.filter(({ ph, pid }) => ph === "X" && pid === 2);
    assertEquals(onGpu.length, kernels.reduce((sum, { calls }) => sum + calls, 0));
    const step = traceEvents.find(({ name }) => name === "step 1")!;
    assert(onGpu[0]!.ts > step.ts && onGpu[0]!.ts + onGpu[0]!.dur < step.ts + step.dur);
    const names = Array.from(Deno.readDirSync(result.run), ({ name }) => name).sort();
    const expected = ["checkpoint-2", "config.json", "episodes.jsonl", "events.jsonl", "model"];
    assertEquals(names, [...expected, "process.json", "profile.json", "run.lock"]);
  }
});

Deno.test("a profiled evaluation finds the same, and says what it took", async () => {
  const settings = { domains: ["arith"], evaluation: { prompts: 1, samples: 1 } };
  const { profile, ...found } = await evaluate(settings, { profile: "kernels" });
  assertEquals(found, await evaluate(settings));
  assertEquals([profile!.steps, profile!.trace], [0, null]);
  assertEquals(profile!.phases.map(({ name }) => name), ["evaluate", "other"]);
  assert(profile!.kernels.length > 5);
});
