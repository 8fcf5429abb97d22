/**
 * Mentor beside other libraries that do the same work on this machine.
 *
 * All contenders have the same weights, tokens and settings, and must compute the same values. Each
 * is a process of its own, and they run in turn: A B A B. The JavaScript ones come from npm
 * (bench/peers/npm/deno.json, a config of its own, or every command of Mentor would download
 * them), PyTorch from the system.
 *
 * @module
 */

import { fromFileUrl } from "@std/path";
import { compete, type Entry } from "./peers/compete.ts";
import { writeModelFolder } from "./peers/model_folder.ts";
import { operations } from "./peers/operations.ts";
import { parseWork } from "./peers/protocol.ts";
import type { BenchRow, Skipped } from "./report.ts";

/** What to measure. */
export interface PeersOptions {
  /** `matmul:N`, `step`, `decode:B` or the name of an operation; all that are usual by default. */
  readonly works?: readonly string[];
  /** Names of contenders; all by default. */
  readonly contenders?: readonly string[];
  /** Repetitions of a fast contender; a slow one runs fewer times, but twice at least. */
  readonly repetitions?: number;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

const WORKS = [
  ...["matmul:512", "matmul:1024", ...operations],
  ...["step", "decode:1", "decode:16", "decode:64"],
];
/** The first start downloads from npm and fills the driver's cache of shaders. */
const LIMITS = { startMs: 120_000, runMs: 60_000 };
/** Time of one contender in one work: all together took five minutes on two cores. */
const BUDGET_MS = 3500;
const NO_TORCH = "python3-torch is not installed (Debian: apt-get install python3-torch)";

/** Every contender's name, and how to start it for a work; the python is null where none has torch. */
const CONTENDERS: Readonly<
  Record<string, (work: string, data: string, python: Python | null) => Entry["command"]>
> = {
  "mentor": (...work) => script("peers/mentor.ts", "../deno.json", "webgpu", work),
  "jax-js webgpu": (...work) => library("jax.ts", "webgpu", work),
  "jax-js wasm": (...work) => library("jax.ts", "wasm", work),
  "tfjs webgpu": (...work) => library("tfjs.ts", "webgpu", work),
  "tfjs wasm": (...work) => library("tfjs.ts", "wasm", work),
  "torch 1 thread": (...work) => torch(1, ...work),
  "torch 2 threads": (...work) => torch(2, ...work),
  "torch cuda": (...work) => torch(1, ...work, "cuda"),
};

/** A Python with PyTorch. */
interface Python {
  readonly program: string;
  /** Whether PyTorch sees a CUDA device. */
  readonly cuda: boolean;
}

/**
 * Runs every contender on every work.
 *
 * @returns a row per contender and work that it did, and why it did not do the others
 * @throws {RangeError} if there is no such work or contender.
 * @throws {GpuUnavailableError} if no adapter answers; Mentor makes the model.
 */
export async function peers(
  { works = WORKS, contenders, repetitions = 7, onProgress }: PeersOptions = {},
): Promise<{ rows: BenchRow[]; skipped: Skipped[] }> {
  const kinds = works.map((work) => parseWork(work).kind);
  const unknown = contenders?.find((name) => !(name in CONTENDERS));
  if (unknown !== undefined) {
    const names = Object.keys(CONTENDERS).join(", ");
    throw new RangeError(`Cannot compare with "${unknown}": choose among ${names}`);
  }
  // In this order whatever was asked for: the others are compared with Mentor's values.
  const named = contenders ?? Object.keys(CONTENDERS);
  const python = named.some((name) => name.startsWith("torch")) ? await findTorch() : null;
  // Without a CUDA device there is nothing to say of it, unless it was asked for.
  const wanted = contenders ?? named.filter((name) => name !== "torch cuda" || python?.cuda);
  const chosen = Object.entries(CONTENDERS).filter(([name]) => wanted.includes(name));
  const rows: BenchRow[] = [];
  const skipped: Skipped[] = [];
  const data = await Deno.makeTempDir({ prefix: "peers-" });
  try {
    if (kinds.includes("step") || kinds.includes("decode")) await writeModelFolder(data);
    for (const work of works) {
      const entries = chosen.map(([name, command]) => ({
        name,
        command: command(work, data, python),
      }));
      const found = await compete(work, entries, {
        limits: LIMITS,
        repetitions,
        budgetMs: BUDGET_MS,
        onProgress,
      });
      rows.push(...found.rows);
      skipped.push(...found.skipped);
    }
  } finally {
    await Deno.remove(data, { recursive: true });
  }
  return { rows, skipped };
}

type ScriptWork = readonly [work: string, data: string, python: Python | null];

function library(file: string, backend: "webgpu" | "wasm", work: ScriptWork): Entry["command"] {
  return script(`peers/npm/${file}`, "peers/npm/deno.json", backend, work);
}

function script(
  file: string,
  config: string,
  backend: "webgpu" | "wasm",
  [work, data]: ScriptWork,
): Entry["command"] {
  const flags = ["run", "-A", "--no-prompt", "--frozen", "--config", pathOf(config)];
  const args = ["--work", work, "--data", data, "--backend", backend];
  return { program: Deno.execPath(), args: [...flags, pathOf(file), ...args] };
}

function torch(
  threads: number,
  ...[work, data, python, device = "cpu"]: [...ScriptWork, device?: "cpu" | "cuda"]
): Entry["command"] {
  if (!python) return NO_TORCH;
  if (device === "cuda" && !python.cuda) return "PyTorch sees no CUDA device here";
  const args = ["--work", work, "--data", data, "--threads", String(threads), "--device", device];
  return {
    program: python.program,
    args: [pathOf("peers/torch_model.py"), ...args],
    env: {
      OMP_NUM_THREADS: String(threads),
      OPENBLAS_NUM_THREADS: String(threads),
      PYTHONDONTWRITEBYTECODE: "1",
      // Spinning OpenMP threads would take the cores from those of OpenBLAS: on two cores a step
      // took 250 to 500 ms instead of 166.
      OMP_WAIT_POLICY: "PASSIVE",
    },
  };
}

function pathOf(file: string): string {
  return fromFileUrl(new URL(file, import.meta.url));
}

/** A Python that has torch: the first on the path may be one beside which Debian's is installed. */
async function findTorch(): Promise<Python | null> {
  for (const program of ["python3", "/usr/bin/python3"]) {
    const command = new Deno.Command(program, {
      args: ["-c", "import torch; print(torch.cuda.is_available())"],
      stderr: "null",
    });
    try {
      const { success, stdout } = await command.output();
      const cuda = new TextDecoder().decode(stdout).trim() === "True";
      if (success) return { program, cuda };
    } catch {
      // There is no such program.
    }
  }
  return null;
}
