/**
 * The sandbox: what it costs to start, what a call costs, and what comes of code with bad intentions.
 *
 * @module
 */

import { join } from "@std/path";
import { javascriptSource, openJavascriptSandbox } from "../src/tools/sandbox/javascript.ts";
import { SharedFolder } from "../src/tools/sandbox/launch.ts";
import { pyodideFolder } from "../src/tools/sandbox/pyodide.ts";
import { openPythonSandbox, pythonSource } from "../src/tools/sandbox/python.ts";
import { type Sandbox, sandboxLimits } from "../src/tools/sandbox/sandbox.ts";
import { makeSnapshot } from "../src/tools/sandbox/snapshot.ts";
import { attack, type Attempt } from "./hostile/attack.ts";
import { hostileJavascript } from "./hostile/javascript.ts";
import { hostilePython } from "./hostile/python.ts";
import { renderTable } from "./report.ts";
import { median } from "./statistics.ts";

/** Times in ms. */
export interface SandboxTimes {
  /** Starting an interpreter from nothing, which is done once on a machine; null if that is nothing. */
  readonly coldMs: number | null;
  /** Until the first call can be made. */
  readonly openMs: number;
  /** A process of the pool: for Python, from the memory snapshot. */
  readonly processMs: number;
  /** The first call in a new process. */
  readonly firstCallMs: number;
  /** A call in the pool, from its code to its result. */
  readonly callMs: { readonly median: number; readonly p95: number };
}

/** What was found for one language. */
export interface SandboxReport {
  readonly language: Language;
  readonly times: SandboxTimes;
  readonly attempts: readonly Attempt[];
}

type Language = "javascript" | "python";

const openers = { javascript: openJavascriptSandbox, python: openPythonSandbox };
const sources = { javascript: javascriptSource, python: pythonSource };
const snippets = { javascript: hostileJavascript, python: hostilePython };

/** What the timed calls run: some arithmetic and a line of output. */
const work: Readonly<Record<Language, string>> = {
  javascript: "const xs = [1, 2, 3].map((x) => x * x); console.log(xs); xs.reduce((a, b) => a + b)",
  python: "xs = [x * x for x in (1, 2, 3)]\nprint(xs)\nsum(xs)",
};

/** Wall time that an attack may take. */
const LIMIT_MS = 1000;

/** Measures both languages. @param repetitions of a start; calls are 100 times as many */
export async function sandbox(
  { repetitions = 5, onProgress = () => {} }: {
    readonly repetitions?: number;
    readonly onProgress?: (text: string) => void;
  } = {},
): Promise<SandboxReport[]> {
  const reports: SandboxReport[] = [];
  for (const language of ["javascript", "python"] as const) {
    onProgress(`${language}: starting`);
    // Downloads, and makes the snapshot, where that was not done.
    await (await openers[language]())[Symbol.asyncDispose]();
    const times: SandboxTimes = {
      coldMs: language === "python" ? await cold() : null,
      ...await start(language, repetitions),
      callMs: await calls(language, 100 * repetitions),
    };
    onProgress(`${language}: ${snippets[language].length} attacks`);
    await using target = await openers[language]({ processes: 1, timeoutMs: LIMIT_MS });
    const attempts = await attack(target, language, snippets[language]);
    reports.push({ language, times, attempts });
  }
  return reports;
}

/** Times, and a row for each attack; what is not contained says so. */
export function renderSandbox(reports: readonly SandboxReport[]): string {
  const ms = (value: number | null) => value === null ? "-" : `${value.toPrecision(3)} ms`;
  const times = renderTable([
    ["sandbox", "from nothing", "opened", "process", "first call", "call", "95 %"],
    ...reports.map(({ language, times }) => [
      ...[language, ms(times.coldMs), ms(times.openMs), ms(times.processMs)],
      ...[ms(times.firstCallMs), ms(times.callMs.median), ms(times.callMs.p95)],
    ]),
  ], [1, 2, 3, 4, 5, 6]);
  const attacks = reports.map(({ language, attempts }) => {
    const contained = attempts.filter(({ problem }) => problem === null).length;
    const rows = attempts.map(({ what, status, ms, said, problem }) => [
      ...[what, status, `${ms.toFixed(0)} ms`, problem ?? said.slice(0, 90)],
    ]);
    return `${language}: ${contained} of ${attempts.length} attacks contained, ${LIMIT_MS} ms each\n` +
      renderTable([["attack", "ended", "after", "and said"], ...rows], [2]);
  });
  return [times, ...attacks].join("\n\n");
}

async function cold(): Promise<number> {
  await using shared = await SharedFolder.open();
  const folder = await pyodideFolder();
  const target = await Deno.makeTempDir();
  try {
    return await timed(() => makeSnapshot(shared, folder, join(target, "snapshot")));
  } finally {
    await Deno.remove(target, { recursive: true });
  }
}

async function start(
  language: Language,
  repetitions: number,
): Promise<Pick<SandboxTimes, "openMs" | "processMs" | "firstCallMs">> {
  const [open, process, first]: [number[], number[], number[]] = [[], [], []];
  await using source = await sources[language](sandboxLimits({}));
  for (let i = 0; i < repetitions; i++) {
    let opened: Sandbox;
    open.push(await timed(async () => opened = await openers[language]({ processes: 1 })));
    first.push((await opened!.run(work[language])).ms);
    await opened![Symbol.asyncDispose]();
    const begin = performance.now();
    const one = await source.start();
    process.push(performance.now() - begin);
    await one.end();
  }
  return { openMs: median(open), processMs: median(process), firstCallMs: median(first) };
}

async function calls(language: Language, count: number): Promise<SandboxTimes["callMs"]> {
  await using pool = await openers[language]({ processes: 1 });
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(await timed(() => pool.run(work[language])));
  return { median: median(times), p95: times.toSorted((a, b) => a - b)[Math.floor(0.95 * count)]! };
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await action();
  return performance.now() - begin;
}
