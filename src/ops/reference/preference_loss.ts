/**
 * Reference loss of direct preference optimisation in f64 (Rafailov et al. 2023, eq. 7), with label
 * smoothing e (Mitchell 2023, "A note on DPO with noisy preferences", eq. 3).
 *
 *   m    = beta ((l_w - ref_w) - (l_l - ref_l)),  l_w and l_l sums of log-probabilities
 *   loss = -(1 - e) log sigmoid(m) - e log sigmoid(-m)
 *   dloss/dm = e sigmoid(m) - (1 - e) sigmoid(-m)
 *
 * @module
 */

/** One pair: log-probabilities of the tokens of each completion, and their sums under the reference. */
export interface ReferencePair {
  chosen: ArrayLike<number>;
  rejected: ArrayLike<number>;
  referenceChosen: number;
  referenceRejected: number;
}

/** One pair -> its loss, and the derivative that every token of `chosen` has; `rejected` its negative. */
export function preferenceLoss(
  { chosen, rejected, referenceChosen, referenceRejected }: ReferencePair,
  { beta, labelSmoothing }: { beta: number; labelSmoothing: number },
): { loss: number; dchosen: number; rewardChosen: number; rewardRejected: number } {
  const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);
  const rewardChosen = beta * (sum(chosen) - referenceChosen);
  const rewardRejected = beta * (sum(rejected) - referenceRejected);
  const margin = rewardChosen - rewardRejected;
  return {
    loss: (1 - labelSmoothing) * softplus(-margin) + labelSmoothing * softplus(margin),
    dchosen: beta * (labelSmoothing * sigmoid(margin) - (1 - labelSmoothing) * sigmoid(-margin)),
    rewardChosen,
    rewardRejected,
  };
}

/** log(1 + e^x) = -log sigmoid(-x) */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
