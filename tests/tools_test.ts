import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { calculator } from "../src/tools/calculator.ts";
import { callTool, callToolSync, tool, type ToolOptions } from "../src/tools/tool.ts";

const parameters = {
  type: "object",
  properties: { a: { type: "number" }, b: { type: "number" } },
  required: ["a", "b"],
};

/** A tool without arguments. */
function probe(execute: ToolOptions["execute"], limits: Partial<ToolOptions> = {}) {
  const parameters = { type: "object", properties: {} };
  return tool({ name: "probe", description: "For tests", parameters, execute, ...limits });
}

Deno.test("a tool gets validated arguments and its result becomes text", async () => {
  const add = tool({
    name: "add",
    description: "Adds",
    parameters,
    execute: ({ a, b }) => (a as number) + (b as number),
  });
  assertEquals(await callTool(add, { a: 2, b: 3 }, {}), { status: "ok", result: 5, text: "5" });
  const bad = await callTool(add, { a: 2, b: "three" }, {});
  assertEquals(bad.status, "bad-arguments");
  assertMatch(bad.text, /^error: b: /);
  assertEquals((await callTool(add, { a: 2 }, {})).status, "bad-arguments");
});

Deno.test("falsy results are serialised like any other", async () => {
  const cases: [unknown, string][] = [
    [0, "0"],
    [false, "false"],
    ["", '""'],
    [null, "null"],
    [undefined, "null"],
    [[], "[]"],
    [NaN, "NaN"],
    ["plain text", "plain text"],
    [{ a: [1, "x"] }, '{"a":[1,"x"]}'],
  ];
  for (const [result, text] of cases) {
    assertEquals(await callTool(probe(() => result), {}, {}), { status: "ok", result, text });
    assertEquals(callToolSync(probe(() => result), {}, {}), { status: "ok", result, text });
  }
});

Deno.test("whatever a tool throws becomes an error that the model sees", async () => {
  const hostile = {
    toString() {
      throw new Error("no text");
    },
  };
  const cases: [() => unknown, RegExp][] = [
    [() => {
      throw new RangeError("no item pen");
    }, /^error: no item pen$/],
    [() => Promise.reject(new Error("later")), /^error: later$/],
    [() => {
      throw "a string";
    }, /^error: a string$/],
    [() => {
      throw hostile;
    }, /^error: the tool threw a value without a text$/],
    [() => 1n, /^error: probe returned a value that is not JSON/],
    [() => {
      throw new Error("x".repeat(10_000_000));
    }, /^error: x+\.\.\.\[\d+ bytes cut\]\.\.\.x+$/],
  ];
  for (const [execute, expected] of cases) {
    const outcome = await callTool(probe(execute), {}, {});
    assertEquals(outcome.status, "failed");
    assertMatch(outcome.text, expected);
    assert(outcome.text.length <= 2048);
  }
});

Deno.test("a tool that never settles fails after its time-out, and its signal fires", async () => {
  let reason: unknown;
  const hang = probe((_, { signal }) => {
    signal.addEventListener("abort", () => reason = signal.reason);
    return new Promise(() => {});
  }, { timeoutMs: 20 });
  const outcome = await callTool(hang, {}, {});
  assertEquals(outcome, { status: "failed", text: "error: probe timed out after 20 ms" });
  assertMatch(String(reason), /timed out/);
});

Deno.test("a tool that fails after its time-out disturbs nobody", async () => {
  const late = probe(
    () => new Promise((_, reject) => setTimeout(() => reject(new Error("late")), 30)),
    { timeoutMs: 5 },
  );
  assertMatch((await callTool(late, {}, {})).text, /timed out after 5 ms/);
  await new Promise((done) => setTimeout(done, 50));
});

Deno.test("a caller that gives up gets its own reason", async () => {
  const controller = new AbortController();
  const call = callTool(probe(() => new Promise(() => {})), {}, { signal: controller.signal });
  controller.abort(new Error("stopped by user"));
  await assertRejects(() => call, Error, "stopped by user");
  await assertRejects(
    () => callTool(probe(() => 1), {}, { signal: controller.signal }),
    Error,
    "stopped by user",
  );
});

Deno.test("a result of 10 MB is cut to head and tail, quickly", async () => {
  const text = "head " + "x".repeat(10_000_000) + " tail";
  const start = performance.now();
  const outcome = await callTool(probe(() => text, { maxResultBytes: 100 }), {}, {});
  assert(performance.now() - start < 1000);
  assertEquals(outcome.status, "ok");
  assertMatch(outcome.text, /^head x+\.\.\.\[99999\d\d bytes cut\]\.\.\.x+ tail$/);
  assert(outcome.text.length <= 100);
  assertEquals(outcome.result, outcome.text);
});

Deno.test("cutting counts the bytes cut and splits no character", async () => {
  const text = "\u{1f600}é".repeat(1000);
  const { text: cut } = await callTool(probe(() => text, { maxResultBytes: 64 }), {}, {});
  const [, head, count, tail] = /^(.*)\.\.\.\[(\d+) bytes cut\]\.\.\.(.*)$/u.exec(cut) ?? [];
  const bytes = (part = "") => new TextEncoder().encode(part).length;
  assertEquals(bytes(head) + Number(count) + bytes(tail), bytes(text));
  assert(bytes(cut) <= 64 && text.startsWith(head ?? "?") && text.endsWith(tail ?? "?"));
});

Deno.test("a result as long as allowed is left alone", async () => {
  const text = "é".repeat(32);
  assertEquals((await callTool(probe(() => text, { maxResultBytes: 64 }), {}, {})).text, text);
});

Deno.test("a tool cannot change the caller's arguments, and sees the world", async () => {
  const args = { list: [1, 2] };
  const pop = tool({
    name: "pop",
    description: "Takes the last",
    parameters: { type: "object", properties: { list: { type: "array" } } },
    execute: ({ list }, { world }) => [(list as number[]).pop(), world],
  });
  assertEquals((await callTool(pop, args, { world: { key: 7 } })).result, [2, { key: 7 }]);
  assertEquals(args, { list: [1, 2] });
});

Deno.test("a wrong definition of a tool is refused with its reason", () => {
  const good = { name: "a", description: "", parameters, execute: () => 1 };
  const define = (change: Record<string, unknown>) => () =>
    tool({ ...good, ...change } as ToolOptions);
  assertThrows(define({ name: "two words" }), TypeError, '"two words"');
  assertThrows(define({ name: "1st" }), TypeError, "begins with a letter");
  assertThrows(define({ parameters: { type: "string" } }), TypeError, 'must have type "object"');
  assertThrows(define({ parameters: null }), TypeError, "JSON Schema object");
  assertThrows(
    define({ parameters: { type: "object", properties: { a: { type: "float" } } } }),
    TypeError,
    'type "float"',
  );
  assertThrows(
    define({ parameters: { type: "object", properties: {}, required: ["x"] } }),
    TypeError,
    "not in properties",
  );
  assertThrows(define({ execute: 1 }), TypeError, "execute must be a function");
  assertThrows(define({ timeoutMs: 0 }), RangeError, "timeoutMs");
  assertThrows(define({ maxResultBytes: 10 }), RangeError, "at least 64");
});

Deno.test("a synchronous call refuses a tool that returns a promise", () => {
  const later = probe(() => Promise.reject(new Error("unheard")));
  assertThrows(() => callToolSync(later, {}, {}), TypeError, "it returned a promise");
});

Deno.test("the calculator has no float dust, no minus zero and no division by zero", async () => {
  const { add, sub, mul, div } = calculator();
  const run = async (t: typeof add, a: number, b: number) => (await callTool(t, { a, b }, {})).text;
  assertEquals(await run(add, 0.1, 0.2), "0.3");
  assertEquals(await run(sub, 5, 7), "-2");
  assertEquals(await run(mul, -1, 0), "0");
  assertEquals(await run(div, 10, 3), "3.33333333333");
  assertEquals(await run(div, 1, 0), "error: division by zero");
  assertEquals(await run(mul, 1e200, 1e200), "error: the result is too large");
});
