/**
 * Sampling on the GPU.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Lanes for a large vocabulary: with 8 of them each would pass over it in more iterations than
 * llvmpipe of Mesa 22 runs (65,535, then it silently stops).
 */
const MANY_LANES = { vocabulary: 4096, lanes: 256 };

/** A slot that does nothing has this position; a row without a token has this token. */
export const NONE = 0xffffffff;

/** How tokens are drawn. */
export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keep the k most likely tokens (ties with the k-th too); 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set of the most likely tokens with at least this share; 1 keeps all. */
  readonly topP: number;
  readonly seed: number;
}

/**
 * Checks the numbers.
 *
 * @throws {RangeError} naming the option, its value and what it must be.
 */
export function checkSampling({ temperature, topK, topP }: SamplingOptions): void {
  const refuse = (name: string, value: number, remedy: string) => {
    throw new RangeError(`Cannot sample: ${name} is ${value}, it must be ${remedy}`);
  };
  if (!(temperature >= 0 && temperature < Infinity)) {
    refuse("temperature", temperature, "0 (greedy) or above");
  }
  if (!Number.isInteger(topK) || topK < 0) refuse("topK", topK, "0 (all) or a positive integer");
  if (!(topP > 0 && topP <= 1)) refuse("topP", topP, "above 0 and up to 1 (all)");
}

/** The slots' state on the GPU, and the rows of the active ones. */
export interface SlotState {
  /** u32 [S, 8]: what `slotWords` says of each slot. */
  readonly state: Tensor;
  /** u32 [R]: the slot of each row. */
  readonly slots: Tensor;
  /** u32 [R] and [R]: the next step's inputs, kept in step with `state`. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  /** u32 [steps, R, 2]: sampled token and the bits of its log-probability. */
  readonly ring: Tensor;
}

/** Where a slot is in its sequence, and how its tokens are drawn. */
export interface SlotStart {
  /** To be fed next. */
  readonly token: number;
  /** Its position. */
  readonly position: number;
  /** One past the last position. */
  readonly end: number;
  /** Names the random numbers, together with the seed. */
  readonly stream: number;
  readonly sampling: SamplingOptions;
}

/** Words per slot of the state. */
export const SLOT_WORDS = 8;

/** A slot's row of the state: u32, with the bits of what are f32 there. */
export function slotWords({ token, position, end, stream, sampling }: SlotStart): number[] {
  const { temperature, topK, topP, seed } = sampling;
  const [inverse, share] = new Uint32Array(
    Float32Array.of(temperature > 0 ? 1 / temperature : 0, topP).buffer,
  );
  return [token, position, end, stream, seed >>> 0, inverse!, topK, share!];
}

/**
 * Sets the state of some slots.
 *
 * @param starts u32 [N, 9]: a slot, each once, and its row of `state`
 */
export function startSlots(gpu: Gpu, { state }: Pick<SlotState, "state">, starts: Tensor): void {
  const [count] = starts.shape as [number];
  const { lanes } = gpu.tuning;
  gpu.dispatch("sample", "start", {
    constants: { LANES: lanes },
    bindings: { starts, state },
    params: { count },
    workgroups: [Math.ceil(count / lanes)],
  });
}

/** Takes the first inputs of each row from its slot; to be called when rows have new slots. */
export function beginRows(gpu: Gpu, { state, slots, tokens, positions }: SlotState): void {
  const [rows] = slots.shape as [number];
  const { lanes } = gpu.tuning;
  gpu.dispatch("sample", "begin", {
    constants: { LANES: lanes },
    bindings: { slots, current_state: state, tokens, positions },
    params: { rows },
    workgroups: [Math.ceil(rows / lanes)],
  });
}

/**
 * Draws the next token of every row from logits [R, V] in the way of its slot, advances the slot and
 * writes row `step` of the ring. A slot that draws a stop token or reaches its limit goes idle.
 *
 * The log-probability is that of the whole distribution at the temperature (at 1 when greedy), not
 * of what top-k and top-p left: it is what training compares with.
 */
export function sampleNext(
  gpu: Gpu,
  logits: Tensor,
  { state, slots, tokens, positions, ring }: SlotState,
  step: number,
  [stopA, stopB]: readonly [number, number],
): void {
  const [R, V] = logits.shape as [number, number];
  gpu.dispatch("sample", "next", {
    constants: { LANES: lanesOf(gpu, V) },
    bindings: { logits, slots, state, tokens, positions, ring },
    params: {
      rows: R,
      vocabulary: V,
      step,
      stop_a: stopA,
      stop_b: stopB,
    },
    workgroups: [R],
  });
}

/**
 * Writes the likeliest tokens of every row of logits [R, V] in falling order, of equal ones the
 * lower first, with the log-probabilities that `sampleNext` would report for them.
 *
 * @param likeliest u32 [steps, R, K, 2], K at most V: tokens and the bits of their log-probabilities
 * @param step the row of it to write
 */
export function rankTokens(
  gpu: Gpu,
  logits: Tensor,
  { state, slots }: Pick<SlotState, "state" | "slots">,
  likeliest: Tensor,
  step: number,
): void {
  const [R, V] = logits.shape as [number, number];
  gpu.dispatch("sample", "rank", {
    constants: { LANES: lanesOf(gpu, V) },
    bindings: { logits, slots, current_state: state, likeliest },
    params: { rows: R, vocabulary: V, step, count: likeliest.shape[2]! },
    workgroups: [R],
  });
}

function lanesOf(gpu: Gpu, vocabulary: number): number {
  return vocabulary > MANY_LANES.vocabulary ? MANY_LANES.lanes : gpu.tuning.lanes;
}
