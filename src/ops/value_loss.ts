/**
 * The loss of a value function: writes dL/dV, the root of its backward pass.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";
import type { MetricSums } from "./metric_sums.ts";

/** Diagnostics of a value loss: sums over tokens of weight times each. */
export const valueMetrics = [
  "value_loss", // without the coefficient
  "value_clip_fraction",
  "value",
  "return",
] as const;

/** What a value update knows of each token; [N] each. */
export interface ValueBatch {
  /** V of the same state before the first update on it. */
  readonly oldValue: Tensor;
  /** What V should be. */
  readonly returns: Tensor;
  /** mask / number of tokens that the mean runs over */
  readonly weight: Tensor;
}

/** How far a value may move, and what its loss weighs. */
export interface ValueLossOptions {
  /** V beyond so much from the old one gains nothing; Infinity for no bound. */
  readonly clip: number;
  /** Factor of the loss in the gradient; the diagnostics are without it. */
  readonly coefficient: number;
}

/**
 * PPO's clipped value loss, 0.5 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2).
 *
 * @param value [N,4], of which column 0 is V; so is its gradient
 */
export function clippedValueLoss(
  tape: Tape,
  value: Tensor,
  { oldValue, returns, weight }: ValueBatch,
  { clip, coefficient }: ValueLossOptions,
  sums: MetricSums,
): void {
  const [N] = value.shape as [number];
  assertShape(value, [N, 4], "apply the value loss");
  for (const tensor of [oldValue, returns, weight]) {
    assertShape(tensor, [N], "apply the value loss");
  }
  const dvalue = tape.tensor([N, 4], "dvalue");
  const metrics = tape.tensor([N, valueMetrics.length], "token metrics");
  elementwise(tape.gpu, "value_loss", "clipped", N, {
    value,
    old_value: oldValue,
    returns,
    weight,
    dvalue,
    metrics,
  }, { rows: N, clip: Math.min(clip, 3e38), coefficient });
  value.grad = dvalue;
  sums.add(tape, valueMetrics, metrics);
}
