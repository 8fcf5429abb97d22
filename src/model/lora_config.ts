/**
 * What low-rank adapters are, and PEFT's `adapter_config.json` for it.
 *
 * @module
 */

import type { DecoderConfig } from "./config.ts";

/** What is adapted, and how much. */
export interface LoraConfig {
  /** Rank of every adapter. */
  readonly rank: number;
  /** What they add is scaled by alpha / rank, or by alpha / sqrt(rank) where `rankStabilised`. */
  readonly alpha: number;
  /** Share of its inputs that an adapter does not see in training. */
  readonly dropout: number;
  /** Names of linear layers, as `q_proj`; or all of them but the LM head. */
  readonly targets: readonly string[] | "all-linear";
  /** Kalajdzievski 2023. */
  readonly rankStabilised: boolean;
}

/** PEFT's defaults, on all linear layers. */
export const defaultLora: LoraConfig = {
  rank: 8,
  alpha: 16,
  dropout: 0,
  targets: "all-linear",
  rankStabilised: false,
};

/** Fields of `adapter_config.json` that change the maths, with what is implemented of them. */
const fixed: Readonly<Record<string, readonly unknown[]>> = {
  peft_type: ["LORA"],
  bias: ["none"],
  lora_bias: [false],
  // Others change the weights of the base as they begin (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA).
  init_lora_weights: [true, false, "gaussian", "orthogonal", "eva"],
  layers_to_transform: [null],
  modules_to_save: [null],
  exclude_modules: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  layer_replication: [null],
  alora_invocation_tokens: [null],
  arrow_config: [null],
  kasa_config: [null],
  monteclora_config: [null],
  velora_config: [null],
};

/**
 * Reads PEFT's `adapter_config.json`.
 *
 * @throws {TypeError} if a field is missing, or asks for something that is not implemented.
 */
export function loraFromPeft(json: Readonly<Record<string, unknown>>): LoraConfig {
  const refuse = (field: string, expected: string) =>
    new TypeError(
      `Cannot read adapter_config.json: "${field}" is ${JSON.stringify(json[field])}, ${expected}`,
    );
  // DoRA, QALoRA, BD-LoRA, and whatever later versions call `use_…`.
  const variants = Object.keys(json)
    .filter((field) => field.startsWith("use_") && field !== "use_rslora");
  const checked = new Map<string, readonly unknown[]>(Object.entries(fixed));
  for (const field of variants) checked.set(field, [false]);
  for (const [field, allowed] of checked) {
    const value = json[field] ?? null;
    const empty = Array.isArray(value) && value.length === 0;
    if (value !== null && !empty && !allowed.includes(value)) {
      const known = allowed.map((one) => JSON.stringify(one)).join(", ");
      throw refuse(field, `only ${known} ${allowed.length > 1 ? "are" : "is"} implemented`);
    }
  }
  for (const field of ["rank_pattern", "alpha_pattern"]) {
    if (Object.keys(json[field] as object ?? {}).length > 0) {
      throw refuse(field, "only one rank and alpha for all layers is implemented");
    }
  }
  const number = (field: string, fallback?: number): number => {
    const value = json[field] ?? fallback;
    if (typeof value !== "number") throw refuse(field, "expected a number");
    return value;
  };
  const targets = json["target_modules"];
  const listed = Array.isArray(targets) && targets.every((target) => typeof target === "string");
  if (!listed && targets !== "all-linear") {
    throw refuse("target_modules", 'expected a list of names or "all-linear"');
  }
  const rankStabilised = json["use_rslora"] ?? false;
  if (typeof rankStabilised !== "boolean") throw refuse("use_rslora", "expected true or false");
  return {
    rank: number("r"),
    alpha: number("lora_alpha", 8),
    dropout: number("lora_dropout", 0),
    targets: targets as string[] | "all-linear",
    rankStabilised,
  };
}

/**
 * What `adapter_config.json` holds for adapters.
 *
 * @param base name or folder of the model that they adapt
 */
export function loraToPeft(
  { rank, alpha, dropout, targets, rankStabilised }: LoraConfig,
  { family }: DecoderConfig,
  base: string | null,
): Record<string, unknown> {
  const [, id, revision] = /^([\w.-]+\/[\w.-]+)@(.+)$/.exec(base ?? "") ?? [];
  const name = id ?? base;
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: name,
    ...(revision === undefined ? {} : { revision }),
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targets,
    use_rslora: rankStabilised,
    bias: "none",
    // GPT-2 stores its matrices as [in, out].
    fan_in_fan_out: family === "gpt2",
    init_lora_weights: true,
    inference_mode: true,
  };
}
