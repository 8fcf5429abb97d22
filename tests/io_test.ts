import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { dirname, join } from "@std/path";
import { CheckpointError, readFolder, saveFolder } from "../src/io/checkpoint.ts";
import { JsonlWriter, readJsonl } from "../src/io/jsonl.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../src/io/safetensors.ts";

const text = new TextEncoder();

function f32(shape: number[], ...values: number[]): StoredTensor {
  return { dtype: "F32", shape, data: fromFloat32(Float32Array.from(values), "F32") };
}

/** Odd lengths, an empty tensor, a scalar, names that an object literal would reorder. */
function sample(): Map<string, StoredTensor> {
  const half = Float32Array.of(1, -2, 0.5);
  return new Map<string, StoredTensor>([
    ["odd.bf16", { dtype: "BF16", shape: [3], data: fromFloat32(half, "BF16") }],
    ["model.weight", f32([2, 3], 1, 2, 3, 4, 5, 6)],
    ["7", f32([], 7)],
    ["empty", f32([0, 4])],
    ["odd.f16", { dtype: "F16", shape: [1, 3], data: fromFloat32(half, "F16") }],
    ['ünï "quoted"', f32([1], -1)],
  ]);
}

Deno.test("safetensors come back as they were written, in their order", () => {
  const metadata = { format: "pt", note: "grüße" };
  const bytes = encodeSafetensors(sample(), metadata);
  const read = decodeSafetensors(bytes);
  assertEquals(read.metadata, metadata);
  assertEquals([...read.tensors.keys()].filter((name) => name !== "7"), [
    "odd.bf16",
    "model.weight",
    "empty",
    "odd.f16",
    'ünï "quoted"',
  ]);
  for (const [name, { dtype, shape, data }] of sample()) {
    const tensor = read.tensors.get(name)!;
    assertEquals([tensor.dtype, tensor.shape], [dtype, shape]);
    assertEquals([...tensor.data], [...data]);
  }
  assertEquals(bytes, encodeSafetensors(sample(), metadata));
  assertEquals(decodeSafetensors(encodeSafetensors(new Map())).tensors.size, 0);
});

Deno.test("the safetensors header lists tensors in the order given and pads to 8 bytes", () => {
  const bytes = encodeSafetensors(sample());
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assertEquals(length % 8, 0);
  const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  const names = [...sample().keys()].map((name) => header.indexOf(`${JSON.stringify(name)}:`));
  assertEquals(names, names.toSorted((a, b) => a - b));
  assert(names[0]! > 0);
});

Deno.test("every stored tensor can be viewed in place", () => {
  const bytes = encodeSafetensors(sample());
  for (const [name, tensor] of decodeSafetensors(bytes).tensors) {
    assertEquals(tensor.data.byteOffset % (tensor.dtype === "F32" ? 4 : 2), 0, name);
    const values = toFloat32(tensor);
    if (tensor.dtype === "F32") assertEquals(values.buffer, bytes.buffer, name);
  }
  // A file that starts at an odd place in its buffer is read all the same.
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  const { tensors } = decodeSafetensors(shifted.subarray(1));
  assertEquals([...toFloat32(tensors.get("model.weight")!)], [1, 2, 3, 4, 5, 6]);
  assertEquals([...toFloat32(tensors.get("odd.bf16")!)], [1, -2, 0.5]);
  assertEquals([...toFloat32(tensors.get("odd.f16")!)], [1, -2, 0.5]);
});

Deno.test("f32 becomes bf16 by rounding to nearest, ties to even", () => {
  const word = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  const cases: [number, number][] = [
    [0x3f800000, 0x3f80],
    [0x3f808000, 0x3f80], // tie, even below
    [0x3f818000, 0x3f82], // tie, even above
    [0x3f808001, 0x3f81],
    [0x3f807fff, 0x3f80],
    [0x7f7fffff, 0x7f80], // the largest f32 rounds to infinity
    [0xff800000, 0xff80],
    [0x80000000, 0x8000],
    [0x00000001, 0x0000],
  ];
  const values = Float32Array.from(cases, ([bits]) => word(bits));
  const halves = new Uint16Array(fromFloat32(values, "BF16").buffer);
  assertEquals([...halves], cases.map(([, expected]) => expected));
  for (const dtype of ["BF16", "F16", "F32"] as const) {
    const data = fromFloat32(Float32Array.of(NaN, 1), dtype);
    assertEquals([...toFloat32({ dtype, shape: [2], data })], [NaN, 1]);
  }
  // A NaN whose payload lies in the lower half must not become infinity.
  const payload = fromFloat32(Float32Array.of(word(0x7f800001)), "BF16");
  assert(Number.isNaN(toFloat32({ dtype: "BF16", shape: [1], data: payload })[0]));
});

Deno.test("a safetensors file cut short anywhere is a CheckpointError", () => {
  const bytes = encodeSafetensors(sample(), { step: "3" });
  for (let length = 0; length < bytes.length; length++) {
    assertThrows(
      () => decodeSafetensors(bytes.subarray(0, length), "model.safetensors"),
      CheckpointError,
      "Cannot read model.safetensors: ",
    );
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  assertThrows(() => decodeSafetensors(longer), CheckpointError, "bytes of data, file has");
});

Deno.test("a safetensors file with one byte changed is read or is a CheckpointError", () => {
  const bytes = encodeSafetensors(sample());
  const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  for (let at = 0; at < header; at++) {
    for (const value of [0, 0x22, 0x39, 0x7d, 0xff]) {
      const damaged = bytes.slice();
      damaged[at] = value;
      try {
        decodeSafetensors(damaged);
      } catch (error) {
        assert(error instanceof CheckpointError, `byte ${at} = ${value}: ${error}`);
      }
    }
  }
});

Deno.test("a damaged safetensors header is named with what is wrong", () => {
  const file = (header: unknown, data = 4) => {
    const json = text.encode(typeof header === "string" ? header : JSON.stringify(header));
    const bytes = new Uint8Array(8 + json.length + data);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
    bytes.set(json, 8);
    return bytes;
  };
  const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  assertEquals(decodeSafetensors(file({ a: entry })).tensors.size, 1);
  const faults: [unknown, string][] = [
    ["[1]", "not a JSON object"],
    ["{", "not JSON"],
    [{ a: 3 }, 'entry of tensor "a"'],
    [{ a: { ...entry, dtype: "I64" } }, "supported are F32, F16, BF16"],
    [{ a: { ...entry, shape: [-1] } }, "has shape [-1]"],
    [{ a: { ...entry, shape: [2] } }, "takes 8 bytes, its data_offsets span 4"],
    [{ a: { ...entry, data_offsets: [4, 0] } }, "data_offsets span -4"],
    [{ a: { ...entry, data_offsets: [4, 8] } }, "(4 missing)"],
    [{ a: entry, b: entry }, "starts at byte 0 of the data, not at 4"],
    [{ a: entry, __metadata__: { n: 1 } }, "not an object of strings"],
  ];
  for (const [header, message] of faults) {
    assertThrows(() => decodeSafetensors(file(header)), CheckpointError, message);
  }
  const huge = new Uint8Array(16).fill(0xff);
  assertThrows(() => decodeSafetensors(huge), CheckpointError, "the limit is 100000000");
});

Deno.test("tensors that contradict themselves are not written", () => {
  const wrong = { dtype: "F32", shape: [3], data: new Uint8Array(8) } as const;
  assertThrows(() => encodeSafetensors(new Map([["w", wrong]])), TypeError, "takes 12 bytes");
  const reserved = new Map([["__metadata__", f32([0])]]);
  assertThrows(() => encodeSafetensors(reserved), RangeError, "__metadata__");
});

/** Runs `body` with a fresh folder that is removed afterwards. */
async function inFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

Deno.test("a folder is saved, replaced and read, and nothing temporary stays", async () => {
  await inFolder(async (folder) => {
    const target = join(folder, "deep", "model");
    await saveFolder(target, { "a.json": "{}", "b.bin": Uint8Array.of(1, 2, 3) });
    await saveFolder(`${target}/`, { "a.json": "[]", "c.bin": new Uint8Array(0) }).then(
      () => assert(false),
      (error) => assert(error.message.includes("b.bin, which would be lost"), error),
    );
    await saveFolder(`${target}/`, { "a.json": "[]", "b.bin": new Uint8Array(0), "c.bin": "" });
    const read = await readFolder(target, ["a.json", "b.bin"]);
    assertEquals(new TextDecoder().decode(read["a.json"]), "[]");
    assertEquals(read["b.bin"].length, 0);
    assertEquals(names(dirname(target)), ["model"]);
  });
});

Deno.test("a folder goes where a link points", async () => {
  await inFolder(async (folder) => {
    await Deno.mkdir(join(folder, "real"));
    await Deno.symlink(join(folder, "real"), join(folder, "link"));
    await saveFolder(join(folder, "link"), { a: "1" });
    assertEquals(Deno.readTextFileSync(join(folder, "real", "a")), "1");
    assertEquals(names(folder), ["link", "real"]);
  });
});

Deno.test("a folder lost between the two renames of a replacement comes back", async () => {
  await inFolder(async (folder) => {
    const target = join(folder, "model");
    await saveFolder(target, { a: "old" });
    await Deno.rename(target, join(folder, ".model.previous"));
    const read = await readFolder(target, ["a"]);
    assertEquals(new TextDecoder().decode(read.a), "old");
    await Deno.rename(target, join(folder, ".model.previous"));
    await saveFolder(target, { a: "new" });
    assertEquals(Deno.readTextFileSync(join(target, "a")), "new");
    assertEquals(names(folder), ["model"]);
  });
});

Deno.test("saving into a place that cannot be written names path, reason and remedy", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "mine");
    for (const target of [file, join(file, "model")]) {
      const error = await assertRejects(() => saveFolder(target, { a: "" }), CheckpointError);
      assert(error.message.startsWith(`Cannot write "${target}": `), error.message);
      assert(error.message.includes("choose another folder"), error.message);
    }
    assertEquals(Deno.readTextFileSync(file), "mine");
    assertEquals(names(folder), ["file"]);
    await assertRejects(() => saveFolder(folder, { "../a": "" }), RangeError, "plain file name");
  });
});

/** Runs `code` in its own process, after the shell command `limit`. */
async function limited(limit: string, code: string): Promise<string> {
  const script = `${limit}; exec "$0" eval "$1"`;
  const { stdout, stderr, success } = await new Deno.Command("sh", {
    args: ["-c", script, Deno.execPath(), code],
    cwd: dirname(import.meta.dirname!),
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

Deno.test({
  name: "a write that fails half-way leaves the old folder and no other",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      // A file size limit fails in the middle of a file, as a full disk does.
      const target = join(folder, "model");
      await saveFolder(target, { "model.bin": "old", "small": "old" });
      const message = await limited(
        "ulimit -f 64; trap '' XFSZ",
        `import { saveFolder } from "./src/io/checkpoint.ts";
         await saveFolder(${
          JSON.stringify(target)
        }, { small: "new", "model.bin": new Uint8Array(1e6) })
           .catch((error) => console.log(error.name, error.message));`,
      );
      assert(
        message.startsWith(`CheckpointError Cannot write "${target}": File too large`),
        message,
      );
      assertEquals(Deno.readTextFileSync(join(target, "model.bin")), "old");
      assertEquals(Deno.readTextFileSync(join(target, "small")), "old");
      assertEquals(names(folder), ["model"]);
    }),
});

Deno.test("reading names what is missing and what is there", async () => {
  await inFolder(async (folder) => {
    await saveFolder(join(folder, "model"), { "config.json": "{}" });
    await assertRejects(
      () => readFolder(join(folder, "model"), ["config.json", "model.safetensors"]),
      CheckpointError,
      "the folder holds config.json",
    );
    await assertRejects(() => readFolder(join(folder, "no"), ["a"]), CheckpointError, "no such");
  });
});

Deno.test("a line file is written line by line and goes on after closing", async () => {
  await inFolder((folder) => {
    const path = join(folder, "events.jsonl");
    {
      using writer = new JsonlWriter(path);
      writer.append({ step: 1 });
      assertEquals(Deno.readTextFileSync(path), '{"step":1}\n');
      writer.append("zwei\n");
      writer.sync();
    }
    using again = new JsonlWriter(path);
    again.append(null);
    assertEquals(readJsonl(path), [{ step: 1 }, "zwei\n", null]);
    assertEquals(readJsonl(path, 1), [{ step: 1 }]);
  });
});

Deno.test("a line file has one writer", async () => {
  await inFolder((folder) => {
    const path = join(folder, "events.jsonl");
    using _writer = new JsonlWriter(path);
    assertThrows(() => new JsonlWriter(path), CheckpointError, "another process is writing");
    // It may be a run's, or stand alone.
    assertThrows(() => new JsonlWriter(path), CheckpointError, "choose another --out");
  });
});

Deno.test("a torn last line is left out by readers and cut off by the next writer", async () => {
  await inFolder((folder) => {
    const path = join(folder, "events.jsonl");
    Deno.writeTextFileSync(path, '{"step":1}\n{"ste');
    assertEquals(readJsonl(path), [{ step: 1 }]);
    using writer = new JsonlWriter(path);
    writer.append({ step: 2 });
    assertEquals(Deno.readTextFileSync(path), '{"step":1}\n{"step":2}\n');
  });
});

Deno.test("a resumed line file equals one that was never interrupted", async () => {
  const events = [1, 2, 3, 4, 5].map((step) => ({ step, text: `é${step}` }));
  const write = (writer: JsonlWriter, from: number, to: number) => {
    for (const event of events.slice(from, to)) writer.append(event);
  };
  await inFolder((folder) => {
    const [whole, resumed] = [join(folder, "whole"), join(folder, "resumed")];
    using uninterrupted = new JsonlWriter(whole);
    write(uninterrupted, 0, 5);
    for (const note of [undefined, { note: "stopped" }]) {
      using writer = new JsonlWriter(resumed);
      writer.keep(() => false);
      write(writer, 0, 2);
      // A line to drop before one to keep makes the writer rewrite the file.
      if (note !== undefined) writer.append(note);
      write(writer, 2, 4);
      const dropped = writer.keep((value) => ((value as { step?: number }).step ?? 9) <= 3);
      assertEquals(dropped, note === undefined ? 1 : 2);
      assertEquals(writer.keep(() => true), 0);
      write(writer, 3, 5);
      assertEquals(Deno.readTextFileSync(resumed), Deno.readTextFileSync(whole));
      assertEquals(names(folder), ["resumed", "whole"]);
    }
  });
});

Deno.test("a line that is not JSON is named by file and number", async () => {
  await inFolder((folder) => {
    const path = join(folder, "events.jsonl");
    Deno.writeTextFileSync(path, "{}\n{oops}\n{}\n");
    assertThrows(() => readJsonl(path), CheckpointError, "line 2 is not JSON");
    using writer = new JsonlWriter(path);
    assertThrows(() => writer.keep(() => true), CheckpointError, "line 2 is not JSON");
    assertThrows(() => readJsonl(join(folder, "no")), CheckpointError, "Cannot read");
  });
});

Deno.test({
  name: "a line that cannot be written whole is taken back",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const path = join(folder, "events.jsonl");
      const message = await limited(
        "ulimit -f 64; trap '' XFSZ",
        `import { JsonlWriter } from "./src/io/jsonl.ts";
         const writer = new JsonlWriter(${JSON.stringify(path)});
         writer.append(1);
         try { writer.append("x".repeat(1e6)); } catch (error) { console.log(error.name); }
         writer.append(2);`,
      );
      assertEquals(message, "CheckpointError");
      assertEquals(Deno.readTextFileSync(path), "1\n2\n");
    }),
});
