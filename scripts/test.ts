/**
 * `deno task test`: runs the tests one file after the other (they share one GPU), and closes with
 * `N passed, 0 failed` alone on the last line, counted from the JUnit report. The exit code is
 * `deno test`'s, unless it was killed on its way out, when every file had passed: one run in twenty
 * or so aborts while the threads of the tests are ended ("double free or corruption").
 *
 * Arguments are names of test files without their ending (`reward`), paths, or options of
 * `deno test`; without a name or a path it runs all of `tests/`.
 *
 * @module
 */

import { join, resolve } from "@std/path";

/** How the tests of one run ended. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Counts the tests in a JUnit report of `deno test`. Steps, which the report lists as tests named
 * "test > step", count with the test they belong to.
 */
export function countTests(junit: string): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, suite] of junit.matchAll(/<testsuite\s[^>]*>([\s\S]*?)<\/testsuite>/g)) {
    const cases = [...suite!.matchAll(/<testcase name="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)];
    const names = new Set(cases.map(([, name]) => name!));
    for (const [, name, body] of cases) {
      if (isStep(name!, names)) continue;
      if (body!.includes("<failure") || body!.includes("<error")) counts.failed++;
      else if (body!.includes("<skipped")) counts.skipped++;
      else counts.passed++;
    }
  }
  return counts;
}

/** Whether a report has so many files, and all that is in them passed or was skipped. */
export function passedAll(junit: string, files: number): boolean {
  // A file that throws at its top level is not there.
  return [...junit.matchAll(/<testsuite\s/g)].length === files && countTests(junit).failed === 0;
}

/** Number of test files that are at a path: one, or those in a folder. */
function filesAt(path: string): number {
  if (!Deno.statSync(path).isDirectory) return 1;
  return [...Deno.readDirSync(path)].filter(({ name }) => name.endsWith("_test.ts")).length;
}

function isStep(name: string, names: ReadonlySet<string>): boolean {
  const arrow = " &gt; ";
  for (let end = name.indexOf(arrow); end >= 0; end = name.indexOf(arrow, end + 1)) {
    if (names.has(name.slice(0, end))) return true;
  }
  return false;
}

/** The last line of a run. */
export function summary({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed` + (skipped > 0 ? `, ${skipped} skipped` : "");
}

/** Turns the arguments into those of `deno test`; `caller` is the folder that paths start from. */
export function testArguments(
  args: readonly string[],
  caller: string,
  exists: (path: string) => boolean,
): string[] {
  const options: string[] = [];
  const files: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const named = join("tests", `${arg}_test.ts`);
    if (arg === "--filter") options.push(arg, args[++i] ?? "");
    else if (arg.startsWith("-")) options.push(arg);
    else files.push(exists(named) ? named : resolve(caller, arg));
  }
  return [...options, ...(files.length > 0 ? files : ["tests/"])];
}

function existsSync(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const report = Deno.makeTempFileSync({ prefix: "junit-", suffix: ".xml" });
  const args = testArguments(Deno.args, Deno.env.get("INIT_CWD") ?? Deno.cwd(), existsSync);
  const { code, signal } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", `--junit-path=${report}`, ...args],
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  const junit = Deno.readTextFileSync(report);
  Deno.removeSync(report);
  const counts = countTests(junit);
  const paths = args.filter((arg) => !arg.startsWith("-"));
  const filtered = args.some((arg) => arg.startsWith("--filter"));
  // Tests left out by --filter are reported like ignored ones; they are no news.
  if (filtered) counts.skipped = 0;
  const files = paths.reduce((sum, path) => sum + filesAt(path), 0);
  const through = signal !== null && !filtered && passedAll(junit, files);
  if (through) console.error(`deno test ended with ${signal} behind the last test`);
  // A file that doesn't compile or throws at its top level is in no report.
  else if (code !== 0 && counts.failed === 0) counts.failed = 1;
  console.log(summary(counts));
  Deno.exit(through ? 0 : code);
}
