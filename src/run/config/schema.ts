/**
 * The schema of a run's configuration, and the list of settings read off it.
 *
 * Every setting has a default, a description and a sentence about what is allowed; help, flags,
 * error messages and `config.json` are made of these.
 *
 * @module
 */

import * as v from "valibot";
import { KL_FORMS } from "../../ops/policy_loss.ts";
import { ESTIMATORS } from "../../rl/credit.ts";
import { LOSS_TYPES } from "../../rl/loss_weights.ts";
import { taskFormatNames } from "../../tasks/formats/mod.ts";
import { toolNames } from "../../tools/built_in.ts";
import { interpreterNames } from "../tools/interpreters.ts";
import {
  choice,
  choices,
  group,
  integer,
  integerOrNull,
  listSettings,
  pathOrNull,
  real,
  type Setting,
  setting,
  text,
  toggle,
} from "./setting.ts";

/** Names of the methods. */
export const METHODS = ["grpo", "ppo", "distill", "dpo", "sft"] as const;

/** Names of the built-in domains; the last two are held out of training by default. */
export const domainNames = ["arith", "shop", "unit", "table", "none", "string", "date"] as const;

/** Names of the reward presets. */
export const rewardNames = [
  "flex",
  "sparse",
  "strict",
  "recall",
  "mentor-exact",
  "mentor-partial",
  "mentor-nohall",
  "mentor-f1",
  "toolrl",
] as const;

const name = v.pipe(v.string(), v.nonEmpty());

/** A list of names, of which a single one may stand by itself. */
const oneOrMore = v.union([
  v.pipe(v.array(name), v.nonEmpty()),
  v.pipe(name, v.transform((one) => [one])),
]) as v.GenericSchema<string[]>;

const temperature = v.pipe(v.number(), v.finite(), v.gtValue(0));

const beta = v.pipe(v.number(), v.minValue(0), v.ltValue(1));

/** The one schema of run configuration; the order is that of help and of `config.json`. */
export const runConfigSchema = v.strictObject({
  method: choice(
    METHODS,
    "grpo",
    "Reinforcement with groups or a value function; distillation of a larger model; preference of " +
      "the teacher to failures; or imitation of the teacher",
  ),
  from: text(
    "assets/base-nano",
    'Model to start from: a folder, a GGUF file, an id of the Hub as org/name, or "scratch"',
  ),
  size: choice(["nano", "micro", "small"], "nano", 'Model size for "scratch"'),
  tasks: pathOrNull(
    "Task file in place of the built-in domains: JSONL, JSON, CSV, Parquet, or of the Hub as " +
      "hf://datasets/org/name/file",
  ),
  format: choice(
    ["auto", ...taskFormatNames],
    "auto",
    "Format of the task file's rows; auto is told by the first of them",
  ),
  skipInvalid: toggle("Leave malformed rows of the task file out, and count them"),
  limit: integerOrNull(
    1,
    "Train on so many different tasks only: the first of the task file, or built-in ones",
  ),
  tools: setting(
    "texts",
    v.nullable(oneOrMore),
    null,
    "a list of names and paths, or null",
    "Where tools come from: modules that export them, JSON files of MCP servers, search:FILE for texts " +
      `to search, or names of built-in ones (${[...toolNames, ...interpreterNames].join(", ")}); ` +
      "null is the calculator",
  ),
  domains: choices(domainNames, domainNames.slice(0, 5), "Built-in domains to train on"),
  reward: choice(rewardNames, "flex", "Reward of an episode"),
  steps: integer(80, 0, "Steps of the method"),
  warmupSft: integerOrNull(
    0,
    "Steps of imitation before the method; null is none, or `steps` with a task file",
  ),
  seed: integer(0, 0, "Same seed, same machine: same run"),
  out: pathOrNull("Folder of the run; null is a new one under runs/"),
  resume: pathOrNull("Folder of an interrupted run to go on with"),
  rollout: group({
    prompts: integer(16, 1, "Prompts per step"),
    group: integer(8, 1, "Episodes per prompt; grpo compares them with each other"),
    temperature: real(1, 0.01, 100, "Sampling temperature"),
    topK: integer(0, 0, "Sample among the most likely tokens only; 0 is all"),
    topP: real(1, 0.01, 1, "Sample among the tokens that make up this probability only"),
    maxTokens: integerOrNull(
      8,
      "Context of an episode: prompt, turns and results; null is 128, or what format and tasks need",
    ),
    maxCalls: integer(6, 0, "Tool calls per episode"),
    slots: integer(128, 1, "Episodes generated at the same time"),
    stepsPerRead: integer(6, 1, "Tokens decoded between two looks at the GPU"),
  }),
  optimizer: group({
    learningRate: real(
      2.5e-4,
      0,
      1,
      "Learning rate of the method at its start; imitation has its own",
    ),
    finalRate: real(0.1, 0, 1, "Share of it that is left at the end, after a cosine"),
    betas: setting(
      "numbers",
      v.strictTuple([beta, beta]),
      [0.9, 0.95],
      "two numbers from 0 to below 1",
      "Decay of AdamW's averages of the gradient and of its square",
    ),
    epsilon: real(1e-8, 0, 1, "AdamW's guard against division by zero"),
    weightDecay: real(0, 0, 1, "Decoupled weight decay"),
    gradClip: real(1, 0, Infinity, "Largest global gradient norm; 0 is no limit"),
  }),
  grpo: group({
    loss: choice(
      LOSS_TYPES,
      "dapo",
      "How tokens become a loss: averaged in one of four ways, or by a rule of its own",
    ),
    ratio: choice(["token", "sequence"], "token", "Whose probability ratio is clipped (GSPO)"),
    estimator: choice(ESTIMATORS, "group", "Where advantages come from"),
    std: choice(["group", "batch", "none"], "group", "What advantages are divided by"),
    stdFloor: real(0.1, 0, Infinity, "Least standard deviation that advantages are divided by"),
    normalise: choice(
      ["sum", "terms"],
      "sum",
      "Normalise the sum of a reward's terms, or each of them (GDPO)",
    ),
    weighting: choice(
      ["fixed", "entropy"],
      "fixed",
      "Weigh the reward's terms as it does, or by how much they tell",
    ),
    clipLow: real(0.2, 0, 1, "Lower clip of the probability ratio"),
    clipHigh: real(0.28, 0, 100, "Upper clip of the probability ratio"),
    ratioMax: real(
      0,
      0,
      1e6,
      "Bound of the ratio for bad tokens (dual clip), or of cispo's weight; 0 is none, 5 in cispo",
    ),
    sapoTemperatures: setting(
      "numbers",
      v.strictTuple([temperature, temperature]),
      [1, 1.05],
      "two numbers above 0",
      "How sharply sapo turns away from ratios of good tokens, and of bad ones",
    ),
    klCoef: real(
      0,
      0,
      Infinity,
      "Weight of the divergence from the policy that the method starts from",
    ),
    klForm: choice(KL_FORMS, "k3", "How the divergence is estimated"),
    klIn: choice(["loss", "reward"], "loss", "Where the divergence is subtracted"),
    entropyCoef: real(0, 0, 1, "What the mean entropy of the tokens is worth"),
    entropyTarget: setting(
      "number",
      v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))),
      null,
      "a number of at least 0, or null",
      "Entropy in nats that the coefficient is steered towards; null leaves it as it is",
    ),
    topEntropy: real(1, 0.001, 1, "Share of the tokens, the most uncertain ones, that learn"),
    truncated: choice(
      ["keep", "mask"],
      "keep",
      "Whether episodes that the context cut short are trained on",
    ),
    truncatedPenalty: real(0, 0, 10, "What such an episode costs"),
    oldLogprobs: choice(
      ["sampler", "trainer"],
      "sampler",
      "Whose probabilities ratios start from",
    ),
    epochs: integer(1, 1, "How often a step goes over its episodes"),
    miniBatches: integer(2, 1, "Updates per epoch"),
    resampleDead: integer(0, 0, "Fresh prompts tried for groups whose rewards are all equal"),
  }),
  ppo: group({
    epochs: integer(4, 1, "How often a step goes over its episodes"),
    miniBatches: integer(1, 1, "Updates per epoch"),
    klCoef: real(
      0.05,
      0,
      Infinity,
      "Weight of the divergence from the policy that the method starts from, in rewards",
    ),
    klForm: choice(["k1", "k2", "k3"], "k1", "How the divergence is estimated"),
    clip: real(0.2, 0, 1, "Clip of the probability ratio"),
    valueClip: real(0.2, 0, 1e6, "How far an update may move a value"),
    valueCoef: real(0.1, 0, 100, "Weight of the value loss; 1 where the critic is a model"),
    gamma: real(1, 0, 1, "Discount from token to token"),
    lambda: real(0.95, 0, 1, "Decay of generalised advantages; 1 is rewards alone"),
    targetKl: real(0, 0, Infinity, "Move of the policy after which a step ends; 0 is no limit"),
    missingEosPenalty: real(0, 0, Infinity, "What an episode costs that did not finish"),
    whitenRewards: choice(
      ["none", "scale"],
      "none",
      "Leave rewards as they are, or scale them to variance 1",
    ),
    critic: choice(
      ["head", "model"],
      "head",
      "Values by a head on the policy's hidden states, or on those of a model of its own",
    ),
    criticLearningRate: setting(
      "number",
      v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1))),
      null,
      "a number from 0 to 1, or null",
      "Learning rate of such a model at its start; null is the policy's",
    ),
    oldLogprobs: choice(["sampler", "trainer"], "sampler", "Whose probabilities ratios start from"),
  }),
  distill: group({
    teacher: pathOrNull("Larger model of the same tokens to learn from: a folder, GGUF or Hub id"),
    beta: real(1, 0, 1, "0 covers all that the teacher would do, 1 keeps to what it would do"),
    temperature: real(1, 0.01, 100, "Divides the logits of both"),
    epochs: integer(1, 1, "How often a step goes over its episodes"),
    miniBatches: integer(1, 1, "Updates per epoch"),
  }),
  dpo: group({
    beta: real(0.1, 0.0001, 100, "How strongly the model is held to where the method starts from"),
    labelSmoothing: real(0, 0, 0.49, "Share of the preferences taken to be the wrong way round"),
  }),
  likelihood: group({
    expert: pathOrNull(
      "Model whose likelihood of an episode is its reward, in place of the preset's",
    ),
    base: pathOrNull("Model whose likelihood is subtracted: what any text of the kind is worth"),
    weight: real(1, 0, Infinity, "Weight of the likelihood, in nats per token"),
    entropyWeight: real(0, 0, Infinity, "What the policy's mean entropy adds to the likelihood"),
    presetWeight: real(0, 0, Infinity, "Weight of the preset's reward beside the likelihood"),
  }),
  sft: group({
    batch: integer(32, 1, "Reference episodes per step"),
    learningRate: real(1e-3, 0, 1, "Learning rate of imitation"),
  }),
  pretrain: group({
    steps: integer(2000, 0, 'Steps of pretraining, for "scratch"'),
    batch: integer(48, 1, "Traces of the flawed policy per step"),
    learningRate: real(2e-3, 0, 1, "Peak learning rate of pretraining"),
    behaviour: choice(
      ["flawed", "rare"],
      "flawed",
      "Policy whose traces are learned; rare is right in 3 % of the tasks that need tools, not 7 %",
    ),
  }),
  evaluation: group({
    prompts: integer(32, 0, "Prompts per domain and split; 0 is no evaluation"),
    samples: integer(4, 1, "Sampled episodes per prompt"),
    everySteps: integer(0, 0, "Evaluate every so many steps, too; 0 is before and after only"),
  }),
  checkpoint: group({
    everySteps: integer(20, 0, "Save every so many steps; 0 is at the end only"),
  }),
  tensorboard: toggle("Write the curves for TensorBoard, too, into the run's folder"),
  chat: group({
    format: choice(
      ["auto", "hermes", "llama3", "python", "gemma", "function-gemma", "compact"],
      "auto",
      "How the model writes tool calls; auto is told by its template and control tokens",
    ),
    system: setting(
      "text",
      v.nullable(v.pipe(v.string(), v.nonEmpty())),
      null,
      "a text that is not empty, or null",
      "What the system message says; null is what the model's template says itself",
    ),
  }),
  lora: group({
    rank: integer(0, 0, "Rank of low-rank adapters, trained instead of the weights; 0 is none"),
    alpha: real(16, 0.001, 1e6, "What adapters add is scaled by alpha / rank"),
    dropout: real(0, 0, 0.99, "Share of its inputs that an adapter does not see in training"),
    targets: setting(
      "texts",
      v.pipe(v.array(v.pipe(v.string(), v.nonEmpty())), v.nonEmpty()),
      ["all-linear"],
      "a list of names of linear layers as q_proj, or all-linear",
      "Linear layers that get adapters",
    ),
  }),
  dtype: choice(
    ["auto", "f32", "bf16", "f16"],
    "auto",
    "How weights that are not trained are kept on the GPU; auto is as their file has them",
  ),
  tokenBudget: integer(8192, 8, "Tokens per forward and backward pass; an episode has to fit in"),
  recompute: choice(
    ["none", "blocks"],
    "none",
    "What is computed again on the way back instead of kept: less memory, a third more work",
  ),
  memoryLimit: integerOrNull(
    1,
    "MiB that a run may take; null is four fifths of main memory where the GPU shares it",
  ),
  tuning: pathOrNull("Workgroup shapes that bench tune --save FILE found for this adapter"),
  teacher: group({
    mental: real(0, 0, 1, "Probability that the teacher skips a call it can do in its head"),
  }),
});

/** Every setting, in the order of the schema. */
export const settings: readonly Setting[] = listSettings(runConfigSchema.entries, "");
