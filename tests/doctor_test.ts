import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import type { KernelCheck } from "../src/ops/checks/mod.ts";
import { kernelChecks } from "../src/ops/checks/mod.ts";
import { doctor, renderDoctor } from "../src/run/doctor.ts";

/** A check that ends as told. */
function fake(name: string, run: KernelCheck["run"]): KernelCheck {
  return { name, entries: [], tolerance: 1e-5, cases: 3, run };
}

function ending(worst: number): KernelCheck["run"] {
  return () => Promise.resolve({ cases: 3, worst, where: "y, 7 rows" });
}

Deno.test("doctor() reports the adapter and the worst error of each kernel", async () => {
  const seen: string[] = [];
  const checks = kernelChecks.filter(({ name }) => name === "accumulate" || name === "clear");
  const report = await doctor({ checks, onKernel: ({ name }) => seen.push(name) });
  assertEquals(seen, ["accumulate", "clear"]);
  assert(report.ok);
  assert(report.adapter.length > 0);
  assert(report.limits.maxStorageBufferBindingSize! >= 2 ** 27);
  assertEquals(report.kernels[1], {
    name: "clear",
    cases: 5,
    worstRelativeError: 0,
    tolerance: 0,
    ok: true,
  });
  const text = renderDoctor(report);
  assertStringIncludes(text, report.adapter);
  assertStringIncludes(text, "All 2 kernels agree with their f64 references");
  assertStringIncludes(text, `weights   ${["f32", ...report.storedTypes].join(", ")}`);
  assertEquals(JSON.parse(JSON.stringify(report)), report);
});

Deno.test("doctor() goes on after a kernel that is wrong or does not compile", async () => {
  const report = await doctor({
    checks: [
      fake("fine", ending(1e-6)),
      fake("coarse", ending(1e-3)),
      fake("broken", ending(Infinity)),
      fake("uncompiled", (gpu) => {
        gpu.dispatch("add", "clear", {
          constants: { LINES: 1 },
          bindings: { y: { buffer: gpu.scratch(16, "y") } },
          params: { count: 4 },
          workgroups: [1],
        });
        return Promise.resolve({ cases: 3, worst: 0, where: "" });
      }),
      fake("fine again", ending(0)),
    ],
  });
  assert(!report.ok);
  assertEquals(report.kernels.map(({ ok }) => ok), [true, false, false, false, true]);
  assertEquals(report.kernels[2]!.worstRelativeError, null);
  assertEquals(report.kernels[2]!.problem, "y, 7 rows");
  assertStringIncludes(report.kernels[3]!.problem!, `Cannot compile kernel "add.clear"`);
  const text = renderDoctor(report);
  assertStringIncludes(text, "coarse          3       1.0e-3     1.0e-5  WRONG (y, 7 rows)");
  assertStringIncludes(
    text,
    "3 of 5 kernels are wrong on this machine: coarse, broken, uncompiled",
  );
});

Deno.test("doctor() warns of a type of weights that the adapter can't even compile", async () => {
  const { dispatch } = Gpu.prototype;
  Gpu.prototype.dispatch = function (name, entry, work) {
    const broken = work.stored === "f16" ? { ...work, constants: { NONE: 1 } } : work;
    return dispatch.call(this, name, entry, broken);
  };
  try {
    const checks = kernelChecks.filter(({ name }) => name === "clear");
    const report = await doctor({ checks });
    assertEquals([report.ok, report.storedTypes], [true, ["bf16"]]);
    assertStringIncludes(renderDoctor(report), "Warning: This driver gets weights of f16 wrong");
  } finally {
    Gpu.prototype.dispatch = dispatch;
  }
});

Deno.test("doctor() warns of a type of weights that the adapter gets wrong", async () => {
  const { read } = Gpu.prototype;
  let tried = 0;
  Gpu.prototype.read = async function (...requests) {
    const contents = await read.apply(this, requests);
    // Five matrices of 65,536 numbers: those of bf16 come first.
    if (contents.length === 5 && tried++ === 0) new Uint32Array(contents[0]!)[60_000]! ^= 1;
    return contents;
  };
  try {
    const report = await doctor({ checks: [] });
    assertEquals(report.storedTypes, ["f16"]);
    assertStringIncludes(renderDoctor(report), "Warning: This driver gets weights of bf16 wrong");
  } finally {
    Gpu.prototype.read = read;
  }
});
