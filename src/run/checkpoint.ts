/**
 * A run's state after a step, and how to go on from it bit for bit.
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
import type { Moments } from "../optim/adamw.ts";
import type { Learner } from "../rl/learner.ts";
import { type Student, studentFiles } from "./student.ts";

/** Saves model, optimizer and step count as one folder, by atomic rename. */
export async function saveCheckpoint(
  folder: string,
  student: Student,
  learner: Learner,
  step: number,
): Promise<void> {
  const moments = new Map<string, StoredTensor>();
  for (const [name, { first, second }] of await learner.optimizer.state()) {
    const shape = [first.length];
    moments.set(`${name}.first`, { dtype: "F32", shape, data: fromFloat32(first, "F32") });
    moments.set(`${name}.second`, { dtype: "F32", shape, data: fromFloat32(second, "F32") });
  }
  const state = { step, updates: learner.optimizer.steps };
  await saveFolder(folder, {
    ...await studentFiles(student),
    "optimizer.safetensors": encodeSafetensors(moments),
    "state.json": `${JSON.stringify(state)}\n`,
  });
}

/**
 * Puts the optimizer back to where a checkpoint left it.
 *
 * @throws {CheckpointError} if the checkpoint is damaged.
 */
export async function restoreOptimizer(folder: string, learner: Learner): Promise<void> {
  const files = await readFolder(folder, ["optimizer.safetensors", "state.json"]);
  const { tensors } = decodeSafetensors(files["optimizer.safetensors"], folder);
  const moments = new Map<string, Moments>();
  for (const name of learner.model.parameters.keys()) {
    const [first, second] = [tensors.get(`${name}.first`), tensors.get(`${name}.second`)];
    if (!first || !second) {
      throw new CheckpointError(
        `Cannot resume from "${folder}": the moments of "${name}" are missing. Resume from another checkpoint`,
      );
    }
    moments.set(name, { first: toFloat32(first), second: toFloat32(second) });
  }
  const { updates } = JSON.parse(new TextDecoder().decode(files["state.json"]));
  learner.optimizer.restore(moments, updates);
}
