/**
 * Single operations of TensorFlow.js, as its model uses them. It is eager: what is disposed unread
 * has been computed nevertheless, in the order of the calls.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
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
} from "../operations.ts";
import { adamw, type Job, timed } from "../protocol.ts";

/** By name. */
export type Variables = ReadonlyMap<string, tf.Variable>;

/** Makes a pass and returns its outputs, the gradients last. */
type Pass = () => tf.Tensor[];

/** Loads and warms up one operation. */
export async function prepareOperation(operation: Operation): Promise<Job> {
  switch (operation) {
    case "rmsnorm":
      return await repeated(rmsnormPass(), ([, , dw]) => dw!);
    case "attention":
      return await repeated(
        attentionPass(),
        ([, , , dv]) => firstToken(dv!),
        (outputs) => outputs.map(swapped),
      );
    case "lmhead":
      return await repeated(
        lmheadPass(),
        ([loss]) => loss!,
        ([loss, dx, dw]) => [loss!, dx!, tf.transpose(dw!)], // the weight is (in, out) here
      );
    case "adamw":
      return await prepareAdamW();
  }
}

/**
 * @param sample something small, to read when the passes are done
 * @param layout brings the outputs into the order in which they are compared
 */
async function repeated(
  pass: Pass,
  sample: (outputs: tf.Tensor[]) => tf.Tensor,
  layout: (outputs: tf.Tensor[]) => tf.Tensor[] = (outputs) => outputs,
): Promise<Job> {
  const passes = async (count: number) => {
    for (let i = 1; i < count; i++) tf.tidy(() => void pass());
    return checksum(await read(tf.tidy(() => sample(pass()))));
  };
  const outputs: Float32Array[] = [];
  for (const output of tf.tidy(() => layout(pass()))) outputs.push(await read(output));
  const count = await howMany(passes);
  return { value: checksum(...outputs), run: () => timed(() => passes(count), count) };
}

function rmsnormPass(): Pass {
  const { rows, width, eps } = rmsnormSizes;
  const inputs = rmsnormInputs();
  const [x, dy] = [inputs.x, inputs.dy].map((data) => tf.tensor2d(data, [rows, width]));
  const w = tf.tensor1d(inputs.w);
  return withGradients((x, w) => rmsNorm(x, w, eps), [x!, w], dy!);
}

function attentionPass(): Pass {
  const { batch, length, heads, headDim } = attentionSizes;
  const inputs = attentionInputs();
  const [q, k, v, dy] = [inputs.q, inputs.k, inputs.v, inputs.dy].map((data) =>
    swapped(tf.tensor4d(data, [batch, length, heads, headDim]))
  );
  const mask = causalMask(length);
  return withGradients((q, k, v) => attention(q, k, v, mask), [q!, k!, v!], dy!);
}

function lmheadPass(): Pass {
  const { rows, width, vocabulary } = lmheadSizes;
  const inputs = lmheadInputs();
  const x = tf.tensor2d(inputs.x, [rows, width]);
  const w = tf.transpose(tf.tensor2d(inputs.w, [vocabulary, width]));
  const targets = oneHot(inputs.targets, vocabulary);
  return withGradients((x, w) => nll(product(x, w), targets), [x, w]);
}

async function prepareAdamW(): Promise<Job> {
  const { rows, columns, updates } = adamwSizes;
  const inputs = adamwInputs();
  const w = tf.variable(tf.tensor2d(inputs.w, [rows, columns]));
  const gradients = inputs.gradients.map((data) => tf.tensor2d(data, [rows, columns]));
  const variables = new Map([[w.name, w]]);
  const adam = freshAdam();
  const run = async (sample: () => tf.Tensor) => {
    for (let i = 0; i < updates; i++) update(adam, variables, { [w.name]: gradients[i % 2]! });
    return checksum(change(await read(sample()), inputs.w));
  };
  const value = await run(() => tf.clone(w));
  return { value, run: () => timed(() => run(() => tf.slice(w, [0, 0], [1, 256])), updates) };
}

/** f(inputs) and the gradients of the inputs. */
function withGradients(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  dy?: tf.Tensor,
): Pass {
  const both = tf.valueAndGrads(f);
  return () => {
    const { value, grads } = both(inputs, dy);
    return [value, ...grads];
  };
}

/** Reads a tensor and disposes it. */
async function read(tensor: tf.Tensor): Promise<Float32Array> {
  const values = await tensor.data() as Float32Array;
  tensor.dispose();
  return values;
}

/** All heads of the first token, in the order of (B, T, H, D). */
function firstToken(x: tf.Tensor): tf.Tensor {
  return tf.slice(x, [0, 0, 0, 0], [1, -1, 1, -1]);
}

/** (B, T, H, D) to (B, H, T, D), or back. */
export function swapped(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1, 3]);
}

/** x / rms(x) * weight, over the last axis. */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  const meanSquare = tf.mean(tf.square(x), -1, true);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps))), weight);
}

/** q, k and v (B, H, T, D); `mask` (T, T) is added to the scores. */
export function attention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor,
): tf.Tensor {
  const scores = tf.add(tf.mul(product(q, transposed(k)), 1 / Math.sqrt(q.shape.at(-1)!)), mask);
  return product(tf.softmax(scores), v);
}

/** -1e9 for pairs of a token and a later one, else 0. */
export function causalMask(length: number): tf.Tensor {
  return tf.tidy(() =>
    tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([length, length]), -1, 0)), -1e9)
  );
}

/** Mean negative log-likelihood of one-hot targets. */
export function nll(logits: tf.Tensor, targets: tf.Tensor): tf.Scalar {
  return tf.losses.softmaxCrossEntropy(targets, logits);
}

/** Rows of floats. Cast, since the Wasm backend writes integers whatever type it is asked for. */
export function oneHot(indices: Int32Array, depth: number): tf.Tensor2D {
  return tf.tidy(() =>
    tf.cast(tf.oneHot(tf.tensor1d(indices, "int32"), depth), "float32").as2D(-1, depth)
  );
}

/**
 * Product of matrices, or of batches of them, whose gradient transposes first. That of the library
 * multiplies by transposed factors, for which its Wasm backend has a slow loop only: a step took
 * 6.7 s instead of 1.7 s (and 4.5 s instead of 3.4 s on WebGPU).
 */
export function product(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  return tf.customGrad((...inputs) => {
    const [a, b, save] = inputs as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([a, b]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [a, b] = saved as [tf.Tensor, tf.Tensor];
      return [tf.matMul(dy, transposed(b)), tf.matMul(transposed(a), dy)];
    };
    return { value: tf.matMul(a, b), gradFunc };
  })(a, b);
}

/** With the last two axes exchanged. */
function transposed(x: tf.Tensor): tf.Tensor {
  const axes = [...x.shape.keys()];
  return tf.transpose(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
}

/** The library's Adam, which has no decay. */
export function freshAdam(): tf.AdamOptimizer {
  const { rate, beta1, beta2, eps } = adamw;
  return tf.train.adam(rate, beta1, beta2, eps);
}

/** Decays and updates every variable. */
export function update(
  adam: tf.AdamOptimizer,
  variables: Variables,
  gradients: tf.NamedTensorMap,
): void {
  tf.tidy(() => {
    for (const w of variables.values()) w.assign(tf.mul(w, 1 - adamw.rate * adamw.decay));
    adam.applyGradients(Object.entries(gradients).map(([name, tensor]) => ({ name, tensor })));
  });
}
