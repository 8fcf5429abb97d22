// The committed base model: still what its gate says it is.

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { Gpu } from "../mod.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { evaluateStudent } from "../src/run/evaluate.ts";
import { judge } from "../src/run/pretrain.ts";
import { loadStudent } from "../src/run/student.ts";

const folder = fromFileUrl(new URL("../assets/base-nano", import.meta.url));

Deno.test("the base writes valid calls, rarely succeeds, and is wrong by default", async () => {
  const gate = JSON.parse(await Deno.readTextFile(`${folder}/gate.json`));
  assertEquals(gate.passed, true);
  assert(gate.validity > 0.9 && gate.pass1 > 0.005 && gate.pass1 < 0.3);

  using gpu = await Gpu.open();
  using student = await loadStudent(gpu, folder);
  const config = resolveConfig({
    flags: { evaluation: { prompts: 6, samples: 2 }, rollout: { slots: 64 } },
  });
  const measured = judge(await evaluateStudent(student, config, {}));
  // Sixty episodes on the domains trained on: wide bounds around the gate's 0.997, 0.119 and 0.
  assert(measured.validity > 0.9, String(measured.validity));
  assert(measured.pass1 < 0.35, String(measured.pass1));
  assert(measured.greedy < 0.15, String(measured.greedy));
});

Deno.test("the base is small enough to commit", async () => {
  let bytes = 0;
  for await (const { name } of Deno.readDir(folder)) {
    bytes += (await Deno.stat(`${folder}/${name}`)).size;
  }
  assert(bytes < 1_000_000, String(bytes));
});
