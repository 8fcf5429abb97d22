// The sandbox: what calls return, what they can't reach, and that none of them touches another.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import vm from "node:vm";
import { join } from "@std/path";
import fc from "fast-check";
import inspect from "object-inspect" with { type: "text" };
import { attack, type Hostile } from "../bench/hostile/attack.ts";
import { hostileJavascript } from "../bench/hostile/javascript.ts";
import { hostilePython } from "../bench/hostile/python.ts";
import { roomMaker } from "../src/tools/sandbox/child/context.ts";
import { ConfigError } from "../src/run/config/mod.ts";
import { openTools } from "../src/run/tools/mod.ts";
import { openJavascriptSandbox } from "../src/tools/sandbox/javascript.ts";
import { SharedFolder } from "../src/tools/sandbox/launch.ts";
import { SandboxPool } from "../src/tools/sandbox/pool.ts";
import { SandboxProcess } from "../src/tools/sandbox/process.ts";
import { openPythonSandbox } from "../src/tools/sandbox/python.ts";
import { type Sandbox, sandboxLimits } from "../src/tools/sandbox/sandbox.ts";
import { openJavascript, openPython } from "../src/tools/sandbox/tools.ts";
import { callTool, type Tool } from "../src/tools/tool.ts";

/** Rights of a process that has nothing to read. */
const bare = { heapMiB: 64, memoryMiB: 64, cpuSeconds: 60 };

const openers = { javascript: openJavascriptSandbox, python: openPythonSandbox } as const;

/** Runs snippets in two processes, each after the other half's. */
async function attackAll(
  language: keyof typeof openers,
  snippets: readonly Hostile[],
): Promise<void> {
  const limits = { processes: 1, timeoutMs: 600, memoryMiB: 64 };
  const problems = await Promise.all([0, 1].map(async (lane) => {
    await using sandbox = await openers[language](limits);
    const attempts = await attack(sandbox, language, snippets.filter((_, i) => i % 2 === lane));
    return attempts.filter(({ problem }) => problem !== null);
  }));
  assertEquals(problems.flat().map(({ what, problem }) => `${what}: ${problem}`), []);
}

Deno.test("JavaScript with bad intentions is contained, and the next call is right", async () => {
  assert(hostileJavascript.length >= 25);
  await attackAll("javascript", hostileJavascript);
});

Deno.test("Python with bad intentions is contained, and the next call is right", async () => {
  assert(hostilePython.length >= 25);
  await attackAll("python", hostilePython);
});

/** Rows of code, and what a REPL shows of it: value, output, error. */
type Shown = readonly [code: string, value: string | null, stdout?: string, error?: RegExp];

async function assertShows(sandbox: Sandbox, rows: readonly Shown[]): Promise<void> {
  for (const [code, value, stdout = "", error] of rows) {
    const result = await sandbox.run(code);
    assertEquals([result.value, result.stdout], [value, stdout], code);
    assertEquals(result.status, error ? "error" : "ok", `${code}: ${result.error}`);
    if (error) assertMatch(result.error!, error, code);
    else assertEquals(result.error, null);
  }
}

Deno.test("JavaScript shows what a REPL shows", async () => {
  await using sandbox = await openJavascriptSandbox({ processes: 1 });
  await assertShows(sandbox, [
    ["1 + 1", "2"],
    ["const a = [1, 2]; a.map((x) => ({ x }))", "[ { x: 1 }, { x: 2 } ]"],
    ["'text'", "'text'"],
    ["undefined", null],
    ["let x = 5;", null],
    ["console.log('a', 1, [2], { b: 'c' }); console.error('d')", null, "a 1 [ 2 ] { b: 'c' }\nd\n"],
    ["2n ** 70n", "1180591620717411303424n"],
    ["await Promise.resolve(3) * 2", "6"],
    ["const { a, ...rest } = await { a: 1, b: 2 };\nfunction f() { return a }\nf() + rest.b", "3"],
    ["async function main() { return 7 } main()", "7"],
    ["await new Promise((resolve) => setTimeout(resolve, 1e6, 'late'))", "'late'"],
    [
      "setTimeout(() => console.log('later'), 5); setTimeout(() => console.log('soon')); 1",
      "1",
      "soon\nlater\n",
    ],
    [
      "console.log('before'); null.x",
      null,
      "before\n",
      /^TypeError: Cannot read.*\n +at code\.js:1:29$/,
    ],
    [
      "function f() {\n  throw new RangeError('no')\n}\nf()",
      null,
      "",
      /RangeError: no\n +at f \(code\.js:2:9\)/,
    ],
    ["throw 5", null, "", /^Uncaught 5$/],
    ["let a = 1;\nlet b = ;", null, "", /^SyntaxError: Unexpected token ';' \(line 2\)$/],
    ["await 1;\nlet b = ;", null, "", /^SyntaxError/],
  ]);
});

Deno.test("Python shows what a REPL shows", async () => {
  await using sandbox = await openPythonSandbox({ processes: 1 });
  await assertShows(sandbox, [
    ["1 + 1", "2"],
    ["xs = [1, 2]\n[{'x': x} for x in xs]", "[{'x': 1}, {'x': 2}]"],
    ["'text'", "'text'"],
    ["None", null],
    ["x = 5", null],
    ["", null],
    ["import sys\nprint('a', 1)\nprint('b', file=sys.stderr)\n7", "7", "a 1\nb\n"],
    ["2 ** 70", "1180591620717411303424"],
    ["'\\u20ac \\U0001f600'", "'\u20ac \u{1f600}'"],
    ["'''\"\\'''' + \"\\n\"", `'"\\'\\n'`],
    ["from fractions import Fraction\nFraction(1, 3) + Fraction(1, 6)", "Fraction(1, 2)"],
    ["__name__", "'__main__'"],
    ["import sqlite3\nsqlite3.connect(':memory:').execute('select 6 * 7').fetchone()", "(42,)"],
    [
      "import asyncio\nasync def f(x):\n  await asyncio.sleep(x)\n  return x\nawait asyncio.gather(f(9), f(8))",
      "[9, 8]",
    ],
    ["import time\nt = time.time()\ntime.sleep(60)\nround(time.time() - t)", "60"],
    [
      "print('before')\n1 / 0",
      null,
      "before\n",
      /^line 2: 1 \/ 0\nZeroDivisionError: division by zero$/,
    ],
    [
      "def f():\n  return g()\nf()",
      null,
      "",
      /^line 3: f\(\)\nline 2 in f: return g\(\)\nNameError: name 'g'/,
    ],
    ["a = 1\nb = = 2", null, "", /line 2[\s\S]*SyntaxError: invalid syntax/],
  ]);
});

Deno.test("time and chance are the same in every call", async () => {
  const looks = {
    javascript:
      "[Date.now(), new Date().getFullYear(), Math.random(), performance.now(), crypto.randomUUID(), " +
      "crypto.getRandomValues(new Uint8Array(3)).join(), new Intl.DateTimeFormat('en').format(), " +
      "typeof Temporal === 'undefined' || Temporal.Now === undefined, Date()].join(' ')",
    python: "import time, random, os, uuid, secrets, datetime, tempfile\n" +
      "(time.time(), time.perf_counter(), time.localtime()[:3], random.random(), os.urandom(3), " +
      "uuid.uuid4(), uuid.uuid1(), secrets.token_hex(3), datetime.datetime.now(), hash('text'), " +
      "list({'a', 'b', 'c'}), open('/dev/urandom', 'rb').read(3), id(object()))",
  } as const;
  for (const language of ["javascript", "python"] as const) {
    const values = new Set<string | null>();
    for (let process = 0; process < 2; process++) {
      await using sandbox = await openers[language]({ processes: 1 });
      for (let call = 0; call < 2; call++) {
        const { value, error } = await sandbox.run(looks[language]);
        values.add(value ?? error);
      }
    }
    assertEquals(values.size, 1, [...values].join("\n"));
    assertMatch([...values][0]!, /2025/);
  }
});

Deno.test("no object of the child's realm is in reach of a context, nor one of another context", async () => {
  const newRoom = roomMaker(inspect, 1000);
  // What code can get hold of beside the globals.
  const code = `
    globalThis.caught = [arguments(), (function* () {})(), (async () => {})(), [].values(), /a/.exec("a")];
    function arguments() { return (function () { return [].slice.call(arguments, 0, 0) && arguments })(); }
    for (const f of [() => null.x, function f() { f(); }, () => eval("}"), () => new Array(-1), () => missing]) {
      try { f(); } catch (error) { caught.push(error, error.stack); }
    }
    import("node:fs").catch((error) => caught.push(error));
    setTimeout(function () { caught.push(this); });
    Promise.reject(new Error("x")).catch((error) => caught.push(error));
    Error.prepareStackTrace = (error, sites) => { caught.push(sites); return sites; };
    caught.push(new Error("x").stack);`;
  const rooms = [];
  for (const { context, realm } of [newRoom(), newRoom()]) {
    realm.settle(vm.runInContext(code, context));
    do await new Promise((resolve) => setTimeout(resolve)); while (realm.tick());
    const global = vm.runInContext("globalThis", context) as { caught: unknown[] };
    assertEquals(global.caught.length, 19);
    // Some properties of V8 answer by the realm that asks.
    rooms.push(reachable([global, realm], vm.runInContext("Reflect", context)));
  }
  const own = reachable([
    ...[globalThis, (async () => {}).constructor, (function* () {}).constructor, [].values()],
  ], Reflect);
  for (const thing of rooms[0]!) {
    assert(!own.has(thing), `of the child's realm: ${describe(thing)}`);
    assert(!rooms[1]!.has(thing), `of another context: ${describe(thing)}`);
  }
  assert(rooms[0]!.size > 900);
});

/** All objects that code can get at from some, by properties, accessors and prototypes. */
function reachable(from: readonly unknown[], reflect: typeof Reflect): Set<object> {
  const found = new Set<object>();
  const queue = [...from];
  while (queue.length > 0) {
    const one = queue.pop();
    if (one === null || (typeof one !== "object" && typeof one !== "function")) continue;
    if (found.has(one)) continue;
    found.add(one);
    queue.push(reflect.getPrototypeOf(one));
    for (const key of reflect.ownKeys(one)) {
      const { value, get, set } = reflect.getOwnPropertyDescriptor(one, key)!;
      queue.push(value, get, set);
    }
  }
  return found;
}

function describe(thing: object): string {
  return typeof thing === "function" ? `function ${thing.name}` : Object.keys(thing).join();
}

Deno.test("a process has no rights, whatever runs in it", async () => {
  // As if code had got out of its context or its interpreter.
  const attempts = {
    network: `await fetch("http://127.0.0.1:9")`,
    connection: `await Deno.connect({ port: 9 })`,
    listener: `Deno.listen({ port: 0 })`,
    "node:net": `await new Promise((resolve, reject) => import("node:net").then((net) =>
      net.connect(9, "127.0.0.1").on("error", reject).on("connect", resolve), reject))`,
    reading: `Deno.readTextFileSync("/etc/passwd")`,
    "node:fs": `(await import("node:fs")).readFileSync("/etc/passwd")`,
    "its own folder": `Deno.readDirSync(".").next()`,
    writing: `Deno.writeTextFileSync("x", "x")`,
    environment: `Deno.env.toObject()`,
    home: `Deno.env.get("HOME")`,
    subprocess: `new Deno.Command("/bin/sh").outputSync()`,
    "node:child_process": `(await import("node:child_process")).execFileSync("/bin/sh")`,
    "foreign functions": `Deno.dlopen("libc.so.6", {})`,
    "the machine": `Deno.hostname()`,
    "signal to the parent": `Deno.kill(Deno.ppid, "SIGTERM")`,
    "signal to others": `(await import("node:process")).kill(1, 0)`,
    npm: `await import("npm:acorn@8.19.0")`,
    https: `await import("https://example.com/x.js")`,
    file: `await import("file:///etc/passwd")`,
    permissions: `const { state } = await Deno.permissions.request({ name: "read" });
      if (state !== "granted") throw new Error("refused")`,
  };
  const program = `
    const results = {};
    const attempts = { ${
    Object.entries(attempts).map(([name, code]) =>
      `${JSON.stringify(name)}: async () => { ${code} }`
    )
      .join(",\n")
  } };
    for (const [name, attempt] of Object.entries(attempts)) {
      results[name] = await attempt().then(() => "done", (error) => error.name);
    }
    console.log(JSON.stringify(results));`;
  await withPrograms({ "escaped.js": program }, async (shared, folder) => {
    const child = shared.spawn(join(folder, "escaped.js"), bare);
    await child.stdin.close();
    const { stdout, stderr } = await child.output();
    const results = JSON.parse(new TextDecoder().decode(stdout) || "null");
    assert(results, new TextDecoder().decode(stderr));
    assertEquals(Object.keys(results), Object.keys(attempts));
    for (const [name, result] of Object.entries(results)) {
      assertMatch(result as string, /^(NotCapable|TypeError|Error)$/, name);
    }
  });
});

/** Runs programs that are not the project's own where the sandbox would run its. */
async function withPrograms(
  programs: Readonly<Record<string, string>>,
  work: (shared: SharedFolder, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(programs)) {
      await Deno.writeTextFile(join(folder, name), text);
    }
    await using shared = await SharedFolder.open();
    await work(shared, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a process that lies is replaced, and no other call hears of it", async () => {
  const liar = `
    const say = (...messages) => Deno.stdout.writeSync(
      new TextEncoder().encode(messages.map((message) => JSON.stringify(message) + "\\n").join("")));
    const reply = (value) =>
      ({ status: "ok", value, stdout: "", error: null, spent: false });
    let opened = false, trap = false, rest = "";
    for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      rest += text;
      if (!rest.endsWith("\\n")) continue;
      const { nonce, code } = JSON.parse(rest);
      rest = "";
      if (!opened) { opened = true; say({ nonce }); continue; }
      if (trap) Deno.exit(3);
      switch (code) {
        case "another nonce": say({ nonce: "x", reply: reply("forged") }); break;
        case "two replies": say({ nonce, reply: reply("forged") }, { nonce, reply: reply("forged") }); break;
        case "no reply": say({ nonce }); break;
        case "half a reply": say({ nonce, reply: { status: "ok" } }); break;
        case "another status": say({ nonce, reply: { ...reply("forged"), status: "great" } }); break;
        case "no JSON": Deno.stdout.writeSync(new TextEncoder().encode("forged\\n")); break;
        case "a line without end":
          for (;;) Deno.stdout.writeSync(new Uint8Array(65536).fill(97));
        case "an exit": Deno.exit(0);
        case "a signal to itself": Deno.kill(Deno.pid, "SIGKILL");
        case "silence": break;
        case "a reply and more":
          say({ nonce, reply: reply("more") });
          setTimeout(() => say({ nonce, reply: reply("forged") }), 20);
          break;
        case "a trap for the next call": trap = true; // falls through
        default: say({ nonce, reply: reply(code) });
      }
    }`;
  const broken = [
    ...["another nonce", "two replies", "no reply", "half a reply", "another status", "no JSON"],
    ...["a line without end", "an exit", "a signal to itself", "silence"],
  ];
  await withPrograms({ "liar.js": liar }, async (shared, folder) => {
    const limits = sandboxLimits({ processes: 1, timeoutMs: 1500 });
    await using pool = await SandboxPool.open(limits, {
      start: () => SandboxProcess.start(shared.spawn(join(folder, "liar.js"), bare), {}, 1e6),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
    for (const code of broken) {
      const { status, value } = await pool.run(code);
      assertEquals([status, value], [code === "silence" ? "timeout" : "crashed", null], code);
      assertEquals((await pool.run("right")).value, "right", `after ${code}`);
    }
    for (const code of ["a reply and more", "a trap for the next call"]) {
      assertEquals((await pool.run(code)).status, "ok");
      if (code === "a reply and more") await new Promise((resolve) => setTimeout(resolve, 100));
      assertEquals((await pool.run("right")).value, "right", `after ${code}`);
    }
  });
});

Deno.test("an interrupt from the terminal, which all processes get, ends none of them", async () => {
  await using shared = await SharedFolder.open();
  const child = shared.spawn("javascript.ts", bare);
  const setup = { acorn: "", inspect: "module.exports = String", outputChars: 100 };
  const process = await SandboxProcess.start(child, setup, 1e4);
  const code = "for (let i = 0; i < 1e8; i++); 5";
  const answer = process.run({ before: [], code }, 60_000);
  child.kill("SIGINT");
  assertEquals((await answer as { reply?: { value: string } }).reply?.value, "5");
  await process.end();
});

Deno.test("calls of several episodes at a time keep their own variables, and no others", async () => {
  const languages = {
    javascript: {
      open: openJavascript,
      set: (n: number) => `globalThis.x = (globalThis.x ?? 0) + ${n}; Array.prototype.mine = x; x`,
      get: "[typeof x === 'undefined' ? 0 : x, [].mine ?? 0].join()",
      shown: (n: number) => `'${n},${n}'`,
      fail: "x = 'lost'; for (;;);",
    },
    python: {
      open: openPython,
      set: (n: number) => `import builtins\nx = globals().get("x", 0) + ${n}\nbuiltins.mine = x\nx`,
      get: 'import builtins\nf\'{globals().get("x", 0)},{getattr(builtins, "mine", 0)}\'',
      shown: (n: number) => `'${n},${n}'`,
      fail: "x = 'lost'\nwhile True: pass",
    },
  } as const;
  for (const { open, set, get, shown, fail } of Object.values(languages)) {
    await using tool = await open({ stateful: true, timeoutMs: 2000, processes: 2 });
    assert(tool.stateful);
    const step = fc.record({ episode: fc.nat(3), add: fc.integer({ min: 1, max: 9 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 10 }), async (steps) => {
        const episodes = Array.from({ length: 4 }, () => ({ tag: {}, sum: 0 }));
        const checks = steps.map(async ({ episode: at, add }) => {
          const episode = episodes[at]!;
          episode.sum += add;
          const expected = String(episode.sum);
          const { text } = await callTool(tool, { code: set(add) }, { episode: episode.tag });
          assertEquals(text, expected);
        });
        await Promise.all(checks);
        for (const { tag, sum } of episodes) {
          const { text } = await callTool(tool, { code: get }, { episode: tag });
          assertEquals(text, shown(sum));
        }
        assertEquals((await callTool(tool, { code: get }, {})).text, shown(0));
      }),
      { numRuns: 4 },
    );
    // A call that breaks a limit leaves its episode as it was.
    const episode = {};
    await callTool(tool, { code: set(4) }, { episode });
    assertMatch(
      (await callTool(tool, { code: fail }, { episode })).text,
      /^error: it ran for more/,
    );
    assertEquals((await callTool(tool, { code: get }, { episode })).text, shown(4));
  }
});

Deno.test("a tool shows the model what it printed, its value, or a short error", async () => {
  await using python = await openPython({ timeoutMs: 3000, processes: 1 });
  const text = async (code: string) => (await callTool(python, { code }, {})).text;
  assertEquals(python.name, "python");
  assertEquals(await text("print('a')\n2"), "a\n2");
  assertEquals(await text("print('a')"), "a");
  assertEquals(await text("x = 1"), "(no output)");
  assertEquals(
    await text("print('a')\n1 / 0"),
    "error: line 2: 1 / 0\nZeroDivisionError: division by zero\nprinted before that:\na",
  );
  assertEquals((await callTool(python, { source: "1" }, {})).status, "bad-arguments");
  const long = await text("'x' * 10000");
  assert(long.length <= 2048);
  assertMatch(long, /bytes cut/);
});

Deno.test("a run opens an interpreter by its name, and closes it", async () => {
  let javascript: Tool;
  {
    await using box = await openTools(["javascript", "calculator"]);
    javascript = box.tools[0]!;
    assertEquals(box.tools.map(({ name }) => name), ["javascript", "add", "sub", "mul", "div"]);
    assertEquals((await callTool(javascript, { code: "6 * 7" }, {})).text, "42");
  }
  assertMatch((await callTool(javascript, { code: "6 * 7" }, {})).text, /the sandbox is closed/);
  await assertRejects(() => openTools(["pyton"]), ConfigError, "python");
});

Deno.test("an aborted call ends its process, and the others go on", async () => {
  await using sandbox = await openJavascriptSandbox({ processes: 1, timeoutMs: 60_000 });
  const controller = new AbortController();
  const running = sandbox.run("for (;;);", { signal: controller.signal });
  const waiting = sandbox.run("1", { signal: controller.signal });
  const other = sandbox.run("2");
  setTimeout(() => controller.abort(new Error("enough")), 50);
  await Promise.all([
    assertRejects(() => running, Error, "enough"),
    assertRejects(() => waiting, Error, "enough"),
  ]);
  assertEquals((await other).value, "2");
  await assertRejects(() => sandbox.run("3", { signal: controller.signal }), Error, "enough");
});

Deno.test("a closed sandbox runs nothing, and leaves nothing behind", async () => {
  const sandbox = await openJavascriptSandbox({ processes: 2 });
  const running = sandbox.run("for (;;);");
  const refused = assertRejects(() => running, Error, "closed");
  await sandbox[Symbol.asyncDispose]();
  await refused;
  await assertRejects(() => sandbox.run("1"), Error, "Cannot run code: the sandbox is closed");
  await sandbox[Symbol.asyncDispose]();
});

Deno.test("limits out of range are refused by name", async () => {
  for (
    const [limits, message] of [
      [{ timeoutMs: 0 }, "timeoutMs must be an integer of [10, 3600000], got 0"],
      [{ memoryMiB: 1.5 }, "memoryMiB must be an integer"],
      [{ processes: NaN }, "processes must be an integer"],
      [{ maxOutput: -1 }, "maxOutput must be an integer"],
    ] as const
  ) {
    await assertRejects(() => openJavascriptSandbox(limits), RangeError, message);
  }
});

/** Runs a program that opens a tool, with some permissions; returns what it prints. */
async function openWith(permissions: readonly string[], code: string): Promise<string> {
  const tools = new URL("../src/tools/sandbox/tools.ts", import.meta.url);
  const config = new URL("../deno.json", import.meta.url);
  const program = `import { openJavascript, openPython } from "${tools}";\n${code}`;
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "program.ts");
    await Deno.writeTextFile(path, program);
    await Deno.mkdir(join(folder, "temporary"));
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--config", config.pathname, ...permissions, path],
      env: {
        XDG_CACHE_HOME: join(folder, "cache"),
        TMPDIR: join(folder, "temporary"),
        DENO_DIR: denoDir(),
      },
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Where this process has its packages. */
function denoDir(): string {
  const args = ["info", "--json"];
  const { stdout } = new Deno.Command(Deno.execPath(), { args }).outputSync();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

Deno.test("a missing permission is an error that says so", async () => {
  const open = `try { await openJavascript(); } catch (e) { console.log(e.name, e.message); }`;
  assertMatch(
    await openWith(["--allow-read", "--allow-write", "--allow-env"], open),
    /^ToolUnavailableError Cannot start a subprocess .*run access.*need --allow-run, --allow-read/,
  );
  assertMatch(
    await openWith(["--allow-read", "--allow-run", "--allow-env"], open),
    /^ToolUnavailableError Cannot make a temporary folder .*write access.*need --allow-run/,
  );
});

Deno.test("nobody has to close a tool for the program to end, and Python's memory is kept", async () => {
  const program = `
    const cache = Deno.env.get("XDG_CACHE_HOME") + "/mentor";
    const list = (folder) => [...Deno.readDirSync(folder)].map(({ name }) => name);
    const made = () => Deno.statSync(cache + "/" + list(cache)[0]).mtime.valueOf();
    const python = await openPython();
    console.log(await python.execute({ code: "6 * 7" }, { signal: new AbortController().signal }));
    const first = made();
    await openPython();
    console.log(list(cache).join(), made() === first);
    const temporary = Deno.env.get("TMPDIR");
    const before = list(temporary).length;
    addEventListener("unload", () => console.log(before, list(temporary).length));`;
  const output = await openWith(["-A"], program);
  assertMatch(output, /^42\npyodide@314\.0\.7-deno-[\d.]+-[0-9a-f]{12}\.snapshot true\n2 0\n$/);
});
