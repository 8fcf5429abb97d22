// How the peers benchmark drives its contenders, with a script in the place of the libraries.

import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { peers } from "../bench/peers.ts";
import { compete, type Entry } from "../bench/peers/compete.ts";
import { median, spread } from "../bench/statistics.ts";
import { lines } from "../bench/peers/protocol.ts";

/** What the fake says when it starts, and then to each `run`; the last goes on for ever. */
type Says = readonly (Record<string, unknown> | string)[];

const FAKE = `
const { name, log, says } = JSON.parse(Deno.args[0]);
async function say(what) {
  if (what === "hang") await new Promise(() => setInterval(() => {}, 1000));
  if (what === "crash") {
    console.error("some warning\\nerror: out of luck\\n    at fake.ts");
    Deno.exit(3);
  }
  console.log(typeof what === "string" ? what : JSON.stringify(what));
}
await say(says[0]);
let turn = 1;
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  for (const _ of text.matchAll(/run\\n/g)) {
    Deno.writeTextFileSync(log, name[0], { append: true });
    await say(says[Math.min(turn++, says.length - 1)]);
  }
}
`;

const folder = await Deno.makeTempDir();
const log = `${folder}/log`;
await Deno.writeTextFile(`${folder}/fake.ts`, FAKE);
Deno.test.beforeEach(() => Deno.writeTextFile(log, ""));
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

const ready = (value: unknown = 1) => ({ ready: true, value });
const result = (ms: number, value: unknown = 1, cpuMs?: number) => ({ ms, value, cpuMs });

function fake(name: string, ...says: Says): Entry {
  const flags = ["run", "-A", "--no-config", "--no-lock", `${folder}/fake.ts`];
  const args = [...flags, JSON.stringify({ name, log, says })];
  return { name, command: { program: Deno.execPath(), args } };
}

const options = { limits: { startMs: 5000, runMs: 5000 }, repetitions: 2, budgetMs: 1e9 };

Deno.test("contenders run in turn, and their rows say how they compare", async () => {
  const entries = [
    fake("mentor", ready(), result(99), result(10, 1, 18), result(99), result(30, 1, 22)),
    fake("other", ready(1.0005), result(99), result(5), result(99), result(5)),
  ];
  const { rows, skipped } = await compete("matmul:200", entries, options);
  assertEquals(skipped, []);
  // Each repetition is short here: the first of a turn does not count.
  assertEquals(await Deno.readTextFile(log), "mmoommoo");
  const [mentor, other] = rows;
  assertEquals(mentor, {
    work: "matmul:200",
    shape: "200 x 200 x 200, f32",
    contender: "mentor",
    medianMs: 20,
    spread: 1,
    cpuMs: 20,
    rate: 0.8,
    unit: "GFLOP/s",
    ratioToMentor: 1,
    limit: null,
  });
  assertEquals([other!.medianMs, other!.spread, other!.cpuMs, other!.ratioToMentor], [
    5,
    0,
    null,
    0.25,
  ]);
});

Deno.test("steps and decoding count tokens", async () => {
  const entries = [fake("other", ready([1, 2]), result(64, [1, 2]))];
  const { rows: [step] } = await compete("step", entries, options);
  assertEquals([step!.rate, step!.unit, step!.ratioToMentor], [16_000, "tokens/s", null]);
  const { rows: [decode] } = await compete("decode:4", entries, options);
  assertEquals([decode!.rate, decode!.shape], [4000, "4 x (64 + 64) tokens"]);
});

Deno.test("single operations count what they must move or compute", async () => {
  const measured = async (work: string) => {
    const { rows: [row] } = await compete(work, [fake("other", ready(), result(1))], options);
    return [row!.shape, row!.rate, row!.unit];
  };
  assertEquals(await measured("rmsnorm"), ["4096 x 256, f32", 20.97152, "GB/s"]);
  assertEquals(await measured("adamw"), ["4096 x 1024, f32", 117.440512, "GB/s"]);
  assertEquals(await measured("lmhead"), ["1024 x 256, 8192 tokens", 12_884.901888, "GFLOP/s"]);
  assertEquals(await measured("attention"), ["8 x 128 tokens, 4 x 64", 202.899456, "GFLOP/s"]);
});

Deno.test("a contender that fails is skipped with its reason, and the others go on", async () => {
  const { rows, skipped } = await compete("step", [
    fake("mentor", ready(), result(1)),
    fake("refuses", { error: "no backend" }),
    fake("refuses later", ready(), result(1), { error: "lost the device" }),
    fake("crashes", "crash"),
    fake("crashes later", ready(), "crash"),
    fake("babbles", "Hello"),
    fake("babbles later", ready(), { seconds: 1 }),
    { name: "missing", command: { program: `${folder}/nothing`, args: [] } },
    { name: "unavailable", command: "it is not installed" },
  ], options);
  assertEquals(rows.map(({ contender }) => contender), ["mentor"]);
  const reasons = Object.fromEntries(skipped.map(({ contender, reason }) => [contender, reason]));
  assertMatch(reasons["missing"]!, /^could not be started: /);
  delete reasons["missing"];
  assertEquals(reasons, {
    "refuses": "no backend",
    "refuses later": "lost the device",
    "crashes": "ended with code 3: error: out of luck",
    "crashes later": "ended with code 3: error: out of luck",
    "babbles": 'printed "Hello"',
    "babbles later": 'printed "{"seconds":1}"',
    "unavailable": "it is not installed",
  });
});

Deno.test("a contender that takes too long is killed", async () => {
  const limits = { startMs: 1500, runMs: 200 };
  const { rows, skipped } = await compete("step", [
    fake("hangs", "hang"),
    fake("hangs later", ready(), "hang"),
  ], { ...options, limits });
  assertEquals(rows, []);
  assertEquals(skipped.map(({ reason }) => reason), [
    "was not ready within 1.5 s",
    "did not finish a repetition within 0.2 s",
  ]);
});

Deno.test("a contender that computes something else is skipped", async () => {
  const { rows, skipped } = await compete("step", [
    fake("mentor", ready(2), result(1, 2)),
    fake("wrong from the start", ready(2.01), result(1, 2)),
    fake("wrong later", ready(2), result(1, 2), result(1, 1.99)),
    fake("not a number", ready("two"), result(1, 2)),
    fake("NaN", ready(NaN), result(1, 2)),
  ], options);
  assertEquals(rows.map(({ contender }) => contender), ["mentor"]);
  assertEquals(skipped.map(({ reason }) => reason), [
    "disagrees before its repetitions: 2.01, where mentor has 2",
    "disagrees before its repetitions: NaN, where mentor has 2",
    "disagrees before its repetitions: NaN, where mentor has 2",
    "disagrees in repetition 2: 1.99, where mentor has 2",
  ]);

  const broken = [
    fake("mentor", ready(NaN), result(1, 2)),
    fake("other", ready(NaN), result(1, 2)),
  ];
  assertEquals((await compete("step", broken, options)).rows, []);

  const tokens = Array.from({ length: 64 }, (_, i) => i);
  const late = tokens.with(40, 99), early = tokens.with(3, 99);
  const decoded = await compete("decode:1", [
    fake("mentor", ready(tokens), result(1, tokens)),
    fake("late", ready(late), result(1, late)), // a near tie
    fake("early", ready(early), result(1, early)),
    fake("short", ready(tokens.slice(0, -1)), result(1, tokens)),
  ], options);
  assertEquals(decoded.rows.map(({ contender }) => contender), ["mentor", "late"]);
});

Deno.test("a slow contender runs fewer times, but twice", async () => {
  const entries = [fake("a", ready(), result(1)), fake("b", ready(), result(1))];
  await compete("step", entries, { ...options, repetitions: 3, budgetMs: 0 });
  assertEquals(await Deno.readTextFile(log), "aabbaabb");
});

Deno.test("median and spread", () => {
  assertEquals([median([3, 1, 2]), median([4, 1]), median([])], [2, 2.5, NaN]);
  assertAlmostEquals(spread([10, 12, 11]), 2 / 11);
});

Deno.test("lines are put together from whatever pieces arrive", async () => {
  const bytes = [..."é\nb c\r\n\nrest"].map((c) => new TextEncoder().encode(c)).flatMap((
    c,
  ) => [...c]);
  const pieces = ReadableStream.from(bytes.map((byte) => Uint8Array.of(byte)));
  assertEquals(await Array.fromAsync(lines(pieces)), ["é", "b c", ""]);
});

Deno.test("Mentor itself is a contender", async () => {
  const { rows, skipped } = await peers({
    works: ["matmul:256"],
    contenders: ["mentor"],
    repetitions: 2,
  });
  assertEquals(skipped, []);
  assertEquals(rows.map(({ contender }) => contender), ["mentor"]);
  assert(rows[0]!.rate > 0 && rows[0]!.cpuMs! > 0);
});

Deno.test("an unknown work or contender is refused before anything starts", async () => {
  await assertRejects(
    () => peers({ works: ["matmul:0"] }),
    RangeError,
    `Cannot do work "matmul:0"`,
  );
  await assertRejects(
    () => peers({ contenders: ["jax"] }),
    RangeError,
    `Cannot compare with "jax"`,
  );
});
