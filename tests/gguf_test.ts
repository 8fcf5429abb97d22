import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import fc from "fast-check";
import { blockFormats, dequantize } from "../src/io/dequantize.ts";
import { openGguf } from "../src/io/gguf.ts";
import { CheckpointError, decodeSafetensors, toFloat32 } from "../src/io/safetensors.ts";
import { type ByteSource, bytesSource } from "../src/io/source.ts";
import { ggufBytes, openBytes, Writer } from "./gguf_files.ts";

const golden = join(import.meta.dirname!, "golden", "gguf");
const types = Deno.readFileSync(join(golden, "types.gguf"));

/** A file whose header says what `write` writes after the magic number and the version. */
function header(write: (writer: Writer) => void): Uint8Array<ArrayBuffer> {
  const writer = new Writer().raw(new TextEncoder().encode("GGUF")).u32(3);
  write(writer);
  return writer.done();
}

/** Opens a file and reads all of it. */
async function readAll(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const gguf = await openBytes(bytes);
  for (const name of gguf.entries.keys()) await gguf.read(name);
}

/** Whether a damaged file is read, or refused with a message about it; anything else fails. */
async function holds(bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  try {
    await readAll(bytes);
  } catch (error) {
    assert(error instanceof CheckpointError, `${error}`);
    assert(error.message.startsWith("Cannot read model.gguf: "), error.message);
  }
  return true;
}

Deno.test("every element type decodes to the bits that llama.cpp's own package gives", async () => {
  const expected = decodeSafetensors(Deno.readFileSync(join(golden, "types.safetensors")));
  const gguf = await openBytes(types);
  assertEquals([...gguf.entries.keys()].sort(), [...expected.tensors.keys()].sort());
  for (const format of blockFormats.keys()) assert(gguf.entries.has(format), format);
  for (const [name, { shape, data }] of expected.tensors) {
    const tensor = await gguf.read(name);
    assertEquals(tensor.shape, shape, name);
    assertEquals(gguf.entries.get(name)!.dtype, name.split(".")[0]);
    assertEquals(tensor.dtype, ["F16", "BF16"].includes(name) ? name : "F32");
    const bits = (values: Float32Array) => new Uint32Array(Float32Array.from(values).buffer);
    const stored = { ...tensor, data: tensor.data };
    const wanted = expected.tensors.get(name)!;
    assertEquals(bits(toFloat32(stored)), bits(toFloat32({ ...wanted, data })), name);
  }
});

Deno.test("metadata of every type is read", async () => {
  const { metadata } = await openBytes(types);
  const values = Object.fromEntries(metadata);
  assertEquals(values, {
    "general.architecture": "golden",
    "general.alignment": 64,
    "value.u8": 255,
    "value.i8": -128,
    "value.u16": 65535,
    "value.i16": -32768,
    "value.u32": 4294967295,
    "value.i32": -2147483648,
    "value.u64": Number.MAX_SAFE_INTEGER,
    "value.u64.big": 2n ** 64n - 1n,
    "value.i64": Number.MIN_SAFE_INTEGER,
    "value.i64.big": -(2n ** 63n),
    "value.f32": Math.fround(0.1),
    "value.f64": 0.1,
    "value.bool": true,
    "value.string": "grüße 😀",
    "array.u32": [1, 2, 3],
    "array.f32": [0.5, -1.5],
    "array.bool": [true, false],
    "array.string": ["a", "", "▁b"],
    "array.nested": [[1, 2], [3]],
  });
});

Deno.test("version 2 is read like version 3, and others are refused", async () => {
  const version = (value: number) => {
    const bytes = types.slice();
    new DataView(bytes.buffer).setUint32(4, value, true);
    return bytes;
  };
  await readAll(version(2));
  for (const [value, message] of [[1, "version 1;"], [4, "version 4;"]] as const) {
    await assertRejects(() => readAll(version(value)), CheckpointError, message);
  }
  await assertRejects(() => readAll(version(0x03000000)), CheckpointError, "as a big-endian file");
});

Deno.test("the header is read in pieces, and a tensor without its neighbours", async () => {
  const vocabulary = Array.from({ length: 90_000 }, (_, id) => `token ${id}`);
  const long = "x".repeat(1_500_000);
  const data = Float32Array.from({ length: 1_000_000 }, (_, i) => i);
  const bytes = ggufBytes({ vocabulary, long, after: 7 }, {
    first: { shape: [data.length], data },
    second: { shape: [2, 2], data: [1, 2, 3, 4] },
  });
  const whole = bytesSource(bytes, "model.gguf");
  const reads: number[] = [];
  let disposed = 0;
  const source: ByteSource = {
    ...whole,
    read(offset, length) {
      reads.push(length);
      assert(offset >= 0 && offset + length <= bytes.length);
      // At an odd place in its buffer, as a source may give it.
      const copy = new Uint8Array(length + 1);
      copy.set(bytes.subarray(offset, offset + length), 1);
      return Promise.resolve(copy.subarray(1));
    },
    [Symbol.dispose]: () => void disposed++,
  };
  {
    using gguf = await openGguf(source);
    assertEquals(gguf.metadata.get("vocabulary"), vocabulary);
    assertEquals(gguf.metadata.get("long"), long);
    assertEquals(gguf.metadata.get("after"), 7);
    assert(reads.length >= 3 && Math.max(...reads) < 2_000_000, `${reads}`);
    reads.length = 0;
    assertEquals([...toFloat32(await gguf.read("second"))], [1, 2, 3, 4]);
    assertEquals(reads, [16]);
  }
  assertEquals(disposed, 1);
});

Deno.test("each fault of a GGUF file is named", async () => {
  const tensor = (write: (writer: Writer) => void) =>
    header((w) => write(w.u64(1).u64(0).text("w")));
  const info = (dimensions: (number | bigint)[], type: number, offset: number | bigint) =>
    tensor((w) => {
      w.u32(dimensions.length);
      for (const size of dimensions) w.u64(size);
      w.u32(type).u64(offset).align(32);
    });
  const pair = (write: (writer: Writer) => void) => header((w) => write(w.u64(0).u64(1).text("k")));
  const huge = 2n ** 63n;
  const deep = (w: Writer) => {
    w.u32(9);
    for (let depth = 0; depth < 40; depth++) w.u32(9).u64(1);
    return w;
  };
  const faults: [Uint8Array<ArrayBuffer>, string][] = [
    [new Uint8Array(0), "the magic number ends at byte 4, the file has 0"],
    [new TextEncoder().encode('{"not": 1}'), 'a GGUF file with "GGUF"'],
    [header(() => {}), "the counts of the header ends at byte 24, the file has 8"],
    [header((w) => w.u64(huge).u64(0)), "tensors can't lie in the 8 bytes that are left"],
    [header((w) => w.u64(0).u64(huge)), "metadata pairs can't lie in the 0 bytes"],
    [header((w) => w.u64(0).u64(1).u64(huge).raw(Array(16).fill(0))), "bytes of the key"],
    [pair((w) => w.u32(13).u64(0)), 'the value of "k" has type 13, types end at 12'],
    [pair((w) => w.u32(10).u32(0)), 'the value of "k" ends at byte'],
    [pair((w) => w.u32(8).u64(huge)), 'bytes of the value of "k" can\'t lie in'],
    [pair((w) => w.u32(8).u64(1).raw([0xff])), 'the value of "k" is not UTF-8'],
    [pair((w) => w.u32(9).u32(0).u64(huge)), 'elements of the value of "k" can\'t lie in'],
    [pair((w) => w.u32(9).u32(77).u64(0)), "has type 77"],
    [pair((w) => deep(w)), "nested more than 8 deep"],
    [header((w) => w.u64(0).u64(2).text("k").value(1).text("k").value(1)), 'key "k" occurs twice'],
    [ggufBytes({ "general.alignment": 3 }), '"general.alignment" is 3, it must be a power of 2'],
    [ggufBytes({ "general.alignment": "32" }), "must be a power of 2"],
    [tensor((w) => w.u32(5).u64(1).u64(1).u64(1)), 'tensor "w" has 5 dimensions'],
    [info([4], 0, 0), 'tensor "w", F32 [4], takes 16 bytes from byte 64 on, the file has 64'],
    [info([1], 0, huge), "beyond any file"],
    [info([huge], 0, 0), "beyond any file"],
    [info([2n ** 50n, 2n ** 50n, 2n ** 50n, 2n ** 50n], 0, 0), "the file has 96"],
    [info([33], 2, 0), "has rows of 33 elements, Q4_0 comes in blocks of 32"],
    [info([256], 17, 0), 'tensor "w" is stored as IQ2_XS; supported are F32, F16, BF16, Q4_0'],
    [info([256], 4, 0), "is stored as type 4; supported are"],
  ];
  for (const [bytes, message] of faults) {
    const error = await assertRejects(() => readAll(bytes), CheckpointError);
    assert(error.message.startsWith("Cannot read model.gguf: "), error.message);
    assert(error.message.includes(message), `${error.message} has no ${message}`);
  }
  const gguf = await openBytes(ggufBytes({}, { w: { shape: [1], data: [1] } }));
  await assertRejects(() => gguf.read("v"), CheckpointError, 'no tensor "v". It has 1 tensors');
  const twice = ggufBytes({}, { w1: { shape: [0], data: [] }, w2: { shape: [0], data: [] } });
  twice[twice.indexOf("2".charCodeAt(0))] = "1".charCodeAt(0);
  await assertRejects(() => openBytes(twice), CheckpointError, 'the tensor "w1" occurs twice');
});

Deno.test("more array elements than any vocabulary has are refused before they are made", async () => {
  // 17 million bytes as booleans would take eight times their size.
  const bytes = new Uint8Array(17_000_100);
  bytes.set(header((w) => w.u64(0).u64(1).text("k").u32(9).u32(7).u64(17_000_000)));
  const error = await assertRejects(() => readAll(bytes), CheckpointError);
  assert(error.message.includes("17000000 values, at most 16000000"), error.message);
});

Deno.test("a GGUF file cut short anywhere is a CheckpointError", async () => {
  // The last tensor, Q6_K, ends 28 bytes before the file does: the alignment of 64 fills them.
  for (let length = 0; length < types.length - 28; length++) {
    await assertRejects(() => readAll(types.slice(0, length)), CheckpointError);
  }
});

Deno.test("a GGUF file with bytes changed is read or is a CheckpointError", async () => {
  const place = fc.nat(types.length - 1);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (changes) => {
        const bytes = types.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return holds(bytes);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("a GGUF file with any length field changed is read or is a CheckpointError", async () => {
  const interesting = fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 64n - 1n);
  const value = fc.oneof(interesting, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
  await fc.assert(
    fc.asyncProperty(fc.nat(1400), value, (at, length) => {
      const bytes = types.slice();
      new DataView(bytes.buffer).setBigUint64(at, length, true);
      return holds(bytes);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("only whole blocks of a known format are dequantised", () => {
  assertEquals(dequantize("Q8_0", new Uint8Array(0)).length, 0);
  assertThrows(() => dequantize("Q8_0", new Uint8Array(33)), RangeError, "a block has 34");
  assertThrows(() => dequantize("toString", new Uint8Array(0)), RangeError, "known are Q4_0");
});
