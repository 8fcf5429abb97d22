/**
 * Teacher-forced losses over packed sequences.
 *
 * @module
 */

import { toFloat32 } from "../io/safetensors.ts";
import { lmHead, type LmHeadOptions, type TokenStatistics } from "../ops/lm_head.ts";
import { MetricSums } from "../ops/metric_sums.ts";
import { nllLoss } from "../ops/policy_loss.ts";
import { selectRows } from "../ops/select.ts";
import { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import type { Decoder } from "./decoder.ts";
import { parameterSpecs, takeApart } from "./parameters.ts";

/** Sequences packed end to end, and which tokens are predicted. */
export interface PackedBatch {
  /** [T] */
  readonly ids: Uint32Array;
  /** Lengths of the sequences; their sum is T. */
  readonly lengths: readonly number[];
  /** Indices t of the predicted tokens, each not the first of its sequence; [N] */
  readonly targets: Uint32Array;
}

/** What is known of the tokens that a batch predicts, in the order of its targets. */
export interface PredictedTokens extends TokenStatistics {
  /** Final hidden state that each is predicted from, [N, C]. */
  readonly hidden: Tensor;
}

/**
 * Statistics of the predicted tokens, in the order of `batch.targets`.
 *
 * @throws {RangeError} if no token is predicted, or one that nothing comes before.
 */
export function tokenStatistics(
  tape: Tape,
  model: Decoder,
  batch: PackedBatch,
  options: LmHeadOptions = {},
): PredictedTokens {
  const hidden = predictingStates(tape, model, batch);
  const wanted = tape.upload(batch.targets.map((t) => batch.ids[t]!), "targets");
  const limits = { ...model.logitLimits, ...options };
  return { hidden, ...lmHead(tape, hidden, model.head, wanted, limits) };
}

/**
 * The final hidden states [N,C] that the predicted tokens are predicted from, in the order of
 * `batch.targets`.
 *
 * @throws {RangeError} if no token is predicted, or one that nothing comes before.
 */
export function predictingStates(
  tape: Tape,
  model: Decoder,
  { ids, lengths, targets }: PackedBatch,
): Tensor {
  if (targets.length === 0) {
    throw new RangeError("Cannot compute a loss: no tokens are predicted; check the batch's mask");
  }
  const starts = new Set<number>();
  lengths.reduce((start, length) => (starts.add(start), start + length), 0);
  const wrong = targets.find((t) => starts.has(t) || t >= ids.length);
  if (wrong !== undefined) {
    throw new RangeError(
      `Cannot predict token ${wrong} of ${ids.length}: ` +
        (starts.has(wrong) ? "it is the first of its sequence" : "there is no such token"),
    );
  }
  // Token t is predicted from the hidden state one before it.
  const rows = targets.map((t) => t - 1);
  return selectRows(tape, model.packed(tape, ids, lengths), rows);
}

/**
 * Mean next-token negative log-likelihood of one sequence, and its gradient with respect to all that
 * is trained: every weight, the adapters where there are any, or nothing. It is a training pass, with
 * the dropout of the adapters.
 *
 * @param ids [T], T >= 2
 * @param options those of the `Tape`
 * @returns gradients by Hugging Face tensor name, those of adapters by PEFT's; row-major
 */
export async function nllGradients(
  model: Decoder,
  ids: Uint32Array,
  options: { draw?: number; checkpoints?: boolean } = {},
): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
  if (ids.length < 2) {
    throw new RangeError(
      `Cannot compute a next-token loss of ${ids.length} tokens: it needs two or more`,
    );
  }
  const { gpu } = model;
  const tape = new Tape(gpu, options);
  const targets = Uint32Array.from({ length: ids.length - 1 }, (_, i) => i + 1);
  const statistics = tokenStatistics(tape, model, { ids, lengths: [ids.length], targets });
  const weight = tape.upload(new Float32Array(targets.length).fill(1 / targets.length), "weight");
  const sums = new MetricSums(tape);
  nllLoss(tape, statistics, weight, sums);
  tape.backward();
  const trained = [...model.parameters];
  const reading = gpu.read(
    ...sums.tensors,
    ...trained.map(([, parameter]) => parameter.grad!),
  );
  for (const [, parameter] of trained) parameter.grad = null;
  gpu.endStep();
  const [loss, ...contents] = await reading;
  const whole = new Map(trained.map(([name], i) => [name, new Float32Array(contents[i]!)]));
  return { loss: new Float32Array(loss!)[0]!, gradients: takeModelApart(model, whole) };
}

/** Contents of a model's parameters by the names that their files have for them. */
function takeModelApart(
  { config, adapters }: Decoder,
  whole: ReadonlyMap<string, Float32Array>,
): Map<string, Float32Array> {
  if (adapters) {
    return new Map(
      [...adapters.takeApart(whole)].map(([name, tensor]) => [name, toFloat32(tensor)]),
    );
  }
  const specs = parameterSpecs(config).filter(({ name }) => whole.has(name));
  return new Map(specs.flatMap((spec) => [...takeApart(spec, whole.get(spec.name)!)]));
}
