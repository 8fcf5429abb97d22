/**
 * What a method needs beside the student: models that say how far it has gone, what a state is worth
 * or what they would do themselves.
 *
 * @module
 */

import { join } from "@std/path";
import type { Gpu } from "../gpu/device.ts";
import { readFolder } from "../io/checkpoint.ts";
import { decodeSafetensors } from "../io/safetensors.ts";
import { Decoder } from "../model/decoder.ts";
import { ValueHead } from "../model/value_head.ts";
import { Learner } from "../rl/learner.ts";
import { CRITIC_FILE, HEAD_FILE } from "./checkpoint.ts";
import type { RunConfig } from "./config.ts";
import { locateModel } from "./model_source.ts";
import { learnerOptions } from "./options.ts";
import { loadStudent, loraOf, restoreAdapter } from "./student.ts";

/** Models beside the student; null where the method has no use for them. */
export interface Auxiliaries extends Disposable {
  /** The policy that training is to stay close to. */
  readonly reference: Decoder | null;
  /** The value function of PPO. */
  readonly head: ValueHead | null;
  /** The model that the head is on, with an optimizer of its own; null where that is the policy. */
  readonly critic: Learner | null;
}

/**
 * Opens the models that a config asks for.
 *
 * @param checkpoint folder to go on from; null begins anew
 * @throws {CheckpointError} if a file is missing or damaged.
 */
export async function openAuxiliaries(
  gpu: Gpu,
  model: Decoder,
  config: RunConfig,
  checkpoint: string | null,
): Promise<Auxiliaries> {
  using opened = new DisposableStack();
  const reference = staysClose(config)
    ? opened.use(await startingModel(gpu, model, config, { train: false }))
    : null;
  let [head, critic]: [ValueHead | null, Learner | null] = [null, null];
  if (config.method === "ppo") {
    head = opened.use(new ValueHead(gpu, model.config.hiddenSize));
    if (checkpoint !== null) head.restore(await tensorsOf(checkpoint, HEAD_FILE), checkpoint);
    if (config.ppo.critic === "model") {
      const trunk = opened.use(
        checkpoint === null
          ? await startingModel(gpu, model, config, { train: true })
          : await savedCritic(gpu, model, config.seed, checkpoint),
      );
      const options = { ...learnerOptions(config), extra: head.parameters };
      critic = opened.use(new Learner(trunk, options));
    }
  }
  const kept = opened.move();
  return { reference, head, critic, [Symbol.dispose]: () => kept.dispose() };
}

/** Whether a method measures how far the student has gone from where it began. */
export function staysClose({ method, grpo, ppo }: RunConfig): boolean {
  return method === "grpo" ? grpo.klCoef > 0 : method === "ppo" && ppo.klCoef > 0;
}

/**
 * What the run began with: with adapters the model without them, which shares its weights, or else
 * another copy.
 *
 * @param train with adapters, or weights, to be trained
 */
export async function startingModel(
  gpu: Gpu,
  model: Decoder,
  { from, lora, dtype, seed }: RunConfig,
  { train }: { readonly train: boolean },
): Promise<Decoder> {
  if (!model.adapters) return (await loadStudent(gpu, from, { train, dtype })).model;
  const { base } = model;
  const { adapter } = await locateModel(from);
  if (adapter) await restoreAdapter(base, adapter, seed);
  else if (train) base.adapt(loraOf(lora), { seed });
  return base;
}

/** @param seed of the dropout of its adapters */
async function savedCritic(
  gpu: Gpu,
  model: Decoder,
  seed: number,
  checkpoint: string,
): Promise<Decoder> {
  const tensors = await tensorsOf(checkpoint, CRITIC_FILE);
  const label = join(checkpoint, CRITIC_FILE);
  if (!model.adapters) return Decoder.fromTensors(gpu, model.config, tensors, { label });
  const { base } = model;
  base.adapt(model.adapters.config, { seed }).restore(tensors, label);
  return base;
}

async function tensorsOf(folder: string, name: string) {
  const files = await readFolder(folder, [name]);
  return decodeSafetensors(files[name]!, join(folder, name)).tensors;
}
