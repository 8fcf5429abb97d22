/**
 * Runs what models must not be able to do, and looks what comes of it.
 *
 * @module
 */

import type { Sandbox, SandboxResult, SandboxStatus } from "../../src/tools/sandbox/sandbox.ts";

/** Code with an intention. */
export interface Hostile {
  /** What it is after. */
  readonly what: string;
  readonly code: string;
  /**
   * How it may end. "ok" is contained if it has no effect, which the call after it looks for; which of
   * two limits is hit first depends on the machine.
   */
  readonly ends: SandboxStatus | readonly SandboxStatus[];
  /** What its value, its output or its error says. */
  readonly says?: RegExp;
}

/** What came of it. */
export interface Attempt {
  readonly what: string;
  readonly status: SandboxStatus;
  /** Wall time, in ms. */
  readonly ms: number;
  /** What it said, in one line. */
  readonly said: string;
  /** Why it is not contained; null if it is. */
  readonly problem: string | null;
}

/** Code that shows whether a call finds anything that it should not: its value is always the same. */
export const innocent = {
  javascript: `
    const names = (o) => Object.getOwnPropertyNames(o).join();
    JSON.stringify([
      [globalThis, Object, Function, Array, Promise, JSON, Math, console].map(names).join().length,
      [Object, Function, Array, String, RegExp, Promise].map((o) => names(o.prototype)).join().length,
      [1, 2, 3].map((x) => x * x), typeof polluted, typeof x, Math.random(), Date.now(),
      Object.isFrozen(Object.prototype), /a+/.test("caat"), "abc".slice(1),
    ])`,
  python: `
import builtins, decimal, gc, json, math, os, random, sys, time, uuid
repr([
    math.pi, len([1, 2]), json.dumps({"a": [1]}), "abc".upper(), hasattr(1, "polluted"),
    sorted(vars(builtins)) == sorted(set(vars(builtins))), len(vars(builtins)), len(sys.modules),
    random.random(), time.time(), uuid.uuid4(), os.getcwd(), os.environ.get("X"), os.listdir("/tmp"),
    sys.getrecursionlimit(), gc.isenabled(), decimal.Decimal(1) / 3, sorted(globals()), id(object()),
    len(os.listdir("/proc/self/fd")),
])`,
} as const;

/** Runs snippets one after the other, and after each of them an innocent call. */
export async function attack(
  sandbox: Sandbox,
  language: keyof typeof innocent,
  snippets: readonly Hostile[],
): Promise<Attempt[]> {
  const code = innocent[language];
  const expected = await calmly(sandbox, code);
  if (expected.status !== "ok") throw new Error(`The innocent call fails: ${expected.error}`);
  const attempts: Attempt[] = [];
  for (const { what, code: hostile, ends, says = /^/ } of snippets) {
    const { status, value, stdout, error, ms } = await sandbox.run(hostile);
    const after = await calmly(sandbox, code);
    const said = [error, value, stdout].find((text) => text) ?? "";
    const problems = [
      ...([ends].flat().includes(status) ? [] : [`it ended as "${status}"`]),
      ...(says.test(`${error ?? value ?? stdout}`) ? [] : ["it said something else"]),
      ...(after.value === expected.value ? [] : [
        `the call after it ended as "${after.status}": ${
          after.error ?? after.value
        }, not ${expected.value}`,
      ]),
    ];
    attempts.push({
      what,
      status,
      ms,
      said: said.slice(0, 200).trim().replaceAll(/\s*\n\s*/g, " / "),
      problem: problems.length > 0 ? `${problems.join("; ")} (${said.slice(0, 200)})` : null,
    });
  }
  return attempts;
}

/** On a busy machine a new process may take longer than a short limit for its first call. */
async function calmly(sandbox: Sandbox, code: string): Promise<SandboxResult> {
  for (let attempt = 1;; attempt++) {
    const result = await sandbox.run(code);
    if (result.status !== "timeout" || attempt === 5) return result;
  }
}
