/**
 * How long files of tasks take to be read and checked, and their references to be run where results
 * are left out: what a run does with them before its first token.
 *
 * @module
 */

import process from "node:process";
import { basename, join } from "@std/path";
import { withResults } from "../src/run/tasks/references.ts";
import { readTaskFile } from "../src/run/tasks/file.ts";
import { calculator } from "../src/tools/calculator.ts";
import type { BenchRow } from "./report.ts";
import { median, spread } from "./statistics.ts";

/** What to measure. */
export interface TaskFilesOptions {
  /** Files beside those that are made here. */
  readonly files?: readonly string[];
  readonly repetitions?: number;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

const TASKS = 10_000;

/** Reads every file anew in each repetition. */
export async function taskFiles(
  { files = [], repetitions = 5, onProgress = () => {} }: TaskFilesOptions,
): Promise<BenchRow[]> {
  const folder = await Deno.makeTempDir();
  try {
    const made = { "two calls to run": called, "five tools of its own": declaring };
    const works = files.map((path) => ({ shape: basename(path), path }));
    for (const [shape, row] of Object.entries(made)) {
      const path = join(folder, `${works.length}.jsonl`);
      const lines = Array.from({ length: TASKS }, (_, i) => JSON.stringify(row(i)));
      await Deno.writeTextFile(path, lines.join("\n"));
      works.push({ shape: `${TASKS} tasks, each with ${shape}`, path });
    }
    const rows: BenchRow[] = [];
    for (const { shape, path } of works) {
      onProgress(`tasks: ${shape}`);
      rows.push(await measure(shape, path, repetitions));
    }
    return rows;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function measure(shape: string, path: string, repetitions: number): Promise<BenchRow> {
  const tools = calculator().all;
  const options = { format: "auto", tools, chosen: false, limit: null, skipInvalid: true } as const;
  const times: number[] = [];
  const cpu: number[] = [];
  let count = 0;
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    const used = process.cpuUsage();
    const { tasks } = await readTaskFile(path, options);
    count = (await withResults(tasks)).length;
    times.push(performance.now() - start);
    const { user, system } = process.cpuUsage(used);
    cpu.push((user + system) / 1000);
  }
  const medianMs = median(times);
  return {
    work: "tasks",
    shape,
    contender: "mentor",
    medianMs,
    spread: spread(times),
    cpuMs: median(cpu),
    rate: 1000 * count / medianMs,
    unit: "tasks/s",
    ratioToMentor: 1,
    limit: null,
  };
}

/** A task whose reference has no results yet. */
function called(i: number) {
  return {
    prompt: `What is ${i} plus 5, times 3?`,
    answer: 3 * (i + 5),
    reference: {
      calls: [
        { name: "add", arguments: { a: i, b: 5 } },
        { name: "mul", arguments: { a: i + 5, b: 3 } },
      ],
    },
  };
}

/** A task with tools that no other has, three of which its reference calls. */
function declaring(i: number) {
  const names = Array.from({ length: 5 }, (_, k) => `forecast_${5 * i + k}`);
  const parameters = {
    type: "object",
    properties: {
      city: { type: "string", description: "Where" },
      days: { type: "integer", minimum: 1 },
      unit: { type: "string", enum: ["C", "F"] },
      tags: { type: "array", items: { type: "string" } },
    },
    required: ["city"],
  };
  const args = { city: "Oslo", days: 3, unit: "C", tags: ["wind"] };
  return {
    prompt: `What will the weather be in place ${i}?`,
    tools: names.map((name) => ({ name, description: "The weather of some days.", parameters })),
    check: "calls",
    reference: { calls: names.slice(0, 3).map((name) => ({ name, arguments: args })) },
  };
}
