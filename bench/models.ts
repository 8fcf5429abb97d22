/**
 * The small model that benchmarks train, sweeps over its sizes, and what one of its steps costs.
 *
 * @module
 */

import { Gpu } from "../src/gpu/device.ts";
import { type DecoderConfig, llamaConfig } from "../src/model/config.ts";
import { Decoder } from "../src/model/decoder.ts";
import { nllLoss } from "../src/ops/policy_loss.ts";
import type { AdamWOptions } from "../src/optim/adamw.ts";
import { Random } from "../src/random.ts";
import { Learner, type Update } from "../src/rl/learner.ts";
import { activeTokens, type MaskedSequence, packSequences } from "../src/rl/packing.ts";
import { median, spread } from "./statistics.ts";

/** Two layers of 128 with four heads of 32. */
const baseSizes = {
  vocabSize: 512,
  hiddenSize: 128,
  intermediateSize: 384,
  layers: 2,
  heads: 4,
  kvHeads: 4,
  headDim: 32,
  maxPositions: 4096,
  ropeTheta: 10000,
  normEpsilon: 1e-5,
  tiedEmbeddings: false,
};

/** What every axis varies. */
export const baseConfig: DecoderConfig = llamaConfig(baseSizes);

/** The optimizer of the benchmarks that train. */
export const adamw: AdamWOptions = {
  betas: [0.9, 0.95],
  epsilon: 1e-8,
  weightDecay: 0.1,
  gradClip: 1,
};

/** A model and the batch of one of its steps: `tokens` tokens in sequences of `length`. */
export interface StepWork {
  readonly config: DecoderConfig;
  readonly tokens: number;
  readonly length: number;
}

/** What is swept. */
export type SweepName = "tokens" | "length" | "layers" | "width" | "vocabulary";

/** What grows with it. */
export type Cost = "step" | "attention" | "activations";

/** Smallest and largest exponent that theory allows, and why. */
export interface Expected {
  readonly expected: readonly [number, number];
  readonly why: string;
}

/** Works that differ in one size. */
export interface Sweep {
  readonly name: SweepName;
  /** As an axis says it. */
  readonly label: string;
  /** Ascending. */
  readonly values: readonly number[];
  /** Half of them. */
  readonly quick: readonly number[];
  /** The work at one of the values. */
  readonly work: (x: number) => StepWork;
  /** The costs that are expected to grow in a certain way. */
  readonly fits: Readonly<Partial<Record<Cost, Expected>>>;
}

const base: StepWork = { config: baseConfig, tokens: 1024, length: 128 };
const linear = (why: string): Expected => ({ expected: [1, 1], why });

/** Tokens of a step in the sweep of the vocabulary: few, or the largest takes minutes. */
export const FEW_TOKENS = 256;

/** Every sweep, with the smallest work first. */
export const SWEEPS: readonly Sweep[] = [
  {
    name: "tokens",
    label: "tokens per step, in sequences of 128",
    values: [256, 512, 1024, 2048, 4096, 8192],
    quick: [256, 1024, 4096],
    work: (tokens) => ({ ...base, tokens }),
    fits: { step: linear("every token passes through every weight; few do not fill the machine") },
  },
  {
    name: "length",
    label: "sequence length, at 4,096 tokens per step",
    values: [64, 256, 512, 1024, 2048, 4096],
    quick: [64, 512, 4096],
    work: (length) => ({ ...base, tokens: 4096, length }),
    fits: {
      step: { expected: [0, 1], why: "products do not depend on it, attention does" },
      attention: linear("each token looks at half of its sequence on average"),
    },
  },
  {
    name: "layers",
    label: "layers",
    values: [1, 2, 3, 4, 6, 8],
    quick: [1, 3, 8],
    work: (layers) => ({ ...base, config: llamaConfig({ ...baseSizes, layers }) }),
    fits: { step: linear("layers are alike; embedding and LM head are there once") },
  },
  {
    name: "width",
    label: "hidden size, with heads of 32 and an MLP three times as wide",
    values: [64, 128, 192, 256, 384, 512],
    quick: [64, 192, 512],
    work: (hiddenSize) => {
      const heads = hiddenSize / baseConfig.headDim;
      const sizes = { hiddenSize, intermediateSize: 3 * hiddenSize, heads, kvHeads: heads };
      return { ...base, config: llamaConfig({ ...baseSizes, ...sizes }) };
    },
    fits: {
      step: { expected: [1, 2], why: "products are quadratic, everything between them is linear" },
    },
  },
  {
    name: "vocabulary",
    label: `vocabulary, at ${FEW_TOKENS} tokens per step`,
    values: [512, 2048, 8192, 32768, 65536, 150016],
    quick: [512, 8192, 65536],
    work: (vocabSize) => ({ ...base, tokens: FEW_TOKENS, config: { ...baseConfig, vocabSize } }),
    fits: {
      step: linear("the LM head and its optimizer; the layers' share hides it while it is small"),
      activations: {
        expected: [0, 1],
        why: "logits exist a chunk of 32 MiB at a time: linear up to there, then constant",
      },
    },
  },
];

/** What one step of a work costs. */
export interface StepCost {
  /** Least wall time until the loss of a step has been read. */
  readonly fastestMs: number;
  /** (slowest - fastest) / median. */
  readonly spread: number;
  /** Most bytes of GPU memory that existed at once. */
  readonly peakBytes: number;
  /** Of these, what steps use in between: nothing that outlives them. */
  readonly activationBytes: number;
}

/** How often a step is repeated, more often where its times differ much, and when to stop. */
export interface StepLimits {
  readonly repetitions: number;
  /** For everything: the model, a step that does not count, and the repetitions, in ms. */
  readonly limitMs: number;
  /** Largest sum of live buffer bytes. */
  readonly memoryBudget: number;
}

/** A step can't be repeated within the time that it is given. */
export class TimeLimitError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "TimeLimitError";
}

/** Repetitions that a median needs at least, however long they take. */
const FEWEST = 2;
/** Short steps are repeated until this has passed, in ms: other processes' work hits single ones. */
const SHORTEST_MS = 500;

/** Most repetitions as a multiple of those asked for, where the machine is busy with other work. */
const PATIENCE = 3;
/** Width of the middle half of the times as a share of the median, up to which the median counts. */
const CALM = 0.1;

function isCalm(times: readonly number[]): boolean {
  const sorted = times.toSorted((a, b) => a - b);
  const quarter = Math.floor(sorted.length / 4);
  return sorted.at(-1 - quarter)! - sorted[quarter]! <= CALM * median(sorted);
}

/** Sequences of random tokens; every token but the first of each is predicted. */
export function randomSequences({ config, tokens, length }: StepWork): MaskedSequence[] {
  if (tokens % length !== 0) {
    throw new RangeError(`Cannot cut ${tokens} tokens into sequences of ${length}`);
  }
  const random = new Random("benchmark");
  return Array.from({ length: tokens / length }, () => ({
    ids: Uint32Array.from({ length }, () => random.int(0, config.vocabSize - 1)),
    mask: new Uint8Array(length).fill(1, 1),
  }));
}

/** One update on sequences, at the mean over all predicted tokens, in one micro-batch. */
export function trainStep(
  learner: Learner,
  sequences: readonly MaskedSequence[],
  learningRate = 1e-3,
): Update {
  const total = activeTokens(sequences);
  return learner.update(packSequences(sequences, Infinity), (tape, statistics, batch, sums) => {
    const weight = new Float32Array(batch.targets.length).fill(1 / total);
    nllLoss(tape, statistics, tape.upload(weight, "weight"), sums);
  }, { learningRate });
}

/**
 * Times a whole step of training on a device of its own: the pool of activations of a device keeps
 * what larger or smaller steps took before, which would count as this one's.
 *
 * @throws {TimeLimitError} if the first step alone takes longer than the limit.
 * @throws {OutOfMemoryError} if the work does not fit the budget or the device.
 */
export async function measureStep(
  work: StepWork,
  { repetitions, limitMs, memoryBudget }: StepLimits,
): Promise<StepCost> {
  const begin = performance.now();
  using gpu = await Gpu.open({ memoryBudget });
  using model = Decoder.create(gpu, work.config);
  using learner = new Learner(model, adamw);
  const sequences = randomSequences(work);
  await trainStep(learner, sequences).metrics();
  const spentMs = performance.now() - begin;
  if (spentMs > limitMs) {
    const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
    throw new TimeLimitError(
      `the first step alone took ${seconds(spentMs)}, the limit is ${seconds(limitMs)}`,
    );
  }
  const times: number[] = [];
  const enough = () => {
    const now = performance.now();
    if (times.length < FEWEST) return false;
    return now - begin > limitMs || times.length >= PATIENCE * repetitions ||
      times.length >= repetitions && now - begin - spentMs > SHORTEST_MS && isCalm(times);
  };
  while (!enough()) {
    const start = performance.now();
    await trainStep(learner, sequences).metrics();
    times.push(performance.now() - start);
  }
  const { peakBytes, byOwner } = gpu.memory();
  return {
    fastestMs: Math.min(...times),
    spread: spread(times),
    peakBytes,
    activationBytes: byOwner["activations"]!,
  };
}

/**
 * GPU time of attention's kernels in one step, and their share of that of all kernels.
 *
 * @throws {GpuUnavailableError} if the adapter has no timestamps.
 */
export async function attentionTime(work: StepWork): Promise<{ ms: number; share: number }> {
  using gpu = await Gpu.open({ profile: "kernels" });
  using model = Decoder.create(gpu, work.config);
  using learner = new Learner(model, adamw);
  const sequences = randomSequences(work);
  await trainStep(learner, sequences).metrics();
  await gpu.profile();
  const steps: { ms: number; share: number }[] = [];
  while (steps.length < FEWEST) {
    await trainStep(learner, sequences).metrics();
    let [ms, all] = [0, 0];
    for (const { name, start, end } of await gpu.profile()) {
      if (name.startsWith("attention")) ms += end - start;
      all += end - start;
    }
    steps.push({ ms, share: ms / all });
  }
  return steps.sort((a, b) => a.ms - b.ms)[0]!;
}
