/**
 * The folder of a comparison:
 *
 * ```
 * comparison/
 *   comparison.json      what came out, once every arm is done
 *   settings.json        what is compared; another comparison needs another folder
 *   lock                 held by the process that is at work
 *   seed-0/base/         the model that the arms start from
 *   seed-0/base.json     what it does
 *   seed-0/flex/         the run of an arm (`store.ts`)
 *   seed-0/flex.json     what came out of it: the arm is done
 * ```
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { CheckpointError, isTemporary, replaceFile, writeError } from "../../io/checkpoint.ts";
import { ConfigError } from "../config/mod.ts";
import { flatten } from "../report/format.ts";

/** Reads and writes what has been done of a comparison; no other process can while it is open. */
export class ComparisonFolder implements Disposable {
  /** Where it lies. */
  readonly path: string;
  readonly #lock: Deno.FsFile;

  /**
   * Opens the folder, and makes it if there is none.
   *
   * @param settings all that decides the numbers of a seed
   * @throws {ConfigError} if it holds a comparison with other settings, or something else.
   * @throws {CheckpointError} if it cannot be read or written, or another process is at work in it.
   */
  constructor(path: string, settings: Readonly<Record<string, unknown>>) {
    this.path = path;
    makeFolder(path);
    this.#lock = lock(join(path, "lock"));
    try {
      const file = join(path, "settings.json");
      const found = readText(file);
      if (found === null) replaceFile(file, toJson(settings));
      else requireSame(path, JSON.parse(found), JSON.parse(toJson(settings)));
    } catch (error) {
      this.#lock.close();
      throw error;
    }
  }

  /** Lets other processes in. */
  [Symbol.dispose](): void {
    this.#lock.close();
  }

  /** The model that the arms of a seed start from. */
  base(seed: number): string {
    return join(this.path, `seed-${seed}`, "base");
  }

  /** The run of an arm; imitation has several. */
  run(seed: number, arm: string): string {
    return join(this.path, `seed-${seed}`, arm);
  }

  /** What came out of an arm or a base; null if it is not done. */
  result<T>(seed: number, arm: string): T | null {
    const text = readText(this.#file(seed, arm));
    return text === null ? null : JSON.parse(text) as T;
  }

  /** Keeps what came out, whole or not at all. */
  keep(seed: number, arm: string, result: unknown): void {
    const file = this.#file(seed, arm);
    try {
      Deno.mkdirSync(dirname(file), { recursive: true });
    } catch (error) {
      throw writeError(file, error);
    }
    replaceFile(file, toJson(result));
  }

  /** Writes `comparison.json`. */
  finish(comparison: unknown): string {
    const file = join(this.path, "comparison.json");
    replaceFile(file, toJson(comparison));
    return file;
  }

  #file(seed: number, arm: string): string {
    return join(this.path, `seed-${seed}`, `${arm}.json`);
  }
}

const toJson = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

function readText(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new CheckpointError(`Cannot read "${path}": ${(error as Error).message}`);
  }
}

/** Makes the folder of a comparison, or sees to it that it is one. */
function makeFolder(path: string): void {
  let names: string[];
  try {
    Deno.mkdirSync(path, { recursive: true });
    names = Array.from(Deno.readDirSync(path), ({ name }) => name);
  } catch (error) {
    throw new CheckpointError(`Cannot make folder "${path}": ${(error as Error).message}`);
  }
  // A process that was killed at its start leaves no more than this.
  const others = names.filter((name) => name !== "lock" && !isTemporary(name));
  if (others.length === 0 || names.includes("settings.json")) return;
  throw new ConfigError(
    `Cannot compare in "${path}": the folder is not empty and holds no comparison. ` +
      "Choose another --out",
  );
}

/** Opens a file that no other process has open like this. */
function lock(path: string): Deno.FsFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { write: true, create: true });
  } catch (error) {
    throw new CheckpointError(`Cannot write "${path}": ${(error as Error).message}`);
  }
  if (file.tryLockSync(true)) return file;
  file.close();
  throw new CheckpointError(
    `Cannot compare in "${dirname(path)}": another process is at work there. Wait until it has ` +
      "ended, or choose another --out",
  );
}

function requireSame(path: string, before: unknown, now: unknown): void {
  const [a, b] = [before, now].map((settings) =>
    new Map(flatten(settings).map(([name, value]) => [name, JSON.stringify(value)]))
  ) as [Map<string, string>, Map<string, string>];
  const changed = [...new Set([...a.keys(), ...b.keys()])]
    .filter((name) => a.get(name) !== b.get(name));
  if (changed.length === 0) return;
  throw new ConfigError(
    `Cannot go on with the comparison in "${path}": it was begun with other settings ` +
      `(${changed.join(", ")}). Repeat these, or choose another --out`,
  );
}
