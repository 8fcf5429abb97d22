/**
 * What a run can be told: the resolved configuration and how it comes about.
 *
 * @module
 */

import * as v from "valibot";
import { parse as parseYaml } from "yaml";
import { runConfigSchema, type Setting, settings } from "./config_schema.ts";
import { suggestion } from "./suggest.ts";

/** A setting cannot be used; the message names it, its value and what is allowed. */
export class ConfigError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "ConfigError";
}

/** A built-in domain. */
export type DomainName = "arith" | "shop" | "unit" | "table" | "none" | "string" | "date";

/** A reward preset. */
export type RewardName =
  | "flex"
  | "sparse"
  | "strict"
  | "recall"
  | "mentor-exact"
  | "mentor-partial"
  | "mentor-nohall"
  | "mentor-f1"
  | "toolrl";

/** All settings of a run, resolved. */
export interface RunConfig {
  /** Reinforcement learning, or imitation of the teacher. */
  method: "grpo" | "sft";
  /** Model to start from: a folder, a GGUF file, an id of the Hub as org/name, or "scratch". */
  from: string;
  /** Model size for "scratch". */
  size: "nano" | "micro" | "small";
  /** Task file (JSONL) in place of the built-in domains. */
  tasks: string | null;
  /** Train on so many different tasks only: the first of the task file, or built-in ones. */
  limit: number | null;
  /** Module that exports the tools of the task file. */
  tools: string | null;
  /** Built-in domains to train on. */
  domains: DomainName[];
  /** Reward of an episode. */
  reward: RewardName;
  /** Steps of the method. */
  steps: number;
  /** Steps of imitation before the method; null is none, or `steps` with a task file. */
  warmupSft: number | null;
  /** Same seed, same machine: same run. */
  seed: number;
  /** Folder of the run; null is a new one under runs/. */
  out: string | null;
  /** Folder of an interrupted run to go on with. */
  resume: string | null;
  /** How episodes are generated. */
  rollout: {
    /** Prompts per step. */
    prompts: number;
    /** Episodes per prompt, compared with each other. */
    group: number;
    /** Sampling temperature. */
    temperature: number;
    /** Sample among the most likely tokens only; 0 is all. */
    topK: number;
    /** Sample among the tokens that make up this probability only. */
    topP: number;
    /** Context of an episode, results included; null is 128, or what chat format and tasks need. */
    maxTokens: number | null;
    /** Tool calls per episode. */
    maxCalls: number;
    /** Episodes generated at the same time. */
    slots: number;
    /** Tokens decoded between two looks at the GPU. */
    stepsPerRead: number;
  };
  /** AdamW. */
  optimizer: {
    /** Learning rate of GRPO at its start. */
    learningRate: number;
    /** Share of it that is left at the end, after a cosine. */
    finalRate: number;
    /** Decay of AdamW's averages of the gradient and of its square. */
    betas: [number, number];
    /** AdamW's guard against division by zero. */
    epsilon: number;
    /** Decoupled weight decay. */
    weightDecay: number;
    /** Largest global gradient norm; 0 is no limit. */
    gradClip: number;
  };
  /** The GRPO update and its family. */
  grpo: {
    /** How tokens become a loss: averaged in one of four ways, or by a rule of its own. */
    loss: "grpo" | "bnpo" | "dr_grpo" | "dapo" | "cispo" | "sapo";
    /** Whose probability ratio is clipped; `sequence` is GSPO. */
    ratio: "token" | "sequence";
    /** Where advantages come from. */
    estimator: "group" | "rloo" | "reinforce++" | "reinforce++-baseline" | "none";
    /** What advantages are divided by. */
    std: "group" | "batch" | "none";
    /** Least standard deviation that advantages are divided by. */
    stdFloor: number;
    /** Normalise the sum of a reward's terms, or each of them (GDPO). */
    normalise: "sum" | "terms";
    /** Weigh the reward's terms as it does, or by how much they tell. */
    weighting: "fixed" | "entropy";
    /** Lower clip of the probability ratio. */
    clipLow: number;
    /** Upper clip of the probability ratio. */
    clipHigh: number;
    /** Bound of the ratio for bad tokens (dual clip), or of cispo's weight; 0 is none, 5 in cispo. */
    ratioMax: number;
    /** How sharply sapo turns away from ratios of good tokens, and of bad ones. */
    sapoTemperatures: [number, number];
    /** Weight of the divergence from the starting model. */
    klCoef: number;
    /** How the divergence is estimated. */
    klForm: "k1" | "k2" | "k3" | "unbiased";
    /** Where the divergence is subtracted. */
    klIn: "loss" | "reward";
    /** What the mean entropy of the tokens is worth. */
    entropyCoef: number;
    /** Entropy in nats that the coefficient is steered towards; null leaves it as it is. */
    entropyTarget: number | null;
    /** Share of the tokens, the most uncertain ones, that learn. */
    topEntropy: number;
    /** Whether episodes that the context cut short are trained on. */
    truncated: "keep" | "mask";
    /** What such an episode costs. */
    truncatedPenalty: number;
    /** Whose probabilities ratios start from. */
    oldLogprobs: "sampler" | "trainer";
    /** How often a step goes over its episodes. */
    epochs: number;
    /** Updates per epoch. */
    miniBatches: number;
    /** Fresh prompts tried for groups whose rewards are all equal. */
    resampleDead: number;
  };
  /** Imitation of the teacher. */
  sft: {
    /** Reference episodes per step. */
    batch: number;
    /** Learning rate of imitation. */
    learningRate: number;
  };
  /** Making a base model, where the run starts from "scratch". */
  pretrain: {
    /** Steps of pretraining. */
    steps: number;
    /** Traces of the flawed policy per step. */
    batch: number;
    /** Peak learning rate of pretraining. */
    learningRate: number;
    /** Policy whose traces are learned; `rare` is right in 3 % of the tasks that need tools, not 7 %. */
    behaviour: "flawed" | "rare";
  };
  /** Measuring what was learned. */
  evaluation: {
    /** Prompts per domain and split; 0 is no evaluation. */
    prompts: number;
    /** Sampled episodes per prompt. */
    samples: number;
    /** Evaluate every so many steps, too; 0 is before and after only. */
    everySteps: number;
  };
  /** When to save. */
  checkpoint: {
    /** Save every so many steps; 0 is at the end only. */
    everySteps: number;
  };
  /** How a model with a chat template of its own is talked to. */
  chat: {
    /** How the model writes tool calls; auto is told by its template and control tokens. */
    format: "auto" | "hermes" | "llama3" | "python" | "gemma" | "function-gemma" | "compact";
    /** What the system message says; null is what the model's template says itself. */
    system: string | null;
  };
  /** Low-rank adapters. */
  lora: {
    /** Rank of low-rank adapters, trained instead of the weights; 0 is none. */
    rank: number;
    /** What adapters add is scaled by alpha / rank. */
    alpha: number;
    /** Share of its inputs that an adapter does not see in training. */
    dropout: number;
    /** Linear layers that get adapters. */
    targets: string[];
  };
  /** How weights that are not trained are kept on the GPU; auto is as their file has them. */
  dtype: "auto" | "f32" | "bf16" | "f16";
  /** Tokens per forward and backward pass; an episode has to fit in. */
  tokenBudget: number;
  /** What is computed again on the way back instead of kept: less memory, a third more work. */
  recompute: "none" | "blocks";
  /** MiB that a run may take; null is four fifths of main memory where the GPU shares it. */
  memoryLimit: number | null;
  /** Workgroup shapes that `./mentor bench tune --save FILE` found for this adapter. */
  tuning: string | null;
  /** The built-in teacher. */
  teacher: {
    /** Probability that the teacher skips a call it can do in its head. */
    mental: number;
  };
}

type Same<A, B> = [A, B] extends [B, A] ? true : false;
// The interface above is the schema's type spelled out for readers; it cannot drift from it.
true satisfies Same<RunConfig, v.InferOutput<typeof runConfigSchema>>;

/** Sources of settings, strongest last; each may hold any part of a config. */
export interface ConfigLayers {
  /** Settings that belong together under a name. */
  readonly preset?: unknown;
  /** The contents of a config file. */
  readonly file?: unknown;
  /** From the command line. */
  readonly flags?: unknown;
}

/**
 * The config that the layers amount to: flag before file before preset before default.
 *
 * @throws {ConfigError} if a setting is unknown, not allowed, or contradicts another
 */
export function resolveConfig(layers: ConfigLayers = {}): RunConfig {
  const { preset = {}, file = {}, flags = {} } = layers;
  for (const [name, layer] of Object.entries({ preset, "config file": file, flags })) {
    if (!isRecord(layer)) {
      throw new ConfigError(`Cannot use the ${name}: expected settings, not ${show(layer)}`);
    }
  }
  const result = v.safeParse(runConfigSchema, [preset, file, flags].reduce(mergeSettings, {}));
  if (!result.success) throw new ConfigError(explain(result.issues[0], layers));
  checkTogether(result.output);
  return result.output;
}

/** The number of imitation steps before the method, with `warmupSft: null` decided. */
export function warmupSteps(config: RunConfig): number {
  if (config.method === "sft") return 0;
  return config.warmupSft ?? (config.tasks === null ? 0 : config.steps);
}

/** The config as it is stored: the same config gives the same text. */
export function configJson(config: RunConfig): string {
  return `${JSON.stringify(config, null, 2)}\n`;
}

/**
 * Reads a config file, YAML or JSON; its settings are checked by {@linkcode resolveConfig}.
 *
 * @throws {ConfigError} if there is no such file, or it does not parse
 */
export function readConfigFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseYaml(Deno.readTextFileSync(path));
  } catch (error) {
    throw new ConfigError(`Cannot read config file "${path}": ${(error as Error).message.trim()}`, {
      cause: error,
    });
  }
  // An empty file, or one of comments only, sets nothing.
  if (value === null) return {};
  if (isRecord(value)) return value;
  throw new ConfigError(`Cannot read config file "${path}": expected settings, not ${show(value)}`);
}

function checkTogether(config: RunConfig): void {
  const { rollout, grpo, tokenBudget, from } = config;
  if (rollout.maxTokens !== null && tokenBudget < rollout.maxTokens) {
    throw new ConfigError(
      `Cannot use tokenBudget = ${tokenBudget}: an episode of rollout.maxTokens = ` +
        `${rollout.maxTokens} has to fit in. Raise the first or lower the second`,
    );
  }
  if (grpo.miniBatches > rollout.prompts * rollout.group) {
    throw new ConfigError(
      `Cannot use grpo.miniBatches = ${grpo.miniBatches}: a step has only ` +
        `${rollout.prompts * rollout.group} episodes (rollout.prompts x rollout.group)`,
    );
  }
  if (grpo.ratioMax > 0 && grpo.loss !== "cispo" && grpo.ratioMax <= 1 + grpo.clipHigh) {
    throw new ConfigError(
      `Cannot use grpo.ratioMax = ${grpo.ratioMax}: it bounds what clipHigh leaves alone, so it must ` +
        `be above 1 + grpo.clipHigh = ${1 + grpo.clipHigh}; 3 is usual, 0 is none`,
    );
  }
  if (grpo.normalise === "terms" && (grpo.weighting !== "fixed" || grpo.estimator !== "group")) {
    throw new ConfigError(
      `Cannot use grpo.normalise = "terms" with grpo.estimator = "${grpo.estimator}" and ` +
        `grpo.weighting = "${grpo.weighting}": it normalises within groups, by fixed weights. ` +
        'Set these to "group" and "fixed"',
    );
  }
  if (grpo.klForm === "unbiased" && grpo.ratio === "sequence") {
    throw new ConfigError(
      'Cannot use grpo.klForm = "unbiased" with grpo.ratio = "sequence": it multiplies each token by ' +
        'the ratio of its own. Use grpo.klForm = "k3"',
    );
  }
  if (grpo.klCoef > 0 && from === "scratch") {
    throw new ConfigError(
      `Cannot use grpo.klCoef = ${grpo.klCoef} from "scratch": there is no model to stay close to. ` +
        "Make one with ./mentor pretrain, or set grpo.klCoef = 0",
    );
  }
  if (config.lora.rank > 0 && from === "scratch") {
    throw new ConfigError(
      `Cannot use lora.rank = ${config.lora.rank} from "scratch": adapters belong to a model that ` +
        "was trained before. Name one with --model",
    );
  }
}

function explain(issue: v.BaseIssue<unknown>, layers: ConfigLayers): string {
  const keys = (issue.path ?? []).map(({ key }) => String(key));
  const path = keys.join(".");
  const setting = settings.find((each) => path === each.path || path.startsWith(`${each.path}.`));
  if (setting !== undefined) {
    const value = at([layers.flags, layers.file, layers.preset], setting.path);
    return refusal(setting, origin(setting.path, layers), value);
  }
  if (settings.some((each) => each.path.startsWith(`${path}.`))) {
    return `Cannot use ${path} = ${show(issue.input)}: expected a group of settings`;
  }
  const known = settings.map((each) => each.path);
  return `Cannot use ${path}${origin(path, layers)}: there is no such setting` +
    suggestion(path, known);
}

/** Why a setting's value is not allowed; `from` says where it was set. */
export function refusal(setting: Setting, from: string, value: unknown): string {
  return `Cannot use ${setting.path} = ${show(value)}${from}: allowed is ${setting.allowed}`;
}

function origin(path: string, { flags, file, preset }: ConfigLayers): string {
  if (at([flags], path) !== undefined) return " (from a flag)";
  if (at([file], path) !== undefined) return " (from the config file)";
  return at([preset], path) !== undefined ? " (from the preset)" : "";
}

/** The value at a dotted path in the first of the layers that has it. */
function at(layers: readonly unknown[], path: string): unknown {
  return layers.map((layer) => valueAt(layer, path)).find((value) => value !== undefined);
}

/** The value at a dotted path of nested settings. */
export function valueAt(layer: unknown, path: string): unknown {
  let value = layer;
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined;
  return value;
}

/** Settings over others, group by group. */
export function mergeSettings(
  under: Record<string, unknown>,
  over: unknown,
): Record<string, unknown> {
  const merged = { ...under };
  for (const [key, value] of Object.entries(over as Record<string, unknown>)) {
    if (value === undefined) continue;
    const below = merged[key];
    merged[key] = isRecord(below) && isRecord(value) ? mergeSettings(below, value) : value;
  }
  return merged;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
