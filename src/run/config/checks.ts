/**
 * Settings that contradict one another.
 *
 * @module
 */

import { ConfigError, type RunConfig } from "./run_config.ts";

/**
 * Checks what no single setting shows.
 *
 * @throws {ConfigError} naming the settings, their values and the remedy
 */
export function checkTogether(config: RunConfig): void {
  const { method, rollout, tokenBudget, from } = config;
  if (rollout.maxTokens !== null && tokenBudget < rollout.maxTokens) {
    throw new ConfigError(
      `Cannot use tokenBudget = ${tokenBudget}: an episode of rollout.maxTokens = ` +
        `${rollout.maxTokens} has to fit in. Raise the first or lower the second`,
    );
  }
  if (method === "grpo") checkGrpo(config);
  if (method === "ppo") checkPpo(config);
  if (method === "distill") checkDistill(config);
  if (method === "dpo") checkStart('method = "dpo"', "choose another method", from);
  checkLikelihood(config);
  if (config.lora.rank > 0 && from === "scratch") {
    throw new ConfigError(
      `Cannot use lora.rank = ${config.lora.rank} from "scratch": adapters belong to a model that ` +
        "was trained before. Name one with --model",
    );
  }
}

function checkGrpo({ rollout, grpo, from }: RunConfig): void {
  const alone = grpo.estimator === "reinforce++" || grpo.estimator === "none";
  if (rollout.group < 2 && !alone) {
    throw new ConfigError(
      `Cannot use rollout.group = ${rollout.group} with grpo.estimator = "${grpo.estimator}": it ` +
        "compares the episodes of a prompt. Raise it to 2 or more, or choose the estimator " +
        '"reinforce++" or "none", or method = "ppo"',
    );
  }
  checkMiniBatches("grpo", grpo, rollout);
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
  checkReference("grpo", grpo, from);
}

function checkPpo({ rollout, ppo, from }: RunConfig): void {
  checkMiniBatches("ppo", ppo, rollout);
  checkReference("ppo", ppo, from);
  if (ppo.critic === "model" && from === "scratch") {
    throw new ConfigError(
      'Cannot use ppo.critic = "model" from "scratch": there is no model for it to start from. ' +
        'Make one with ./mentor pretrain, or set ppo.critic = "head"',
    );
  }
  if (ppo.critic === "head" && ppo.criticLearningRate !== null) {
    throw new ConfigError(
      `Cannot use ppo.criticLearningRate = ${ppo.criticLearningRate} with ppo.critic = "head": it ` +
        'learns in the policy\'s updates. Set ppo.critic = "model", or change ppo.valueCoef',
    );
  }
}

function checkMiniBatches(
  method: string,
  { miniBatches }: { miniBatches: number },
  { prompts, group }: RunConfig["rollout"],
): void {
  if (miniBatches <= prompts * group) return;
  throw new ConfigError(
    `Cannot use ${method}.miniBatches = ${miniBatches}: a step has only ${prompts * group} ` +
      "episodes (rollout.prompts x rollout.group)",
  );
}

function checkReference(method: string, { klCoef }: { klCoef: number }, from: string): void {
  if (klCoef === 0) return;
  checkStart(`${method}.klCoef = ${klCoef}`, `set ${method}.klCoef = 0`, from);
}

function checkStart(setting: string, remedy: string, from: string): void {
  if (from !== "scratch") return;
  throw new ConfigError(
    `Cannot use ${setting} from "scratch": there is no model to stay close to. Make one with ` +
      `./mentor pretrain, or ${remedy}`,
  );
}

function checkDistill({ distill, rollout }: RunConfig): void {
  if (distill.teacher === null) {
    throw new ConfigError(
      'Cannot use method = "distill" without a teacher: name a larger model of the same tokens by ' +
        "distill.teacher, a folder, a GGUF file or an id of the Hub",
    );
  }
  checkMiniBatches("distill", distill, rollout);
}

function checkLikelihood({ method, grpo, likelihood: { expert, base } }: RunConfig): void {
  if (expert === null) {
    if (base === null) return;
    throw new ConfigError(
      `Cannot use likelihood.base = "${base}" without an expert to subtract it from: name one by ` +
        "likelihood.expert",
    );
  }
  const setting = `likelihood.expert = "${expert}"`;
  if (method !== "grpo" && method !== "ppo") {
    throw new ConfigError(
      `Cannot use ${setting} with method = "${method}", which does not learn from rewards. Choose ` +
        '"grpo" or "ppo"',
    );
  }
  if (method === "grpo" && (grpo.normalise === "terms" || grpo.weighting === "entropy")) {
    throw new ConfigError(
      `Cannot use ${setting} with grpo.normalise = "${grpo.normalise}" and grpo.weighting = ` +
        `"${grpo.weighting}": these look at the preset's terms alone. Set them to "sum" and "fixed"`,
    );
  }
}
