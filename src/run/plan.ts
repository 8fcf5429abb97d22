/**
 * What a run will take, before it takes it: the run is rehearsed on a device that only counts.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { type MemoryReport, sizeClass } from "../gpu/memory.ts";
import type { DecoderConfig } from "../model/config.ts";
import { sizedConfig } from "../model/config.ts";
import { DecodeSlots, PREFILL_ROWS } from "../model/decode_slots.ts";
import { Decoder } from "../model/decoder.ts";
import type { LoraConfig } from "../model/lora_config.ts";
import { fromHuggingFace } from "../model/families.ts";
import { openModel } from "../model/open.ts";
import { storedType } from "../model/weights.ts";
import { policyUpdate } from "../rl/policy_update.ts";
import { Learner } from "../rl/learner.ts";
import { demonstration, sftStep } from "../rl/sft.ts";
import type { Task } from "../tasks/task.ts";
import type { FloatType } from "../tensor.ts";
import type { ChatFormat } from "../text/chat_template.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import { openAdapter } from "./adapter.ts";
import { ConfigError, resolveConfig, type RunConfig, warmupSteps } from "./config.ts";
import { loadTokenizer, locateModel } from "./model_source.ts";
import { type EpisodeLength, measureRates, stepSeconds } from "./plan_time.ts";
import { grpoOptions } from "./options.ts";
import { chatOf, hubProgress, loraOf, type OnProgress, storageOf } from "./student.ts";
import { openTasks } from "./tasks.ts";

/** What a run takes of the GPU, in bytes by what it is for, and the time of a step. */
export interface Plan {
  /** By what they are for. */
  readonly bytes: {
    readonly weights: number;
    readonly gradients: number;
    readonly optimizer: number;
    readonly activations: number;
    readonly kvCache: number;
    /** Uploads, read-backs and the rest. */
    readonly other: number;
    readonly total: number;
  };
  /** Of the method, at the rate that products run at on this machine; null where it is unknown. */
  readonly stepSeconds: number | null;
  /** Parameters in all, and those that are trained. */
  readonly parameters: { readonly total: number; readonly trained: number };
  /** Positions of an episode. */
  readonly maxTokens: number;
  /** Bytes that the run may take; null where that is not known. */
  readonly limit: number | null;
  /** Changes that would make it fit, each with what it then takes; empty where it does. */
  readonly remedies: readonly { readonly settings: string; readonly total: number }[];
}

/** What a rehearsal found out. */
interface Rehearsal {
  readonly memory: MemoryReport;
  readonly total: number;
  readonly trained: number;
  readonly maxTokens: number;
  /** Of the teacher's episodes, prompt and results included. */
  readonly episode: EpisodeLength;
}

/** What a rehearsal needs to know of a model: nothing of its weights. */
interface Blueprint {
  readonly config: DecoderConfig;
  readonly stored: FloatType;
  readonly tokenizer: Tokenizer;
  /** Of the adapter that the run begins with. */
  readonly lora: LoraConfig | null;
}

/**
 * Plans a run of a config.
 *
 * @throws {ConfigError} if the config is not usable.
 * @throws {CheckpointError} if the model or the tasks cannot be read.
 * @throws {GpuUnavailableError} if no adapter will do.
 */
export async function plan(
  input: Readonly<Record<string, unknown>> = {},
  onProgress?: OnProgress,
): Promise<Plan> {
  const config = resolveConfig({ flags: input });
  using gpu = await openAdapter(config);
  const blueprint = await draw(config, onProgress);
  const rehearsal = await rehearse(gpu, config, blueprint);
  const { memory, trained, total, maxTokens, episode } = rehearsal;
  const episodes = config.rollout.prompts * config.rollout.group;
  const rows = Math.min(config.rollout.slots, episodes);
  const rates = await measureRates(gpu, blueprint.config, rows);
  const limit = memoryLimit(gpu, config);
  const bytes = bytesOf(memory);
  return {
    bytes,
    stepSeconds: stepSeconds(rates, blueprint.config, config, episode, trained < total),
    parameters: { total, trained },
    maxTokens,
    limit,
    remedies: limit !== null && bytes.total > limit
      ? await findRemedies(gpu, config, blueprint, limit)
      : [],
  };
}

/**
 * Refuses a run that will not fit, with the settings that would make it fit.
 *
 * @throws {ConfigError} if it does not.
 */
export async function requireFit(
  gpu: Gpu,
  config: RunConfig,
  onProgress?: OnProgress,
): Promise<void> {
  const limit = memoryLimit(gpu, config);
  if (limit === null) return;
  const blueprint = await draw(config, onProgress);
  const total = bytesOf((await rehearse(gpu, config, blueprint)).memory).total;
  if (total <= limit) return;
  const remedies = await findRemedies(gpu, config, blueprint, limit);
  const advice = remedies.length === 0
    ? "Choose a smaller model"
    : `It would with ${
      remedies.map(({ settings, total }) => `${settings} (${inMiB(total)})`).join(", or ")
    }`;
  throw new ConfigError(
    `Cannot run: it takes ${inMiB(total)} and may take ${inMiB(limit)} (memoryLimit). ${advice}`,
  );
}

async function draw(config: RunConfig, onProgress?: OnProgress): Promise<Blueprint> {
  if (config.from === "scratch") {
    const tokenizer = Tokenizer.bytes();
    const sizes = sizedConfig(config.size, tokenizer.vocabSize);
    return { tokenizer, config: sizes, stored: "f32", lora: null };
  }
  const { path, adapter } = await locateModel(config.from, hubProgress(onProgress));
  using model = await openModel(path);
  return {
    tokenizer: await loadTokenizer(path),
    config: fromHuggingFace(model.json),
    stored: storedType(model.source.entries),
    lora: adapter?.config ?? null,
  };
}

/** Does on a device that only counts what a run does, as far as memory is concerned. */
async function rehearse(
  gpu: Gpu,
  config: RunConfig,
  { config: sizes, stored, tokenizer, lora }: Blueprint,
): Promise<Rehearsal> {
  using dry = gpu.rehearse();
  const adapts = lora !== null || config.lora.rank > 0;
  const frozen = storageOf({ train: false, dtype: config.dtype });
  const kept = { ...frozen, dtype: frozen.dtype ?? stored };
  using model = Decoder.zeros(dry, sizes, adapts ? kept : {});
  if (adapts) model.adapt(lora ?? loraOf(config.lora));
  const chat = chatOf(tokenizer, config.chat);
  const tasks = await openTasks(config, chat, sizes.maxPositions);
  const { method, rollout, tokenBudget, evaluation } = config;
  const { prompts, group, temperature } = rollout;
  using slots = new DecodeSlots(model, rollout.slots, tasks.maxTokens, 1, chat.stops);
  const { betas, epsilon, weightDecay, gradClip } = config.optimizer;
  using learner = new Learner(model, {
    ...{ betas, epsilon, weightDecay, gradClip },
    checkpoints: config.recompute === "blocks",
  });
  using reference = config.grpo.klCoef === 0
    ? null
    : adapts
    ? model.base
    : Decoder.zeros(dry, sizes, kept);

  const shown = (step: number, count: number) => tasks.draw(step, 0, count);
  const imitates = method === "sft" ? config.steps : warmupSteps(config);
  for (let step = 0; step < Math.min(imitates, IMITATIONS); step++) {
    const sequences = shown(step, config.sft.batch)
      .map((task) => demonstration(chat, task, task.reference!));
    sftStep(learner, sequences, { learningRate: 0, tokenBudget });
  }
  const generates = method === "grpo" || evaluation.prompts > 0;
  if (generates) await rehearseGeneration(slots, Math.max(prompts * group, evaluation.prompts));
  if (method === "grpo") {
    const samples = shown(0, prompts).flatMap((task) => {
      const sample = episodeOf(task, chat, tasks.maxTokens);
      return Array.from({ length: group }, () => sample);
    });
    const size = Math.ceil(prompts / config.grpo.miniBatches) * group;
    for (let first = 0; first < samples.length; first += size) {
      policyUpdate({ learner, reference }, samples.slice(first, first + size), {
        ...grpoOptions(config, { learningRate: 0, entropyCoefficient: config.grpo.entropyCoef }),
        ...{ temperature, longest: tasks.maxTokens },
      });
    }
  }
  // What a checkpoint reads back.
  const saved = model.adapters ? [...model.parameters.values()] : [...model.weights.values()];
  for await (const _ of dry.readEach(saved));
  for await (const _ of dry.readEach([...model.parameters.values()].flatMap((p) => [p, p])));

  const episodes = shown(0, prompts).map((task) => episodeOf(task, chat, tasks.maxTokens));
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
    await slots.decode({ temperature: 1, topK: 0, topP: 1, seed: 0 }, active).take();
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

/** An episode as long as the teacher's, or as the context where there is no teacher. */
function episodeOf(task: Task, chat: ChatFormat, maxTokens: number) {
  if (!task.reference) {
    const prompt = chat.promptIds(task.prompt, task.tools);
    const mask = new Uint8Array(maxTokens).fill(1, prompt.length);
    return { ...blank(maxTokens), mask };
  }
  const { ids, mask } = demonstration(chat, task, task.reference);
  return { ...blank(ids.length), mask };
}

function blank(length: number) {
  return { ids: new Uint32Array(length), logprobs: new Float32Array(length), advantage: 1 };
}

/** Changes in the order in which they cost least, alone and then together, until it fits. */
async function findRemedies(
  gpu: Gpu,
  config: RunConfig,
  blueprint: Blueprint,
  limit: number,
): Promise<{ settings: string; total: number }[]> {
  const { rollout, tokenBudget } = config;
  const least = Math.max(rollout.maxTokens ?? 0, 512);
  const changes: Record<string, (config: RunConfig) => RunConfig> = {
    "--recompute blocks": (config) => ({ ...config, recompute: "blocks" }),
    [`--tokenBudget ${least}`]: (config) => ({
      ...config,
      tokenBudget: Math.min(tokenBudget, least),
    }),
    "--rollout.slots 8": (config) => ({
      ...config,
      rollout: { ...config.rollout, slots: Math.min(rollout.slots, 8) },
    }),
    "--lora.rank 8": (config) => ({ ...config, lora: { ...config.lora, rank: 8 } }),
  };
  const useful: Record<string, boolean> = {
    "--recompute blocks": config.recompute !== "blocks",
    [`--tokenBudget ${least}`]: tokenBudget > least,
    "--rollout.slots 8": rollout.slots > 8,
    "--lora.rank 8": config.from !== "scratch" && blueprint.lora === null && config.lora.rank === 0,
  };
  const names = Object.keys(changes).filter((name) => useful[name]);
  const tries = [...names.map((name) => [name]), ...names.map((_, i) => names.slice(0, i + 1))];
  const found: { settings: string; total: number }[] = [];
  for (const settings of tries) {
    const changed = settings.reduce((config, name) => changes[name]!(config), config);
    const { memory } = await rehearse(gpu, changed, blueprint);
    const { total } = bytesOf(memory);
    const superset = found.some((one) => settings.join(" ").includes(one.settings));
    if (total <= limit && !superset) found.push({ settings: settings.join(" "), total });
    if (found.length === 2) break;
  }
  return found;
}

/** What a run may take: as told, or most of main memory where the GPU is the processor. */
function memoryLimit(gpu: Gpu, { memoryLimit }: RunConfig): number | null {
  if (memoryLimit !== null) return memoryLimit * 2 ** 20;
  return gpu.info.software ? 0.8 * Deno.systemMemoryInfo().total : null;
}

function bytesOf({ byOwner, peakBytes }: MemoryReport): Plan["bytes"] {
  const of = (owner: string) => byOwner[owner] ?? 0;
  const named = {
    weights: of("weights"),
    gradients: of("gradients"),
    optimizer: of("optimizer"),
    activations: of("activations"),
    kvCache: of("kv cache"),
  };
  const sum = Object.values(named).reduce((total, bytes) => total + bytes, 0);
  return { ...named, other: peakBytes - sum, total: peakBytes };
}

const inMiB = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** The plan as a table. */
export function renderPlan({ bytes, stepSeconds, parameters, maxTokens, limit, remedies }: Plan) {
  const label: Record<keyof Plan["bytes"], string> = {
    weights: "weights",
    gradients: "gradients",
    optimizer: "optimizer",
    activations: "activations",
    kvCache: "KV cache",
    other: "other",
    total: "total",
  };
  const millions = (n: number) => `${(n / 1e6).toFixed(n < 1e7 ? 2 : 0)} M`;
  return [
    ...Object.entries(label).map(([key, name]) =>
      `  ${name.padEnd(12)} ${
        (bytes[key as keyof Plan["bytes"]] / 2 ** 20).toFixed(1).padStart(10)
      } MiB`
    ),
    "",
    `${millions(parameters.total)} parameters, of which ${
      millions(parameters.trained)
    } are trained; ` +
    `episodes of up to ${maxTokens} tokens`,
    stepSeconds === null ? "" : `A step takes about ${stepSeconds.toPrecision(2)} s`,
    limit === null
      ? ""
      : bytes.total <= limit
      ? `Fits: it may take ${inMiB(limit)}`
      : `Does not fit: it may take ${inMiB(limit)}. ` + (remedies.length === 0
        ? "Choose a smaller model"
        : `It would with ${
          remedies.map(({ settings, total }) => `${settings} (${inMiB(total)})`).join(", or ")
        }`),
  ].filter((line, i) => line !== "" || i === 7).join("\n");
}
