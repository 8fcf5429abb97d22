/**
 * The main job: from a config to a trained student, its folder and its numbers.
 *
 * @module
 */

import { join } from "@std/path";
import type { ProfileDetail } from "../gpu/profiler.ts";
import type { Potential } from "../rl/experience.ts";
import type { Reward } from "../rl/reward.ts";
import { openAdapter } from "./adapter.ts";
import { openAuxiliaries } from "./auxiliary.ts";
import { resolveConfig, type RunConfig } from "./config/mod.ts";
import { RunHold } from "./control.ts";
import type { EventListener } from "./events.ts";
import type { DomainResult } from "./evaluate.ts";
import { ownParts, requireOwnParts } from "./own_parts.ts";
import { requireFit } from "./plan/mod.ts";
import { type Profile, RunProfile, unprofiled } from "./profile.ts";
import { Run } from "./run.ts";
import { RunFolder } from "./store.ts";
import { loadStudent, newStudent } from "./student.ts";
import { openTools } from "./tools/mod.ts";
import { openTasks } from "./tasks/source.ts";

/** How to watch and stop a run. */
export interface TrainOptions {
  /** Aborting finishes the step, saves a checkpoint and ends the run as stopped. */
  readonly signal?: AbortSignal;
  /** Called with every event. */
  readonly onEvent?: EventListener;
  /** Called while something long goes on between events. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
  /** Folder of runs that are not told where to go. */
  readonly runs?: string;
  /** Measure where the time goes, by kernel or by submit; leaves `profile.json` in the folder. */
  readonly profile?: ProfileDetail;
  /** A reward of your own, in place of the config's preset; give it again to resume. */
  readonly reward?: Pick<Reward, "score" | "weights">;
  /**
   * How far an episode has come: credits each turn with what it added, instead of whole episodes; give
   * it again to resume.
   */
  readonly potential?: Potential;
}

/** What a run came to. */
export interface RunResult {
  /** The run's folder. */
  readonly run: string;
  /** `stopped` can be resumed. */
  readonly status: "done" | "stopped";
  /** Wall-clock time of this process's part. */
  readonly seconds: number;
  /** The seed it was run with. */
  readonly seed: number;
  /** Most bytes of the GPU that it took at once. */
  readonly peakBytes: number;
  /** Folder of the trained model, or of the checkpoint to go on from. */
  readonly model: string;
  /** Scores before and after; empty without evaluation, or if it was stopped. */
  readonly domains: readonly DomainResult[];
  /** Where the time went, if that was asked for. */
  readonly profile?: Profile;
}

/**
 * Trains a student as the config says; see `./mentor train --help` for every setting.
 *
 * @example
 * ```ts ignore
 * const result = await train({ steps: 20, seed: 1 }, { onEvent: console.log });
 * ```
 * @throws {ConfigError} if the config is not usable.
 * @throws {CheckpointError} if files cannot be read or written; nothing is half-written.
 * @throws {DivergedError} if loss or gradient stop being numbers; the last checkpoint is kept.
 * @throws {GpuUnavailableError} if no adapter will do, or it cannot be profiled as asked.
 * @throws {ToolUnavailableError} if a tool is gone for good, or nothing can be learned for want of it;
 * what was learned is kept in a checkpoint.
 */
export async function train(
  input: Readonly<Record<string, unknown>> = {},
  options: TrainOptions = {},
): Promise<RunResult> {
  const given = resolveConfig({ flags: input });
  if (given.resume === null) return await prepare(given, null, options);
  const folder = RunFolder.open(given.resume);
  using hold = await RunHold.take(folder.path);
  // Workgroup shapes belong to the machine rather than to the run.
  const config = { ...folder.config, tuning: given.tuning };
  try {
    return await prepare(config, { folder, hold }, options);
  } catch (error) {
    hold.end(error as Error);
    throw error;
  }
}

/** @param begun the run to go on with, from the start if it has no checkpoint yet */
async function prepare(
  config: RunConfig,
  begun: { readonly folder: RunFolder; readonly hold: RunHold } | null,
  options: TrainOptions,
): Promise<RunResult> {
  using gpu = await openAdapter(config, { profile: options.profile });
  const resumeAt = begun?.folder.checkpoints().at(-1) ?? null;
  const checkpoint = resumeAt === null ? null : begun!.folder.checkpoint(resumeAt);
  if (checkpoint !== null) requireOwnParts(begun!.folder, ownParts(options));
  const { from, size, seed, lora, dtype, chat } = config;
  const { onProgress } = options;
  await using box = await openTools(config.tools);
  if (checkpoint === null) await requireFit(gpu, config, box.tools, options.onProgress);
  const loading = { train: true, lora, chat, dtype, seed, onProgress };
  using student = checkpoint !== null
    ? await loadStudent(gpu, checkpoint, loading)
    : from === "scratch"
    ? newStudent(gpu, size, seed)
    : await loadStudent(gpu, from, loading);
  const tasks = await openTasks(config, box.tools, student.chat, student.model.config.maxPositions);
  const { maxTokens } = tasks;
  using auxiliaries = await openAuxiliaries(gpu, student, config, { maxTokens, checkpoint });
  // Everything that can be wrong with the input has been found out: only now is a folder made.
  const folder = begun?.folder ?? RunFolder.create(config, options.runs);
  using own = begun ? null : await RunHold.take(folder.path);
  const hold = begun?.hold ?? own!;
  using profile = options.profile
    ? new RunProfile(gpu, options.profile, join(folder.path, "profile.json"))
    : null;
  const phases = profile ?? unprofiled;
  const place = { folder, hold, resumeAt };
  const result = await new Run(gpu, config, student, auxiliaries, tasks, place, options, phases)
    .execute();
  return profile ? { ...result, profile: await profile.finish() } : result;
}
