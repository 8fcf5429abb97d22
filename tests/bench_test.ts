// The bench's command line, its tables, its baselines and the tuner's space.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { compareWithBaseline, readReport } from "../bench/baseline.ts";
import { fastest } from "../bench/kernels.ts";
import { main, usage } from "../bench/main.ts";
import { caught } from "./caught.ts";
import {
  type BenchReport,
  type BenchRow,
  renderRows,
  renderSkipped,
  renderTable,
} from "../bench/report.ts";
import { space } from "../bench/tune.ts";
import { workloads } from "../bench/workloads.ts";
import { Gpu, type GpuInfo } from "../src/gpu/device.ts";
import { deviceClass, tunings } from "../src/gpu/tuning.ts";
import { openAdapter } from "../src/run/adapter.ts";
import { ConfigError } from "../src/run/config/mod.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

const row = (fields: Partial<BenchRow>): BenchRow => ({
  work: "step",
  shape: "8 x 128",
  contender: "mentor",
  medianMs: 12.345,
  spread: 0.1,
  rate: 1234.5,
  unit: "tokens/s",
  ratioToMentor: 1,
  limit: null,
  ...fields,
});

const report = (...rows: BenchRow[]): BenchReport => ({
  adapter: "a GPU",
  date: "2026-01-02T03:04:05Z",
  rows,
  skipped: [],
});

const bench = (...args: string[]) => caught(() => main(args));

Deno.test("a table's columns are as wide as they need to be", () => {
  assertEquals(renderTable([["a", "b", "c"], ["long", "1", "x"]], [1]), "a     b  c\nlong  1  x");
});

Deno.test("a row says what took how long, and leaves out what is not known", () => {
  const [head, mentor, other] = renderRows([
    row({ cpuMs: 20 }),
    row({ contender: "jax", medianMs: 0.5, rate: 1.5, ratioToMentor: 0.25, limit: 0.5 }),
  ]).split("\n").map((line) => line.split(/ {2,}/));
  assertEquals(head, [
    "work",
    "shape",
    "contender",
    "median",
    "spread",
    "CPU",
    "rate",
    "x mentor",
    "of limit",
  ]);
  assertEquals(mentor, [
    "step",
    "8 x 128",
    "mentor",
    "12.3 ms",
    "10 %",
    "20.0 ms",
    "1235",
    "tokens/s",
    "1.00",
  ]);
  assertEquals(other!.slice(2), ["jax", "500 us", "10 %", "1.50", "tokens/s", "0.25", "50 %"]);
});

Deno.test("work that was skipped for one reason is named together", () => {
  const skipped = ["a", "b"].flatMap((work) => [
    { work, contender: "torch", reason: "not installed" },
    { work, contender: "jax", reason: `cannot do ${work}` },
  ]);
  assertEquals(renderSkipped(skipped), [
    "skipped a, b with torch: not installed",
    "skipped a with jax: cannot do a",
    "skipped b with jax: cannot do b",
  ]);
});

Deno.test("a baseline is compared row by row, Mentor's only", () => {
  const then = report(row({ medianMs: 30 }), row({ work: "gone" }), row({ contender: "jax" }));
  const text = compareWithBaseline(report(row({ medianMs: 10 }), row({ work: "new" })), then);
  assertStringIncludes(text, "against 2026-01-02 on a GPU\n");
  assertEquals(text.split("\n").length, 3);
  assert(text.endsWith("3.00"), text);
  const elsewhere = { ...report(row({})), adapter: "another" };
  assertStringIncludes(compareWithBaseline(elsewhere, then), "(another adapter)");
  assertStringIncludes(compareWithBaseline(report(), then), "no work in common");
});

Deno.test("a file that is no baseline is refused before anything is measured", async () => {
  const path = join(folder, "baseline.json");
  const contents = [["{", "JSON"], ["null", "no rows"], ['{"rows":1}', "no rows"]] as const;
  for (const [content, fault] of contents) {
    await Deno.writeTextFile(path, content);
    const error = await assertRejects(() => readReport(path), TypeError, fault);
    assertStringIncludes(error.message, "./mentor bench --save FILE");
  }
  const { code, err } = await bench("all", "--baseline", join(folder, "missing.json"));
  assertEquals(code, 1);
  assertStringIncludes(err, "missing.json");
  const lost = await bench("all", "--save", join(folder, "missing", "report.json"), "--quiet");
  assertEquals(lost.code, 1);
});

Deno.test("a part or a flag that does not exist is bad usage, and help is none", async () => {
  for (
    const args of [["kernel"], ["kernels", "--fast"], ["step", "twice"], ["toString"], ["models"]]
  ) {
    const { code, err } = await bench(...args);
    assertEquals(code, 2);
    assertStringIncludes(err, `Cannot bench ${args.join(" ")}`);
    assertStringIncludes(err, usage);
  }
  const unknown = await bench("peers", "matmul:13", "--quiet");
  assertEquals(unknown.code, 1);
  assertStringIncludes(unknown.err, 'Cannot do work "matmul:13"');
  assertEquals(await bench("--help"), { code: 0, out: `${usage}\n`, err: "" });
});

Deno.test("the tuner's space starts with the table's row, and keeps to the adapter's limits", async () => {
  using gpu = await Gpu.open();
  const discrete: GpuInfo = { ...gpu.info, software: false };
  // What every adapter that Gpu.open() takes has.
  const least: GpuInfo = {
    ...discrete,
    limits: {
      ...discrete.limits,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupStorageSize: 16384,
    },
  };
  for (const info of [gpu.info, discrete, least]) {
    const base = tunings[deviceClass(info)];
    const variants = space(info);
    const knobs = new Set(variants.map(({ knob }) => knob));
    for (const knob of knobs) {
      const own = variants.filter((variant) => variant.knob === knob);
      assert(own.length > 1, knob);
      assertEquals(own.filter(({ name }) => name.endsWith("(default)")), [own[0]!], knob);
      assertEquals({ ...base, ...own[0]!.change }, base, knob);
    }
    const { maxComputeInvocationsPerWorkgroup: most } = info.limits;
    for (const { knob, change } of variants.filter(({ name }) => !name.includes("default"))) {
      const tile = change.matmul ?? change.matmulSmall;
      if (tile) assert(tile.lanesM * tile.lanesN <= most!, knob);
    }
  }
});

Deno.test("every workload dispatches the kernels whose cost it states", async () => {
  using gpu = await Gpu.open({ profile: "kernels" });
  for (const workload of workloads(gpu)) {
    const times = await fastest(gpu, workload, 1);
    assertEquals(times.length, Object.keys(workload.costs).length);
    for (const ms of times) assert(ms >= 0 && ms < Infinity);
  }
});

Deno.test("a stored tuning is used on its adapter, and on no other", async () => {
  using gpu = await Gpu.open();
  const path = join(folder, "tuning.json");
  const store = (adapter: string, tuning: unknown) =>
    Deno.writeTextFile(path, JSON.stringify({ adapter, rows: [], tune: { tuning } }));
  const own = { ...gpu.tuning, wide: 64 };
  await store(gpu.info.description, own);
  using tuned = await openAdapter({ tuning: path });
  assertEquals(tuned.tuning, own);
  using plain = await openAdapter({ tuning: null });
  assertEquals(plain.tuning, gpu.tuning);

  const refused = async (fault: string) => {
    const error = await assertRejects(() => openAdapter({ tuning: path }), ConfigError, fault);
    assertStringIncludes(error.message, `Cannot use tuning "${path}"`);
  };
  await store("another", own);
  await refused("it was found on another, and this is ");
  await store(gpu.info.description, { ...own, matmul: { ...own.matmul, depth: 3 } });
  await refused("at tune.tuning.matmul.depth");
  await store(gpu.info.description, { ...own, extra: 1 });
  await refused("extra");
  await Deno.writeTextFile(path, "{");
  await refused("JSON");
});
