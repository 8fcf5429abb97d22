// The index over runs is read off the folders bit by bit, and equals one that was read at once.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { fileStart, readTail } from "../src/io/tail.ts";
import { CheckpointError } from "../src/io/checkpoint.ts";
import { JsonlWriter } from "../src/io/jsonl.ts";
import { EventLog } from "../src/run/events.ts";
import { RunHold } from "../src/run/control.ts";
import { RunIndex } from "../src/serve/index/run_index.ts";
import { tables } from "../src/serve/index/schema.ts";
import { begun, ended, freshRuns, makeRun, root, stepEvent } from "./servers.ts";

/** Everything that an index holds. */
const contents = (index: RunIndex) =>
  Object.keys(tables).map((table) =>
    index.database.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all()
  );

Deno.test("an index that followed its runs equals one made from nothing", async () => {
  const runs = freshRuns();
  using index = new RunIndex(runs);
  makeRun(runs, [begun, stepEvent(1), ended(1)]);
  index.refresh();
  const run = makeRun(runs, [begun]);
  {
    using _hold = await RunHold.take(run.path);
    using log = new EventLog(run.events);
    using lines = new JsonlWriter(run.episodes);
    for (let step = 1; step <= 6; step++) {
      log.emit(stepEvent(step));
      lines.append({ step, group: 0, sample: 0, task: "t", reward: 1, correct: step % 2 === 0 });
      index.refresh();
    }
    // The run goes back to its checkpoint.
    log.rewind(3);
    lines.keep((line) => (line as { step: number }).step <= 3);
    log.emit(stepEvent(4, 100));
    lines.append({ step: 4, group: 0, sample: 0, task: "t", reward: 0, correct: false });
    index.refresh();
    log.emit(ended(4));
  }
  index.refresh();
  assertEquals(index.get(run.id)?.state, "finished");
  assertEquals(index.get(run.id)?.step, 4);
  const before = contents(index);
  assertEquals(before.map((rows) => rows.length), [2, 4, 1 * 3 + 4 * 3, 4]);
  assertEquals(RunIndex.rebuild(runs), 2);
  assertEquals(contents(index), before);
});

Deno.test("an index that is deleted, damaged or from the future is made again", () => {
  const runs = freshRuns();
  const { id } = makeRun(runs, [begun, stepEvent(1), ended(1)]);
  const path = join(runs, "index.sqlite");
  const read = () => {
    using index = new RunIndex(runs);
    while (index.refresh()) { /* There is more. */ }
    return contents(index);
  };
  const whole = read();
  for (const ending of ["", "-wal", "-shm"]) {
    try {
      Deno.removeSync(path + ending);
    } catch {
      // SQLite has removed it already.
    }
  }
  assertEquals(read(), whole);
  Deno.writeTextFileSync(path, "not a database, and long enough to be read as one".repeat(100));
  assertEquals(read(), whole);
  {
    using index = new RunIndex(runs);
    index.database.exec("PRAGMA user_version = 1000; DROP TABLE runs");
  }
  assertEquals(read(), whole);
  Deno.removeSync(join(runs, id), { recursive: true });
  assertEquals(read().map((rows) => rows.length), [0, 0, 0, 0]);
});

Deno.test("an index that is made again meanwhile lacks nothing at any time", async () => {
  const runs = freshRuns();
  const steps = Array.from({ length: 50 }, (_, i) => stepEvent(i + 1));
  const made = [1, 2, 3].map(() => makeRun(runs, [begun, ...steps, ended(50)]));
  using index = new RunIndex(runs);
  index.refresh();
  const before = contents(index);
  const module = new URL("../src/serve/index/run_index.ts", import.meta.url);
  const code = `import { RunIndex } from "${module}";
    for (let i = 0; i < 30; i++) RunIndex.rebuild(${JSON.stringify(runs)});`;
  const other = new Deno.Command(Deno.execPath(), { args: ["eval", "--ext=ts", code] }).spawn();
  let running = true;
  const status = other.status.finally(() => running = false);
  while (running) {
    assertEquals(index.list({ limit: -1 }).length, 3);
    for (const { id } of made) index.refreshRun(id);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals((await status).code, 0);
  assertEquals(contents(index), before);
});

Deno.test("a damaged run is shown as such, with what is damaged, and mends", () => {
  const runs = freshRuns();
  const broken = makeRun(runs, [begun, stepEvent(1)]);
  const whole = Deno.readTextFileSync(join(broken.path, "config.json"));
  Deno.writeTextFileSync(join(broken.path, "config.json"), "{");
  const torn = makeRun(runs, [begun]);
  Deno.writeTextFileSync(torn.events, "{no JSON}\n", { append: true });
  // Long ago, so that nothing but the run itself tells that there is something to look at.
  for (const { path } of [broken, torn]) Deno.utimeSync(path, 1, 1);
  using index = new RunIndex(runs);
  index.refresh();
  const told = (id: string) => `${index.get(id)!.state}: ${index.get(id)!.message}`;
  assert(told(broken.id).startsWith("damaged: Cannot read config file"), told(broken.id));
  assertEquals(told(torn.id), "damaged: events.jsonl: line 2 is not JSON");
  Deno.writeTextFileSync(join(broken.path, "config.json"), whole);
  index.refresh();
  assertEquals(index.get(broken.id)!.state, "interrupted");
});

Deno.test("lines that are no episodes leave the others in the index", () => {
  const runs = freshRuns();
  const good = { step: 1, group: 0, sample: 0, task: "t", reward: 1, correct: true };
  const odd = [{}, { ...good, step: "two" }, { ...good, sample: 0.5 }, { ...good, task: {} }];
  const { id } = makeRun(runs, [begun], [...odd as [], { ...good, reward: NaN }, good]);
  using index = new RunIndex(runs);
  index.refresh();
  const rows = index.database.prepare("SELECT line, task, reward FROM episodes WHERE run = ?")
    .all(id).map(({ line, task, reward }) => [line, task, reward]);
  assertEquals(rows, [[4, "", 1], [5, "t", null], [6, "t", 1]]);
});

Deno.test("whatever stands in the files of one run, the others are shown", () => {
  const event = { time: "2026-01-01T00:00:00Z", type: "step", step: 2, metrics: { loss: 1 } };
  const append = (name: string, value: unknown) => (path: string) =>
    Deno.writeTextFileSync(join(path, name), `${JSON.stringify(value)}\n`, { append: true });
  const events = (more: object) => append("events.jsonl", { ...event, ...more });
  const noEvent = "damaged: events.jsonl: line 3 is not an event";
  const rows: [what: string, spoil: (path: string) => void, told: string][] = [
    ["null", append("events.jsonl", null), noEvent],
    ["no event", append("events.jsonl", {}), noEvent],
    ["no time", events({ time: "yesterday" }), noEvent],
    ["no step", events({ step: "two" }), noEvent],
    ["no metrics", events({ metrics: null }), noEvent],
    ["no domains", events({ type: "eval", domains: [null] }), noEvent],
    ["a message that is none", events({ type: "run-end", message: {} }), noEvent],
    ["a run without length", events({ type: "run-start" }), noEvent],
    ["an event of later versions", events({ type: "new" }), "interrupted: null"],
    ["metrics that are none", events({ metrics: { a: "b", c: null } }), "interrupted: null"],
    ["a process that is none", append("process.json", { pid: 1, error: {} }), "interrupted: null"],
    ["a folder", (path) => {
      Deno.removeSync(join(path, "events.jsonl"));
      Deno.mkdirSync(join(path, "events.jsonl"));
    }, "damaged: Cannot read"],
  ];
  for (const [what, spoil, told] of rows) {
    const runs = freshRuns();
    const spoilt = makeRun(runs, [begun, stepEvent(1)]);
    const well = makeRun(runs, [begun, ended(9)]);
    spoil(spoilt.path);
    using index = new RunIndex(runs);
    index.refresh();
    const { state, message } = index.get(spoilt.id)!;
    assert(`${state}: ${message}`.startsWith(told), `${what}: ${state}: ${message}`);
    assertEquals(index.get(well.id)!.state, "finished", what);
  }
});

Deno.test("a run whose files could not be read for a while is read whole afterwards", () => {
  const runs = freshRuns();
  const { id, events } = makeRun(runs, [begun, stepEvent(1)]);
  using index = new RunIndex(runs);
  index.refresh();
  const before = contents(index);
  Deno.renameSync(events, `${events}.away`);
  Deno.mkdirSync(events);
  index.refreshRun(id);
  assertEquals(index.get(id)!.state, "damaged");
  Deno.removeSync(events);
  Deno.renameSync(`${events}.away`, events);
  index.refreshRun(id);
  assertEquals(contents(index), before);
});

Deno.test("a run stays what it is while too many files are open to tell", async () => {
  const runs = freshRuns();
  const run = makeRun(runs, [begun, stepEvent(1)]);
  using _hold = await RunHold.take(run.path);
  using index = new RunIndex(runs);
  index.refresh();
  const open = Deno.openSync;
  for (const name of ["run.lock", "events.jsonl"]) {
    Deno.openSync = (path, options) => {
      if (String(path).endsWith(name)) throw new Error("Too many open files (os error 24)");
      return open(path, options);
    };
    try {
      assertThrows(() => index.refresh(), Error, "Too many open files");
    } finally {
      Deno.openSync = open;
    }
    assertEquals(index.get(run.id)!.state, "running", name);
  }
});

Deno.test("a run whose config does not fit the disk is none", () => {
  const runs = freshRuns();
  using index = new RunIndex(runs);
  const write = Deno.writeTextFileSync;
  Deno.writeTextFileSync = (path, text, options) => {
    write(path, (text as string).slice(0, 100), options);
    throw new Error("No space left on device (os error 28)");
  };
  try {
    assertThrows(() => makeRun(runs, []), CheckpointError, "No space left");
  } finally {
    Deno.writeTextFileSync = write;
  }
  index.refresh();
  assertEquals(index.list({ limit: -1 }), []);
});

Deno.test("a link beside the runs is none of them", () => {
  const runs = freshRuns();
  const { path } = makeRun(freshRuns(), [begun, ended(9)]);
  Deno.symlinkSync(path, join(runs, "link"));
  using index = new RunIndex(runs);
  index.refresh();
  index.refreshRun("link");
  assertEquals(index.list({ limit: -1 }), []);
});

Deno.test("a line file is read on from where it was, and from its start if it changed before that", () => {
  const path = join(root, "lines.jsonl");
  const write = (text: string, append = true) => Deno.writeTextFileSync(path, text, { append });
  const read = (from = fileStart, most?: number) => {
    const { lines, position, rewound, more } = readTail(path, from, most);
    const texts = lines.map(({ number, bytes }) => `${number} ${new TextDecoder().decode(bytes)}`);
    return { texts, position, rewound, more };
  };
  assertEquals(read().texts, []);
  write("one\ntwo\nthr", false);
  const first = read();
  assertEquals([first.texts, first.more], [["1 one", "2 two"], true]);
  write("ee\nfour\n");
  const second = read(first.position);
  assertEquals([second.texts, second.rewound], [["3 three", "4 four"], false]);
  assertEquals(read(second.position).texts, []);
  // A line is read whole, however long it is.
  assertEquals(read(fileStart, 2).texts, ["1 one"]);
  // As long as before, and yet another file.
  write("one\ntwo\nthree\nFOUR\nfive\n", false);
  const third = read(second.position);
  assertEquals([third.texts.length, third.rewound], [5, true]);
  Deno.truncateSync(path, 8);
  assertEquals(read(third.position).texts, ["1 one", "2 two"]);
  Deno.removeSync(path);
  assertEquals(read(third.position).rewound, true);
  Deno.mkdirSync(path);
  assertThrows(() => read());
});
