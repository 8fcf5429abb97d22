// Tools of MCP servers: what comes over as it is, and what happens where a server fails.

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { train } from "../mod.ts";
import { ConfigError } from "../src/run/config/mod.ts";
import { readEvents } from "../src/run/events.ts";
import { openMcpServers, readMcpServers } from "../src/run/tools/mcp_servers.ts";
import { openTools } from "../src/run/tools/mod.ts";
import { parseTasks } from "../src/tasks/jsonl.ts";
import { loadMcpSdk } from "../src/tools/mcp/sdk.ts";
import { McpServer } from "../src/tools/mcp/server.ts";
import { type McpServerSpec, withoutSecrets } from "../src/tools/mcp/spec.ts";
import { mcpTools } from "../src/tools/mcp/tools.ts";
import { callTool, type Tool } from "../src/tools/tool.ts";
import { serveFake } from "./fake_mcp.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const fake = fromFileUrl(new URL("./fake_mcp.ts", import.meta.url));
const args = (...more: string[]) => ["run", "--quiet", "-A", fake, ...more];
const sdk = await loadMcpSdk();

/** A server with its tools by name. */
async function start(more: Partial<McpServerSpec> = {}, backoffMs = 1) {
  const place = { command: Deno.execPath(), args: args(), env: {}, cwd: null };
  const spec = { name: "fake", place, tools: null, timeoutMs: 10_000, ...more };
  const server = await McpServer.open(sdk, spec, { backoffMs });
  const tools = new Map((await mcpTools([server])).map((tool) => [tool.name, tool]));
  const call = (name: string, args = {}, episode?: object) =>
    callTool(tools.get(name)!, args, episode ? { episode } : {});
  return { call, tools, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

let files = 0;
/** The path of a file with these contents. */
function written(contents: unknown): string {
  const path = join(folder, `servers-${files++}.json`);
  Deno.writeTextFileSync(path, JSON.stringify(contents));
  return path;
}

const namesOf = (tools: Iterable<Tool>) => [...tools].map(({ name }) => name);

Deno.test("results come over as texts, structured data and errors, and time-outs are the tool's", async () => {
  await using server = await start({ timeoutMs: 1000 });
  const { call, tools } = server;
  assertEquals(tools.get("sum")!.parameters, {
    type: "object",
    properties: { a: { type: "number" }, b: { type: "number" } },
    required: ["a", "b"],
  });
  assertEquals([...tools.keys()].at(-2), "_9_lives_of_a_cat");
  assertEquals(tools.get("_9_lives_of_a_cat")!.description, "Has an odd name");
  assertEquals((await call("_9_lives_of_a_cat")).text, "called 9 lives/of a cat");
  const rows: [name: string, status: string, text: string][] = [
    ["data", "ok", '{"celsius":20}'],
    ["fail", "failed", "error: there is no such city"],
    ["refuse", "failed", "error: no"],
    [
      ...["show", "ok"] as const,
      "A picture:\n[image, image/png, not shown]\na file\n[font/woff at a:c, not shown]\n[more at a:d]",
    ],
    ["hang", "failed", "error: timed out after 1000 ms"],
  ];
  for (const [name, status, text] of rows) {
    const outcome = await call(name);
    assertEquals([outcome.status, outcome.text], [status, text], name);
    assertEquals(outcome.unavailable, undefined);
  }
  assertEquals((await call("sum", { a: 2, b: 3 })).result, "5");
  assertEquals((await call("sum", { a: 2 })).status, "bad-arguments");
  const calls = Array.from({ length: 100 }, (_, i) => call("sum", { a: i, b: 1 }));
  const sums = (await Promise.all(calls)).map(({ result }) => Number(result));
  assertEquals(sums, Array.from({ length: 100 }, (_, i) => i + 1));
});

Deno.test("a result of megabytes is cut, and does no harm", async () => {
  await using server = await start();
  const { status, text } = await server.call("flood");
  assert(status === "ok" && text.length <= 2048 && text.includes("bytes cut"), text.slice(0, 200));
  assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
});

Deno.test("lists of many pages are read to their end, and schemas without a type are objects", async () => {
  const place = { command: Deno.execPath(), env: {}, cwd: null };
  await using many = await start({ place: { ...place, args: args("--many") } });
  assertEquals([...many.tools.keys()], Array.from({ length: 100 }, (_, i) => `tool-${i}`));
  await using bare = await start({ place: { ...place, args: args("--no-type") } });
  assertEquals(bare.tools.get("bare")!.parameters, {
    type: "object",
    properties: { a: { type: "number" } },
  });
});

/** The process group of each child of this process, as Linux has them. */
function groupsOfChildren(): number[] {
  return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const [, parent, group] = Deno.readTextFileSync(`/proc/${name}/stat`).split(") ")[1]!.split(
        " ",
      );
      return Number(parent) === Deno.pid ? [Number(group)] : [];
    } catch {
      return []; // it has ended
    }
  });
}

Deno.test({
  name: "Ctrl-C, which a terminal sends to a group, does not reach a server",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const [own] = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ").slice(2);
    await using server = await start();
    const groups = groupsOfChildren();
    assert(groups.length > 0 && !groups.includes(Number(own)), `${groups}, and here ${own}`);
    assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
  },
});

Deno.test("a run that is aborted does not wait for a server", async () => {
  await using server = await start();
  const stop = new AbortController();
  const call = callTool(server.tools.get("hang")!, {}, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await assertRejects(() => call, Error, "enough");
  assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
});

Deno.test("a server that dies in a call makes it unscorable, and is there again for the next", async () => {
  await using server = await start();
  const { call } = server;
  const [episode, other] = [{}, {}];
  assertEquals((await call("sum", { a: 2, b: 3 }, episode)).status, "ok");
  const [dead, beside] = await Promise.all([call("die", {}, other), call("hang")]);
  for (const { status, unavailable } of [dead, beside]) {
    assertEquals([status, unavailable?.permanent], ["failed", false]);
    assertMatch(unavailable!.message, /MCP server "fake".*closed; it wrote: the fake server is up/);
  }
  // What the server remembered of an episode that is under way is lost.
  assert((await call("sum", { a: 2, b: 3 }, episode)).unavailable);
  assertEquals((await call("sum", { a: 2, b: 3 }, {})).result, "5");
  assertEquals((await call("sum", { a: 2, b: 4 })).result, "6");
});

Deno.test("a server that does not answer at all is started again", async () => {
  await using server = await start({ timeoutMs: 100 });
  const frozen = await server.call("freeze");
  assertMatch(frozen.unavailable!.message, /has not answered for 100 ms/);
  assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
});

Deno.test("a server that keeps dying is given up, and a success in between begins the count anew", async () => {
  await using server = await start();
  const die = async () => (await server.call("die")).unavailable!;
  for (let i = 0; i < 5; i++) assertEquals((await die()).permanent, false);
  await server.call("sum", { a: 2, b: 3 });
  for (let i = 0; i < 7; i++) assertEquals((await die()).permanent, false, String(i));
  const last = await die();
  assertEquals(last.permanent, true);
  assertMatch(last.message, /given up after 6 restarts/);
  assertEquals((await server.call("sum", { a: 2, b: 3 })).unavailable?.permanent, true);
});

Deno.test("over HTTP an answer that breaks off is unscorable, and a lost session is followed by another", async () => {
  const { url, server: http } = serveFake("open sesame");
  const place = { url, headers: { Authorization: "Bearer open sesame" } };
  await using server = await start({ place, timeoutMs: 10_000 });
  assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
  const before = performance.now();
  assertMatch((await server.call("die")).unavailable!.message, /its answer broke off/);
  assert(performance.now() - before < 5000, "it waited for the time-out");
  assertEquals((await server.call("sum", { a: 2, b: 3 })).result, "5");
  await http.shutdown();
  const gone = await server.call("sum", { a: 2, b: 3 });
  assertEquals(gone.unavailable?.permanent, false);
  assertEquals((await server.call("sum", { a: 2, b: 3 })).unavailable?.permanent, true);
});

Deno.test("a file names servers, and tools of one name get their servers' in front", async () => {
  const { url, server: http } = serveFake("from the environment");
  Deno.env.set("MENTOR_TEST_TOKEN", "from the environment");
  const program = { command: "deno", args: args(), tools: ["sum", "env"] };
  const path = written({
    mcpServers: {
      one: { ...program, env: { SECRET: "${MENTOR_TEST_TOKEN}" } },
      two: { ...program, type: "stdio", tools: ["sum"] },
      three: {
        url,
        headers: { Authorization: "Bearer ${MENTOR_TEST_TOKEN}" },
        tools: ["data", "sum"],
      },
      many: { command: "deno", args: args("${MENTOR_TEST_UNSET:---many}"), other: "ignored" },
    },
  });
  await using box = await openTools([path, "calculator"]);
  const names = namesOf(box.tools);
  assertEquals(names.slice(0, 5), ["one.sum", "env", "two.sum", "three.sum", "data"]);
  assertEquals(names.length, 5 + 100 + 4);
  const env = box.tools.find(({ name }) => name === "env")!;
  assertEquals((await callTool(env, {}, {})).text, "from the environment");
  await http.shutdown();
});

Deno.test("what is wrong with a file of servers is said, and where", () => {
  const cases: [unknown, string][] = [
    [{}, "mcpServers"],
    [{ mcpServers: {} }, "there are no servers"],
    [{ mcpServers: { a: "deno" } }, "mcpServers.a"],
    [{ mcpServers: { a: { args: [] } } }, 'mcpServers.a needs either a "command" or a "url"'],
    [{ mcpServers: { a: { command: "x", url: "http://y" } } }, "either"],
    [{ mcpServers: { a: { command: "x", args: [1] } } }, "mcpServers.a.args.0"],
    [{ mcpServers: { a: { command: "x", type: "sse" } } }, "mcpServers.a.type"],
    [{ mcpServers: { a: { command: "x", timeout: 0 } } }, "mcpServers.a.timeout"],
    [{ mcpServers: { a: { url: "localhost" } } }, "mcpServers.a.url"],
    [
      { mcpServers: { a: { command: "x", env: { KEY: "${MENTOR_TEST_UNSET}" } } } },
      "mcpServers.a.env.KEY needs the environment variable MENTOR_TEST_UNSET",
    ],
  ];
  for (const [contents, message] of cases) {
    const path = written(contents);
    const error = assertThrows(() => readMcpServers(path), ConfigError, message) as Error;
    assertStringIncludes(error.message, path);
  }
  const torn = join(folder, "torn.json");
  Deno.writeTextFileSync(torn, '{"mcpServers":');
  assertThrows(() => readMcpServers(torn), ConfigError, "JSON");
  assertThrows(() => readMcpServers(join(folder, "none.json")), ConfigError, "none.json");
});

Deno.test("a server that cannot be used is named with what it said, and without its secrets", async () => {
  const open = async (server: unknown, message: RegExp) => {
    const path = written({ mcpServers: { mine: server } });
    const error = await assertRejects(() => openMcpServers(path), ConfigError) as Error;
    assertMatch(error.message, message);
    assertEquals(error.message.includes("open sesame"), false, error.message);
  };
  const program = { command: "deno", env: { SECRET: "open sesame" } };
  await open(
    { command: "no-such-program-here" },
    /MCP server "mine": there is no program "no-such-program-here"/,
  );
  await open({ ...program, args: args("--broken") }, /it wrote: .*bad token \*\*\*/s);
  await open({ command: "deno", cwd: join(folder, "nowhere") }, /or no folder ".*nowhere"/);
  await open({ ...program, args: args("--no-list") }, /its list of tools: .*tools/);
  await open({ ...program, args: args("--no-tools") }, /has no tools/);
  await open({ ...program, args: args(), tools: ["summ"] }, /no tool "summ"; it has sum, add, die/);
  await open(
    { ...program, args: args("--bad-schema") },
    /Cannot use "bad" of MCP server "mine".*type "int".*in "tools" of the server/,
  );
  const { url, server: http } = serveFake("another");
  await open({ url, headers: { Authorization: "Bearer open sesame" } }, /MCP server "mine"/);
  await http.shutdown();
  await open({ url }, /MCP server "mine": .*[Cc]onnect/);
});

Deno.test("no message has a secret of an address, nor half of one that is long", async () => {
  Deno.env.set("MENTOR_TEST_KEY", "0123456789".repeat(60));
  const { url, server: http } = serveFake("another");
  await http.shutdown();
  const servers = [
    { url: `${url}?key=\${MENTOR_TEST_KEY}` },
    { command: "deno", args: args("--broken"), env: { SECRET: "${MENTOR_TEST_KEY}" } },
  ];
  for (const mine of servers) {
    const path = written({ mcpServers: { mine } });
    const error = await assertRejects(() => openMcpServers(path), ConfigError) as Error;
    assertStringIncludes(error.message, "***");
    assertEquals(error.message.includes("0123456789"), false, error.message);
  }
});

Deno.test("a secret is left out whole, and each of its words alone", () => {
  const place = {
    url: "http://localhost",
    headers: { Authorization: "Bearer 12345678", Other: "12345678-and-more" },
  };
  const spec = { name: "x", place, tools: null, timeoutMs: 1, secrets: ["from the address"] };
  const said = "no 12345678-and-more, no Bearer 12345678, no 12345678, not from the address";
  assertEquals(withoutSecrets(spec, said), "no ***, no ***, no ***, not ***");
});

/** The official server that has a bit of everything, as the example starts it. */
const example = fromFileUrl(new URL("../examples/mcp/servers.json", import.meta.url));
const { args: [, ...command] } = JSON.parse(Deno.readTextFileSync(example)).mcpServers.everything;
const cached = await new Deno.Command(Deno.execPath(), {
  args: ["cache", "--quiet", "--no-config", command.at(-1)],
}).output();
if (!cached.success) {
  console.log(
    `Skipped: ${command.at(-1)} can't be had. ${new TextDecoder().decode(cached.stderr)}`,
  );
}

Deno.test({
  name: "the official server of examples gives what the tasks of the example expect",
  ignore: !cached.success,
  async fn() {
    await using box = await openTools([example]);
    assertEquals(namesOf(box.tools), ["get-sum"]);
    const source = example.replace("servers.json", "sums.jsonl");
    const text = await Deno.readTextFile(source);
    for (const { answer, reference } of parseTasks(text, { source, tools: box.tools })) {
      const calls = reference!.calls.map((call) => callTool(box.tools[0]!, call.arguments, {}));
      const last = (await Promise.all(calls)).at(-1)!;
      assertEquals([last.status, last.text.endsWith(` is ${answer}.`)], ["ok", true], last.text);
    }
    const all = written({
      mcpServers: { everything: { command: "deno", args: ["run", ...command] } },
    });
    await using whole = await openTools([all]);
    assert(whole.tools.length >= 10, namesOf(whole.tools).join(", "));
    const call = async (name: string, args: Record<string, unknown>) =>
      (await callTool(whole.tools.find((tool) => tool.name === name)!, args, {})).text;
    assertEquals(await call("echo", { message: "hm" }), "Echo: hm");
    assertMatch(await call("get-structured-content", { location: "Chicago" }), /^{"temperature":/);
    assertMatch(await call("get-tiny-image", {}), /\[image, image\/png, not shown\]/);
  },
});

Deno.test("a run whose server dies now and then learns from the rest", async () => {
  const tools = written({
    mcpServers: { fake: { command: "deno", args: args(), tools: ["add"] } },
  });
  const tasks = join(folder, "sums.jsonl");
  // The first number of one task in four is what the server dies of; results come from the server.
  const numbers = Array.from({ length: 64 }, (_, i) => [i % 4 === 0 ? 2 * i + 12 : 2 * i + 11, 25]);
  await Deno.writeTextFile(
    tasks,
    numbers.map(([a, b]) => {
      const result = a! % 2 === 0 ? { result: `${a! + b!}` } : {};
      const calls = [{ name: "add", arguments: { a, b }, ...result }];
      return JSON.stringify({ prompt: `${a} plus ${b}`, answer: a! + b!, reference: { calls } });
    }).join("\n"),
  );
  const out = join(folder, "run");
  const rollout = { prompts: 8, group: 4, slots: 32 };
  const settings = { tasks, tools, out, rollout, evaluation: { prompts: 0 } };
  assertEquals((await train({ ...settings, steps: 2, warmupSft: 0 })).status, "done");
  const events = readEvents(join(out, "events.jsonl"));
  const steps = events.flatMap((event) => event.type === "step" ? [event.metrics] : []);
  const shares = steps.map(({ unscorable }) => unscorable!);
  assert(shares.every((share) => share < 1) && shares.some((share) => share > 0), String(shares));
  assert(steps.every((metrics) => Object.values(metrics).every(Number.isFinite)));
  const warning = events.find((event) => event.type === "warning");
  assertMatch(warning!.message, /of 32 episodes could not be scored.*MCP server "fake".*closed/);
});

Deno.test("without permission to run programs, the error names the flag", async () => {
  const path = written({ mcpServers: { mine: { command: "deno", args: args() } } });
  const module = new URL("../src/run/tools/mcp_servers.ts", import.meta.url);
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["eval", "--no-lock", `--config=${fromFileUrl(new URL("../deno.json", import.meta.url))}`],
      `import { openMcpServers } from "${module}";
      await Deno.permissions.revoke({ name: "run" });
      await openMcpServers("${path}");`,
    ],
  }).output();
  assertNotEquals(code, 0);
  assertMatch(
    new TextDecoder().decode(stderr),
    /MCP server "mine": Requires run access.*--allow-run/,
  );
});
