/**
 * What a run will take, before it takes it: the run is rehearsed on a device that only counts.
 *
 * @module
 */

import type { Gpu } from "../../gpu/device.ts";
import type { MemoryReport } from "../../gpu/memory.ts";
import type { Tool } from "../../tools/tool.ts";
import { openAdapter } from "../adapter.ts";
import { draw } from "./blueprint.ts";
import { ConfigError, resolveConfig, type RunConfig } from "../config/mod.ts";
import { measureRates, stepSeconds } from "./time.ts";
import { rehearse, type Work } from "./rehearsal.ts";
import type { OnProgress } from "../student.ts";
import { openTools } from "../tools/mod.ts";

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
  await using box = await openTools(config.tools);
  const work = { blueprint, tools: box.tools };
  const rehearsal = await rehearse(gpu, config, work);
  const { memory, trained, total, maxTokens, episode } = rehearsal;
  const episodes = config.rollout.prompts * config.rollout.group;
  const rows = Math.min(config.rollout.slots, episodes);
  const rates = await measureRates(gpu, blueprint.config, rows);
  const limit = memoryLimit(gpu, config);
  const bytes = bytesOf(memory);
  return {
    bytes,
    stepSeconds: stepSeconds(rates, blueprint, config, episode, trained < total),
    parameters: { total, trained },
    maxTokens,
    limit,
    remedies: limit !== null && bytes.total > limit
      ? await findRemedies(gpu, config, work, limit)
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
  tools: readonly Tool[],
  onProgress?: OnProgress,
): Promise<void> {
  const limit = memoryLimit(gpu, config);
  if (limit === null) return;
  const work = { blueprint: await draw(config, onProgress), tools };
  const total = bytesOf((await rehearse(gpu, config, work)).memory).total;
  if (total <= limit) return;
  const remedies = await findRemedies(gpu, config, work, limit);
  const advice = remedies.length === 0
    ? "Choose a smaller model"
    : `It would with ${
      remedies.map(({ settings, total }) => `${settings} (${inMiB(total)})`).join(", or ")
    }`;
  throw new ConfigError(
    `Cannot run: it takes ${inMiB(total)} and may take ${inMiB(limit)} (memoryLimit). ${advice}`,
  );
}

/** Changes in the order in which they cost least, alone and then together, until it fits. */
async function findRemedies(
  gpu: Gpu,
  config: RunConfig,
  work: Work,
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
    "--lora.rank 8": config.from !== "scratch" && work.blueprint.lora === null &&
      config.lora.rank === 0,
  };
  const names = Object.keys(changes).filter((name) => useful[name]);
  const tries = [...names.map((name) => [name]), ...names.map((_, i) => names.slice(0, i + 1))];
  const found: { settings: string; total: number }[] = [];
  for (const settings of tries) {
    const changed = settings.reduce((config, name) => changes[name]!(config), config);
    const { memory } = await rehearse(gpu, changed, work);
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
