/**
 * jax-js as a contender (`--backend webgpu` or `wasm`): the whole step is one jitted function.
 *
 *     deno run -A --config bench/peers/npm/deno.json bench/peers/npm/jax.ts --work step --data DIR
 *
 * Letters in the shape comments: B sequences, T tokens, C hidden size, H heads, K key/value heads,
 * D head size, F intermediate size, V vocabulary. `.ref` is jax-js's reference count: an operation
 * consumes its operands, `.ref` keeps one for later.
 *
 * @module
 */

import {
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  nn,
  numpy as np,
  tree,
  valueAndGrad,
} from "@jax-js/jax";
import {
  type Arrays,
  attention,
  freshState,
  nll,
  prepareOperation,
  rmsNorm,
  type State,
  update,
} from "./jax_ops.ts";
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

await serve("@jax-js/jax 0.1.25", async ({ work, data, backend }) => {
  const available = await init(backend);
  if (!available.includes(backend)) throw new Error(`No ${backend} device here`);
  defaultDevice(backend);
  switch (work.kind) {
    case "matmul":
      return await prepareMatmul(work.n);
    case "step":
      return await prepareStep(await readModel(data), backend);
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
  const y = np.array(factors.y).reshape([n, n]);
  const w = np.array(factors.w).reshape([n, n]);
  const chain = matmulChain(n);
  const run = () =>
    timed(async () => {
      let product = y.ref;
      for (let i = 0; i < chain; i++) product = np.matmul(product, w.ref);
      const [value] = await product.slice(0, 0).data();
      return value!;
    }, chain);
  return { value: (await run()).value, run };
}

async function prepareStep(model: Model, backend: "webgpu" | "wasm"): Promise<Job> {
  const { length: T, config } = model;
  const inputs = np.array(model.inputs);
  const targets = np.array(model.targets);
  const { cos, sin } = rotaryTables(config, T);
  const halves = [T, 1, config.head_dim / 2];
  const rotary = [np.array(cos).reshape(halves), np.array(sin).reshape(halves)] as const;

  const loss = (weights: Arrays, inputs: np.Array, targets: np.Array): np.Array => {
    return nll(logits(config, weights, inputs, rotary, backend), targets);
  };
  const step = jit((state: State, inputs: np.Array, targets: np.Array) => {
    const [value, gradients] = valueAndGrad(loss)(tree.ref(state.weights), inputs, targets);
    return [value, update(state, gradients)] as [np.Array, State];
  });

  const fresh = () =>
    freshState(Object.fromEntries(
      model.weights.map(({ name, shape, data }) => [name, np.array(data).reshape(shape)]),
    ));

  let state = fresh();
  const run = () =>
    timed(async () => {
      const [value, next] = step(state, inputs.ref, targets.ref);
      state = next;
      // Submits the whole program, the update too. On WebGPU the read waits for all of the queue;
      // on Wasm only for the loss, and the workers go on with the backward pass.
      const [lossValue] = await value.data();
      if (backend === "wasm") await blockUntilReady(state);
      return lossValue!;
    });
  const { value } = await run();
  await run();
  tree.dispose(state);
  state = fresh();
  return { value, run };
}

/** Logits (B * T, V) of B * T tokens. */
function logits(
  { vocab_size, num_hidden_layers, head_dim: D, rms_norm_eps: eps }: Config,
  weights: Arrays,
  inputs: np.Array,
  rotary: readonly [np.Array, np.Array],
  backend: "webgpu" | "wasm",
): np.Array {
  const T = rotary[0].shape[0]!, B = inputs.shape[0]! / T;
  /** (rows, in) by a weight (out, in) -> (rows, out) */
  const linear = (x: np.Array, name: string) => np.matmul(x, weights[name]!.transpose());
  const table = weights["model.embed_tokens.weight"]!;
  // Wasm: products with one-hot rows are slow, 0.5 s a step. WebGPU: the shader of take's gradient
  // passes a storage pointer to a function, which WGSL as Deno compiles it does not allow ("Function
  // 'atomic_add_f32' is invalid"), and the one-hot product takes less than a twentieth of the step.
  let x = backend === "wasm"
    ? np.take(table, inputs, 0)
    : np.matmul(nn.oneHot(inputs, vocab_size), table);
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const p = `model.layers.${layer}.`;
    let h = rmsNorm(x.ref, weights[p + "input_layernorm.weight"]!, eps);
    const heads = (x: np.Array, name: string) =>
      linear(x, p + `self_attn.${name}_proj.weight`).reshape([B, T, -1, D]);
    const q = rotate(heads(h.ref, "q"), rotary);
    const k = rotate(heads(h.ref, "k"), rotary);
    const v = heads(h, "v");
    const mixed = attention(q, k, v).reshape([B * T, -1]);
    x = x.add(linear(mixed, p + "self_attn.o_proj.weight"));
    h = rmsNorm(x.ref, weights[p + "post_attention_layernorm.weight"]!, eps);
    const gate = nn.silu(linear(h.ref, p + "mlp.gate_proj.weight"));
    const up = linear(h, p + "mlp.up_proj.weight");
    x = x.add(linear(gate.mul(up), p + "mlp.down_proj.weight"));
  }
  return linear(rmsNorm(x, weights["model.norm.weight"]!, eps), "lm_head.weight");
}

/** x (B, T, H, D), rotate-half layout: halves a, b become a cos - b sin, b cos + a sin. */
function rotate(x: np.Array, [cos, sin]: readonly [np.Array, np.Array]): np.Array {
  const [a, b] = np.split(x, 2, -1) as [np.Array, np.Array];
  return np.concatenate([
    a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref)),
    b.mul(cos.ref).add(a.mul(sin.ref)),
  ], -1);
}
