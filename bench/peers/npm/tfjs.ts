/**
 * TensorFlow.js as a contender (`--backend webgpu` or `wasm`), eager as it always is.
 *
 *     deno run -A --config bench/peers/npm/deno.json bench/peers/npm/tfjs.ts --work step --data DIR
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
import { matmulChain, matmulFactors } from "../operations.ts";
import {
  type Config,
  type Job,
  type Model,
  readModel,
  rotaryTables,
  serve,
  timed,
} from "../protocol.ts";
import {
  attention,
  causalMask,
  freshAdam,
  nll,
  oneHot,
  prepareOperation,
  product,
  rmsNorm,
  swapped,
  update,
  type Variables,
} from "./tfjs_ops.ts";

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
    default:
      return await prepareOperation(work.kind);
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
    mask: causalMask(T),
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
  const loss = () => nll(logits(config, variables, constants, B), targets);

  let adam = freshAdam();
  const run = () =>
    timed(async () => {
      const cost = tf.tidy(() => {
        const { value, grads } = tf.variableGrads(loss);
        update(adam, variables, grads);
        return value;
      });
      const [value] = await cost.data(); // on WebGPU this waits for the update too
      cost.dispose();
      return value!;
    });
  const { value } = await run();
  adam.dispose();
  adam = freshAdam();
  for (const [name, value] of weights) variables.get(name)!.assign(tf.clone(value));
  return { value, run };
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
  const norm = (x: tf.Tensor, name: string) => rmsNorm(x, variables.get(name)!, eps);
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
    const [q, k, v] = [rotate(heads("q")), rotate(heads("k")), heads("v")].map(swapped);
    const mixed = swapped(attention(q!, k!, v!, mask));
    x = tf.add(x, linear(tf.reshape(mixed, [B * T, -1]), p + "self_attn.o_proj.weight"));
    h = norm(x, p + "post_attention_layernorm.weight");
    const gate = linear(h, p + "mlp.gate_proj.weight");
    const up = linear(h, p + "mlp.up_proj.weight");
    const silu = tf.mul(gate, tf.sigmoid(gate));
    x = tf.add(x, linear(tf.mul(silu, up), p + "mlp.down_proj.weight"));
  }
  return linear(norm(x, "model.norm.weight"), "lm_head.weight") as tf.Tensor2D;
}
