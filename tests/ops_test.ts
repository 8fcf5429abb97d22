/**
 * Every kernel against its f64 reference with the tuning of every device class, and what holds for
 * all of them: nothing is left unchecked, and the same inputs give the same bits.
 */

import { assert, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { entryPoints, type KernelName, kernelSources } from "../src/gpu/kernels.ts";
import { grid } from "../src/gpu/recorder.ts";
import { supports, tunings } from "../src/gpu/tuning.ts";
import { kernelCheck } from "../src/ops/checks/check.ts";
import { product } from "../src/ops/checks/linear.ts";
import { type KernelCheck, kernelChecks } from "../src/ops/checks/mod.ts";
import { foldedChecks, narrowTuning } from "../src/ops/checks/folded.ts";
import { rangeChecks, smallBinding } from "../src/ops/checks/ranges.ts";

/** A GPU that remembers which entry points it ran and what was read from it. */
interface Watched {
  readonly gpu: Gpu;
  readonly ran: Set<string>;
  readonly contents: ArrayBuffer[];
}

async function watch(options: Parameters<typeof Gpu.open>[0]): Promise<Watched> {
  const gpu = await Gpu.open(options);
  const ran = new Set<string>();
  const contents: ArrayBuffer[] = [];
  const dispatch = gpu.dispatch.bind(gpu);
  gpu.dispatch = (name, entry, work) => {
    ran.add(`${name}.${entry}`);
    dispatch(name, entry, work);
  };
  const read = gpu.read.bind(gpu);
  gpu.read = async (...requests) => {
    const result = await read(...requests);
    contents.push(...result.map((buffer) => buffer.slice()));
    return result;
  };
  return { gpu, ran, contents };
}

/** Fails with the comparison that was worst. */
async function assertPasses({ gpu }: Watched, check: KernelCheck): Promise<void> {
  const { worst, where, cases } = await check.run(gpu);
  await gpu.settle();
  assert(
    worst <= check.tolerance,
    `${check.name}: error ${worst.toExponential(1)} of ${where}, tolerance ${check.tolerance}`,
  );
  assertEquals(cases, check.cases);
}

const watched: Record<string, Watched> = {};
for (const [name, tuning] of Object.entries(tunings)) {
  using probe = await Gpu.open();
  if (supports(probe.info, tuning)) watched[name] = await watch({ tuning });
}
Deno.test.afterAll(() => Object.values(watched).forEach(({ gpu }) => gpu.close()));

/** What each check ran, over all device classes. */
const ranBy = new Map<KernelCheck, Set<string>>();

for (const name of Object.keys(watched)) {
  for (const check of kernelChecks) {
    Deno.test(`${check.name} agrees with f64 with the tuning of class "${name}"`, async () => {
      const { ran } = watched[name]!;
      ran.clear();
      await assertPasses(watched[name]!, check);
      const before = ranBy.get(check) ?? new Set();
      ranBy.set(check, before.union(ran));
    });
  }
}

Deno.test("every check runs the entry points that it answers for", () => {
  for (const [check, ran] of ranBy) {
    for (
      const entry of check.entries.filter((entry) => watched.simd32 || !entry.includes("_simd"))
    ) {
      assert(ran.has(entry), `${check.name} never ran ${entry}`);
    }
  }
});

Deno.test("every entry point of every shader is checked", () => {
  const names = Object.keys(kernelSources) as KernelName[];
  const all = names.flatMap((name) => [...entryPoints(name).keys()].map((e) => `${name}.${e}`));
  const checked = new Set(kernelChecks.flatMap(({ entries }) => entries));
  assertEquals(all.filter((entry) => !checked.has(entry)), []);
  assertEquals([...checked].filter((entry) => !all.includes(entry)), []);
});

Deno.test("checks have names of their own and tolerances that f32 deserves", () => {
  assertEquals(new Set(kernelChecks.map(({ name }) => name)).size, kernelChecks.length);
  for (const { name, tolerance } of kernelChecks) assert(tolerance <= 1e-4, name);
});

for (const name of Object.keys(watched)) {
  Deno.test(`the same inputs give the same bits every time with the tuning of class "${name}"`, async () => {
    const { gpu, contents } = watched[name]!;
    for (const check of kernelChecks) {
      contents.length = 0;
      await check.run(gpu);
      await check.run(gpu);
      const half = contents.length / 2;
      contents.slice(0, half).forEach((first, i) => {
        const again = new Uint32Array(contents[half + i]!);
        const equal = new Uint32Array(first).every((value, n) => value === again[n]);
        assert(equal, `${check.name}: result ${i} differs`);
      });
    }
  });
}

Deno.test("a check that has run leaves nothing of its own in memory", async () => {
  const { gpu } = watched.software!;
  const check = kernelChecks.find(({ name }) => name === "AdamW")!;
  await check.run(gpu);
  const { liveBytes, buffers } = gpu.memory();
  await check.run(gpu);
  assertEquals(gpu.memory().liveBytes, liveBytes);
  assertEquals(gpu.memory().buffers, buffers);
});

Deno.test("grid() numbers any count of workgroups within the limits of a dimension", () => {
  assertEquals(grid(0), [0, 1]);
  assertEquals(grid(65_535), [65_535, 1]);
  for (const count of [65_536, 65_537, 131_071, 10_000_019]) {
    const [x, y] = grid(count);
    assert(x <= 65_535 && y <= 65_535 && x * y >= count && x * y < count + y, `${count}`);
  }
});

Deno.test("lanes share heads whatever share of them a row has", async () => {
  for (const rowLanes of [2, 64]) {
    const few = await watch({ tuning: { ...tunings.gpu, rowLanes } });
    const names = ["attention over cache", "rmsnorm", "LM head"];
    const checks = kernelChecks.filter(({ name }) => names.includes(name));
    assertEquals(checks.length, names.length);
    for (const check of checks) await assertPasses(few, check);
    few.gpu.close();
  }
});

Deno.test("the parts of a split sum keep to the largest binding", async () => {
  const sizes = [320, 320, 2560] as const; // 400 KB of C, 25 tiles: nine parts fit, not ten
  const check = kernelCheck("split", [], 2e-5, { "tn": product("tn", sizes, 1) });
  const small = await watch({ tuning: tunings.gpu, largestBinding: 3.8e6 });
  await assertPasses(small, check);
  small.gpu.close();
});

Deno.test("more than 65,535 workgroups are numbered in two dimensions", async () => {
  const narrow = await watch({ tuning: narrowTuning });
  for (const check of foldedChecks) await assertPasses(narrow, check);
  narrow.gpu.close();
});

for (const name of Object.keys(watched)) {
  Deno.test(`matrices larger than a binding agree with f64 with the tuning of class "${name}"`, async () => {
    const tuning = tunings[name as keyof typeof tunings];
    const small = await watch({ tuning, largestBinding: smallBinding });
    for (const check of rangeChecks) await assertPasses(small, check);
    small.gpu.close();
  });
}
