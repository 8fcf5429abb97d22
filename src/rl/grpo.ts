/**
 * Group relative policy optimisation (Shao et al. 2024) as MENTOR uses it, and its family.
 *
 * For each prompt G episodes o_1..o_G are sampled and scored. With r_t = exp(log p - log p_old):
 *
 *   A_i = (R_i - mean R) / max(std R, floor)
 *   L   = - sum_i sum_t m_it min(r_t A_i, clip(r_t, 1 - low, 1 + high) A_i) / sum_i sum_t m_it
 *         + beta k3(log p_ref, log p)
 *
 * The members of the family differ in one place each:
 *
 *   where A comes from                    advantage.ts, chosen in credit.ts
 *   how tokens are averaged               loss_weights.ts
 *   what stands in place of the min       shaders/policy_loss.wgsl
 *   whether r is a token's or a sequence's (GSPO)   the same
 *   which tokens count, and entropy       entropy.ts
 *
 * Deviations from the paper, each by choice: tokens are averaged over the whole mini-batch and the
 * upper clip is wider (DAPO, Yu et al. 2025); the standard deviation has a floor, so that in a group
 * that failed altogether a small difference in alignment does not train as hard as correctness;
 * log p_old is the sampler's own, which equals the trainer's to 1e-5 here since both run the same
 * f32 kernels (`sampling/sampling_logp_difference` shows it; `oldLogprobs: "trainer"` computes it
 * again). The most uncertain tokens are those at the time of sampling, in all of a step's updates.
 *
 * @module
 */

import { creditGroups, type CreditOptions } from "./credit.ts";
import { describeGroups, describeWeights, meanMetrics } from "./diagnostics.ts";
import { topEntropyTokens } from "./entropy.ts";
import {
  type CreditedRollout,
  type LearningContext,
  learningStep,
  plain,
  type ScoredRollout,
  type StepResult,
} from "./experience.ts";
import { allMetrics } from "./learner.ts";
import {
  miniBatches,
  type PassOptions,
  type PolicySample,
  policyUpdate,
  type PolicyUpdateOptions,
  teaches,
} from "./policy_update.ts";
import { isTruncated, type RolloutOptions } from "./rollout.ts";
import { scoreTokens } from "./score_tokens.ts";
import { tokenDivergences } from "./token_costs.ts";

/** Hyper-parameters of a step. */
export interface GrpoOptions
  extends
    CreditOptions,
    Omit<PassOptions, "stream">,
    Omit<PolicyUpdateOptions, "temperature" | "longest"> {
  readonly group: number;
  /** Rounds of fresh prompts in place of groups without signal. */
  readonly resampleDead: number;
  /** Where the divergence from the reference is subtracted: from each token's loss, or the reward. */
  readonly klIn: "loss" | "reward";
  /** What becomes of episodes that the context cut short: their tokens may be left out of the loss. */
  readonly truncated: "keep" | "mask";
  /** Share of the tokens, the most uncertain ones, that learn. */
  readonly topEntropy: number;
  /** Whose log-probabilities a ratio starts from. */
  readonly oldLogprobs: "sampler" | "trainer";
}

/**
 * Samples, scores and updates.
 *
 * @param prompts number of groups
 * @param progress share of training that is done, in [0, 1]; drives the reward's schedules
 */
export async function grpoStep(
  context: LearningContext,
  prompts: number,
  sampling: RolloutOptions,
  options: GrpoOptions,
  progress: number,
): Promise<StepResult> {
  return await learningStep(context, prompts, sampling, options, progress, async (scored, tell) => {
    const { span = plain, reward, potential } = context;
    const known = await span("scoring", () => examine(context, scored, sampling, options));
    const { weights } = reward;
    const groups = creditGroups(scored, options, {
      ...{ costs: known.costs, weights, potential, progress },
    });
    const [described, updates] = await span("update", async () => {
      let n = 0;
      const samples = groups.map((group) => group.map((one) => sampleOf(one, known, n++, options)));
      const { temperature, maxTokens: longest, stream } = sampling;
      const loss = {
        ...{ ...options, temperature, longest },
        klCoefficient: options.klIn === "loss" ? options.klCoefficient ?? 0 : 0,
      };
      const submitted = miniBatches(samples, { ...options, stream })
        .map((batch) => batch.flat())
        .filter((batch) => teaches(batch, loss))
        .map((batch) => policyUpdate(context, batch, loss));
      // While the GPU works:
      tell(groups);
      const described = describeGroups(groups);
      return [described, await allMetrics(submitted)] as const;
    });
    return {
      groups,
      metrics: {
        ...described,
        ...known.metrics,
        ...options.weighting === "entropy" ? describeWeights(scored.flat()) : {},
        // Where it is in the reward, the loss is told of no reference.
        ...meanMetrics(updates, {
          reference: context.reference !== null && options.klIn === "loss",
        }),
      },
    };
  });
}

/** What teacher-forced passes over the experience found, rollout by rollout; null where not wanted. */
interface Examined {
  /** [T] log-probabilities under the trainer. */
  readonly logprobs: readonly Float32Array[] | null;
  /** [T] 1 where a token is among the most uncertain. */
  readonly counts: readonly Uint8Array[] | null;
  /** [T] what the divergence costs, where it is in the reward. */
  readonly costs: readonly Float64Array[] | null;
  readonly metrics: Readonly<Record<string, number>>;
}

async function examine(
  { learner: { model }, reference }: LearningContext,
  groups: readonly (readonly ScoredRollout[])[],
  { temperature }: RolloutOptions,
  { topEntropy, oldLogprobs, klIn, klCoefficient = 0, klForm = "k3", tokenBudget }: GrpoOptions,
): Promise<Examined> {
  const flat = groups.flat();
  const options = { temperature, tokenBudget };
  const again = topEntropy < 1 || oldLogprobs === "trainer";
  const own = again ? await scoreTokens(model, flat, options) : null;
  const distant = klIn === "reward" && klCoefficient > 0 && reference
    ? await scoreTokens(reference, flat, options)
    : null;
  const divergence = distant && tokenDivergences(flat, distant, { klCoefficient, klForm });
  return {
    logprobs: own && oldLogprobs === "trainer" ? own.map(({ logprobs }) => logprobs) : null,
    counts: own && topEntropy < 1
      ? topEntropyTokens(flat, own.map(({ entropies }) => entropies), topEntropy)
      : null,
    costs: divergence && divergence.costs,
    metrics: divergence ? { "objective/kl": divergence.mean } : {},
  };
}

/** @param n which rollout of the step it is */
function sampleOf(
  one: CreditedRollout,
  known: Examined,
  n: number,
  { truncated }: GrpoOptions,
): PolicySample {
  const { ids, mask, logprobs, advantage, advantages } = one;
  return {
    ids,
    mask: truncated === "mask" && isTruncated(one) ? new Uint8Array(mask.length) : mask,
    logprobs: known.logprobs?.[n] ?? logprobs,
    advantage,
    advantages,
    counts: known.counts?.[n] ?? null,
  };
}
