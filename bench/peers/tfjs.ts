/**
 * TensorFlow.js as a contender (`--backend webgpu` or `wasm`), eager as it always is.
 *
 *     deno run -A --config bench/peers/deno.json bench/peers/tfjs.ts --work step --data DIR
 *
 * Its Wasm backend has one thread outside of browsers.
 *
 * Letters in the shape comments: B sequences, T tokens, C hidden size, H heads, D head size,
 * V vocabulary.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import {
  adamw,
  type Config,
  type Job,
  matmulChain,
  matmulFactors,
  type Model,
  readModel,
  rotaryTables,
  serve,
  timed,
} from "./protocol.ts";

type Variables = ReadonlyMap<string, tf.Variable>;
/** What does not change from step to step. */
interface Constants {
  readonly inputs: tf.Tensor2D;
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
  readonly mask: tf.Tensor;
}

await serve("@tensorflow/tfjs 4.22.0", async ({ work, data, backend }) => {
  const wasmModule = import.meta.resolve("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(decodeURIComponent(new URL("./", wasmModule).pathname));
  if (!await tf.setBackend(backend)) throw new Error(`No ${backend} device here`);
  switch (work.kind) {
    case "matmul":
      return await prepareMatmul(work.n);
    case "step":
      return await prepareStep(await readModel(data));
    case "decode":
      throw new Error(
        "The library has no key/value cache and no in-place update to write one with",
      );
  }
});

async function prepareMatmul(n: number): Promise<Job> {
  const factors = matmulFactors(n);
  const y = tf.tensor2d(factors.y, [n, n]);
  const w = tf.tensor2d(factors.w, [n, n]);
  const chain = matmulChain(n);
  const run = () =>
    timed(async () => {
      const first = tf.tidy(() => {
        let product = y;
        for (let i = 0; i < chain; i++) product = tf.matMul(product, w);
        return tf.slice(product, [0, 0], [1, 1]);
      });
      const [value] = await first.data();
      first.dispose();
      return value!;
    }, chain);
  return { value: (await run()).value, run };
}

async function prepareStep(model: Model): Promise<Job> {
  const { batch: B, length: T, config } = model;
  const { vocab_size: V, head_dim: D } = config;
  const { cos, sin } = rotaryTables(config, T);
  const constants: Constants = {
    // A product with one-hot rows: the Wasm backend has no kernel for the gradient of a gather.
    inputs: oneHot(model.inputs, V),
    cos: tf.tensor(cos, [T, 1, D / 2]),
    sin: tf.tensor(sin, [T, 1, D / 2]),
    mask: tf.tidy(() => tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([T, T]), -1, 0)), -1e9)),
  };
  const targets = oneHot(model.targets, V);
  const weights = model.weights.map(({ name, shape, data }) => {
    const weight = tf.tensor(data, shape);
    // (in, out), as the library's own layers have them; the file has (out, in).
    return [
      name,
      shape.length < 2 || name.includes("embed") ? weight : tf.transpose(weight),
    ] as const;
  });
  const variables: Variables = new Map(weights.map(([name, value]) => [name, tf.variable(value)]));
  const loss = () =>
    tf.losses.softmaxCrossEntropy(targets, logits(config, variables, constants, B)) as tf.Scalar;

  const { rate, beta1, beta2, eps, decay } = adamw;
  let adam = tf.train.adam(rate, beta1, beta2, eps);
  const run = () =>
    timed(async () => {
      const cost = tf.tidy(() => {
        const { value, grads } = tf.variableGrads(loss);
        // The library's Adam has no decay.
        for (const w of variables.values()) w.assign(tf.mul(w, 1 - rate * decay));
        adam.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
        return value;
      });
      const [value] = await cost.data(); // on WebGPU this waits for the update too
      cost.dispose();
      return value!;
    });
  const { value } = await run();
  adam.dispose();
  adam = tf.train.adam(rate, beta1, beta2, eps);
  for (const [name, value] of weights) variables.get(name)!.assign(tf.clone(value));
  return { value, run };
}

/** Rows of floats. Cast, since the Wasm backend writes integers whatever type it is asked for. */
function oneHot(indices: Int32Array, depth: number): tf.Tensor2D {
  return tf.tidy(() =>
    tf.cast(tf.oneHot(tf.tensor1d(indices, "int32"), depth), "float32").as2D(-1, depth)
  );
}

/**
 * Product of matrices, or of batches of them, whose gradient transposes first. That of the library
 * multiplies by transposed factors, for which its Wasm backend has a slow loop only: a step took
 * 6.7 s instead of 1.7 s (and 4.5 s instead of 3.4 s on WebGPU).
 */
function product(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
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

/** Logits (B * T, V). */
function logits(
  { num_hidden_layers, head_dim: D, rms_norm_eps: eps }: Config,
  variables: Variables,
  { inputs, cos, sin, mask }: Constants,
  B: number,
): tf.Tensor2D {
  const T = mask.shape[0]!;
  const linear = (x: tf.Tensor, name: string) => product(x, variables.get(name)!);
  const norm = (x: tf.Tensor, name: string) => {
    const meanSquare = tf.mean(tf.square(x), -1, true);
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps))), variables.get(name)!);
  };
  /** (B, T, H, D), rotate-half layout */
  const rotate = (x: tf.Tensor) => {
    const [a, b] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];
    return tf.concat([
      tf.sub(tf.mul(a, cos), tf.mul(b, sin)),
      tf.add(tf.mul(b, cos), tf.mul(a, sin)),
    ], -1);
  };
  let x: tf.Tensor = linear(inputs, "model.embed_tokens.weight");
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const p = `model.layers.${layer}.`;
    let h = norm(x, p + "input_layernorm.weight");
    const heads = (name: string) =>
      tf.reshape(linear(h, p + `self_attn.${name}_proj.weight`), [B, T, -1, D]);
    const swap = (x: tf.Tensor) => tf.transpose(x, [0, 2, 1, 3]); // (B, T, H, D) <-> (B, H, T, D)
    const [q, k, v] = [swap(rotate(heads("q"))), swap(rotate(heads("k"))), swap(heads("v"))];
    const scores = tf.add(tf.mul(product(q!, transposed(k!)), 1 / Math.sqrt(D)), mask);
    const mixed = swap(product(tf.softmax(scores), v!));
    x = tf.add(x, linear(tf.reshape(mixed, [B * T, -1]), p + "self_attn.o_proj.weight"));
    h = norm(x, p + "post_attention_layernorm.weight");
    const gate = linear(h, p + "mlp.gate_proj.weight");
    const up = linear(h, p + "mlp.up_proj.weight");
    const silu = tf.mul(gate, tf.sigmoid(gate));
    x = tf.add(x, linear(tf.mul(silu, up), p + "mlp.down_proj.weight"));
  }
  return linear(norm(x, "model.norm.weight"), "lm_head.weight") as tf.Tensor2D;
}
