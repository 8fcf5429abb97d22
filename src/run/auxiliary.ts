/**
 * What a method needs beside the student: models that say how far it has gone, what a state is worth
 * or what they would do themselves.
 *
 * @module
 */

import { join } from "@std/path";
import type { Gpu } from "../gpu/device.ts";
import { CheckpointError, listFolder, readFolder } from "../io/checkpoint.ts";
import { modelFileNames } from "../io/model_files.ts";
import { decodeSafetensors } from "../io/safetensors.ts";
import type { DecoderConfig } from "../model/config.ts";
import { Decoder } from "../model/decoder.ts";
import { ValueHead } from "../model/value_head.ts";
import { Learner } from "../rl/learner.ts";
import { CRITIC_FILE, HEAD_FILE } from "./checkpoint.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { ConfigError, type RunConfig, warmupSteps } from "./config/mod.ts";
import { locateModel } from "./model_source.ts";
import { learnerOptions } from "./options.ts";
import { loadStudent, loraOf, restoreAdapter, type Student } from "./student.ts";

/** Models beside the student; null where the method has no use for them. */
export interface Auxiliaries extends Disposable {
  /** The policy that training is to stay close to: the one that the method starts from. */
  readonly reference: Decoder | null;
  /** The value function of PPO. */
  readonly head: ValueHead | null;
  /** The model that the head is on, with an optimizer of its own; null where that is the policy. */
  readonly critic: Learner | null;
  /** Who says, for every token, what would have been better. */
  readonly teacher: Decoder | null;
  /** Whose likelihood is the reward. */
  readonly expert: Decoder | null;
  /** Whose likelihood is subtracted from that. */
  readonly base: Decoder | null;
}

/** The same in a run. */
export interface RunAuxiliaries extends Auxiliaries {
  /**
   * Takes a student that was saved for the reference.
   *
   * @param folder its own
   * @throws {CheckpointError} if it is missing or damaged.
   */
  openReference(folder: string): Promise<void>;
}

/**
 * Opens the models that a config asks for. A reference that a warm-up makes is opened once it is
 * there.
 *
 * @param maxTokens longest episode
 * @param checkpoint folder to go on from; null begins anew
 * @throws {CheckpointError} if a file is missing or damaged.
 * @throws {ConfigError} if a model does not share the student's tokens, or is for shorter episodes.
 */
export async function openAuxiliaries(
  gpu: Gpu,
  student: Pick<Student, "model" | "tokenizer">,
  config: RunConfig,
  { maxTokens, checkpoint }: { readonly maxTokens: number; readonly checkpoint: string | null },
): Promise<RunAuxiliaries> {
  const { model } = student;
  using opened = new DisposableStack();
  let reference = staysClose(config) && warmupSteps(config) === 0
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
  const found: Partial<Record<Onlooker, Decoder>> = {};
  for (const { role, setting, name } of onlookers(config)) {
    const { model: other, tokenizer } = await loadStudent(gpu, name, { dtype: config.dtype });
    found[role] = opened.use(other);
    const own = { config: model.config, tokenizer: student.tokenizer };
    checkTokens(own, { config: other.config, tokenizer }, maxTokens, setting);
  }
  const { teacher = null, expert = null, base = null } = found;
  const kept = opened.move();
  return {
    ...{ head, critic, teacher, expert, base },
    get reference() {
      return reference;
    },
    async openReference(folder) {
      reference = kept.use(await savedReference(gpu, model, config, folder));
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** Whether a method measures how far the student has gone from where it began. */
export function staysClose({ method, grpo, ppo }: RunConfig): boolean {
  switch (method) {
    case "grpo":
      return grpo.klCoef > 0;
    case "ppo":
      return ppo.klCoef > 0;
    default:
      return method === "dpo";
  }
}

/** Frozen models of others' making. */
export type Onlooker = "teacher" | "expert" | "base";

/** Those that a config names, and the settings that do so, with their values. */
export function onlookers(
  { method, distill, likelihood }: RunConfig,
): { readonly role: Onlooker; readonly setting: string; readonly name: string }[] {
  const named: [Onlooker, string, string | null][] = [
    ["teacher", "distill.teacher", method === "distill" ? distill.teacher : null],
    ["expert", "likelihood.expert", likelihood.expert],
    ["base", "likelihood.base", likelihood.base],
  ];
  return named.flatMap(([role, setting, name]) =>
    name === null ? [] : [{ role, setting: `${setting} = "${name}"`, name }]
  );
}

/** What is compared of two models that look at the same tokens. */
interface Reader {
  readonly config: DecoderConfig;
  readonly tokenizer: Tokenizer;
}

/**
 * What the student's tokens mean, they must mean to the other model as well.
 *
 * @param maxTokens longest episode
 * @param setting that names the other model, with its value
 * @throws {ConfigError} if they don't, or the other is for shorter episodes.
 */
export function checkTokens(
  student: Reader,
  other: Reader,
  maxTokens: number,
  setting: string,
): void {
  const [own, theirs] = [student.config, other.config];
  if (theirs.maxPositions < maxTokens) {
    throw new ConfigError(
      `Cannot use ${setting}: its context is ${theirs.maxPositions}, and episodes have up to ` +
        `${maxTokens} tokens. Lower rollout.maxTokens, or name another model`,
    );
  }
  const different = own.vocabSize !== theirs.vocabSize
    ? `it has ${theirs.vocabSize} tokens, the student ${own.vocabSize}`
    : differentToken(student.tokenizer, other.tokenizer);
  if (different === null) return;
  throw new ConfigError(
    `Cannot use ${setting}: ${different}. Name a model of the same tokenizer and vocabulary size`,
  );
}

function differentToken(own: Tokenizer, other: Tokenizer): string | null {
  // A tokenizer's file also holds what does not matter here, so that equal ones need not be equal.
  if (own.toJSON().tokenizer === other.toJSON().tokenizer) return null;
  for (let id = 0; id < Math.max(own.vocabSize, other.vocabSize); id++) {
    const [mine, theirs] = [own.decode([id]), other.decode([id])];
    if (mine !== theirs) {
      return `its token ${id} is ${JSON.stringify(theirs)}, the student's ${JSON.stringify(mine)}`;
    }
  }
  return null;
}

/**
 * What the run begins with: with adapters the model without them, which shares its weights, or else
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

async function savedReference(
  gpu: Gpu,
  model: Decoder,
  { seed, dtype }: RunConfig,
  folder: string,
): Promise<Decoder> {
  if (await listFolder(folder) === null) {
    throw new CheckpointError(
      `Cannot resume: "${folder}", the policy that the method started from and is to stay close to, ` +
        "is not there. Put it back, or start the run again",
    );
  }
  return model.adapters
    ? await withAdapters(model, seed, folder, modelFileNames.adapter)
    : (await loadStudent(gpu, folder, { dtype })).model;
}

async function savedCritic(
  gpu: Gpu,
  model: Decoder,
  seed: number,
  checkpoint: string,
): Promise<Decoder> {
  if (model.adapters) return await withAdapters(model, seed, checkpoint, CRITIC_FILE);
  const tensors = await tensorsOf(checkpoint, CRITIC_FILE);
  return Decoder.fromTensors(gpu, model.config, tensors, { label: join(checkpoint, CRITIC_FILE) });
}

/** The student's base with other adapters, which were saved. @param seed of their dropout */
async function withAdapters(
  model: Decoder,
  seed: number,
  folder: string,
  file: string,
): Promise<Decoder> {
  const { base } = model;
  const tensors = await tensorsOf(folder, file);
  base.adapt(model.adapters!.config, { seed }).restore(tensors, join(folder, file));
  return base;
}

async function tensorsOf(folder: string, name: string) {
  const files = await readFolder(folder, [name]);
  return decodeSafetensors(files[name]!, join(folder, name)).tensors;
}
