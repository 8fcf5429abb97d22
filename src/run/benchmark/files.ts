/**
 * Public benchmarks, read from the files in which they are published.
 *
 * @module
 */

import { join } from "@std/path";
import { CheckpointError } from "../../io/checkpoint.ts";
import { readTextFile } from "../../io/text_file.ts";
import { bfclCategories, type BfclCategory } from "../../tasks/bfcl/read.ts";
import { parseGsm8k } from "../../tasks/formats/gsm8k.ts";
import { total } from "../../tasks/formats/reader.ts";
import type { Task } from "../../tasks/task.ts";
import { bfclFileName, readBfclFile } from "../tasks/bfcl_file.ts";
import { ConfigError } from "../config/mod.ts";
import { suggestion } from "../config/suggest.ts";

/** The tasks of a benchmark, or of one of its categories. */
export interface BenchmarkSet {
  /** As `--benchmark` calls it. */
  readonly name: string;
  /** In the order of the file. */
  readonly tasks: readonly Task[];
  /** Questions of the file that are no task. */
  readonly leftOut: number;
  /** Tokens that an episode may take behind its prompt. */
  readonly room: number;
}

/** Calls take some dozens of tokens; a model that thinks before takes more. */
const ROOM_FOR_CALLS = 512;
/** Several turns, or a whole line of thought. */
const ROOM_FOR_WORK = 1024;

const names = [
  ...["gsm8k", "gsm8k:no-tools", "bfcl"],
  ...bfclCategories.map((category) => `bfcl:${category}`),
];

/**
 * Reads a benchmark: `gsm8k`, `gsm8k:no-tools`, `bfcl:CATEGORY`, or `bfcl` for every category of
 * which there is a file.
 *
 * @param folder with the files, or with a folder `bfcl` or `gsm8k` of them
 * @param limit read so many questions of each file; null is all
 * @throws {ConfigError} if there is no such benchmark, or a file is missing.
 * @throws {CheckpointError} if a file cannot be read.
 * @throws {TaskFormatError} naming file and line of a malformed question.
 */
export async function readBenchmark(
  name: string,
  folder: string,
  limit: number | null,
): Promise<BenchmarkSet[]> {
  if (!names.includes(name)) {
    throw new ConfigError(
      `Cannot evaluate on "${name}": there is no such benchmark${suggestion(name, names)}. ` +
        `There are ${names.join(", ")}`,
    );
  }
  if (name.startsWith("gsm8k")) return [await readGsm8k(name, folder, limit)];
  if (name !== "bfcl") return [await readCategory(name.slice(5) as BfclCategory, folder, limit)];
  const found: BfclCategory[] = [];
  for (const category of bfclCategories) {
    if (await find("bfcl", folder, bfclFileName(category)) !== null) found.push(category);
  }
  if (found.length === 0) throw missing(name, folder, bfclFileName("simple_python"));
  return await Promise.all(found.map((category) => readCategory(category, folder, limit)));
}

async function readGsm8k(
  name: string,
  folder: string,
  limit: number | null,
): Promise<BenchmarkSet> {
  const source = await find(name, folder, "test.jsonl");
  if (source === null) throw missing(name, folder, "test.jsonl");
  const { tasks, report } = parseGsm8k(await readTextFile(source), {
    ...{ source, keepUnreferenced: true },
    ...(limit === null ? {} : { limit }),
  });
  const without = name === "gsm8k:no-tools";
  return {
    name,
    tasks: tasks.map((task) => ({
      ...task,
      check: "last-number",
      ...(without ? { tools: [], reference: null } : {}),
    })),
    leftOut: report.total - tasks.length,
    room: ROOM_FOR_WORK,
  };
}

async function readCategory(
  category: BfclCategory,
  folder: string,
  limit: number | null,
): Promise<BenchmarkSet> {
  const name = `bfcl:${category}`;
  const file = bfclFileName(category);
  const source = await find(name, folder, file);
  if (source === null) throw missing(name, folder, file);
  const { tasks, leftOut } = await readBfclFile(source, { limit }, async (path) => {
    if (await isFile(path)) return await readTextFile(path);
    throw missing(name, folder, join("possible_answer", file));
  });
  return { name, tasks, leftOut: total(leftOut), room: ROOM_FOR_CALLS };
}

/** The path of a file, in the folder or in that of its benchmark. */
async function find(name: string, folder: string, file: string): Promise<string | null> {
  for (const path of [join(folder, file), join(folder, familyOf(name), file)]) {
    if (await isFile(path)) return path;
  }
  return null;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    const absent = [Deno.errors.NotFound, Deno.errors.NotADirectory];
    if (absent.some((kind) => error instanceof kind)) return false;
    throw new CheckpointError(`Cannot read "${path}": ${(error as Error).message}`);
  }
}

/** `bfcl` or `gsm8k`. */
function familyOf(name: string): string {
  return name.replace(/:.*/, "");
}

function missing(name: string, folder: string, file: string): ConfigError {
  const where = name.startsWith("gsm8k")
    ? "It is in grade_school_math/data of https://github.com/openai/grade-school-math"
    : "It is in bfcl_eval/data of the Python package bfcl-eval, and of " +
      "https://github.com/ShishirPatil/gorilla/tree/main/berkeley-function-call-leaderboard";
  return new ConfigError(
    `Cannot evaluate on ${name}: there is no ${file} in "${folder}" or its folder ` +
      `${familyOf(name)}. ${where}`,
  );
}
