/**
 * The GPU core: errors reach the caller as what they are, a repeated step makes nothing new, every
 * byte is counted, and shaders are read right.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Gpu, type GpuOptions } from "../src/gpu/device.ts";
import {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  OutOfMemoryError,
  ShaderCompileError,
} from "../src/gpu/errors.ts";
import { INT64, SUBGROUPS } from "../src/gpu/features.ts";
import { entryPoints, type KernelName, kernelSources } from "../src/gpu/kernels.ts";
import { sizeClass } from "../src/gpu/memory.ts";
import { reflect } from "../src/gpu/reflect.ts";
import { deviceClass, tunings } from "../src/gpu/tuning.ts";
import { linear } from "../src/ops/linear.ts";
import { MetricSums } from "../src/ops/metric_sums.ts";
import { nllLoss } from "../src/ops/policy_loss.ts";
import { lmHead } from "../src/ops/lm_head.ts";
import { elementwise } from "../src/ops/launch.ts";
import { rmsnorm } from "../src/ops/norm.ts";
import { AdamW } from "../src/optim/adamw.ts";
import { Tape } from "../src/tape.ts";
import { createParameters, Parameter, Tensor } from "../src/tensor.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

/** Runs `use` with another answer to `navigator.gpu.requestAdapter`. */
async function withAdapter(
  adapter: () => Promise<GPUAdapter | null>,
  use: () => Promise<void>,
): Promise<void> {
  Object.defineProperty(navigator.gpu, "requestAdapter", { value: adapter, configurable: true });
  try {
    await use();
  } finally {
    Reflect.deleteProperty(navigator.gpu, "requestAdapter");
  }
}

/** The real adapter, some of its properties replaced. */
async function changedAdapter(changes: Record<string, unknown>): Promise<GPUAdapter> {
  const adapter = (await navigator.gpu.requestAdapter())!;
  return new Proxy(adapter, {
    get(target, name) {
      if (typeof name === "string" && name in changes) return changes[name];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Opens a GPU and hands out the device underneath it. */
async function openWithDevice(options: GpuOptions = {}): Promise<[Gpu, GPUDevice]> {
  let device: GPUDevice | undefined;
  let opened: Gpu | undefined;
  const real = (await navigator.gpu.requestAdapter())!;
  const requestDevice = async (descriptor: GPUDeviceDescriptor) =>
    device = await real.requestDevice(descriptor);
  const adapter = await changedAdapter({ requestDevice });
  await withAdapter(() => Promise.resolve(adapter), async () => {
    opened = await Gpu.open(options);
  });
  return [opened!, device!];
}

/** A tensor of this step. */
function tensor(values: number[], shape = [values.length]): Tensor {
  return new Tensor(gpu.upload(Float32Array.from(values), "values"), shape, "f32", "values");
}

Deno.test("without an adapter the error says what to install", async () => {
  await withAdapter(() => Promise.resolve(null), async () => {
    const error = await assertRejects(() => Gpu.open(), GpuUnavailableError);
    assertStringIncludes(error.message, "apt-get install -y mesa-vulkan-drivers");
    assertStringIncludes(error.message, "NVIDIA");
  });
});

Deno.test("an adapter that lacks a limit is refused, and the error names it", async () => {
  const { limits } = (await navigator.gpu.requestAdapter())!;
  const low = new Proxy(limits, {
    get: (target, name) =>
      name === "maxComputeInvocationsPerWorkgroup" ? 128 : Reflect.get(target, name, target),
  });
  const adapter = await changedAdapter({ limits: low });
  await withAdapter(() => Promise.resolve(adapter), async () => {
    const error = await assertRejects(() => Gpu.open(), GpuUnavailableError);
    assertStringIncludes(error.message, "maxComputeInvocationsPerWorkgroup is 128");
    assertStringIncludes(error.message, "need 256");
  });
});

Deno.test("the device has the adapter's own limits, and says who it is", async () => {
  const adapter = (await navigator.gpu.requestAdapter())!;
  const [opened, device] = await openWithDevice();
  using _ = opened;
  for (const [name, value] of Object.entries(opened.info.limits)) {
    assertEquals(value, adapter.limits[name as "maxBufferSize"], name);
    assertEquals(value, device.limits[name as "maxBufferSize"], name);
  }
  assertEquals(opened.info.description, adapter.info.description);
  const granted = new Set<string>(device.features);
  assert(opened.info.features.every((feature) => granted.has(feature)));
});

Deno.test("an adapter's class follows from what it grants", () => {
  const features = [SUBGROUPS, INT64];
  const traits = { software: true, subgroupSize: 8, features };
  assertEquals(deviceClass(traits), "simd");
  assertEquals(deviceClass({ ...traits, features: [SUBGROUPS] }), "simd32");
  assertEquals(deviceClass({ ...traits, features: [INT64] }), "software");
  assertEquals(deviceClass({ ...traits, subgroupSize: 4 }), "software");
  assertEquals(deviceClass({ ...traits, software: false }), "gpu");
});

Deno.test("a tuning that kernels can't work with is refused", async () => {
  for (const change of [{ lanes: 48 }, { wide: 96 }, { rowLanes: 3 }, { fewRows: 200 }]) {
    const [name] = Object.keys(change);
    const refused = () => Gpu.open({ tuning: { ...tunings.gpu, ...change } });
    const { message } = await assertRejects(refused, RangeError, "Cannot use this tuning");
    assertStringIncludes(message, `${name} is ${Object.values(change)[0]}`);
  }
});

Deno.test("where 64-bit integers are refused, kernels read 32 bits, and those that read 64 are refused", async () => {
  const real = (await navigator.gpu.requestAdapter())!;
  const requestDevice = (descriptor: GPUDeviceDescriptor) =>
    [...descriptor.requiredFeatures ?? []].includes(INT64)
      ? Promise.reject(new TypeError("no such feature"))
      : real.requestDevice(descriptor);
  const adapter = await changedAdapter({ requestDevice });
  await withAdapter(() => Promise.resolve(adapter), async () => {
    const error = await assertRejects(
      () => Gpu.open({ tuning: tunings.simd }),
      GpuUnavailableError,
    );
    assertStringIncludes(error.message, "64-bit integers");
    assertStringIncludes(error.message, "bench tune");
    using opened = await Gpu.open();
    assert(!opened.info.features.includes(INT64));
    assertEquals(opened.tuning.readBits, 32);
  });
});

Deno.test("a shader that does not compile names label, reason and numbered source", async () => {
  // Attention without the head dimension that its prelude must define.
  const inputs = { q: tensor([1]), k: tensor([1]), v: tensor([1]), y: tensor([1]) };
  gpu.dispatch("attention", "forward", {
    bindings: { ...inputs, segment_start: tensor([1]), row_sums: tensor([1]) },
    params: { tokens: 1, heads: 1, kv_heads: 1, scale: 1 },
    workgroups: [1],
  });
  const error = await assertRejects(() => gpu.settle(), ShaderCompileError);
  assertStringIncludes(error.message, `Cannot compile kernel "attention.forward"`);
  assertStringIncludes(error.message, "HEAD_DIM");
  assert(/^ *\d+ \/\/ Causal attention over packed sequences/m.test(error.message));
  await gpu.settle(); // reported once
});

Deno.test("an unknown override is a compile error too", async () => {
  gpu.dispatch("add", "clear", {
    constants: { LINES: 8 },
    bindings: { y: tensor([1, 2, 3, 4]) },
    params: { count: 4 },
    workgroups: [1],
  });
  const error = await assertRejects(() => gpu.settle(), ShaderCompileError);
  assertStringIncludes(error.message, "LINES");
});

Deno.test("a command that the device rejects raises at settle(), at read() and at submit()", async () => {
  // One buffer bound for reading and for writing: an aliasing that WebGPU forbids.
  const reject = () => {
    const x = tensor([1, 2, 3, 4]);
    gpu.dispatch("add", "accumulate", {
      constants: { LANES: 256 },
      bindings: { a: x, y: x },
      params: { count: 4, beta: 1 },
      workgroups: [1],
    });
    return x;
  };
  reject();
  const error = await assertRejects(() => gpu.settle(), GpuValidationError);
  assertStringIncludes(error.message, "The GPU rejected a command");

  const x = reject();
  await assertRejects(() => gpu.read(x), GpuValidationError);

  reject();
  gpu.submit();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertThrows(() => gpu.submit(), GpuValidationError);
  await gpu.settle();
});

Deno.test("after an error the next step works", async () => {
  const tape = new Tape(gpu, { recording: false });
  const matrix = (values: number[], shape: number[]) =>
    tape.upload(Float32Array.from(values), "x", shape);
  const identity = matrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [4, 4]);
  const y = linear(tape, matrix([1, 2, 3, 4], [1, 4]), identity, {
    residual: matrix([10, 20, 30, 40], [1, 4]),
  });
  const [content] = await gpu.read(y);
  assertEquals([...new Float32Array(content!)], [11, 22, 33, 44]);
  gpu.endStep();
});

Deno.test("bindings, params and entry points that do not fit the shader are named", () => {
  const y = tensor([1, 2, 3, 4]);
  const clear = (bindings: Record<string, Tensor>, params: Record<string, number>) => () =>
    gpu.dispatch("add", "clear", {
      constants: { LANES: 256 },
      bindings,
      params,
      workgroups: [1],
    });
  const message = (run: () => void) => assertThrows(run, TypeError).message;
  assertEquals(
    message(clear({}, { count: 4 })),
    `Cannot dispatch "add.clear": binding "y" is missing`,
  );
  assertEquals(
    message(clear({ y, x: y }, { count: 4 })),
    `Cannot dispatch "add.clear": unknown bindings x`,
  );
  assertEquals(message(clear({ y }, {})), `Cannot dispatch "add.clear": param "count" is missing`);
  assertEquals(
    message(clear({ y }, { count: 4, beta: 1 })),
    `Cannot dispatch "add.clear": unknown params beta`,
  );
  assertEquals(
    message(() => gpu.dispatch("add", "backward", { bindings: {}, workgroups: [1] })),
    `Cannot compile kernel "add": no entry point "backward" in accumulate, clear, sum, bias`,
  );
  gpu.discard();
});

Deno.test("discard() drops the recorded work", async () => {
  const buffer = gpu.allocate(16, "other", "kept");
  gpu.write(buffer, Float32Array.of(1, 2, 3, 4));
  gpu.dispatch("add", "clear", {
    constants: { LANES: 256 },
    bindings: { y: { buffer } },
    params: { count: 4 },
    workgroups: [1],
  });
  gpu.discard();
  const [content] = await gpu.read({ buffer, bytes: 16 });
  assertEquals([...new Float32Array(content!)], [1, 2, 3, 4]);
  gpu.free([buffer]);
});

Deno.test("an allocation beyond the budget prints who holds what", async () => {
  using small = await Gpu.open({ memoryBudget: 8 * 2 ** 20 });
  small.allocate(3 * 2 ** 20, "weights", "table");
  const error = assertThrows(
    () => small.allocate(6 * 2 ** 20, "kv cache", "keys"),
    OutOfMemoryError,
  );
  assertStringIncludes(error.message, `Cannot allocate 6.0 MiB for "keys" (kv cache)`);
  assertStringIncludes(error.message, "the budget is 8.0 MiB");
  assert(/weights +3\.0 MiB/.test(error.message));
  assert(/total +5\.0 MiB/.test(error.message)); // with 2 MiB of dispatch params
  const before = small.memory();
  assertEquals(before.byOwner["kv cache"], undefined);
});

Deno.test("an allocation beyond the device's largest buffer is refused before it is made", () => {
  const largest = gpu.info.limits.maxBufferSize!;
  const error = assertThrows(
    () => gpu.allocate(largest + 4, "weights", "giant"),
    OutOfMemoryError,
  );
  assertStringIncludes(error.message, "the device's largest buffer");
});

Deno.test("memory that the driver runs out of is an OutOfMemoryError", async () => {
  const [opened, device] = await openWithDevice();
  using _ = opened;
  const error = new GPUOutOfMemoryError("Not enough memory left");
  device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  const raised = await assertRejects(() => opened.settle(), OutOfMemoryError);
  assertStringIncludes(raised.message, "Not enough memory left");
  assert(/staging +2\.0 MiB/.test(raised.message));
});

Deno.test("a device that goes away is a DeviceLostError, for good", async () => {
  const [opened, device] = await openWithDevice();
  using _ = opened;
  const buffer = opened.allocate(16, "other", "x");
  await opened.read({ buffer, bytes: 16 });
  device.destroy();
  const error = await assertRejects(() => opened.read({ buffer, bytes: 16 }), DeviceLostError);
  assertStringIncludes(error.message, "resume from the last checkpoint");
  await assertRejects(() => opened.settle(), DeviceLostError);
});

Deno.test("a device that goes away before anything was read is a DeviceLostError, too", async () => {
  const [opened, device] = await openWithDevice();
  using _ = opened;
  const buffer = opened.allocate(16, "other", "x");
  device.destroy();
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => opened.read({ buffer, bytes: 16 }), DeviceLostError);
  }
});

Deno.test("closing a GPU is no loss, and may be done twice", async () => {
  const opened = await Gpu.open();
  opened.close();
  opened.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
});

Deno.test("every byte is counted, from creation to destruction", () => {
  const before = gpu.memory();
  const buffers = [
    gpu.allocate(1000, "weights", "a"),
    gpu.allocate(6, "weights", "b"),
    gpu.allocate(0, "optimizer", "c"),
  ];
  const during = gpu.memory();
  // Whole words, and never an empty buffer.
  assertEquals(during.liveBytes - before.liveBytes, 1000 + 16 + 16);
  assertEquals(during.byOwner.weights! - (before.byOwner.weights ?? 0), 1016);
  assertEquals(during.buffers - before.buffers, 3);
  assert(during.peakBytes >= during.liveBytes);
  gpu.free(buffers);
  gpu.free(buffers);
  const after = gpu.memory();
  assertEquals(after.liveBytes, before.liveBytes);
  assertEquals(after.buffers, before.buffers);
  assertEquals(after.created, before.created + 3);
  assert(after.peakBytes >= during.liveBytes);
});

Deno.test("size classes hold what they are asked for and waste at most a quarter", () => {
  for (let bytes = 4; bytes < 100_000; bytes += 52) {
    const size = sizeClass(bytes);
    assert(size >= bytes && size % 64 === 0, `${bytes}`);
    if (bytes > 256) assert(size <= bytes * 1.25, `${bytes}`);
    assertEquals(sizeClass(size), size);
  }
});

Deno.test("an identical step creates no buffer and no bind group and is one submit", async () => {
  const random = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i + n));
  const parameters = new Map([
    ["norm", new Parameter(gpu, [16], "norm", random(16))],
    ["table", new Parameter(gpu, [200, 16], "table", random(3200))],
  ]);
  using optimizer = new AdamW(gpu, parameters, {
    betas: [0.9, 0.95],
    epsilon: 1e-8,
    weightDecay: 0.1,
    gradClip: 1,
  });
  using sums = new MetricSums(gpu);
  const step = (tokens: number) => {
    const tape = new Tape(gpu);
    const x = tape.upload(random(tokens * 16), "x", [tokens, 16]);
    const hidden = rmsnorm(tape, x, parameters.get("norm")!, 1e-5);
    const table = parameters.get("table")!;
    const logits = linear(tape, hidden, table);
    const down = tape.upload(random(3200), "w", [16, 200]);
    const twice = linear(tape, logits, down, { residual: hidden });
    const targets = tape.upload(new Uint32Array(tokens).fill(7), "targets");
    const statistics = lmHead(tape, twice, table, targets, { chunk: 64 });
    const weight = tape.upload(new Float32Array(tokens).fill(1 / tokens), "weight");
    sums.begin();
    nllLoss(tape, statistics, weight, sums);
    tape.backward();
    optimizer.step(1e-3);
    gpu.endStep();
  };
  step(30);
  step(30);
  const [memory, stats] = [gpu.memory(), gpu.stats()];
  for (let i = 0; i < 5; i++) step(30);
  assertEquals(gpu.memory(), memory);
  assertEquals(gpu.stats().bindGroups, stats.bindGroups);
  assertEquals(gpu.stats().submits, stats.submits + 5);

  // A little less work fits the same buffers.
  step(29);
  assertEquals(gpu.memory().created, memory.created);
  const [content] = await gpu.read(...sums.tensors);
  const [loss] = new Float32Array(content!);
  assert(Number.isFinite(loss) && loss! > 0);
  for (const parameter of parameters.values()) gpu.free(parameter.buffers());
});

Deno.test("captured dispatches can be recorded again, past a submit that splits them", async () => {
  const y = { buffer: gpu.allocate(16, "other", "y") };
  const work = (value: number, beta: number) =>
    elementwise(gpu, "add", "accumulate", 1, {
      a: { buffer: gpu.upload(new Float32Array(4).fill(value), "a") },
      y,
    }, { count: 4, beta });
  work(5, 0);
  const { result, again } = gpu.capture(() => {
    work(1, 1);
    work(2, 1);
    return "kept";
  });
  work(100, 1); // is not captured
  const { submits, bindGroups } = gpu.stats();
  for (let i = 0; i < 5000; i++) again();
  const [content] = await gpu.read({ ...y, bytes: 16 });
  assertEquals([result, new Float32Array(content!)[0]], ["kept", 5 + 100 + 3 * 5001]);
  assertEquals(gpu.stats().bindGroups, bindGroups);
  assertEquals(gpu.stats().submits, submits + 2, "one for lack of room, one to read");

  assertThrows(() => gpu.capture(() => gpu.capture(() => {})), TypeError, "another capture");
  work(0, 1);
  gpu.endStep();
  gpu.free([y.buffer]);
});

Deno.test("several reads may be in flight, each with its own content", async () => {
  const buffers = [1, 2, 3].map((value) => {
    const buffer = gpu.allocate(16, "other", `${value}`);
    gpu.write(buffer, new Float32Array(4).fill(value));
    return buffer;
  });
  const results = await Promise.all(buffers.map((buffer) => gpu.read({ buffer, bytes: 12 })));
  assertEquals(
    results.map(([content]) => [...new Float32Array(content!)]),
    [[1, 1, 1], [2, 2, 2], [3, 3, 3]],
  );
  const [two, nothing] = await gpu.read({ buffer: buffers[1]!, bytes: 4 }, {
    buffer: buffers[0]!,
    bytes: 0,
  });
  assertEquals([two!.byteLength, nothing!.byteLength], [4, 0]);
  gpu.free(buffers);
});

/** As the specification has it: a range can't be had before its mapping was awaited. */
function rangesOnlyWhenMapped(): Disposable {
  const { mapAsync, getMappedRange } = GPUBuffer.prototype;
  const pending = new Set<GPUBuffer>();
  GPUBuffer.prototype.mapAsync = async function (...args) {
    pending.add(this);
    await mapAsync.apply(this, args);
    pending.delete(this);
  };
  GPUBuffer.prototype.getMappedRange = function (...args) {
    if (pending.has(this)) throw new DOMException("not mapped", "OperationError");
    return getMappedRange.apply(this, args);
  };
  return {
    [Symbol.dispose]() {
      Object.assign(GPUBuffer.prototype, { mapAsync, getMappedRange });
    },
  };
}

for (const atOnce of [true, false]) {
  const when = atOnce ? "at once" : "when its promise says so";
  Deno.test(`a read-back brings what its submit left, mapped ${when}`, async () => {
    using _runtime = atOnce ? null : rangesOnlyWhenMapped();
    using own = await Gpu.open({ tuning: gpu.tuning });
    const buffer = own.allocate(4, "other", "number");
    const readBack = (value: number) => {
      own.write(buffer, Float32Array.of(value));
      return own.readBack({ buffer, bytes: 4 });
    };
    const number = ([bytes]: ArrayBuffer[]) => new Float32Array(bytes!)[0];
    const [one, , three] = [readBack(1), readBack(2), readBack(3)]; // nobody takes the second
    assertEquals([number(await three!.take()), number(await one!.take())], [3, 1]);
    assertEquals(number(await one!.take()), 1, "again");
    const { created } = own.memory();
    for (let i = 4; i < 8; i++) assertEquals(number(await readBack(i).take()), i);
    assertEquals(own.memory().created, created, "staging buffers are used again");
  });
}

Deno.test("a read whose copy the device rejects brings nothing older, but the device's error", async () => {
  using own = await Gpu.open({ tuning: gpu.tuning });
  const buffer = own.allocate(4, "other", "number");
  for (let i = 0; i < 3; i++) await own.read({ buffer, bytes: 4 });
  const gone = own.allocate(4, "other", "gone");
  gone.destroy();
  await assertRejects(() => own.read({ buffer: gone, bytes: 4 }), GpuValidationError, "gone");
  assertEquals((await own.read({ buffer, bytes: 4 })).length, 1);
});

Deno.test("reading lets timers, and whoever else waits for an event, have their turn", async () => {
  const buffer = gpu.allocate(4, "other", "number");
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const end = performance.now() + 200;
  while (performance.now() < end) await gpu.read({ buffer, bytes: 4 });
  clearInterval(timer);
  assert(ticks > 10, `${ticks}`);
  gpu.free([buffer]);
});

Deno.test("nobody reads or writes beyond a range: others have what is behind it", async () => {
  const shapes = new Map([["a", [16, 4]], ["b", [16, 4]]]);
  const a = createParameters(gpu, shapes).get("a")!;
  const { buffer, range } = a;
  assertThrows(() => gpu.write(a, new Float32Array(65)), RangeError, "260 bytes");
  assertThrows(() => gpu.write(a, new Float32Array(60), 20), RangeError, "of 256");
  assertThrows(() => gpu.readBack({ buffer, range: range!, bytes: 260 }), RangeError, "read 260");
  gpu.free(a.buffers());
  await gpu.settle();
});

Deno.test("the content of a read-back is there before the promise of its mapping", async () => {
  const { mapAsync } = GPUBuffer.prototype;
  let open = 0;
  GPUBuffer.prototype.mapAsync = async function (...args) {
    open++;
    await mapAsync.apply(this, args);
    open--;
  };
  try {
    const buffer = gpu.allocate(4, "other", "number");
    for (let i = 0; i < 3; i++) await gpu.read({ buffer, bytes: 4 });
    assertEquals(open > 0, "Deno" in globalThis, "a promise of Deno's takes 10 ms more");
    gpu.free([buffer]);
  } finally {
    GPUBuffer.prototype.mapAsync = mapAsync;
  }
});

Deno.test("bytes that are no whole number of words are written and read", async () => {
  const buffer = gpu.allocate(8, "other", "odd");
  gpu.write(buffer, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
  const [content] = await gpu.read({ buffer, bytes: 7 });
  assertEquals([...new Uint8Array(content!)], [1, 2, 3, 4, 5, 6, 7]);
  gpu.free([buffer]);
});

Deno.test("a step of more dispatches than one submit holds is split", async () => {
  const buffer = gpu.allocate(16, "other", "counter");
  const y = { buffer };
  const one = tensor([1, 1, 1, 1]);
  const { submits } = gpu.stats();
  const rounds = 9000;
  for (let i = 0; i < rounds; i++) {
    gpu.dispatch("add", "accumulate", {
      constants: { LANES: 256 },
      bindings: { a: one, y },
      params: { count: 4, beta: 1 },
      workgroups: [1],
    });
  }
  const [content] = await gpu.read({ buffer, bytes: 16 });
  assertEquals([...new Float32Array(content!)], [rounds, rounds, rounds, rounds]);
  assertEquals(gpu.stats().submits, submits + 2);
  gpu.free([buffer]);
});

Deno.test("reflect() finds bindings and params, also those used in helper functions only", () => {
  const entries = reflect(`
    struct Params { count: u32, scale: f32, } // comment, with: colons
    struct Other { beta: f32 }
    @group(0) @binding(0) var<storage, read> x: array<vec4f>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @group(0) @binding(1) var<storage,read> unused: array<f32>;
    @group(1) @binding(0) var<uniform> params: Params;
    @group(1) @binding(0) var<uniform> other: Other;
    var<workgroup> scratch: array<f32, 8>;
    fn inner(i: u32) -> f32 { return x[i].x * params.scale; }
    fn outer(i: u32) -> f32 { if (i > 1u) { return inner(i); } return scratch[0]; }
    @compute @workgroup_size(8)
    fn first(@builtin(workgroup_id) id: vec3u) { /* y unused */ y[id.x] = outer(id.x); }
    @compute @workgroup_size(8) fn second() { y[0] = other.beta; }
  `);
  assertEquals([...entries.keys()], ["first", "second"]);
  assertEquals(entries.get("first"), {
    name: "first",
    storage: [
      { name: "x", binding: 0, access: "read" },
      { name: "y", binding: 1, access: "read_write" },
    ],
    params: [{ name: "count", type: "u32" }, { name: "scale", type: "f32" }],
  });
  assertEquals(entries.get("second"), {
    name: "second",
    storage: [{ name: "y", binding: 1, access: "read_write" }],
    params: [{ name: "beta", type: "f32" }],
  });
});

Deno.test("reflect() refuses params that are not four bytes", () => {
  const wgsl = `struct Params { size: vec2u }
    @group(1) @binding(0) var<uniform> params: Params;
    @compute @workgroup_size(1) fn main() { let x = params.size; }`;
  const error = assertThrows(() => reflect(wgsl), SyntaxError);
  assertStringIncludes(error.message, `member "size" is vec2u`);
});

Deno.test("every kernel fits the limits that Gpu.open() requires", () => {
  for (const name of Object.keys(kernelSources) as KernelName[]) {
    for (const { name: entry, storage, params } of entryPoints(name).values()) {
      const bindings = storage.map(({ binding }) => binding);
      assertEquals(new Set(bindings).size, bindings.length, `${name}.${entry}: a binding twice`);
      assert(storage.length <= 8, `${name}.${entry} has ${storage.length} storage buffers`);
      assert(params.length <= 64, `${name}.${entry}`);
    }
  }
});
