// Weights that are read piece by piece: safetensors by their header, shards by their index, and
// the folders they lie in.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import fc from "fast-check";
import { disk } from "../src/io/disk.ts";
import { fileSource } from "../src/io/file_source.ts";
import { useFolder } from "../src/io/folder.ts";
import { findModel } from "../src/io/model_files.ts";
import {
  CheckpointError,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  openSafetensors,
  type StoredTensor,
  toFloat32,
} from "../src/io/safetensors.ts";
import { openShards } from "../src/io/shards.ts";
import { type ByteSource, bytesSource } from "../src/io/source.ts";

useFolder(disk);

const text = new TextEncoder();

function f32(...values: number[]): StoredTensor {
  return {
    dtype: "F32",
    shape: [values.length],
    data: fromFloat32(Float32Array.from(values), "F32"),
  };
}

function sample(): Uint8Array<ArrayBuffer> {
  const half = Float32Array.of(1, -2, 0.5);
  return encodeSafetensors(
    new Map<string, StoredTensor>([
      ["odd.bf16", { dtype: "BF16", shape: [3], data: fromFloat32(half, "BF16") }],
      ["weight", f32(1, 2, 3, 4, 5, 6)],
      ["empty", { dtype: "F32", shape: [0, 4], data: new Uint8Array(0) }],
      ["scalar", { dtype: "F16", shape: [], data: fromFloat32(Float32Array.of(7), "F16") }],
    ]),
    { format: "pt" },
  );
}

/** A safetensors file with any header at all. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const json = text.encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** Bytes as a source that tells what was read of it, and whether it was closed. */
function watched(bytes: Uint8Array<ArrayBuffer>, label = "model.safetensors") {
  const reads: [offset: number, length: number][] = [];
  const state = { reads, closed: 0 };
  const source: ByteSource = {
    label,
    size: bytes.length,
    read(offset, length) {
      assert(offset + length <= bytes.length, "read past the end");
      reads.push([offset, length]);
      return Promise.resolve(bytes.slice(offset, offset + length));
    },
    [Symbol.dispose]: () => void state.closed++,
  };
  return { source, state };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function write(
  folder: string,
  files: Record<string, string | Uint8Array>,
): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeFile(
      join(folder, name),
      typeof content === "string" ? text.encode(content) : content,
    );
  }
}

Deno.test("an opened safetensors file gives the tensors of a decoded one", async () => {
  const bytes = sample();
  using opened = await openSafetensors(bytesSource(bytes, "model.safetensors"));
  const { tensors } = decodeSafetensors(bytes);
  assertEquals([...opened.entries.keys()], [...tensors.keys()]);
  for (const [name, { dtype, shape, data }] of tensors) {
    const { dtype: listedDtype, shape: listedShape } = opened.entries.get(name)!;
    assertEquals([listedDtype, listedShape], [dtype, shape]);
    const read = await opened.read(name);
    assertEquals([read.dtype, read.shape, [...read.data]], [dtype, shape, [...data]]);
  }
  await assertRejects(() => opened.read("no"), CheckpointError, 'has no tensor "no"');
});

Deno.test("opening reads the header alone, reading one tensor reads its bytes alone", async () => {
  const bytes = sample();
  const header = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const { source, state } = watched(bytes);
  {
    using opened = await openSafetensors(source);
    assertEquals(state.reads, [[0, 8], [8, header]]);
    const { data } = await opened.read("scalar");
    assertEquals(state.reads.at(-1)![1], data.length);
    assertEquals(state.reads.length, 3);
  }
  assertEquals(state.closed, 1);
  const broken = watched(bytes.slice(0, -1));
  await assertRejects(() => openSafetensors(broken.source), CheckpointError, "(1 missing)");
  assertEquals(broken.state.closed, 1);
});

Deno.test("a tensor of a dtype not supported is an error when it is read", async () => {
  const bytes = file({
    ids: { dtype: "I64", shape: [1], data_offsets: [4, 12] },
    w: { dtype: "F32", shape: [1], data_offsets: [0, 4] },
  }, new Uint8Array(fromFloat32(Float32Array.of(3, 0, 0), "F32")));
  using opened = await openSafetensors(bytesSource(bytes, "a.safetensors"));
  assertEquals(opened.entries.get("ids")!.dtype, "I64");
  assertEquals([...toFloat32(await opened.read("w"))], [3]);
  await assertRejects(
    () => opened.read("ids"),
    CheckpointError,
    'Cannot read a.safetensors: tensor "ids" has dtype "I64"; supported are F32, F16, BF16',
  );
});

Deno.test("whatever is done to a safetensors file, it is read or is a CheckpointError", async () => {
  const bytes = sample();
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)));
  const data = bytes.slice(8 + headerBytes);

  const cut = fc.nat(bytes.length).map((length) => bytes.slice(0, length));
  const flipped = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 4,
  }).map((flips) => {
    const damaged = bytes.slice();
    for (const [at, mask] of flips) damaged[at]! ^= mask;
    return damaged;
  });
  const number = fc.oneof(
    fc.integer({ min: -2, max: 40 }),
    fc.constantFrom(2 ** 31, 2 ** 53, -0, 1e308, 0.5),
  );
  const value = fc.oneof(
    fc.array(number, { maxLength: 3 }),
    number,
    fc.string(),
    fc.constant(null),
  );
  const edited = fc.tuple(
    fc.constantFrom(...Object.keys(header), "__proto__", "new"),
    fc.constantFrom("dtype", "shape", "data_offsets"),
    fc.oneof(value, fc.constantFrom("F32", "I8", "F16", "toString")),
  ).map(([name, field, value]) =>
    file({ ...header, [name]: { ...header[name], [field]: value } }, data)
  );
  const written = fc.json({ maxDepth: 3 }).map((json) => file(json, data));

  await fc.assert(
    fc.asyncProperty(fc.oneof(cut, flipped, edited, written), async (damaged) => {
      const { source, state } = watched(damaged);
      try {
        using opened = await openSafetensors(source);
        assert(state.reads.length === 2, "opening reads the length and the header");
        for (const [name, { shape }] of opened.entries) {
          const tensor = await opened.read(name);
          const elements = shape.reduce((product, size) => product * size, 1);
          assertEquals(tensor.data.length, elements * (tensor.dtype === "F32" ? 4 : 2));
        }
      } catch (error) {
        assert(error instanceof CheckpointError, `${(error as Error).stack}`);
      }
      assertEquals(state.closed, 1);
    }),
    { numRuns: 1500, seed: 7 },
  );
});

Deno.test("a file is read in pieces, also by readers that overlap", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "file");
    await Deno.writeFile(path, Uint8Array.from({ length: 5000 }, (_, i) => i % 251));
    using source = await fileSource(path);
    assertEquals([source.label, source.size], [path, 5000]);
    const offsets = Array.from({ length: 40 }, (_, i) => (i * 977) % 4900);
    const pieces = await Promise.all(offsets.map((offset) => source.read(offset, 100)));
    offsets.forEach((offset, i) => {
      assertEquals([...pieces[i]!], Array.from({ length: 100 }, (_, j) => (offset + j) % 251));
    });
    assertEquals((await source.read(5000, 0)).length, 0);
    const wrong = [[4990, 11], [-1, 2], [NaN, 1]] as const;
    for (const [offset, length] of wrong) {
      await assertRejects(() => source.read(offset, length), CheckpointError, "of 5000 were asked");
    }
    await Deno.truncate(path, 1000);
    await assertRejects(() => source.read(900, 200), CheckpointError, "ends at byte 1000, it had");
    assertEquals((await source.read(0, 1))[0], 0);
  });
});

Deno.test("a file that isn't there, or is none, is named", async () => {
  await inFolder(async (folder) => {
    await assertRejects(() => fileSource(join(folder, "no")), CheckpointError, "No such file");
    await assertRejects(() => fileSource(folder), CheckpointError, "it is a folder");
  });
});

const shards: Record<string, Uint8Array<ArrayBuffer>> = {
  "a.safetensors": encodeSafetensors(new Map([["x", f32(1)], ["y", f32(2, 3)]])),
  "b.safetensors": encodeSafetensors(new Map([["z", f32(4)]])),
  "y.safetensors": encodeSafetensors(new Map([["y", f32(5)]])),
  "cut.safetensors": encodeSafetensors(new Map([["w", f32(6)]])).slice(0, -1),
};

function index(map: unknown): Uint8Array {
  return text.encode(JSON.stringify({ metadata: { total_size: 16 }, weight_map: map }));
}

/** Opens an index over `shards`, and tells how many of them stay open. */
async function openIndex(map: unknown) {
  let open = 0;
  const source = await openShards(index(map), (name) => {
    const bytes = shards[name];
    if (!bytes) return Promise.reject(new CheckpointError(`Cannot read "${name}": not there`));
    open++;
    const { source } = watched(bytes, name);
    return Promise.resolve({ ...source, [Symbol.dispose]: () => void open-- });
  }).catch((error) => {
    assertEquals(open, 0);
    throw error;
  });
  return { source, open: () => open };
}

Deno.test("shards are one source of tensors", async () => {
  const { source, open } = await openIndex({
    x: "a.safetensors",
    y: "a.safetensors",
    z: "b.safetensors",
  });
  assertEquals([...source.entries.keys()], ["x", "y", "z"]);
  assertEquals([...toFloat32(await source.read("y"))], [2, 3]);
  assertEquals([...toFloat32(await source.read("z"))], [4]);
  await assertRejects(() => source.read("w"), CheckpointError, 'has no tensor "w"');
  source[Symbol.dispose]();
  assertEquals(open(), 0);
});

Deno.test("all that is wrong with shards is listed at once", async () => {
  const error = await assertRejects(
    () =>
      openIndex({
        x: "b.safetensors",
        y: "y.safetensors",
        q: "a.safetensors",
        v: "gone.safetensors",
        w: "cut.safetensors",
      }),
    CheckpointError,
  );
  for (
    const fault of [
      'gone.safetensors: Cannot read "gone.safetensors": not there',
      "cut.safetensors: Cannot read cut.safetensors: tensor",
      'tensor "y" is in both y.safetensors and a.safetensors',
      'tensor "x" is not in b.safetensors',
      'tensor "q" is not in a.safetensors',
    ]
  ) assert(error.message.includes(fault), error.message);
});

Deno.test("an index that isn't one, or points outside of its folder, is refused", async () => {
  for (const name of ["../a.safetensors", "/etc/passwd", "a\\b", "..", "", "x/y", 3, null]) {
    await assertRejects(
      () => openIndex({ x: name }),
      CheckpointError,
      `tensor "x" is in ${JSON.stringify(name)}, not a plain file name`,
    );
  }
  await assertRejects(() => openIndex({}), CheckpointError, "is empty");
  await assertRejects(() => openIndex([]), CheckpointError, 'no "weight_map"');
  const open = () => Promise.reject(new Error("not to be opened"));
  await assertRejects(() => openShards(text.encode("{"), open), CheckpointError, "not JSON");
  await assertRejects(() => openShards(text.encode("null"), open), CheckpointError, "weight_map");
});

Deno.test("a model is found in one file, in shards, in GGUF, beside an adapter", async () => {
  await inFolder(async (folder) => {
    await write(folder, {
      "config.json": '{"a":1}',
      "tokenizer.json": "{}",
      "chat_template.jinja": "{{ x }}",
      "README.md": "",
      "model.safetensors.index.json": new TextDecoder().decode(
        index({ x: "a.safetensors", y: "a.safetensors", z: "b.safetensors" }),
      ),
      "a.safetensors": shards["a.safetensors"]!,
      "b.safetensors": shards["b.safetensors"]!,
      "q4.gguf": "GGUF",
    });
    const sharded = await findModel(`${folder}/`);
    assertEquals(sharded.names, ["chat_template.jinja", "config.json", "tokenizer.json"]);
    assertEquals(new TextDecoder().decode(await sharded.read("config.json")), '{"a":1}');
    await assertRejects(() => sharded.read("README.md"), CheckpointError, "only chat_template");
    assert(sharded.weights?.kind === "safetensors" && sharded.adapter === null);
    using all = await sharded.weights.open();
    assertEquals([...toFloat32(await all.read("z"))], [4]);

    await write(folder, {
      "model.safetensors": shards["y.safetensors"]!,
      "adapter_config.json": "{}",
      "adapter_model.safetensors": shards["b.safetensors"]!,
    });
    const single = await findModel(folder);
    assert(single.weights?.kind === "safetensors" && single.adapter !== null);
    using one = await single.weights.open();
    assertEquals([...one.entries.keys()], ["y"]);
    using adapter = await single.adapter.open();
    assertEquals([...adapter.entries.keys()], ["z"]);

    const { weights } = await findModel(join(folder, "q4.gguf"));
    assert(weights?.kind === "gguf");
    using bytes = await weights.open();
    assertEquals(bytes.size, 4);

    await Deno.remove(join(folder, "model.safetensors"));
    await Deno.remove(join(folder, "model.safetensors.index.json"));
    assertEquals((await findModel(folder)).weights?.kind, "gguf");
    await Deno.remove(join(folder, "q4.gguf"));
    assertEquals((await findModel(folder)).weights, null);
  });
});

Deno.test("a folder without a model says what it holds and what is needed", async () => {
  const weights = shards["a.safetensors"]!;
  const cases: [files: Record<string, string | Uint8Array>, message: string][] = [
    [{}, "it has no weights. The folder holds nothing; needed are config.json with model"],
    [{ "config.json": "{}" }, "it has no weights. The folder holds config.json"],
    [{ "model.safetensors": weights }, "it has weights but no config.json"],
    [{ "config.json": "", "pytorch_model.bin": "" }, "Convert them to safetensors"],
    [{ "config.json": "", "other.safetensors": weights }, "called other.safetensors, not model"],
    [{ "a.gguf": "", "b.GGUF": "" }, "it holds a.gguf, b.GGUF. Name one of these files"],
    [{ "adapter_model.safetensors": weights }, "but no adapter_config.json"],
  ];
  for (const [files, message] of cases) {
    await inFolder(async (folder) => {
      await write(folder, files);
      const error = await assertRejects(() => findModel(folder), CheckpointError, message);
      assert(error.message.includes(`"${folder}"`), error.message);
    });
  }
  await assertRejects(() => findModel("no/such"), CheckpointError, "there is no such folder");
  const gone = await findModel("no/such.gguf");
  assert(gone.weights?.kind === "gguf");
  await assertRejects(() => gone.weights!.open(), CheckpointError, "No such file");
});
