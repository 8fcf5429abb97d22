/**
 * Likelihood as reward (VIPER: Escontrela et al. 2023, "Video Prediction Models as Rewards"): an
 * expert trained on the teacher's traces finds an episode likely where it resembles them, whether or
 * not anyone knows the right answer.
 *
 *   score = mean_t log p_expert(x_t | x_<t) - mean_t log p_base(x_t | x_<t) + w mean_t H(p(. | x_<t))
 *
 * over the tokens t that the policy p sampled (mask 1).
 *
 * Deviations from the paper, each by choice: the paper models what is observed, since its videos show
 * no actions; here actions are what the traces show, and the answers of tools say nothing of a policy.
 * The base model takes away what any text of that kind is worth, so that fluent is not enough. The
 * bonus for exploring is the entropy of the policy, given as a third model: its exact mean costs one
 * more pass without gradients, and needs nothing that an episode would have to remember.
 *
 * @module
 */

import type { Decoder } from "../model/decoder.ts";
import { activeTokens, type MaskedSequence } from "./packing.ts";
import { scoreTokens, type TokenScores } from "./score_tokens.ts";

/** What a sequence is worth, and the means over its action tokens that it is made of, in nats. */
export interface LikelihoodScore {
  /** NaN where no token was sampled: there is nothing to judge. */
  readonly score: number;
  /** Log-probability under the expert. */
  readonly expert: number;
  /** Log-probability under the base model; 0 without one. */
  readonly base: number;
  /** Entropy of the policy; 0 where its weight is. */
  readonly entropy: number;
}

/** How to score. */
export interface LikelihoodOptions {
  /** Tokens that are worked on at a time. */
  readonly tokenBudget: number;
  /** Divides the logits of all models, as in sampling; default 1. */
  readonly temperature?: number;
  /** Weight of the policy's mean entropy; default 0. */
  readonly entropyWeight?: number;
  /** The policy that sampled, as it is now; needed where the entropy counts. */
  readonly policy?: Decoder;
}

/**
 * Scores sequences under a frozen expert.
 *
 * @param base a frozen model of the same kind of text; null takes nothing away
 * @throws {TypeError} if the entropy counts and there is no policy.
 */
export async function likelihoodScores(
  expert: Decoder,
  base: Decoder | null,
  sequences: readonly MaskedSequence[],
  { tokenBudget, temperature = 1, entropyWeight = 0, policy }: LikelihoodOptions,
): Promise<LikelihoodScore[]> {
  if (entropyWeight !== 0 && !policy) {
    throw new TypeError(
      `Cannot score by likelihood: entropyWeight is ${entropyWeight} and there is no policy to take ` +
        "the entropy of; give one, or leave the weight at 0",
    );
  }
  const scored = async (model: Decoder | null, of: "logprobs" | "entropies") => {
    if (!model) return sequences.map(() => 0);
    const scores = await scoreTokens(model, sequences, { temperature, tokenBudget });
    return scores.map((score, i) => mean(score[of], sequences[i]!));
  };
  const experts = await scored(expert, "logprobs");
  const bases = await scored(base, "logprobs");
  const entropies = await scored(entropyWeight !== 0 ? policy! : null, "entropies");
  return experts.map((expert, i) => {
    const [base, entropy] = [bases[i]!, entropies[i]!];
    return { score: expert - base + entropyWeight * entropy, expert, base, entropy };
  });
}

/** Mean over the action tokens: off the mask values are 0. */
function mean(values: TokenScores["logprobs"], sequence: MaskedSequence): number {
  return values.reduce((sum, value) => sum + value, 0) / activeTokens([sequence]);
}
