import { assertEquals } from "@std/assert";
import { resolve } from "@std/path";
import { countTests, passedAll, summary, testArguments } from "../scripts/test.ts";

const REPORT = `<testsuites name="deno test" tests="6" failures="1" errors="0" time="0.081">
    <testsuite name="./a_test.ts" tests="5" disabled="1" errors="0" failures="1">
        <testcase name="a" classname="./a_test.ts" time="0.001">
        </testcase>
        <testcase name="b &gt; 2" classname="./a_test.ts" time="0.001">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
        <testcase name="c" classname="./a_test.ts" time="0.000">
            <skipped/>
        </testcase>
        <testcase name="a &gt; step" classname="./a_test.ts" time="0.000">
        </testcase>
    </testsuite>
    <testsuite name="./b_test.ts" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="d" classname="./b_test.ts" time="0.001">
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("the test runner counts tests of all files, and steps only with their test", () => {
  assertEquals(countTests(REPORT), { passed: 2, failed: 1, skipped: 1 });
  assertEquals(countTests(""), { passed: 0, failed: 0, skipped: 0 });
});

Deno.test("the test runner takes a run for passed only if every file is there and none failed", () => {
  const fine = REPORT.replace(/<failure.*<\/failure>/, "");
  assertEquals([passedAll(fine, 2), passedAll(fine, 3)], [true, false]);
  assertEquals([passedAll(REPORT, 2), passedAll("", 2)], [false, false]);
});

Deno.test("the test runner's last line mentions skipped tests only where there are some", () => {
  assertEquals(summary({ passed: 12, failed: 0, skipped: 0 }), "12 passed, 0 failed");
  assertEquals(summary({ passed: 1, failed: 2, skipped: 3 }), "1 passed, 2 failed, 3 skipped");
});

Deno.test("the test runner takes names, paths and options, and runs tests/ without a path", () => {
  const exists = (path: string) => path === "tests/reward_test.ts";
  const args = (...given: string[]) => testArguments(given, "/home", exists);
  assertEquals(args(), ["tests/"]);
  assertEquals(args("reward"), ["tests/reward_test.ts"]);
  assertEquals(args("--fail-fast", "x_test.ts"), ["--fail-fast", resolve("/home", "x_test.ts")]);
  assertEquals(args("--filter", "a b"), ["--filter", "a b", "tests/"]);
});
