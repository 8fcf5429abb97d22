/** Timestamps of the GPU: what is in a profile, and that taking one changes nothing. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { Decoder } from "../src/model/decoder.ts";
import { elementwise } from "../src/ops/launch.ts";
import { packed, tiny, Trainer, weightBytes } from "./models.ts";

const batch = packed(Array.from({ length: 20 }, (_, t) => (t * t) % 52), [20]);

/** Three training steps on `gpu`; the bytes of the weights they end with. */
async function train(gpu: Gpu): Promise<unknown> {
  using model = Decoder.create(gpu, tiny);
  using trainer = new Trainer(model);
  for (let step = 0; step < 3; step++) await trainer.step([batch], 1e-3);
  return await weightBytes(model);
}

Deno.test("a profile of kernels has a span for every dispatch, in order, and none twice", async () => {
  using gpu = await Gpu.open({ profile: "kernels" });
  const from = performance.now();
  await train(gpu);
  const spans = await gpu.profile();
  const to = performance.now();
  assertEquals(spans.length, gpu.stats().dispatches);
  assert(spans.some(({ name }) => name === "adamw.step"));
  spans.forEach(({ start, end }, i) => {
    assert(from <= start && start <= end && end <= to, `span ${i}: ${start} to ${end}`);
    assert(i === 0 || spans[i - 1]!.start <= start);
  });
  assertEquals(await gpu.profile(), []);
});

Deno.test("a profile of submits has a span for every submit with work", async () => {
  using gpu = await Gpu.open({ profile: "submits" });
  await train(gpu);
  const spans = await gpu.profile();
  assertEquals(new Set(spans.map(({ name }) => name)), new Set(["submit"]));
  assertEquals(spans.length, 3);
});

Deno.test("a step too large for one set of timestamps is split, and leaves no memory behind", async () => {
  using gpu = await Gpu.open({ profile: "kernels" });
  using model = Decoder.create(gpu, tiny);
  await model.logits(Uint32Array.of(1, 2, 3));
  await gpu.profile();
  const [{ dispatches: before }, { liveBytes }] = [gpu.stats(), gpu.memory()];
  const readings = Array.from({ length: 100 }, () => model.logits(Uint32Array.of(1, 2, 3)));
  await Promise.all(readings);
  assertEquals((await gpu.profile()).length, gpu.stats().dispatches - before);
  assert(gpu.memory().byOwner.staging! > 0);
  assert(gpu.memory().liveBytes - liveBytes < 100_000);
});

Deno.test("profiling changes no bit of what is computed", async () => {
  using plain = await Gpu.open();
  using profiled = await Gpu.open({ profile: "kernels" });
  assertEquals(await train(profiled), await train(plain));
});

Deno.test("a profile leaves out what was discarded, and may be asked for twice at once", async () => {
  using gpu = await Gpu.open({ profile: "kernels" });
  const y = { buffer: gpu.allocate(16, "other", "y") };
  const clear = () => elementwise(gpu, "add", "clear", 1, { y }, { count: 4 });
  clear();
  gpu.submit();
  clear();
  gpu.discard();
  clear();
  clear();
  const both = await Promise.all([gpu.profile(), gpu.profile()]);
  assertEquals(both.map((spans) => spans.length), [3, 0]);
});

Deno.test("a profile must be asked for when the device is opened", async () => {
  using gpu = await Gpu.open();
  await assertRejects(() => gpu.profile(), TypeError, "Cannot profile");
});

Deno.test("dispatches that are recorded again have spans, too, past a full set of timestamps", async () => {
  using gpu = await Gpu.open({ profile: "kernels" });
  const y = { buffer: gpu.allocate(16, "other", "y") };
  const a = { buffer: gpu.upload(new Float32Array(4).fill(1), "a") };
  const { again } = gpu.capture(() =>
    elementwise(gpu, "add", "accumulate", 1, { a, y }, { count: 4, beta: 1 })
  );
  for (let i = 0; i < 2500; i++) again();
  const [content] = await gpu.read({ ...y, bytes: 16 });
  assertEquals(new Float32Array(content!)[0], 2501);
  const spans = await gpu.profile();
  assertEquals(spans.length, 2501);
  assertEquals(new Set(spans.map(({ name }) => name)), new Set(["add.accumulate"]));
});
