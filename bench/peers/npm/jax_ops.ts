/**
 * Single operations of jax-js, as its model uses them; each is one jitted function with its
 * gradients.
 *
 * A jitted function computes all of its outputs or, if all are disposed unread, nothing: one output
 * of each pass is kept and waited for, and all of the last pass, since on Wasm the read of one output
 * does not wait for those that the workers compute after it.
 *
 * @module
 */

import { blockUntilReady, jit, nn, numpy as np, tree, vjp } from "@jax-js/jax";
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
export type Arrays = Record<string, np.Array>;
/** Weights and both moments of AdamW, by name, and the number of the last step. */
export type State = { weights: Arrays; first: Arrays; second: Arrays; step: np.Array };

/** Starts a pass and returns its outputs, the gradients last. */
type Pass = () => np.Array[];

/** Loads and warms up one operation. */
export async function prepareOperation(operation: Operation): Promise<Job> {
  switch (operation) {
    case "rmsnorm":
      return await repeated(rmsnormPass(), ([, , dw]) => dw!.ref);
    case "attention":
      return await repeated(attentionPass(), ([, , , dv]) => dv!.ref.slice(0, 0));
    case "lmhead":
      return await repeated(lmheadPass(), ([loss]) => loss!.ref);
    case "adamw":
      return await prepareAdamW();
  }
}

/** @param sample something small, to read when the passes are done */
async function repeated(pass: Pass, sample: (outputs: np.Array[]) => np.Array): Promise<Job> {
  const passes = async (count: number) => {
    const kept: np.Array[] = [];
    for (let i = 1; i < count; i++) {
      const [last, ...others] = pass().reverse();
      tree.dispose(others);
      kept.push(last!);
    }
    const outputs = pass();
    const value = await floats(sample(outputs));
    await blockUntilReady([kept, outputs]);
    tree.dispose([kept, outputs]);
    return checksum(value);
  };
  const outputs: Float32Array[] = [];
  for (const output of pass()) outputs.push(await floats(output));
  const count = await howMany(passes);
  return { value: checksum(...outputs), run: () => timed(() => passes(count), count) };
}

function rmsnormPass(): Pass {
  const { rows, width, eps } = rmsnormSizes;
  const inputs = rmsnormInputs();
  const [x, dy] = [inputs.x, inputs.dy].map((data) => np.array(data).reshape([rows, width]));
  const w = np.array(inputs.w);
  const both = jit((x: np.Array, w: np.Array, dy: np.Array) =>
    withGradients((x, w) => rmsNorm(x, w, eps), [x, w], dy)
  );
  return () => both(x!.ref, w.ref, dy!.ref);
}

function attentionPass(): Pass {
  const { batch, length, heads, headDim } = attentionSizes;
  const inputs = attentionInputs();
  const [q, k, v, dy] = [inputs.q, inputs.k, inputs.v, inputs.dy].map((data) =>
    np.array(data).reshape([batch, length, heads, headDim])
  );
  const both = jit((q: np.Array, k: np.Array, v: np.Array, dy: np.Array) =>
    withGradients(attention, [q, k, v], dy)
  );
  return () => both(q!.ref, k!.ref, v!.ref, dy!.ref);
}

function lmheadPass(): Pass {
  const { rows, width, vocabulary } = lmheadSizes;
  const inputs = lmheadInputs();
  const x = np.array(inputs.x).reshape([rows, width]);
  const w = np.array(inputs.w).reshape([vocabulary, width]);
  const targets = np.array(inputs.targets);
  const both = jit((x: np.Array, w: np.Array, targets: np.Array) =>
    withGradients((x, w) => nll(np.matmul(x, w.transpose()), targets), [x, w], np.array(1))
  );
  return () => both(x.ref, w.ref, targets.ref);
}

async function prepareAdamW(): Promise<Job> {
  const { rows, columns, updates } = adamwSizes;
  const inputs = adamwInputs();
  const array = (data: Float32Array<ArrayBuffer>) => np.array(data).reshape([rows, columns]);
  const gradients = inputs.gradients.map(array);
  const step = jit(update);
  let state = freshState({ w: array(inputs.w) });
  const run = async (sample: (w: np.Array) => np.Array) => {
    for (let i = 0; i < updates; i++) state = step(state, { w: gradients[i % 2]!.ref });
    const value = await floats(sample(state.weights["w"]!.ref));
    await blockUntilReady(state);
    return checksum(change(value, inputs.w));
  };
  const value = await run((w) => w);
  return {
    value,
    run: () => timed(() => run((w) => w.slice(0, [0, 256])), updates),
  };
}

/** f(inputs), and the gradients of the inputs for that of the result. */
function withGradients(
  f: (...inputs: np.Array[]) => np.Array,
  inputs: np.Array[],
  dy: np.Array,
): np.Array[] {
  const [y, back] = vjp(f, inputs);
  const gradients = back(dy) as np.Array[];
  back.dispose();
  return [y, ...gradients];
}

async function floats(array: np.Array): Promise<Float32Array> {
  return await array.data() as Float32Array;
}

/** x / rms(x) * weight, over the last axis. */
export function rmsNorm(x: np.Array, weight: np.Array, eps: number): np.Array {
  const meanSquare = np.square(x.ref).mean(-1, { keepdims: true });
  return x.div(np.sqrt(meanSquare.add(eps))).mul(weight);
}

/** q, k and v (B, T, H, D), causal. */
export function attention(q: np.Array, k: np.Array, v: np.Array): np.Array {
  return nn.dotProductAttention(q, k, v, { isCausal: true });
}

/** Mean negative log-likelihood of targets (N) under logits (N, V). */
export function nll(logits: np.Array, targets: np.Array): np.Array {
  const [rows, vocabulary] = logits.shape as [number, number];
  // Picked by a mask that the compiler fuses: it can't jit the gradient of takeAlongAxis, whose
  // scatter wants its indices in memory ("routine primitive scatter input is not imm"), and oneHot
  // stores the identity matrix, 256 MiB for 8,192 tokens.
  const isTarget = np.arange(vocabulary).equal(targets.reshape([rows, 1]));
  return np.where(isTarget, nn.logSoftmax(logits), 0).sum().div(-rows);
}

/** Both moments zero. */
export function freshState(weights: Arrays): State {
  const zeros = () =>
    Object.fromEntries(
      Object.entries(weights).map(([name, { shape, size }]) =>
        [name, np.array(new Float32Array(size)).reshape(shape)] as const
      ),
    );
  return { weights, first: zeros(), second: zeros(), step: np.array([0]) };
}

/** AdamW with bias correction; consumes the state. */
export function update(state: State, gradients: Arrays): State {
  const { rate, beta1, beta2, eps, decay } = adamw;
  const step = state.step.add(1); // (1)
  const correction1 = np.subtract(1, np.power(beta1, step.ref));
  const correction2 = np.subtract(1, np.power(beta2, step.ref));
  const weights: Arrays = {}, first: Arrays = {}, second: Arrays = {};
  for (const [name, gradient] of Object.entries(gradients)) {
    const m = state.first[name]!.mul(beta1).add(gradient.ref.mul(1 - beta1));
    const v = state.second[name]!.mul(beta2).add(np.square(gradient).mul(1 - beta2));
    const scale = np.sqrt(v.ref.div(correction2.ref)).add(eps);
    const delta = m.ref.div(correction1.ref).div(scale).mul(rate);
    const w = state.weights[name]!;
    weights[name] = w.mul(1 - rate * decay).sub(delta);
    first[name] = m;
    second[name] = v;
  }
  correction1.dispose();
  correction2.dispose();
  return { weights, first, second, step };
}
