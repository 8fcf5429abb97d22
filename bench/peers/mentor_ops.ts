/**
 * Single operations of Mentor, as a model uses them.
 *
 * @module
 */

import type { Gpu } from "../../src/gpu/device.ts";
import { attention, segmentBounds } from "../../src/ops/attention.ts";
import { lmHead } from "../../src/ops/lm_head.ts";
import { rmsnorm } from "../../src/ops/norm.ts";
import { MetricSums } from "../../src/ops/metric_sums.ts";
import { nllLoss } from "../../src/ops/policy_loss.ts";
import { AdamW } from "../../src/optim/adamw.ts";
import { Tape } from "../../src/tape.ts";
import { Parameter, Tensor } from "../../src/tensor.ts";
import {
  adamwInputs,
  adamwSizes,
  attentionInputs,
  attentionSizes,
  change,
  checksum,
  howMany,
  lmheadInputs,
  lmheadSizes,
  type Operation,
  rmsnormInputs,
  rmsnormSizes,
} from "./operations.ts";
import { adamw, type Job, timed } from "./protocol.ts";

/** Everything that a pass computes; valid until the next one is recorded. */
type Pass = () => Tensor[];

/** Loads and warms up one operation. */
export async function prepareOperation(gpu: Gpu, operation: Operation): Promise<Job> {
  switch (operation) {
    case "rmsnorm":
      return await repeated(gpu, rmsnormPass(gpu), ([, , dw]) => dw!);
    case "attention":
      return await repeated(gpu, attentionPass(gpu), ([, , , dv]) => firstToken(dv!));
    case "lmhead":
      return await repeated(gpu, lmheadPass(gpu), ([loss]) => loss!);
    case "adamw":
      return await prepareAdamW(gpu);
  }
}

/** @param sample something small, to read when the passes are done */
async function repeated(
  gpu: Gpu,
  pass: Pass,
  sample: (outputs: Tensor[]) => Tensor,
): Promise<Job> {
  const passes = async (count: number) => {
    let outputs: Tensor[] = [];
    for (let i = 0; i < count; i++) outputs = pass();
    return checksum(...await read(gpu, [sample(outputs)]));
  };
  const value = checksum(...await read(gpu, pass()));
  const count = await howMany(passes);
  return { value, run: () => timed(() => passes(count), count) };
}

function rmsnormPass(gpu: Gpu): Pass {
  const { rows, width, eps } = rmsnormSizes;
  const inputs = rmsnormInputs();
  const x = leaf(gpu, inputs.x, [rows, width]);
  const w = new Parameter(gpu, [width], "w", inputs.w);
  const dy = firstScratch(gpu, inputs.dy, [rows, width]);
  return () => {
    const tape = new Tape(gpu);
    const gradient = dy(tape);
    const y = rmsnorm(tape, x, w, eps);
    y.grad = gradient;
    return backward(tape, [y], [x, w]);
  };
}

function attentionPass(gpu: Gpu): Pass {
  const { batch, length, heads, headDim } = attentionSizes;
  const sizes = { heads, kvHeads: heads, headDim };
  const shape = [batch * length, heads * headDim];
  const inputs = attentionInputs();
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((data) => leaf(gpu, data, shape));
  const dy = firstScratch(gpu, inputs.dy, shape);
  const bounds = segmentBounds(Array<number>(batch).fill(length));
  const segments = { start: stored(gpu, bounds.start), end: stored(gpu, bounds.end) };
  return () => {
    const tape = new Tape(gpu);
    const gradient = dy(tape);
    const y = attention(tape, q!, k!, v!, segments, sizes);
    y.grad = gradient;
    return backward(tape, [y], [q!, k!, v!]);
  };
}

function lmheadPass(gpu: Gpu): Pass {
  const { rows, width, vocabulary } = lmheadSizes;
  const inputs = lmheadInputs();
  const x = leaf(gpu, inputs.x, [rows, width]);
  const w = new Parameter(gpu, [vocabulary, width], "w", inputs.w);
  const targets = stored(gpu, new Uint32Array(inputs.targets));
  const weight = stored(gpu, new Float32Array(rows).fill(1 / rows));
  const sums = new MetricSums(gpu);
  return () => {
    const tape = new Tape(gpu);
    sums.begin();
    nllLoss(tape, lmHead(tape, x, w, targets), weight, sums);
    const loss = new Tensor(sums.tensors[0]!.buffer, [1], "f32", "loss");
    return backward(tape, [loss], [x, w]);
  };
}

/** The step also sums the gradient's squares, for the norm that it clips by. */
async function prepareAdamW(gpu: Gpu): Promise<Job> {
  const { rows, columns, updates } = adamwSizes;
  const inputs = adamwInputs();
  const w = new Parameter(gpu, [rows, columns], "w", inputs.w);
  const gradients = inputs.gradients.map((data) => stored(gpu, data, w.shape));
  const optimizer = new AdamW(gpu, new Map([["w", w]]), {
    betas: [adamw.beta1, adamw.beta2],
    epsilon: adamw.eps,
    weightDecay: adamw.decay,
    gradClip: Infinity,
  });
  const update = async (read: Tensor) => {
    for (let i = 0; i < updates; i++) {
      w.grad = gradients[i % 2]!;
      optimizer.step(adamw.rate);
    }
    const [bytes] = await gpu.read(read);
    return checksum(change(new Float32Array(bytes!), inputs.w));
  };
  const value = await update(w);
  return { value, run: () => timed(() => update(firstToken(w)), updates) };
}

/** Runs the tape backwards and returns the outputs with the gradients of the leaves. */
function backward(tape: Tape, outputs: Tensor[], leaves: readonly Tensor[]): Tensor[] {
  tape.backward();
  const gradients = leaves.map((leaf) => leaf.grad!);
  for (const leaf of leaves) leaf.grad = null;
  tape.gpu.recycle();
  return [...outputs, ...gradients];
}

/** A tensor that outlives the passes. */
function stored(
  gpu: Gpu,
  data: Float32Array | Uint32Array,
  shape: readonly number[] = [data.length],
  needsGrad = false,
): Tensor {
  const buffer = gpu.allocate(data.byteLength, "other", "operand");
  gpu.write(buffer, data);
  return new Tensor(buffer, shape, data instanceof Uint32Array ? "u32" : "f32", "x", needsGrad);
}

function leaf(gpu: Gpu, data: Float32Array, shape: readonly number[]): Tensor {
  return stored(gpu, data, shape, true);
}

/**
 * The gradient of a pass's output, to be taken before anything else in each pass. The tape gives it
 * back to the scratch buffers, which come in the same order in every pass: what is first is always
 * the same buffer, and nothing is taken after it was given back. It is therefore written only once.
 */
function firstScratch(
  gpu: Gpu,
  data: Float32Array,
  shape: readonly number[],
): (tape: Tape) => Tensor {
  let written: GPUBuffer | null = null;
  return (tape) => {
    const dy = tape.tensor(shape, "dy");
    if (dy.buffer !== written) gpu.write(written = dy.buffer, data);
    return dy;
  };
}

/** The first 256 numbers. */
function firstToken({ buffer, label }: Tensor): Tensor {
  return new Tensor(buffer, [256], "f32", label);
}

async function read(gpu: Gpu, tensors: readonly Tensor[]): Promise<Float32Array[]> {
  return (await gpu.read(...tensors)).map((bytes) => new Float32Array(bytes));
}
