// Teachers: conversations with an endpoint on loopback, what becomes of them, and what they may cost.

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import {
  calculator,
  ConfigError,
  parseTasks,
  teach,
  TeacherError,
  type TeachOptions,
  ToolUnavailableError,
} from "../mod.ts";
import { CheckpointError } from "../src/io/checkpoint.ts";
import { retryAfter } from "../src/io/http.ts";
import { readJsonl } from "../src/io/jsonl.ts";
import { statedAnswers } from "../src/run/teach/answer.ts";
import { completionsUrl, Endpoint, PassingError } from "../src/run/teach/endpoint.ts";
import { Journal } from "../src/run/teach/journal.ts";
import { RateLimit } from "../src/run/teach/rate_limit.ts";
import {
  type Asked,
  calling,
  completion,
  FakeEndpoint,
  promptOf,
  results,
  type Said,
  sums,
} from "./fake_endpoint.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

let files = 0;
const freshPath = () => join(folder, `${files++}.jsonl`);

function taskFile(text: string): string {
  const path = freshPath();
  Deno.writeTextFileSync(path, text);
  return path;
}

/** A task file of given lines. */
const lines = (...tasks: Record<string, unknown>[]) =>
  taskFile(tasks.map((task) => `${JSON.stringify(task)}\n`).join(""));

/** Teaches with an endpoint; failed requests are repeated at once. */
function ask(
  endpoint: FakeEndpoint,
  tasks: string,
  options: TeachOptions = {},
  settings: Record<string, unknown> = {},
) {
  return teach(
    { tasks, from: "fake", out: freshPath(), seed: 1, ...settings },
    { endpoint: endpoint.url, retryMs: 1, ...options },
  );
}

interface JournalLine {
  type: string;
  task: string;
  sample: number;
  turn: number;
  verdict?: string;
  [field: string]: unknown;
}

const journalOf = ({ journal }: { journal: string }) => readJsonl(journal) as JournalLine[];

/** Verdicts by task. */
const verdictsOf = (result: { journal: string }) =>
  Object.fromEntries(
    journalOf(result).filter(({ type }) => type === "trajectory")
      .map(({ task, verdict }) => [task, verdict]),
  );

Deno.test("a teacher's trajectories become references that a task file holds", async () => {
  await using endpoint = new FakeEndpoint();
  const result = await ask(endpoint, taskFile(sums(10)), { samples: 4 });
  assertEquals([result.status, result.stopped, result.tasks, result.ended], ["done", null, 10, 40]);
  const tasks = parseTasks(Deno.readTextFileSync(result.out), {
    source: result.out,
    tools: calculator().all,
  });
  assertEquals(tasks.length, result.taught);
  for (const { reference, answer } of tasks) {
    assertEquals(reference!.answer, answer);
    assertEquals(reference!.calls.map(({ name }) => name), ["add", "mul"]);
    assertEquals(reference!.calls[1]!.result, Number(answer));
  }
  // Some of the products are turned round: another list of calls, and each list once.
  const lists = tasks.map(({ reference }) => 1 + (reference!.alternatives?.length ?? 0));
  assertEquals(Math.max(...lists), 2);
  assertEquals(lists.reduce((a, b) => a + b), result.references);
  const written = Deno.readTextFileSync(result.out).trim().split("\n").map((line) =>
    JSON.parse(line)
  );
  const totals = written.map(({ teacher }) => teacher);
  assert(totals.every(({ model, samples }) => model === "fake" && samples === 4));
  const right = totals.reduce((sum, { correct }) => sum + correct, 0);
  assertEquals([right, right / 40], [result.accepted, result.passRate]);
  assertEquals(result.rejected["wrong answer"], 40 - right);
  assertEquals([result.calls, result.requests, result.failures], [2, 120, 0]);
  assertEquals(result.tokens, { input: 12_000, output: 2_400, estimated: 0 });
});

Deno.test("requests carry the tools, the question, and no field that nobody asked for", async () => {
  await using endpoint = new FakeEndpoint();
  const tasks = lines({ prompt: "2 plus 3 times 4", answer: 20, system: "Be brief.", id: "x" });
  await teach({ tasks, from: "fake", out: freshPath() }, { endpoint: `${endpoint.url}/` });
  const { body } = endpoint.asked[0]!;
  assertEquals(Object.keys(body).sort(), ["messages", "model", "tools"]);
  assertEquals(body.tools!.map((each) => each.function.name), ["add", "sub", "mul", "div"]);
  assertEquals(body.messages.map(({ role }) => role), ["system", "user"]);
  assertMatch(String(body.messages[0]!.content), /Answer: 42\n\nBe brief\.$/);
  await ask(endpoint, tasks, { system: "Mine.", request: { max_tokens: 50, top_k: 4 } }, {
    rollout: { temperature: 0.5, topP: 0.9 },
  });
  const last = endpoint.asked.at(-1)!.body;
  assertEquals(last.messages[0]!.content, "Mine.\n\nBe brief.");
  assertEquals([last.max_tokens, last.top_k, last.temperature, last.top_p], [50, 4, 0.5, 0.9]);
  assert(Number.isSafeInteger(last.seed) && last.seed! < 2 ** 31);
  // The conversation as it stands: what the teacher called, and what came back under the same id.
  const [, , called, told] = last.messages as { [field: string]: unknown }[];
  const [{ id }] = called!.tool_calls as [{ id: string }];
  assertEquals([told!.role, told!.tool_call_id, told!.content], ["tool", id, "5"]);
});

Deno.test("calls of one turn run in their order, and each gets its own result", async () => {
  await using endpoint = new FakeEndpoint((asked): Said => {
    const told = results(asked);
    if (told.length === 0) {
      return calling(["add", { a: 1, b: 2 }], ["mul", { a: 3, b: 4 }], ["sub", { a: 9, b: 5 }]);
    }
    return told.join() === "3,12,4" ? "Answer: 19" : `Answer: ${told.join()}`;
  });
  const result = await ask(endpoint, lines({ id: "three", prompt: "1 2 3", answer: "19" }));
  assertEquals([result.accepted, result.calls, result.requests], [1, 3, 2]);
  const told = endpoint.asked[1]!.body.messages.slice(-3);
  assertEquals(told.map(({ tool_call_id: id }) => id), ["call_0", "call_1", "call_2"]);
});

Deno.test("calls are read as servers write them: as objects, without arguments or without ids", async () => {
  const call = (fn: Record<string, unknown>) => ({
    role: "assistant",
    tool_calls: [{ function: fn }],
  });
  await using endpoint = new FakeEndpoint((asked): Said => {
    const told = results(asked);
    if (told.length === 0) return call({ name: "add", arguments: { a: 1, b: 2.5 } });
    if (told.length === 1) return call({ name: "mul", arguments: '{"a": 2, "b": 3.0}' });
    if (told.length === 2) return call({ name: "mul", arguments: "" });
    return { role: "assistant", content: [{ type: "text", text: "Answer: " }, { text: "6" }] };
  });
  const result = await ask(endpoint, lines({ id: "x", prompt: "1 2 3", answer: 6 }));
  assertEquals(verdictsOf(result), { x: "failed call" });
  const { messages } = endpoint.asked.at(-1)!.body;
  const sent = messages.filter(({ tool_calls: calls }) => calls).map(({ tool_calls: calls }) =>
    (calls as { id: string; type: string; function: { arguments: string } }[])[0]!
  );
  assertEquals(sent.map(({ id, type, function: { arguments: args } }) => [id, type, args]), [
    ["call_0_0", "function", '{"a":1,"b":2.5}'],
    ["call_1_0", "function", '{"a":2,"b":3.0}'],
    ["call_2_0", "function", "{}"],
  ]);
  const told = messages.filter(({ role }) => role === "tool");
  assertEquals(told.map(({ tool_call_id: id }) => id), ["call_0_0", "call_1_0", "call_2_0"]);
  assertEquals(told.slice(0, 2).map(({ content }) => content), ["3.5", "6"]);
});

Deno.test("rejected trajectories are counted by what is wrong with them, and kept", async () => {
  const says: Record<string, (asked: Asked) => Said | Response> = {
    good: () => "Answer: 7",
    wrong: () => "Answer: 8",
    silent: () => ({ role: "assistant", content: "  " }),
    cut: () => completion("Answer: 7", null, "length"),
    long: () => completion(calling(["add", { a: 1, b: 2 }]), null, "tool_calls"),
    failing: (asked) =>
      results(asked).length === 0 ? calling(["div", { a: 1, b: 0 }]) : "Answer: 7",
    unknown: (asked) => results(asked).length === 0 ? calling(["pow", { a: 1 }]) : "Answer: 7",
    schema: (asked) => results(asked).length === 0 ? calling(["add", { a: "x" }]) : "Answer: 7",
    garbled: (asked) => results(asked).length === 0 ? calling(["add", '{"a": 1,']) : "Answer: 7",
    overlong: () =>
      Response.json({ error: { code: "context_length_exceeded", message: "too long" } }, {
        status: 400,
      }),
  };
  await using endpoint = new FakeEndpoint(() => "");
  endpoint.hook = (asked) => {
    const said = says[promptOf(asked)]!(asked);
    return said instanceof Response ? said : completion(said, endpoint.usage);
  };
  const tasks = lines(...Object.keys(says).map((id) => ({ id, prompt: id, answer: 7 })));
  const result = await ask(endpoint, tasks);
  assertEquals(verdictsOf(result), {
    ...{ good: "accepted", wrong: "wrong answer", silent: "no answer", cut: "cut short" },
    ...{ long: "too many calls", failing: "failed call", unknown: "failed call" },
    ...{ schema: "failed call", garbled: "failed call", overlong: "refused" },
  });
  assertEquals(result.rejected, {
    ...{ "wrong answer": 1, "failed call": 4, "no answer": 1, "cut short": 1 },
    ...{ "too many calls": 1, refused: 1 },
  });
  assertEquals([result.taught, result.passRate], [1, 0.5]);
  // The teacher hears of its mistakes; arguments that are no JSON are not sent back, as servers parse
  // them again.
  const second = (prompt: string) =>
    endpoint.asked.find((asked) => promptOf(asked) === prompt && results(asked).length > 0)!;
  assertEquals(results(second("failing")), ["error: division by zero"]);
  assertEquals(results(second("unknown")), ["error: no tool pow"]);
  assertStringIncludes(results(second("garbled"))[0]!, 'not a JSON object: {"a": 1,');
  const [{ function: sent }] = second("garbled").body.messages.at(-2)!.tool_calls as [
    { function: { name: string; arguments: string } },
  ];
  assertEquals(sent, { name: "add", arguments: "{}" });
});

Deno.test("a right answer that was corrected in the task file counts without another request", async () => {
  await using endpoint = new FakeEndpoint(() => "Answer: 7");
  const out = freshPath();
  const settings = { from: "fake", out };
  const task = { id: "x", prompt: "what?", answer: 8 };
  const before = await teach({ ...settings, tasks: lines(task) }, { endpoint: endpoint.url });
  assertEquals([before.accepted, Deno.readTextFileSync(out)], [0, ""]);
  const corrected = lines({ ...task, answer: 7 });
  const after = await teach({ ...settings, tasks: corrected }, { endpoint: endpoint.url });
  assertEquals([after.accepted, endpoint.asked.length], [1, 1]);
});

Deno.test("a task that is checked by its calls ends with them, and they are not run", async () => {
  await using endpoint = new FakeEndpoint(() =>
    calling(["geo_find", { city: "Rome" }], ["geo_find", { city: "Oslo" }])
  );
  const parameters = {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  };
  const expected = ["Oslo", "Rome"].map((city) => ({
    name: "geo.find",
    arguments: { city: [city] },
  }));
  const task = { id: "both", prompt: "find both", check: "calls", expected };
  const tools = [{ name: "geo.find", description: "Finds.", parameters }];
  const result = await ask(endpoint, lines({ ...task, tools }));
  assertEquals([result.accepted, endpoint.asked.length], [1, 1]);
  const { messages, tools: sent } = endpoint.asked[0]!.body;
  // No line with an answer is asked for; and the protocol has no dots in names.
  assertEquals(messages.map(({ role }) => role), ["user"]);
  assertEquals(sent!.map((each) => each.function.name), ["geo_find"]);
  const [taught] = parseTasks(Deno.readTextFileSync(result.out), { source: "out", tools: [] });
  assertEquals(taught!.reference!.calls.map(({ name, arguments: args }) => [name, args.city]), [
    ["geo.find", "Rome"],
    ["geo.find", "Oslo"],
  ]);
});

Deno.test("answers are found in prose, in boxes and behind thoughts", () => {
  const rows: [message: string, barest: string][] = [
    ["42", "42"],
    ["So it is 6.\nAnswer: 42", "42"],
    ["Answer: 1\nNo.\nanswer:  42 ", "42"],
    ["**Answer:** 42", "42"],
    ["**Answer: 42**", "42"],
    ["**Final Answer**: `42`", "42"],
    ["### Final answer:\n\n42.", "42"],
    ["The answer is: $1,234.50", "$1,234.50"],
    ["Answer: $42$", "42"],
    ["Answer: \\$42", "$42"],
    ["Answer: \\(\\boxed{42}\\)", "42"],
    ["We get \\boxed{41}, no, \\boxed{\\text{forty {two}}}.", "\\text{forty {two}}"],
    ["\\[ \\boxed{\\text{oak tree}} \\]", "oak tree"],
    ["<think>Answer: 1</think>It is\nAnswer: 42", "42"],
    ["<think>Answer: 1</think>42", "42"],
    ["Answer: 1{,}234", "1,234"],
    ["Answer:", ""],
  ];
  for (const [message, barest] of rows) {
    assertEquals(statedAnswers(message)[0] ?? "", barest, message);
  }
  // What looks like markup may belong to the answer: that reading is there, too.
  assertEquals(statedAnswers('Answer: "St."'), ["St", "St.", '"St."']);
});

Deno.test("refusals, garbage and broken connections are survived", async () => {
  const breaking = () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"choices": [{"mess'));
        },
        pull(controller) {
          controller.close(); // short of what was announced
        },
      }),
      { headers: { "content-length": "5000" } },
    );
  const faults = [
    () => new Response("slow down", { status: 429 }),
    () => new Response(null, { status: 500 }),
    () => new Response("<html>Bad Gateway</html>", { status: 502 }),
    () => new Response("late", { status: 408 }),
    () => new Response("busy", { status: 409 }),
    () => new Response('{"choices": [', { status: 200 }),
    () => new Response("", { status: 200 }),
    () => Response.json({ choices: [] }),
    () => Response.json({ error: { message: "overloaded", code: 529 } }),
    () => Response.json([1]),
    () => Response.json(null),
    breaking,
  ];
  await using endpoint = new FakeEndpoint();
  const plain = await ask(endpoint, taskFile(sums(12)));
  // Every second request of the second run meets one fault after the other.
  const start = endpoint.asked.length;
  endpoint.hook = ({ index }) =>
    index % 2 === 0 ? faults[(index - start) / 2 % faults.length]?.() : undefined;
  const result = await ask(endpoint, taskFile(sums(12)), { attempts: 20 });
  assertEquals(result.status, "done");
  assert(result.failures >= faults.length, `${result.failures}`);
  assertEquals(result.requests, 36 + result.failures);
  assertEquals(Deno.readTextFileSync(result.out), Deno.readTextFileSync(plain.out));
  assertEquals(
    journalOf(result).filter(({ type }) => type === "failed").length,
    result.failures,
  );
});

Deno.test("a request that never succeeds is given up for this run, and asked again in the next", async () => {
  await using endpoint = new FakeEndpoint();
  endpoint.hook = (asked) =>
    promptOf(asked).startsWith("3 ") ? new Response("down", { status: 503 }) : undefined;
  const settings = { tasks: taskFile(sums(4)), from: "fake", out: freshPath() };
  const options = { endpoint: endpoint.url, retryMs: 1, attempts: 3 };
  const first = await teach(settings, options);
  assertEquals([first.status, first.stopped!.by, first.ended], ["stopped", "unanswered", 3]);
  assertStringIncludes(first.stopped!.message, "503 (down)");
  assertEquals([first.failures, first.taught], [3, 3]);
  endpoint.hook = () => undefined;
  const asked = endpoint.asked.length;
  const second = await teach(settings, options);
  assertEquals([second.status, second.ended, endpoint.asked.length - asked], ["done", 4, 3]);

  // Where nothing is answered at all, nobody goes through all tasks to find out.
  endpoint.hook = () => new Response("down", { status: 503 });
  const already = endpoint.asked.length;
  const dead = await ask(endpoint, taskFile(sums(90)), { attempts: 2 });
  assertEquals([dead.stopped!.by, dead.ended], ["unanswered", 0]);
  assert(endpoint.asked.length - already < 30);
});

Deno.test("what no repetition would change stops everything at once, and says what to do", async () => {
  const rows: [status: number, code: string | null, remedy: RegExp][] = [
    [400, null, /Check --model, --request/],
    [401, null, /Check the key/],
    [403, null, /Check the key/],
    [404, null, /Check --endpoint, which often ends with \/v1, and --model/],
    [429, "insufficient_quota", /no credit left/],
    [307, null, /redirects to/],
  ];
  for (const [status, code, remedy] of rows) {
    await using endpoint = new FakeEndpoint();
    endpoint.hook = () =>
      Response.json({ error: { code, message: "because" } }, {
        status,
        headers: { location: "http://elsewhere.test/" },
      });
    const error = await assertRejects(
      () => ask(endpoint, taskFile(sums(20)), { concurrency: 2 }),
      TeacherError,
    );
    assertStringIncludes(error.message, `answered ${status} (because)`);
    assertMatch(error.message, remedy);
    assert(endpoint.asked.length <= 2, `${status}: ${endpoint.asked.length} requests`);
  }
});

Deno.test("an endpoint that asks for time gets it, from all requests", async () => {
  await using endpoint = new FakeEndpoint();
  let closed = 0;
  endpoint.hook = ({ index, at }) => {
    if (index !== 3) return undefined;
    closed = at;
    return new Response(null, { status: 429, headers: { "retry-after": "1" } });
  };
  endpoint.delay = () => 5;
  const result = await ask(endpoint, taskFile(sums(6)), { concurrency: 3 });
  assertEquals([result.status, result.failures], ["done", 1]);
  // The other two may have been sent before the answer arrived.
  const within = endpoint.asked.filter(({ index, at }) => index > 3 && at < closed + 990);
  assert(within.length <= 4, `${within.length} requests came within the second`);

  endpoint.hook = () => new Response(null, { status: 429, headers: { "retry-after": "86400" } });
  const later = await ask(endpoint, taskFile(sums(6)));
  assertEquals(later.stopped!.by, "wait");
  assertStringIncludes(later.stopped!.message, "left alone for 1440 minutes");
});

Deno.test("Retry-After is read as seconds and as a date", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  const wait = (value?: string) =>
    retryAfter(new Headers(value === undefined ? {} : { "retry-after": value }), now);
  assertEquals(wait("7"), 7000);
  assertEquals(wait("0.5"), 500);
  assertEquals(wait("Thu, 01 Jan 2026 00:00:30 GMT"), 30_000);
  assertEquals(wait("Wed, 31 Dec 2025 00:00:00 GMT"), 0);
  assertEquals([wait("soon"), wait()], [null, null]);
});

Deno.test("as many requests as allowed are under way, and never one more", async () => {
  await using endpoint = new FakeEndpoint();
  for (const [concurrency, least] of [[1, 1], [5, 60]] as const) {
    endpoint.delay = ({ index }) => least + index * 7 % 11;
    endpoint.most = 0;
    await ask(endpoint, taskFile(sums(10)), { concurrency });
    assertEquals(endpoint.most, concurrency);
  }
});

Deno.test("no minute has more requests or tokens than allowed", async () => {
  let now = 0;
  const clock = {
    now: () => now,
    sleep(ms: number, signal: AbortSignal) {
      signal.throwIfAborted();
      now += ms;
      return Promise.resolve();
    },
  };
  const { signal } = new AbortController();
  const worst = (passed: readonly { at: number; tokens: number }[]) => {
    const windows = passed.map(({ at }) =>
      passed.filter((other) => other.at > at - 60_000 && other.at <= at)
    );
    return {
      requests: Math.max(...windows.map((window) => window.length)),
      tokens: Math.max(
        ...windows.map((window) => window.reduce((sum, one) => sum + one.tokens, 0)),
      ),
    };
  };
  const byRequests = new RateLimit(7, null, clock);
  const passed = await Promise.all(Array.from({ length: 30 }, () => byRequests.enter(1, signal)));
  assertEquals(worst(passed).requests, 7);
  assertEquals(passed.at(-1)!.at, 4 * 60_000);

  now = 0;
  const byTokens = new RateLimit(null, 1000, clock);
  const sizes = Array.from({ length: 30 }, (_, i) => 100 + 37 * i % 300);
  const sized = await Promise.all(sizes.map((tokens) => byTokens.enter(tokens, signal)));
  assert(worst(sized).tokens <= 1000 && worst(sized).tokens > 600);
  // One that is larger than the limit waits until it is alone, and not for ever.
  const large = await byTokens.enter(5000, signal);
  assertEquals(large.at, sized.at(-1)!.at + 60_000);

  const stop = new AbortController();
  stop.abort(new Error("enough"));
  await assertRejects(() => byRequests.enter(1, stop.signal), Error, "enough");
  assertEquals((await byRequests.enter(1, signal)).tokens, 1);
});

Deno.test("a budget is kept to, in tokens and in money, and more of it goes on", async () => {
  await using endpoint = new FakeEndpoint();
  endpoint.delay = () => 10;
  endpoint.usage = { prompt_tokens: 300, completion_tokens: 700 };
  const prices = { priceInput: 10, priceOutput: 30 };
  const spent = ({ tokens: { input, output } }: { tokens: { input: number; output: number } }) =>
    input + output;
  for (
    const [cap, within] of [
      [{ budgetTokens: 9000 }, (result: Awaited<ReturnType<typeof ask>>) => spent(result) / 9000],
      [{ budgetMoney: 0.2 }, (result: Awaited<ReturnType<typeof ask>>) => result.money! / 0.2],
    ] as const
  ) {
    const settings = { tasks: taskFile(sums(20)), from: "fake", out: freshPath() };
    const request = { max_tokens: 700 };
    const options = { endpoint: endpoint.url, concurrency: 12, request, ...prices };
    const before = endpoint.asked.length;
    const stopped = await teach(settings, { ...options, ...cap });
    assertEquals([stopped.status, stopped.stopped!.by], ["stopped", "budget"]);
    assert(within(stopped) <= 1 && within(stopped) > 0.7, `${within(stopped)} of the budget`);
    assertEquals(stopped.requests, endpoint.asked.length - before);
    // The same budget is spent already.
    const again = await teach(settings, { ...options, ...cap });
    assertEquals(again.requests, stopped.requests);
    const done = await teach(settings, options);
    assertEquals([done.status, endpoint.asked.length - before], ["done", 60]);
  }
});

Deno.test("tokens that the endpoint does not count are estimated, and it is said", async () => {
  await using endpoint = new FakeEndpoint();
  // What is null is not nothing.
  const silent = { prompt_tokens: null, completion_tokens: null };
  for (const usage of [undefined, null, silent] as (typeof endpoint.usage)[]) {
    endpoint.usage = usage;
    const result = await ask(endpoint, taskFile(sums(3)));
    assertEquals(result.tokens.estimated, 9);
    assert(result.tokens.input > 1000 && result.tokens.output > 100);
  }
});

Deno.test("an interrupt waits for the answers under way, and nothing is asked twice", async () => {
  await using endpoint = new FakeEndpoint();
  endpoint.delay = () => 20;
  const settings = { tasks: taskFile(sums(8)), from: "fake", out: freshPath(), seed: 3 };
  const options = { endpoint: endpoint.url, concurrency: 3, samples: 2 };
  let runs = 0;
  for (let status = "stopped"; status === "stopped"; runs++) {
    const stop = new AbortController();
    const already = endpoint.asked.length;
    endpoint.hook = ({ index }) => {
      if (index === already + 12) stop.abort();
      return undefined;
    };
    const result = await teach(settings, { ...options, signal: stop.signal });
    status = result.status;
    if (status === "stopped") assertEquals(result.stopped!.by, "interrupt");
    assertEquals([result.lost, result.requests], [0, endpoint.asked.length]);
  }
  assert(runs > 2);
  assertEquals(endpoint.asked.length, 8 * 2 * 3);
  assert(endpoint.asked.every(({ delivered }) => delivered));
});

Deno.test("results are journalled like answers, and a stateful tool is brought back to where it was", async () => {
  const library = new URL("../mod.ts", import.meta.url).href;
  await using endpoint = new FakeEndpoint((asked) =>
    results(asked).length < 3 ? calling(["count", {}]) : `Answer: ${results(asked).join(" ")}`
  );
  for (const stateful of [false, true]) {
    // It counts in its world what the teacher is told, and in a file how often it runs at all.
    const [tools, runs] = [freshPath().replace(".jsonl", ".ts"), freshPath()];
    Deno.writeTextFileSync(
      tools,
      `import { tool } from "${library}";
      export const count = tool({
        name: "count", description: "Counts.", parameters: { type: "object", properties: {} },
        execute(_args, { world }) {
          Deno.writeTextFileSync("${runs}", "x", { append: true });
          return ++(world as { n: number }).n;
        },
        stateful: ${stateful},
      });`,
    );
    const task = { id: "n", prompt: "count", answer: "1 2 3", world: { n: 0 } };
    const settings = { tasks: lines(task), tools, from: "fake", out: freshPath() };
    const start = endpoint.asked.length;
    const stop = new AbortController();
    endpoint.hook = ({ index }) => {
      if (index === start + 1) stop.abort();
      return undefined;
    };
    const options = { endpoint: endpoint.url };
    const stopped = await teach(settings, { ...options, signal: stop.signal });
    assertEquals([stopped.ended, Deno.readTextFileSync(runs)], [0, "xx"]);
    const result = await teach(settings, options);
    assertEquals(endpoint.asked.length - start, 4);
    // One without state is not run again, so that it counts from the start.
    const told = stateful ? "1 2 3" : "1 2 1";
    assertEquals(
      journalOf(result).at(-1)!.answer,
      told,
    );
    assertEquals(Deno.readTextFileSync(runs).length, stateful ? 5 : 3);
  }
});

Deno.test("a tool that can't be had gives the trajectory up, and is tried again", async () => {
  const tools = freshPath().replace(".jsonl", ".ts");
  const library = new URL("../mod.ts", import.meta.url).href;
  Deno.writeTextFileSync(
    tools,
    `import { tool, ToolUnavailableError } from "${library}";
    let calls = 0;
    export const look = tool({
      name: "look", description: "", parameters: { type: "object", properties: {} },
      execute() {
        if (calls++ === 0) throw new ToolUnavailableError("its server is gone");
        return "oak";
      },
    });`,
  );
  await using endpoint = new FakeEndpoint((asked) =>
    results(asked).length === 0 ? calling(["look", {}]) : `Answer: ${results(asked)}`
  );
  const tasks = lines({ id: "t", prompt: "look", answer: "oak" });
  const settings = { tasks, tools, from: "fake", out: freshPath() };
  const first = await teach(settings, { endpoint: endpoint.url });
  assertEquals([first.stopped!.by, first.ended], ["unanswered", 0]);
  assertStringIncludes(first.stopped!.message, 'tool "look": its server is gone');
  const second = await teach(settings, { endpoint: endpoint.url });
  assertEquals([second.accepted, endpoint.asked.length], [1, 2]);
});

Deno.test("a tool that is gone for good ends it, and what was paid for is kept", async () => {
  const tools = freshPath().replace(".jsonl", ".ts");
  const library = new URL("../mod.ts", import.meta.url).href;
  Deno.writeTextFileSync(
    tools,
    `import { tool, ToolUnavailableError } from "${library}";
    export const look = tool({
      name: "look", description: "", parameters: { type: "object", properties: {} },
      execute() {
        throw new ToolUnavailableError("its server is gone", { permanent: true });
      },
    });`,
  );
  await using endpoint = new FakeEndpoint(() => calling(["look", {}]));
  const tasks = lines(...["a", "b", "c"].map((id) => ({ id, prompt: id, answer: "oak" })));
  const settings = { tasks, tools, from: "fake", out: freshPath() };
  const options = { endpoint: endpoint.url, concurrency: 1 };
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => teach(settings, options), ToolUnavailableError, "server is gone");
    assertEquals(endpoint.asked.length, 1);
  }
});

Deno.test("problems of GSM8K are taught, also those whose solution has no calculations", async () => {
  await using endpoint = new FakeEndpoint((asked) => `Answer: ${promptOf(asked).length}`);
  const tasks = lines(
    { question: "How many?", answer: "There are 9.\n#### 9" },
    { question: "What is it?", answer: "It is 2*3=<<2*3=6>>6\n#### 6" },
  );
  const result = await ask(endpoint, tasks);
  assertEquals([result.tasks, result.accepted, result.taught], [2, 1, 1]);
});

Deno.test("a journal goes on with the same teacher and tasks alone, and in one process", async () => {
  await using endpoint = new FakeEndpoint();
  const tasks = taskFile(sums(2));
  const settings = { tasks, from: "fake", out: freshPath() };
  const { journal } = await teach(settings, { endpoint: endpoint.url });
  const asked = endpoint.asked.length;
  const refused = async (
    changed: Record<string, unknown>,
    options: TeachOptions,
    message: string,
  ) => {
    const call = () => teach({ ...settings, ...changed }, { endpoint: endpoint.url, ...options });
    const error = await assertRejects(call, ConfigError);
    assertStringIncludes(error.message, message);
  };
  await refused({ from: "other" }, {}, "other settings (model)");
  await refused({ seed: 4 }, { system: "Mine." }, "other settings (system, seed)");
  const other = lines({ id: "sum-0", prompt: "1 plus 1 times 1", answer: 2 });
  await refused({ tasks: other }, {}, 'another task "sum-0"');
  await refused({ out: tasks }, {}, "no journal beside it");
  {
    using _open = new Journal(journal);
    const error = await assertRejects(
      () => teach(settings, { endpoint: endpoint.url }),
      CheckpointError,
    );
    assertStringIncludes(error.message, "another process is writing to it");
  }
  // Further tasks and samples are no other settings.
  const more = { ...settings, tasks: taskFile(sums(3)) };
  const result = await teach(more, { endpoint: endpoint.url, samples: 2 });
  assertEquals([result.ended, endpoint.asked.length - asked], [6, 4 * 3]);
});

Deno.test("the key is sent, and nowhere written, even if the endpoint repeats it", async () => {
  const key = "sk-test-0123456789abcdef";
  Deno.env.set("TEACH_TEST_KEY", key);
  try {
    await using endpoint = new FakeEndpoint((asked) =>
      `You sent ${asked.authorization}. Answer: 1`
    );
    const said: string[] = [];
    endpoint.hook = ({ index, authorization }) =>
      index === 0
        ? new Response(`bad: ${authorization}`, { status: 500 })
        : index === 1
        ? Response.json({ error: { message: `no ${authorization}` } }, { status: 503 })
        : index === 2
        ? new Response(`{"choices": [], "error": {"message": "${authorization}"}}`)
        : index === 3
        ? completion(calling(["add", `{"a": 1, "b": "${escaped}"}`]), { [key]: key })
        : undefined;
    // As JSON in JSON may spell it.
    const escaped = key.replace("s", "\\u0073").replaceAll("f", "\\u0066");
    const tasks = lines({ id: "a", prompt: "what?", answer: "x" });
    const result = await ask(endpoint, tasks, { keyEnv: "TEACH_TEST_KEY" });
    assertEquals(
      endpoint.asked.map(({ authorization }) => authorization),
      Array(5).fill(`Bearer ${key}`),
    );
    said.push(JSON.stringify(result), Deno.readTextFileSync(result.journal));
    said.push(Deno.readTextFileSync(result.out));
    for (const status of [400, 401, 403, 404]) {
      endpoint.hook = ({ authorization }) =>
        new Response(`{"error": {"message": "Incorrect key ${authorization}"}}`, { status });
      const error = await assertRejects(() => ask(endpoint, tasks, { keyEnv: "TEACH_TEST_KEY" }));
      assertStringIncludes((error as Error).message, "Incorrect key Bearer [key]");
      said.push((error as Error).message, (error as Error).stack!);
    }
    assertStringIncludes(said.join("\n"), "[key]");
    assertEquals(said.join("\n").includes(key), false);
    assertEquals(/0123456789|u0073k/.test(said.join("\n")), false);
  } finally {
    Deno.env.delete("TEACH_TEST_KEY");
  }
});

Deno.test("a key is needed for https, and sent in the clear only where it is named", async () => {
  const refused = (options: TeachOptions, message: string) =>
    assertRejects(
      () => teach({ tasks: "none.jsonl", from: "m", out: freshPath() }, options),
      ConfigError,
      message,
    );
  const before = Deno.env.get("OPENAI_API_KEY");
  Deno.env.delete("OPENAI_API_KEY");
  try {
    await refused({ endpoint: "https://host.test/v1" }, "as OPENAI_API_KEY");
    await refused({ endpoint: "http://localhost:1/v1", keyEnv: "NONE_SUCH" }, "as NONE_SUCH");
    Deno.env.set("OPENAI_API_KEY", "a key");
    await refused({ endpoint: "https://host.test/v1" }, "no spaces");
    const credentials = await assertRejects(
      () =>
        teach({ tasks: "none.jsonl", from: "m", out: freshPath() }, {
          endpoint: "https://me:secret@host.test/v1",
        }),
      ConfigError,
    );
    assertEquals(credentials.message.includes("secret"), false);
    await refused({ endpoint: "localhost:8000" }, "not an http or https address");
    Deno.env.set("OPENAI_API_KEY", "sk-default");
    await using endpoint = new FakeEndpoint();
    await ask(endpoint, taskFile(sums(1)));
    assertEquals(endpoint.asked[0]!.authorization, "Bearer sk-default");
  } finally {
    Deno.env.delete("OPENAI_API_KEY");
    if (before !== undefined) Deno.env.set("OPENAI_API_KEY", before);
  }
  assertEquals(completionsUrl("http://h/v1/").href, "http://h/v1/chat/completions");
  const whole = completionsUrl("http://h/v1/chat/completions/?api-version=2");
  assertEquals(whole.href, "http://h/v1/chat/completions?api-version=2");
});

Deno.test("an endpoint that is silent or not there is one that failed", async () => {
  await using endpoint = new FakeEndpoint();
  endpoint.delay = () => 300;
  const silent = new Endpoint({ url: new URL(endpoint.url), key: null, timeoutMs: 50 });
  await assertRejects(
    () => silent.complete({ messages: [{ role: "user", content: "1 2 3" }] }),
    Error,
    "no answer within 0.05 s",
  );
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  const hangingUp = new Endpoint({ url: new URL(`http://127.0.0.1:${port}`), key: null });
  const hungUp = assertRejects(() => hangingUp.complete({}), PassingError, "connection");
  (await listener.accept()).close();
  assertEquals((await hungUp).charged, true);
  listener.close();
  const settings = { tasks: taskFile(sums(2)), from: "m", out: freshPath() };
  const options = { endpoint: `http://127.0.0.1:${port}`, retryMs: 1, attempts: 2 };
  const result = await teach(settings, options);
  assertEquals([result.stopped!.by, result.failures], ["unanswered", 4]);
  // Nobody was reached, and so nothing can have been charged.
  assertEquals([result.tokens.input, result.tokens.output], [0, 0]);
});

Deno.test("options that can't be meant are refused with what is allowed", async () => {
  const rows: [Record<string, unknown>, TeachOptions, string][] = [
    [{ tasks: null }, {}, "say which tasks with --tasks"],
    [{ out: null }, {}, "say where they go with --out"],
    [{ from: undefined }, {}, "say which model with --model"],
    [{}, { samples: 0 }, "--samples = 0: allowed is a whole number of at least 1"],
    [{}, { priceInput: -1 }, "--price-input = -1"],
    [{}, { concurrency: 2 }, "--concurrency without --endpoint"],
    [{}, { endpoint: "http://h", budgetMoney: 1 }, "--budget-money 1 without prices"],
    [{}, { endpoint: "http://h", priceInput: 1 }, "without --price-output"],
    [{}, { endpoint: "http://h", request: { stream: true } }, '--request with "stream"'],
  ];
  for (const [settings, options, message] of rows) {
    const input = { tasks: "none.jsonl", out: freshPath(), from: "m", ...settings };
    await assertRejects(() => teach(input, options), ConfigError, message);
  }
  assertThrows(() => completionsUrl("ftp://h"), ConfigError);
});

Deno.test("tools whose names would be the same without dots can't be offered together", async () => {
  const tools = ["a.b", "a_b"].map((name) => ({
    ...{ name, description: "", parameters: { type: "object", properties: {} } },
  }));
  await using endpoint = new FakeEndpoint();
  const tasks = lines({ prompt: "x", check: "calls", expected: [], tools });
  await assertRejects(() => ask(endpoint, tasks), ConfigError, "a.b, a_b together");
});

Deno.test("a model that runs here can be the teacher, too", async () => {
  // The committed base is right in most of the first three, and wrong in most of the others.
  const tasks = lines(
    ...[550, 944, 299].map((n) => ({ id: `say ${n}`, prompt: `say ${n} not 72`, answer: n })),
    ...[12, 19, 26].map((n) => ({
      id: `${n}`,
      prompt: `${n} times 3 plus 18`,
      answer: 3 * n + 18,
    })),
    { id: "long", prompt: "9 plus ".repeat(40), answer: 1 },
  );
  const settings = {
    ...{ tasks, from: "assets/base-nano", out: freshPath(), seed: 5 },
    rollout: { slots: 16, maxTokens: 128 },
  };
  const result = await teach(settings, { samples: 8 });
  assertEquals([result.status, result.ended, result.requests], ["done", 56, 0]);
  assert(result.accepted > 0 && result.tokens.output > 100);
  assert(result.rejected["cut short"]! >= 8); // what does not fit its context is not even asked
  const source = { source: result.out, tools: calculator().all };
  const taught = parseTasks(Deno.readTextFileSync(result.out), source);
  assert(taught.length > 0 && taught.every(({ reference }) => reference !== null));

  // Cut off in the middle, it draws the same again.
  const journal = Deno.readTextFileSync(result.journal).split("\n");
  const before = Deno.readTextFileSync(result.out);
  Deno.writeTextFileSync(result.journal, journal.slice(0, 30).join("\n") + '\n{"type":"tra');
  const again = await teach(settings, { samples: 8 });
  assertEquals([again.ended, Deno.readTextFileSync(again.out)], [56, before]);
});

Deno.test("why a tool could not be had is said of a model that runs here, too", async () => {
  const tools = freshPath().replace(".jsonl", ".ts");
  const library = new URL("../mod.ts", import.meta.url).href;
  Deno.writeTextFileSync(
    tools,
    `import { calculator, tool, ToolUnavailableError } from "${library}";
    export default calculator().all.map((one) => tool({ ...one, execute() {
      throw new ToolUnavailableError("its server is gone");
    } }));`,
  );
  const tasks = lines(...[12, 19, 26].map((n) => ({ prompt: `${n} times 3`, answer: 3 * n })));
  const { stopped, ended } = await teach(
    { tasks, tools, from: "assets/base-nano", out: freshPath(), rollout: { maxTokens: 128 } },
    { samples: 4 },
  );
  assert(ended < 12);
  assertEquals(stopped!.by, "unanswered");
  assertMatch(stopped!.message, /^a tool of task ".*" could not be had: its server is gone$/);
});
