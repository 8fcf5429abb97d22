/**
 * A run's state after a step, and how to go on from it bit for bit.
 *
 * A checkpoint is the folder of a model, beside which lie the optimizer's moments and what else is
 * trained: a value function, and a critic with moments of its own.
 *
 * @module
 */

import {
  CheckpointError,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type StoredTensor,
  toFloat32,
} from "../io/safetensors.ts";
import { readFolder, saveFolder } from "../io/checkpoint.ts";
import type { Decoder } from "../model/decoder.ts";
import type { ValueHead } from "../model/value_head.ts";
import type { Moments } from "../optim/adamw.ts";
import type { Learner } from "../rl/learner.ts";
import { type Student, studentFiles } from "./student.ts";

/** Weight and bias of the value function. */
export const HEAD_FILE = "value_head.safetensors";
/** Weights of the critic, or its adapters in PEFT's names. */
export const CRITIC_FILE = "critic.safetensors";

const MOMENTS_FILE = "optimizer.safetensors";
const CRITIC_MOMENTS_FILE = "critic_optimizer.safetensors";
const STATE_FILE = "state.json";

/** All that is trained. */
export interface Trained {
  readonly learner: Learner;
  readonly head: ValueHead | null;
  readonly critic: Learner | null;
}

/** Saves models, optimizers and step count as one folder, by atomic rename. */
export async function saveCheckpoint(
  folder: string,
  student: Student,
  { learner, head, critic }: Trained,
  step: number,
): Promise<void> {
  const state = {
    step,
    updates: learner.optimizer.steps,
    ...critic ? { criticUpdates: critic.optimizer.steps } : {},
  };
  await saveFolder(folder, {
    ...await studentFiles(student),
    [MOMENTS_FILE]: await momentsOf(learner),
    ...head ? { [HEAD_FILE]: encodeSafetensors(await head.tensors()) } : {},
    ...critic
      ? {
        [CRITIC_FILE]: await trainedWeights(critic.model),
        [CRITIC_MOMENTS_FILE]: await momentsOf(critic),
      }
      : {},
    [STATE_FILE]: `${JSON.stringify(state)}\n`,
  });
}

/**
 * Puts the optimizers back to where a checkpoint left them.
 *
 * @throws {CheckpointError} if the checkpoint is damaged.
 */
export async function restoreOptimizers(
  folder: string,
  { learner, critic }: Pick<Trained, "learner" | "critic">,
): Promise<void> {
  const files = await readFolder(folder, [STATE_FILE]);
  const { updates, criticUpdates } = JSON.parse(new TextDecoder().decode(files[STATE_FILE]));
  await restoreMoments(folder, MOMENTS_FILE, learner, updates);
  if (critic) await restoreMoments(folder, CRITIC_MOMENTS_FILE, critic, criticUpdates);
}

async function restoreMoments(
  folder: string,
  file: string,
  { parameters, optimizer }: Learner,
  updates: number,
): Promise<void> {
  const { tensors } = decodeSafetensors((await readFolder(folder, [file]))[file]!, folder);
  const moments = new Map<string, Moments>();
  for (const name of parameters.keys()) {
    const [first, second] = [tensors.get(`${name}.first`), tensors.get(`${name}.second`)];
    if (!first || !second) {
      throw new CheckpointError(
        `Cannot resume from "${folder}": the moments of "${name}" are missing. Resume from another checkpoint`,
      );
    }
    moments.set(name, { first: toFloat32(first), second: toFloat32(second) });
  }
  optimizer.restore(moments, updates);
}

async function momentsOf({ optimizer }: Learner): Promise<Uint8Array> {
  const moments = new Map<string, StoredTensor>();
  for (const [name, { first, second }] of await optimizer.state()) {
    const shape = [first.length];
    moments.set(`${name}.first`, { dtype: "F32", shape, data: fromFloat32(first, "F32") });
    moments.set(`${name}.second`, { dtype: "F32", shape, data: fromFloat32(second, "F32") });
  }
  return encodeSafetensors(moments);
}

/** Safetensors of what is trained of a model. */
async function trainedWeights(model: Decoder): Promise<Uint8Array> {
  return model.adapters
    ? (await model.adapters.files(null))["adapter_model.safetensors"]
    : (await model.files())["model.safetensors"];
}
