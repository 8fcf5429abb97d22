/**
 * A run on a device that only counts: everything is recorded as in the run, and nothing is computed.
 *
 * @module
 */

import type { Gpu } from "../../gpu/device.ts";
import { type MemoryReport, sizeClass } from "../../gpu/memory.ts";
import { DecodeSlots, PREFILL_ROWS } from "../../model/decode_slots.ts";
import { Decoder } from "../../model/decoder.ts";
import { usableType } from "../../model/stored_types.ts";
import { ValueHead } from "../../model/value_head.ts";
import { distillUpdate } from "../../rl/distill.ts";
import { dpoUpdate, withReference } from "../../rl/dpo.ts";
import { DivergedError, Learner } from "../../rl/learner.ts";
import { likelihoodScores } from "../../rl/likelihood.ts";
import { miniBatches, type PolicySample, policyUpdate } from "../../rl/policy_update.ts";
import { ppoUpdate } from "../../rl/ppo.ts";
import { demonstration, sftStep } from "../../rl/sft.ts";
import type { Task } from "../../tasks/task.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import type { Tool } from "../../tools/tool.ts";
import {
  type Auxiliaries,
  checkTokens,
  type Onlooker,
  onlookers,
  staysClose,
} from "../auxiliary.ts";
import type { Blueprint, Sizes } from "./blueprint.ts";
import { type RunConfig, warmupSteps } from "../config/mod.ts";
import { distillOptions, dpoOptions, grpoOptions, learnerOptions, ppoOptions } from "../options.ts";
import type { EpisodeLength } from "./time.ts";
import { chatOf, loraOf, storageOf } from "../student.ts";
import { openTasks } from "../tasks/source.ts";

/** What a run is about, beside its config. */
export interface Work {
  readonly blueprint: Blueprint;
  /** That the lines of a task file may name. */
  readonly tools: readonly Tool[];
}

/** What a rehearsal found out. */
export interface Rehearsal {
  readonly memory: MemoryReport;
  readonly total: number;
  readonly trained: number;
  readonly maxTokens: number;
  /** Of the teacher's episodes, prompt and results included. */
  readonly episode: EpisodeLength;
}

/** Does on a device that only counts what a run does, as far as memory is concerned. */
export async function rehearse(
  gpu: Gpu,
  config: RunConfig,
  { blueprint, tools }: Work,
): Promise<Rehearsal> {
  using dry = gpu.rehearse();
  const { config: sizes, tokenizer, lora } = blueprint;
  const adapts = lora !== null || config.lora.rank > 0;
  using model = Decoder.zeros(
    dry,
    sizes,
    adapts ? await frozenStorage(gpu, blueprint, config) : {},
  );
  if (adapts) model.adapt(lora ?? loraOf(config.lora));
  const chat = chatOf(tokenizer, config.chat);
  const tasks = await openTasks(config, tools, chat, sizes.maxPositions);
  for (const { role, setting } of onlookers(config)) {
    checkTokens(blueprint, blueprint.onlookers[role]!, tasks.maxTokens, setting);
  }
  const { method, rollout, evaluation } = config;
  const { prompts, group } = rollout;
  using slots = new DecodeSlots(model, rollout.slots, tasks.maxTokens, 1, chat.stops);
  using auxiliaries = await emptyAuxiliaries(gpu, dry, model, config, blueprint);
  const { head, critic } = auxiliaries;
  const shared = head && !critic ? { extra: head.parameters } : {};
  using learner = new Learner(model, { ...learnerOptions(config), ...shared });

  const shown = (step: number, count: number) => tasks.draw(step, 0, count);
  const imitates = method === "sft" ? config.steps : warmupSteps(config);
  for (let step = 0; step < Math.min(imitates, IMITATIONS); step++) {
    const sequences = shown(step, config.sft.batch)
      .map((task) => demonstration(chat, task, task.reference!));
    sftStep(learner, sequences, { learningRate: 0, tokenBudget: config.tokenBudget });
  }
  const explores = method !== "sft";
  const generates = explores || evaluation.prompts > 0;
  if (generates) await rehearseGeneration(slots, Math.max(prompts * group, evaluation.prompts));
  const episodes = shown(0, prompts).map((task) => episodeOf(task, chat, tasks.maxTokens));
  if (explores) {
    const samples = episodes.flatMap((one) => Array.from({ length: group }, () => ({ ...one })));
    await rehearseUpdates(config, { learner, ...auxiliaries }, samples, tasks.maxTokens);
  }
  // What a checkpoint reads back.
  for (const { model, parameters } of critic ? [learner, critic] : [learner]) {
    const saved = model.adapters ? [...model.parameters.values()] : [...model.weights.values()];
    for await (const _ of dry.readEach(saved));
    for await (const _ of dry.readEach([...parameters.values()].flatMap((p) => [p, p])));
  }

  const mean = (of: (episode: { ids: Uint32Array; mask: Uint8Array }) => number) =>
    episodes.reduce((sum, episode) => sum + of(episode), 0) / episodes.length;
  const count = (weights: Iterable<{ readonly size: number }>) =>
    [...weights].reduce((sum, { size }) => sum + size, 0);
  const trained = count(model.parameters.values());
  return {
    memory: dry.memory(),
    total: count(model.weights.values()) + (adapts ? trained : 0),
    trained,
    maxTokens: tasks.maxTokens,
    episode: {
      tokens: mean(({ ids }) => ids.length),
      sampled: mean(({ mask }) => mask.reduce((sum, bit) => sum + bit, 0)),
    },
  };
}

/** How an adapter keeps weights of a model that are not trained. */
async function frozenStorage(gpu: Gpu, { stored }: Sizes, { dtype }: RunConfig) {
  const frozen = storageOf({ train: false, dtype });
  return { ...frozen, dtype: await usableType(gpu, stored, frozen.dtype) };
}

/** Models of the sizes of those that the run opens beside the student. */
async function emptyAuxiliaries(
  gpu: Gpu,
  dry: Gpu,
  model: Decoder,
  config: RunConfig,
  blueprint: Blueprint,
): Promise<Auxiliaries> {
  using opened = new DisposableStack();
  const { config: sizes, lora } = blueprint;
  const another = async (
    { train, saved }: { train: boolean; saved: boolean },
  ): Promise<Decoder> => {
    if (!model.adapters) {
      const stored = saved ? "f32" : blueprint.stored;
      const storage = train ? {} : await frozenStorage(gpu, { ...blueprint, stored }, config);
      return Decoder.zeros(dry, sizes, storage);
    }
    const { base } = model;
    if (train || saved || lora) base.adapt(model.adapters.config);
    return base;
  };
  const onlooker = async (role: Onlooker): Promise<Decoder | null> => {
    const sizes = blueprint.onlookers[role];
    if (!sizes) return null;
    const other = opened.use(
      Decoder.zeros(dry, sizes.config, await frozenStorage(gpu, sizes, config)),
    );
    if (sizes.lora) other.adapt(sizes.lora);
    return other;
  };
  // What a warm-up leaves is saved as it was trained: in f32, with its adapters.
  const saved = warmupSteps(config) > 0;
  const reference = staysClose(config) ? opened.use(await another({ train: false, saved })) : null;
  const head = config.method === "ppo"
    ? opened.use(new ValueHead(dry, model.config.hiddenSize))
    : null;
  const critic = head && config.ppo.critic === "model"
    ? opened.use(
      new Learner(opened.use(await another({ train: true, saved: false })), {
        ...learnerOptions(config),
        extra: head.parameters,
      }),
    )
    : null;
  const teacher = await onlooker("teacher");
  const expert = await onlooker("expert");
  const base = await onlooker("base");
  const kept = opened.move();
  return {
    ...{ reference, head, critic, teacher, expert, base },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** The updates of a step of the method. */
async function rehearseUpdates(
  config: RunConfig,
  models: Auxiliaries & { readonly learner: Learner },
  samples: readonly PolicySample[],
  longest: number,
): Promise<void> {
  const { learner, reference, head, critic, teacher, expert, base } = models;
  const { grpo, likelihood, rollout: { temperature, prompts, group }, tokenBudget } = config;
  const stream = "rehearsal";
  if (expert) {
    const { entropyWeight } = likelihood;
    const options = { tokenBudget, entropyWeight, policy: learner.model };
    await likelihoodScores(expert, base, samples, options);
  }
  switch (config.method) {
    case "grpo": {
      const size = Math.ceil(prompts / grpo.miniBatches) * group;
      for (let first = 0; first < samples.length; first += size) {
        policyUpdate({ learner, reference }, samples.slice(first, first + size), {
          ...grpoOptions(config, { learningRate: 0, entropyCoefficient: grpo.entropyCoef }),
          ...{ temperature, longest },
        });
      }
      break;
    }
    case "ppo": {
      const scored = samples.map((sample) => ({ ...sample, score: 0, finished: true }));
      const options = { ...ppoOptions(config, 0), temperature, stream };
      try {
        await ppoUpdate({ learner, head: head!, critic, reference }, scored, options);
      } catch (error) {
        // Where nothing is computed no gradient is finite; all was recorded by then.
        if (!(error instanceof DivergedError)) throw error;
      }
      break;
    }
    case "distill": {
      const options = distillOptions(config, 0);
      for (const batch of miniBatches(samples, { ...options, stream })) {
        distillUpdate(learner, teacher!, batch, options);
      }
      break;
    }
    case "dpo": {
      // As if all had failed.
      const pairs = samples.map((sample) => ({ chosen: sample, rejected: { ...sample } }));
      const options = dpoOptions(config, 0);
      dpoUpdate(learner, await withReference(reference!, pairs, options), options);
      break;
    }
  }
}

/** Steps of imitation that show every size of micro-batch that there usually is. */
const IMITATIONS = 4;

/**
 * Generates as far as memory is concerned: prompts and results are fed in pieces of all sizes, and
 * tokens are drawn for as many sequences as there are, down to the last one.
 *
 * @param sequences of a step
 */
async function rehearseGeneration(slots: DecodeSlots, sequences: number): Promise<void> {
  for (const count of sizesUpTo(PREFILL_ROWS)) {
    const rows = Array.from({ length: count }, () => ({ slot: 0, position: 0, token: 0 }));
    slots.prefill(rows);
  }
  for (const count of sizesUpTo(Math.min(slots.count, sequences))) {
    const active = Array.from({ length: count }, (_, slot) => slot);
    await slots.decode(active).take();
    const known = Array(Math.max(0, PREFILL_ROWS - count)).fill({ slot: 0, position: 0, token: 0 });
    await slots.decode(active, 1, 0, known).take();
  }
}

/** Counts from `most` down to 1 whose buffers are of different sizes: see `sizeClass`. */
function sizesUpTo(most: number): number[] {
  const sizes = new Map<number, number>();
  for (let count = most; count > 0; count--) {
    const size = sizeClass(count * 1024);
    if (!sizes.has(size)) sizes.set(size, count);
  }
  return [...sizes.values()];
}

/** An episode as long as the teacher's, or as the context where there is none to show. */
function episodeOf(task: Task, chat: ChatFormat, maxTokens: number) {
  if (!task.reference || task.reference.namesOnly) {
    const prompt = chat.promptIds(task.prompt, task.tools, task.system);
    const mask = new Uint8Array(maxTokens).fill(1, prompt.length);
    return { ...blank(maxTokens), mask };
  }
  const { ids, mask } = demonstration(chat, task, task.reference);
  return { ...blank(ids.length), mask };
}

function blank(length: number) {
  return { ids: new Uint32Array(length), logprobs: new Float32Array(length), advantage: 1 };
}
