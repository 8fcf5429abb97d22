/**
 * How a subprocess without permissions is started.
 *
 * @module
 */

import { join, resolve } from "@std/path";
import { ToolUnavailableError } from "../tool.ts";
import context from "./child/context.ts" with { type: "text" };
import frozen from "./child/frozen.ts" with { type: "text" };
import gate from "./child/gate.ts" with { type: "text" };
import javascript from "./child/javascript.ts" with { type: "text" };
import loop from "./child/loop.ts" with { type: "text" };
import makeSnapshot from "./child/make_snapshot.ts" with { type: "text" };
import pyodide from "./child/pyodide.ts" with { type: "text" };
import python from "./child/python.ts" with { type: "text" };
import realm from "./child/realm.ts" with { type: "text" };
import topLevelAwait from "./child/top_level_await.ts" with { type: "text" };

/** The files of child/ by name: where this module lies may not be a folder. */
const programs = {
  "context.ts": context,
  "frozen.ts": frozen,
  "gate.ts": gate,
  "javascript.ts": javascript,
  "loop.ts": loop,
  "make_snapshot.ts": makeSnapshot,
  "pyodide.ts": pyodide,
  "python.ts": python,
  "realm.ts": realm,
  "top_level_await.ts": topLevelAwait,
};

/** What a subprocess may have. */
export interface Rights {
  /** Files and folders that it may read. */
  readonly read?: readonly string[];
  /** Files that it may write. */
  readonly write?: readonly string[];
  /** What follows the program on the command line. */
  readonly args?: readonly string[];
  /** Heap of its JavaScript, in MiB. */
  readonly heapMiB: number;
  /** All its memory beside what Deno takes at rest, in MiB; held where prlimit is. */
  readonly memoryMiB: number;
  /** Processor time, in seconds; held where prlimit is. */
  readonly cpuSeconds: number;
}

/**
 * MiB of private memory that a process may have at rest. Deno 2.9.6 has 546 on two cores, and a stack
 * for each further core.
 */
const AT_REST = 1024;

/** A folder that subprocesses share, gone with its last user or with this process. */
export class SharedFolder implements AsyncDisposable {
  readonly #folder: string;
  readonly #wrappers: readonly string[][];
  readonly #remove = () => {
    try {
      Deno.removeSync(this.#folder, { recursive: true });
    } catch {
      // A dying child may still write there; the system's temporary folder is for such leftovers.
    }
  };

  private constructor(folder: string, wrappers: readonly string[][]) {
    this.#folder = folder;
    this.#wrappers = wrappers;
    globalThis.addEventListener("unload", this.#remove);
  }

  /**
   * Makes the folder, with the programs in it.
   *
   * @throws {ToolUnavailableError} if it can't be written
   */
  static async open(): Promise<SharedFolder> {
    try {
      const folder = await Deno.makeTempDir({ prefix: "mentor-sandbox-" });
      for (const [name, text] of Object.entries(programs)) {
        await Deno.writeTextFile(join(folder, name), text);
      }
      return new SharedFolder(folder, await usableWrappers());
    } catch (error) {
      throw unavailable("make a temporary folder for the sandbox", error);
    }
  }

  /** Starts a program of child/, or one with an absolute path; its three streams are piped. */
  spawn(program: string, rights: Rights): Deno.ChildProcess {
    const { read = [], write = [], args = [], heapMiB, memoryMiB, cpuSeconds } = rights;
    const limits = [`--data=${(AT_REST + memoryMiB) * 2 ** 20}`, `--cpu=${cpuSeconds}`];
    const command = [
      ...this.#wrappers.flatMap((wrapper) =>
        wrapper[0] === "prlimit" ? [...wrapper, ...limits] : wrapper
      ),
      ...[Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-remote", "--no-npm"],
      ...["--cached-only", "--no-config", "--no-lock", "--deny-import"],
      ...(read.length > 0 ? [`--allow-read=${paths(read)}`] : []),
      ...(write.length > 0 ? [`--allow-write=${paths(write)}`] : []),
      ...[`--v8-flags=--max-old-space-size=${heapMiB}`, resolve(this.#folder, program), ...args],
    ];
    try {
      return new Deno.Command(command[0]!, {
        args: command.slice(1),
        clearEnv: true,
        // A library's warnings and dates come out the same everywhere.
        env: { DENO_DIR: this.#folder, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", TZ: "UTC" },
        cwd: this.#folder,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      throw unavailable("start a subprocess for the sandbox", error);
    }
  }

  /** Removes the folder. */
  [Symbol.asyncDispose](): Promise<void> {
    globalThis.removeEventListener("unload", this.#remove);
    this.#remove();
    return Promise.resolve();
  }
}

/** A list of paths for Deno's flags. */
function paths(list: readonly string[]): string {
  return list.map((path) => path.replaceAll(",", ",,")).join(",");
}

/** The error for what the system or Deno's permissions refused. */
export function unavailable(action: string, error: unknown): ToolUnavailableError {
  const { message } = error as Error;
  const remedy = error instanceof Deno.errors.NotCapable
    ? "; sandboxed tools need --allow-run, --allow-read, --allow-write and --allow-env"
    : "";
  return new ToolUnavailableError(`Cannot ${action}: ${message}${remedy}`, { cause: error });
}

let found: Promise<string[][]> | null = null;

/** What can be put in front of the command here: no network, limits of the system. */
function usableWrappers(): Promise<string[][]> {
  found ??= (async () => {
    const network = [["unshare", "--net"], ["unshare", "--map-root-user", "--net"]];
    const limits = ["prlimit", "--core=0", "--nofile=256", `--fsize=${64 * 2 ** 20}`];
    const usable: string[][] = [];
    for (const wrapper of network) {
      if (usable.length === 0 && await succeeds([...wrapper, "true"])) usable.push(wrapper);
    }
    if (await succeeds([...limits, "true"])) usable.push(limits);
    return usable;
  })();
  return found;
}

async function succeeds([command, ...args]: string[]): Promise<boolean> {
  try {
    const options = { args, stdin: "null", stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command!, options).output()).success;
  } catch {
    return false;
  }
}
