/**
 * What a run can be told, spelled out.
 *
 * @module
 */

/** A setting cannot be used; the message names it, its value and what is allowed. */
export class ConfigError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "ConfigError";
}

/** A method of training. */
export type MethodName = "grpo" | "ppo" | "distill" | "dpo" | "sft";

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
  /**
   * Reinforcement learning with groups or a value function; distillation of a larger model;
   * preference of the teacher to failures; or imitation of the teacher.
   */
  method: MethodName;
  /** Model to start from: a folder, a GGUF file, an id of the Hub as org/name, or "scratch". */
  from: string;
  /** Model size for "scratch". */
  size: "nano" | "micro" | "small";
  /** Task file in place of the built-in domains: a path, or `hf://datasets/org/name/file`. */
  tasks: string | null;
  /** Format of the task file's rows; auto is told by the first of them. */
  format: "auto" | "own" | "gsm8k" | "mentor-data" | "toolrl" | "xlam" | "toolace" | "trl" | "bfcl";
  /** Leave malformed rows of the task file out, and count them. */
  skipInvalid: boolean;
  /** Train on so many different tasks only: the first of the task file, or built-in ones. */
  limit: number | null;
  /** Where tools come from: modules, files of MCP servers, texts to search, names of built-in ones. */
  tools: string[] | null;
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
    /** Episodes per prompt; grpo compares them with each other. */
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
    /** Learning rate of the method at its start; imitation has its own. */
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
    /** Weight of the divergence from the policy that the method starts from. */
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
  /** PPO: a learned value function instead of groups. */
  ppo: {
    /** How often a step goes over its episodes. */
    epochs: number;
    /** Updates per epoch. */
    miniBatches: number;
    /** Weight of the divergence from the policy that PPO starts from, in each token's reward. */
    klCoef: number;
    /** How the divergence is estimated. */
    klForm: "k1" | "k2" | "k3";
    /** Clip of the probability ratio. */
    clip: number;
    /** How far an update may move a value. */
    valueClip: number;
    /** Weight of the value loss beside the policy's; 1 where the critic is a model. */
    valueCoef: number;
    /** Discount from token to token. */
    gamma: number;
    /** Decay of generalised advantages; 1 is rewards alone. */
    lambda: number;
    /** Move of the policy (k3, mean of a pass) after which a step ends; 0 is no limit. */
    targetKl: number;
    /** What an episode costs that did not finish. */
    missingEosPenalty: number;
    /** Whether rewards are scaled to variance 1, their mean kept. */
    whitenRewards: "none" | "scale";
    /** Values by a head on the policy's hidden states, or on those of a model of its own. */
    critic: "head" | "model";
    /** Learning rate of such a model at its start; null is the policy's. */
    criticLearningRate: number | null;
    /** Whose probabilities ratios start from. */
    oldLogprobs: "sampler" | "trainer";
  };
  /** Learning from a larger model what it would do in the student's places. */
  distill: {
    /** The larger model, of the same tokens: a folder, a GGUF file or an id of the Hub. */
    teacher: string | null;
    /** 0 covers all that the teacher would do, 1 keeps to what it would do. */
    beta: number;
    /** Divides the logits of both. */
    temperature: number;
    /** How often a step goes over its episodes. */
    epochs: number;
    /** Updates per epoch. */
    miniBatches: number;
  };
  /** Preferring the teacher's demonstration to the student's failures. */
  dpo: {
    /** How strongly the model is held to where the method starts from. */
    beta: number;
    /** Share of the preferences taken to be the wrong way round. */
    labelSmoothing: number;
  };
  /** A model's likelihood as reward. */
  likelihood: {
    /** Model whose likelihood of an episode is its reward, in place of the preset's; null is none. */
    expert: string | null;
    /** Model whose likelihood is subtracted; null takes nothing away. */
    base: string | null;
    /** Weight of the likelihood, in nats per token. */
    weight: number;
    /** What the policy's mean entropy adds to the likelihood. */
    entropyWeight: number;
    /** Weight of the preset's reward beside the likelihood. */
    presetWeight: number;
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
  /** Write the curves for TensorBoard, too, into the run's folder. */
  tensorboard: boolean;
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
