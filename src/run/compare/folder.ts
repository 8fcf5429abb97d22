/**
 * The folder of a comparison:
 *
 * ```
 * comparison/
 *   comparison.json      what came out, once every arm is done
 *   settings.json        what is compared; another comparison needs another folder
 *   seed-0/base/         the model that the arms start from
 *   seed-0/flex/         the run of an arm (`store.ts`)
 *   seed-0/flex.json     what came out of it: the arm is done
 * ```
 *
 * @module
 */

import { join } from "@std/path";
import { CheckpointError } from "../../io/checkpoint.ts";
import { ConfigError } from "../config.ts";

/** Reads and writes what has been done of a comparison. */
export class ComparisonFolder {
  /** Where it lies. */
  readonly path: string;

  /**
   * Opens the folder, and makes it if there is none.
   *
   * @param settings all that decides the numbers
   * @throws {ConfigError} if it holds a comparison with other settings, or something else.
   * @throws {CheckpointError} if it cannot be read or written.
   */
  constructor(path: string, settings: unknown) {
    this.path = path;
    const file = join(path, "settings.json");
    const text = toJson(settings);
    const found = readText(file);
    if (found === text) return;
    if (found !== null) {
      throw new ConfigError(
        `Cannot go on with the comparison in "${path}": it was begun with other settings ` +
          `(${changed(found, text)}). Repeat these, or choose another --out`,
      );
    }
    try {
      Deno.mkdirSync(path, { recursive: true });
      if ([...Deno.readDirSync(path)].length > 0) {
        throw new ConfigError(
          `Cannot compare in "${path}": the folder is not empty and holds no comparison. ` +
            "Choose another --out",
        );
      }
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new CheckpointError(`Cannot make folder "${path}": ${(error as Error).message}`);
    }
    writeAtomic(file, text);
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
    writeAtomic(this.#file(seed, arm), toJson(result));
  }

  /** Writes `comparison.json`. */
  finish(comparison: unknown): string {
    const file = join(this.path, "comparison.json");
    writeAtomic(file, toJson(comparison));
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

function writeAtomic(path: string, text: string): void {
  try {
    Deno.mkdirSync(join(path, ".."), { recursive: true });
    Deno.writeTextFileSync(`${path}.part`, text);
    Deno.renameSync(`${path}.part`, path);
  } catch (error) {
    throw new CheckpointError(`Cannot write "${path}": ${(error as Error).message}`);
  }
}

/** The names of the settings in which two texts differ. */
function changed(before: string, after: string): string {
  const [a, b] = [before, after].map((text) => JSON.parse(text) as Record<string, unknown>);
  return Object.keys({ ...a, ...b })
    .filter((key) => JSON.stringify(a![key]) !== JSON.stringify(b![key])).join(", ");
}
