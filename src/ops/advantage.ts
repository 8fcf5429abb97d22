/**
 * Advantages of single tokens out of rewards and values, and whitening.
 *
 * @module
 */

import { grid } from "../gpu/recorder.ts";
import type { Tape } from "../tape.ts";
import { assertShape, type Tensor } from "../tensor.ts";
import { rowwise } from "./launch.ts";
import { foldRows } from "./reduce.ts";

/** Most tokens of a sequence: the loop of a lane may not be longer (see matmul.ts). */
const LONGEST_SEQUENCE = 65_535;

/** How far ahead a state's value looks. */
export interface GaeOptions {
  /** Discount of what comes a token later. */
  readonly gamma: number;
  /** 0 trusts the value function alone, 1 the rewards alone. */
  readonly lambda: number;
}

/** [N] each. */
export interface Advantages {
  readonly advantages: Tensor;
  /** Advantage plus value: what the value function is to learn. */
  readonly returns: Tensor;
}

/**
 * Generalised advantage estimation (Schulman et al. 2016, eq. 16): A_t = delta_t + gamma lambda
 * A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t, where V and A after the last token are 0.
 *
 * @param rewards,values [N] of the sampled tokens alone, sequence after sequence: the state that
 *   follows on a sampled token is that of the next one, whatever a tool wrote between them
 * @param lengths sampled tokens of each sequence; their sum is N
 * @throws {RangeError} if the lengths do not add up, or one is beyond 65,535.
 */
export function generalisedAdvantages(
  tape: Tape,
  rewards: Tensor,
  values: Tensor,
  lengths: readonly number[],
  { gamma, lambda }: GaeOptions,
): Advantages {
  const N = rewards.size;
  for (const tensor of [rewards, values]) assertShape(tensor, [N], "estimate advantages");
  const S = lengths.length;
  const starts = new Uint32Array(S + 1);
  lengths.forEach((length, s) => starts[s + 1] = starts[s]! + length);
  const longest = lengths.reduce((max, length) => Math.max(max, length), 0);
  if (starts[S] !== N || longest > LONGEST_SEQUENCE) {
    throw new RangeError(
      `Cannot estimate advantages of ${N} tokens in ${S} sequences that hold ${starts[S]}, ` +
        `the longest ${longest}: they must hold as many, and ${LONGEST_SEQUENCE} at most each`,
    );
  }
  const advantages = tape.tensor([N], "advantages");
  const returns = tape.tensor([N], "returns");
  rowwise(tape.gpu, "advantage", "gae", S, {
    reward: rewards,
    value: values,
    starts: tape.upload(starts, "starts"),
    advantage: advantages,
    returns,
  }, { sequences: S, gamma, lambda });
  return { advantages, returns };
}

/**
 * (x - mean) / sqrt(var + 1e-8) over all of x[N], with the unbiased variance, which of a single
 * value is taken to be 0. In one order of summation, whatever N is.
 *
 * @param shiftMean whether the mean becomes 0, or stays what it was
 */
export function whiten(
  tape: Tape,
  x: Tensor,
  { shiftMean = true }: { readonly shiftMean?: boolean } = {},
): Tensor {
  const N = x.size;
  assertShape(x, [N], "whiten");
  const { gpu } = tape;
  const padded = Math.ceil(N / 4) * 4;
  const terms = tape.tensor([padded / 4, 4], "terms");
  const sums = tape.tensor([4], "sums");
  const squareSums = tape.tensor([4], "sums of squares");
  const y = tape.tensor([N], "whitened");
  const constants = { WIDE: gpu.tuning.wide };
  const workgroups = grid(Math.ceil(padded / gpu.tuning.wide));
  for (const [squared, target] of [[0, sums], [1, squareSums]] as const) {
    gpu.dispatch("advantage", "terms", {
      constants,
      bindings: { x, sums, y: terms },
      params: { count: N, padded, squared },
      workgroups,
    });
    foldRows(tape, terms, target, 0);
  }
  gpu.dispatch("advantage", "whiten", {
    constants,
    bindings: { x, sums, square_sums: squareSums, y },
    params: { count: N, shift_mean: shiftMean ? 1 : 0 },
    workgroups,
  });
  return y;
}
