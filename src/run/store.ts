/**
 * A run is a folder, and the folder is the truth (`control.ts` has what else lies in it):
 *
 * ```
 * runs/2026-11-22-2317-k3fz/
 *   config.json      the resolved configuration, which reproduces the run
 *   events.jsonl     what happened (`events.ts`)
 *   episodes.jsonl   what the model did
 *   tensorboard/     the curves for TensorBoard, if that was asked for (`tensorboard.ts`)
 *   profile.json     where the time went, if that was asked for (`profile.ts`)
 *   report.html      all of it as a page, if that was asked for (`report/`)
 *   checkpoint-20/   a state to resume from, whole or absent
 *   reference/       what a warm-up left, if the method is to stay close to it
 *   model/           the trained model
 * ```
 *
 * @module
 */

import { basename, join } from "@std/path";
import { CheckpointError, writeError } from "../io/checkpoint.ts";
import { readJsonl } from "../io/jsonl.ts";
import { configJson, readConfigFile, resolveConfig, type RunConfig } from "./config/mod.ts";
import { removeFile } from "./control.ts";
import { isDeleted } from "./delete.ts";
import type { RunEvent } from "./events.ts";
import { type RunState, runState } from "./state.ts";

/** The folder of one run. */
export class RunFolder {
  /** Where it lies. */
  readonly path: string;
  /** The configuration that the run was started with. */
  readonly config: RunConfig;

  private constructor(path: string, config: RunConfig) {
    this.path = path;
    this.config = config;
  }

  /**
   * Makes the folder of a new run: `config.out`, or a new one under `root`.
   *
   * @throws {CheckpointError} if it cannot be written, or `config.out` is not empty
   */
  static create(config: RunConfig, root = "runs"): RunFolder {
    const path = config.out === null ? makeUnique(root) : makeEmpty(config.out);
    const file = join(path, "config.json");
    try {
      Deno.writeTextFileSync(file, configJson(config), { createNew: true });
    } catch (error) {
      // Half of a config would be a damaged run; one that was there is somebody else's.
      if (!(error instanceof Deno.errors.AlreadyExists)) removeFile(file);
      throw writeError(file, error);
    }
    return new RunFolder(path, config);
  }

  /**
   * Opens the folder of a run that was started before.
   *
   * @throws {ConfigError} if it has no usable `config.json`
   */
  static open(path: string): RunFolder {
    return new RunFolder(path, resolveConfig({ file: readConfigFile(join(path, "config.json")) }));
  }

  /** The run's name: its folder's. */
  get id(): string {
    return basename(this.path);
  }

  /** The event file. */
  get events(): string {
    return join(this.path, "events.jsonl");
  }

  /** The episode file. */
  get episodes(): string {
    return join(this.path, "episodes.jsonl");
  }

  /** The folder of the trained model. */
  get model(): string {
    return join(this.path, "model");
  }

  /** The folder of the curves for TensorBoard. */
  get tensorboard(): string {
    return join(this.path, "tensorboard");
  }

  /** The folder of the policy that the method started from, after a warm-up. */
  get reference(): string {
    return join(this.path, "reference");
  }

  /** The folder of the checkpoint after `step`. */
  checkpoint(step: number): string {
    return join(this.path, `checkpoint-${step}`);
  }

  /** The steps that have a checkpoint, ascending. */
  checkpoints(): number[] {
    return checkpointSteps(this.path);
  }
}

/** The steps of which a run's folder has a checkpoint, ascending; none if there is no such folder. */
export function checkpointSteps(folder: string): number[] {
  return foldersIn(folder).flatMap((name) => {
    const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
    return step === undefined ? [] : [Number(step)];
  }).sort((a, b) => a - b);
}

/** A run as lists show it. */
export interface RunSummary {
  /** The run's name. */
  readonly id: string;
  /** Its folder. */
  readonly path: string;
  /** When it was configured. */
  readonly started: Date;
  /** What has become of it. */
  readonly status: RunState;
  /** Steps done. */
  readonly step: number;
  /** Its configuration; null if damaged. */
  readonly config: RunConfig | null;
}

/** The runs under `root`, newest first; none if there is no such folder. */
export function listRuns(root = "runs"): RunSummary[] {
  return runFolders(root).map(summarise).sort((a, b) =>
    b.started.getTime() - a.started.getTime() || (a.id < b.id ? 1 : -1)
  );
}

/** A folder that holds a run. */
export interface FoundRun {
  readonly id: string;
  readonly path: string;
  /** When it was configured. */
  readonly started: Date;
}

/** The folders under `root` that hold runs, in no order; none if there is no such folder. */
export function runFolders(root: string): FoundRun[] {
  return foldersIn(root).flatMap((id) => findRun(root, id) ?? []);
}

/** The run of a name; null if there is none. A link is none: it may lead anywhere. */
export function findRun(root: string, id: string): FoundRun | null {
  if (isDeleted(id)) return null;
  const path = join(root, id);
  if (!isFolder(path)) return null;
  const config = statOf(join(path, "config.json"));
  // A model's folder has a `config.json` of another kind.
  if (!config || statOf(join(path, "model.safetensors"))?.isFile) return null;
  return { id, path, started: config.mtime ?? new Date(0) };
}

/**
 * A name for a run: readable, sorted by time, and not repeated in practice
 * (`2026-11-22-2317-k3fz`).
 */
export function newRunId(now: Date = new Date()): string {
  const [date, time] = now.toISOString().split("T") as [string, string];
  // Letters that can't be mistaken for digits or for each other.
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const random = crypto.getRandomValues(new Uint8Array(4));
  const suffix = Array.from(random, (byte) => letters[byte % letters.length]).join("");
  return `${date}-${time.slice(0, 5).replace(":", "")}-${suffix}`;
}

function makeUnique(root: string): string {
  try {
    Deno.mkdirSync(root, { recursive: true });
    while (true) {
      const path = join(root, newRunId());
      try {
        Deno.mkdirSync(path);
        return path;
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
    }
  } catch (error) {
    throw writeError(root, error);
  }
}

function makeEmpty(path: string): string {
  let holds: string[];
  try {
    Deno.mkdirSync(path, { recursive: true });
    holds = Array.from(Deno.readDirSync(path), (entry) => entry.name);
  } catch (error) {
    throw writeError(path, error);
  }
  if (holds.length === 0) return path;
  const remedy = holds.includes("config.json")
    ? `Go on with that run by --resume "${path}", or choose another --out`
    : "Choose another --out";
  throw new CheckpointError(`Cannot start a run in "${path}": the folder is not empty. ${remedy}`);
}

/** The names of the folders in a folder; none if there is no such. */
function foldersIn(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].filter((entry) => entry.isDirectory)
      .map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null;
  }
}

function summarise({ id, path, started }: FoundRun): RunSummary {
  try {
    const { config, events } = RunFolder.open(path);
    const last = lastEvent(events);
    const step = last === undefined || last.type === "run-start" ? 0 : last.step;
    return { id, path, started, status: runState(path, last), step, config };
  } catch {
    return { id, path, started, status: "damaged", step: 0, config: null };
  }
}

function lastEvent(path: string): RunEvent | undefined {
  try {
    return readJsonl(path).at(-1) as RunEvent | undefined;
  } catch {
    return undefined;
  }
}
