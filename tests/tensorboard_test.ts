// Curves for TensorBoard are what its own writer would write, and what the run's events say.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { train } from "../mod.ts";
import { type Scalars, scalarsRecord, startRecord, versionRecord } from "../src/io/tfevents.ts";
import { readEvents, type RunEvent } from "../src/run/events.ts";
import { measuresOf } from "../src/run/measures.ts";
import { RunFolder } from "../src/run/store.ts";
import { TensorBoardLog } from "../src/run/tensorboard.ts";
import { freshPath, settings, traces } from "./runs.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const golden = (name: string) => new URL(`golden/tensorboard/${name}`, import.meta.url);

/** CRC32C, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The data of records, whose lengths and checksums are right. */
function recordsOf(bytes: Bytes): Bytes[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: Bytes[] = [];
  const check = (at: number, end: number) => {
    const sum = crc32c(bytes.subarray(at, end));
    const masked = (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
    assertEquals(view.getUint32(end, true), masked, `checksum at ${end}`);
  };
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    check(at, at + 8);
    check(at + 12, at + 12 + length);
    found.push(bytes.slice(at + 12, at + 12 + length));
    at += 16 + length;
  }
  return found;
}

/** The fields of a message by number; values of fixed length as bytes. */
function fieldsOf(
  bytes: Bytes,
): [field: number, value: Bytes | bigint][] {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (length: number) => bytes.slice(at, at += length);
  const found: [number, Bytes | bigint][] = [];
  while (at < bytes.length) {
    const key = Number(varint());
    const value = [
      varint,
      () => take(8),
      () => take(Number(varint())),
      ...[() => assert(false), () => assert(false)] as never[],
      () => take(4),
    ][key & 7]!();
    found.push([key >> 3, value]);
  }
  return found;
}

/** What an event file says: its version, and its scalars. */
function decode(path: string | URL): { version: string; events: Scalars[] } {
  const text = (value: unknown) => new TextDecoder().decode(value as Bytes);
  const view = (value: unknown) => new DataView((value as Bytes).buffer);
  const [first, start, ...rest] = recordsOf(Deno.readFileSync(path));
  const version = text(new Map(fieldsOf(first!)).get(3));
  // A session that starts, at step 0.
  const session = new Map(fieldsOf(start!));
  assertEquals([session.get(2), fieldsOf(session.get(7) as Bytes)], [undefined, [[1, 1n]]]);
  const events = rest.map((data) => {
    const event = new Map(fieldsOf(data));
    const values = fieldsOf(event.get(5) as Bytes).map(([, value]) => {
      const fields = new Map(fieldsOf(value as Bytes));
      return [text(fields.get(1)), view(fields.get(2)).getFloat32(0, true)] as const;
    });
    const time = view(event.get(1)).getFloat64(0, true);
    return { time, step: Number(event.get(2) ?? 0n), values };
  });
  return { version, events };
}

/** The event files of a run. */
const filesOf = (run: string) =>
  [...Deno.readDirSync(join(run, "tensorboard"))].map(({ name }) => join(run, "tensorboard", name));

/** What the event file of a run has to say, by its events. */
const expected = (events: readonly RunEvent[]): Scalars[] =>
  events.flatMap((event) => {
    const values = measuresOf(event).map(([tag, value]) => [tag, Math.fround(value)] as const);
    if (!("step" in event) || values.length === 0) return [];
    return [{ time: Date.parse(event.time) / 1000, step: event.step, values }];
  });

Deno.test("an event file has the bytes that TensorBoard's own writer gives it", () => {
  const { start, events } = JSON.parse(Deno.readTextFileSync(golden("scalars.json"))) as {
    start: number;
    events: Scalars[];
  };
  const records = [versionRecord(start), startRecord(start, 0), ...events.map(scalarsRecord)];
  const bytes = records.flatMap((part) => [...part]);
  assertEquals(new Uint8Array(bytes), Deno.readFileSync(golden("scalars.tfevents")));
  const rounded = events.map(({ values, ...rest }) => ({
    ...rest,
    values: values.map(([tag, value]) => [tag, Math.fround(value)] as const),
  }));
  assertEquals(decode(golden("scalars.tfevents")), { version: "brain.Event:2", events: rounded });
});

Deno.test("a run that is asked for curves says there what its events say, also after it was resumed", async () => {
  const plain = await train(await settings({ steps: 4 }));
  const config = await settings({ steps: 4, tensorboard: true });
  const stop = new AbortController();
  const { run, status } = await train(config, {
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === "step" && event.step === 3) stop.abort();
    },
  });
  assertEquals(status, "stopped");
  const [before, ...others] = filesOf(run);
  assertEquals(others, []);
  const events = join(run, "events.jsonl");
  assertEquals(decode(before!).events, expected(readEvents(events)));
  // Back to the checkpoint of step 2: the third step is made again, at another time.
  Deno.removeSync(RunFolder.open(run).checkpoint(3), { recursive: true });
  await train({ resume: run });
  const [emptied, after, ...more] = filesOf(run).sort();
  assertEquals([emptied, more], [before, []]);
  assertEquals(Deno.statSync(emptied!).size, 0);
  const found = decode(after!);
  assertEquals(found, { version: "brain.Event:2", events: expected(readEvents(events)) });
  assertEquals(found.events.map(({ step }) => step), [0, 1, 2, 3, 4, 4]);
  const names = new Set(found.events.flatMap(({ values }) => values.map(([tag]) => tag)));
  for (const name of ["num_tokens", "reward", "timing/seconds", "eval/arith/train/pass1"]) {
    assert(names.has(name), name);
  }
  // Nothing else is other than without.
  assertEquals(await traces(run), await traces(plain.run));
  assert(![...Deno.readDirSync(plain.run)].some(({ name }) => name === "tensorboard"));
});

Deno.test("where curves cannot be written the run says so once, and goes on", async () => {
  const config = await settings({ steps: 3, tensorboard: true, evaluation: { prompts: 0 } });
  const stop = new AbortController();
  const onEvent = (event: RunEvent) => event.type === "step" && stop.abort();
  const { run } = await train(config, { signal: stop.signal, onEvent });
  Deno.removeSync(join(run, "tensorboard"), { recursive: true });
  Deno.writeTextFileSync(join(run, "tensorboard"), "in the way");
  const { status } = await train({ resume: run });
  assertEquals(status, "done");
  const warnings = readEvents(join(run, "events.jsonl")).flatMap((event) =>
    event.type === "warning" ? [event.message] : []
  );
  const [warning, ...others] = warnings.filter((message) => message.includes("TensorBoard"));
  assertEquals(others, []);
  assertMatch(warning!, /^Cannot write ".*A file is in the way.*goes on without curves/);
});

Deno.test("a file for which the disk has no room ends with a whole record", () => {
  const folder = freshPath();
  const events = Array.from({ length: 4 }, (_, i): RunEvent => ({
    time: new Date(i * 1000).toISOString(),
    ...{ type: "step", step: i + 1, method: "sft", metrics: { loss: i } },
  }));
  const told: string[] = [];
  using log = new TensorBoardLog(folder, events.slice(0, 2), (message) => told.push(message));
  const { writeSync } = Deno.FsFile.prototype;
  try {
    Deno.FsFile.prototype.writeSync = function (bytes) {
      if (bytes.length < 10) throw Object.assign(new Error("No space left"), { code: "ENOSPC" });
      return writeSync.call(this, bytes.subarray(0, bytes.length - 5));
    };
    log.append(events[2]!);
    log.append(events[3]!);
  } finally {
    Deno.FsFile.prototype.writeSync = writeSync;
  }
  assertEquals(told.length, 1);
  assertMatch(told[0]!, /The disk is full/);
  const [path] = [...Deno.readDirSync(folder)].map(({ name }) => join(folder, name));
  assertEquals(decode(path!).events, expected(events.slice(0, 2)));
});
