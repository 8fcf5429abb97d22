// The stand-ins under compat/ are strict subsets of the @std packages. SUBSET lists every name the
// project may use of them; a name missing there is missing in the stand-in, and the other way round.

import * as std_assert from "@std/assert";
import * as std_cli from "@std/cli";
import * as std_cli_parse_args from "@std/cli/parse-args";
import * as std_path from "@std/path";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  AssertionError,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";
import { basename, fromFileUrl, join, normalize, toFileUrl } from "@std/path";

const SUBSET: Record<string, { module: object; names: string[] }> = {
  "@std/assert": {
    module: std_assert,
    names: [
      "AssertionError",
      "assert",
      "assertAlmostEquals",
      "assertEquals",
      "assertExists",
      "assertGreater",
      "assertGreaterOrEqual",
      "assertInstanceOf",
      "assertLess",
      "assertLessOrEqual",
      "assertMatch",
      "assertNotEquals",
      "assertRejects",
      "assertStrictEquals",
      "assertStringIncludes",
      "assertThrows",
      "fail",
    ],
  },
  "@std/cli": { module: std_cli, names: ["parseArgs"] },
  "@std/cli/parse-args": { module: std_cli_parse_args, names: ["parseArgs"] },
  "@std/path": {
    module: std_path,
    names: [
      "basename",
      "dirname",
      "extname",
      "fromFileUrl",
      "isAbsolute",
      "join",
      "normalize",
      "relative",
      "resolve",
      "toFileUrl",
    ],
  },
};

for (const [name, { module, names }] of Object.entries(SUBSET)) {
  Deno.test(`${name} offers every name of the subset and, as a stand-in, no other`, async () => {
    const offered = Object.keys(module).sort();
    for (const wanted of names) assert(offered.includes(wanted), `${name} lacks ${wanted}`);
    // With the real package in its place (no "links") there is more, and that is fine.
    const config = JSON.parse(
      await Deno.readTextFile(new URL("../deno.json", import.meta.url)),
    );
    if (config.links !== undefined) assertEquals(offered, [...names].sort());
  });
}

Deno.test("assertEquals() compares structure as @std/assert does", () => {
  assertEquals({ a: [1, { b: NaN }], m: new Map([["k", [1]]]) }, {
    a: [1, { b: NaN }],
    m: new Map([["k", [1]]]),
  });
  assertEquals(0, -0);
  assertEquals(new Float32Array([1, NaN]), new Float32Array([1, NaN]));
  assertEquals(new Set([1, 2]), new Set([2, 1]));
  assertNotEquals<unknown>({ a: undefined }, {});
  assertNotEquals<unknown>([1, 2], new Uint32Array([1, 2]));
  assertNotEquals<unknown>(new Uint8Array([1]), new Uint8Array([2]));
  assertNotEquals<unknown>(new (class A {})(), {});
  assertNotEquals<unknown>(new Date(0), new Date(1));
  assertNotEquals<unknown>(null, {});
});

Deno.test("assertEquals() shows the lines that differ", () => {
  const error = assertThrows(
    () => assertEquals({ left: 1, right: [2] }, { left: 1, right: [3] }, "sides"),
    AssertionError,
    "Values are not equal: sides",
  );
  assertStringIncludes(error.message, "-   { left: 1, right: [ 2 ] }");
  assertStringIncludes(error.message, "+   { left: 1, right: [ 3 ] }");
});

Deno.test("assertStrictEquals() tells values from references", () => {
  assertStrictEquals(NaN, NaN);
  assertThrows(() => assertStrictEquals({}, {}), AssertionError, "not reference-equal");
});

Deno.test("assertAlmostEquals() scales its default tolerance with the expected value", () => {
  assertAlmostEquals(1e9, 1e9 + 50);
  assertThrows(() => assertAlmostEquals(1, 1.0001), AssertionError, "to be close to");
  assertThrows(() => assertAlmostEquals(NaN, 1), AssertionError);
});

Deno.test("assertThrows() and assertRejects() check class and message", async () => {
  const thrower = () => {
    throw new RangeError("out of range");
  };
  assertEquals(assertThrows(thrower, RangeError, "out of").message, "out of range");
  assertThrows(() => assertThrows(thrower, TypeError), AssertionError, "instance of");
  assertThrows(() => assertThrows(thrower, Error, "other"), AssertionError, "to include");
  assertThrows(() => assertThrows(() => 1), AssertionError, "Expected function to throw");

  const rejecter = () => Promise.reject(new RangeError("out of range"));
  assertEquals((await assertRejects(rejecter, RangeError)).message, "out of range");
  await assertRejects(() => assertRejects(rejecter, TypeError), AssertionError, "instance of");
  await assertRejects(() => assertRejects(thrower), AssertionError, "throws when expected");
  await assertRejects(() => assertRejects(() => Promise.resolve()), AssertionError, "to reject");
});

Deno.test("parseArgs() reads values, switches, groups and positionals", () => {
  assertEquals(
    parseArgs(["run", "7", "--name", "x", "--n=3", "--flag", "-ab", "-c5", "-"]),
    { _: ["run", 7, "-"], name: "x", n: 3, flag: true, a: true, b: true, c: 5 },
  );
  assertEquals(parseArgs(["--a", "--", "--b"]), { _: ["--b"], a: true });
  assertEquals(parseArgs(["--a", "--", "--b"], { "--": true }), { _: [], "--": ["--b"], a: true });
});

Deno.test("parseArgs() follows its declarations", () => {
  const flags = parseArgs(
    ["--text", "012", "--json", "file", "--tag", "a", "--tag=b", "--no-color", "-o", "out", "9"],
    {
      string: ["text", "tag", "out", "_"],
      boolean: ["json", "color", "quiet"],
      collect: ["tag"],
      negatable: ["color"],
      alias: { out: "o" },
      default: { color: true, text: "none", steps: 5 },
    },
  );
  const text: string = flags.text; // a default makes it certain
  const json: boolean = flags.json;
  const tags: string[] = flags.tag;
  assertEquals([text, json, tags], ["012", true, ["a", "b"]]);
  assertEquals([flags.color, flags.quiet, flags.steps], [false, false, 5]);
  assertEquals([flags.out, flags.o], ["out", "out"]);
  assertEquals(flags._, ["file", "9"]);
});

Deno.test("parseArgs() hands what is not declared to unknown", () => {
  const seen: unknown[] = [];
  const flags = parseArgs(["--known", "1", "--other=2", "word"], {
    string: ["known"],
    unknown: (arg, key, value) => {
      seen.push([arg, key, value]);
      return false;
    },
  });
  assertEquals(seen, [["--other=2", "other", "2"], ["word", undefined, undefined]]);
  assertEquals(flags, { _: [], known: "1" });
});

Deno.test("paths join, split and turn into file URLs and back", () => {
  assertEquals(join("a", "..", "b", "c.txt"), normalize("b/c.txt"));
  assertEquals(basename("/a/b.txt", ".txt"), "b");
  const url = toFileUrl("/a b/c.txt");
  assertEquals(url.href.endsWith("/a%20b/c.txt"), true);
  assertEquals(fromFileUrl(url), "/a b/c.txt");
  assertThrows(() => fromFileUrl("https://example.com/"), TypeError, "file URL");
});
