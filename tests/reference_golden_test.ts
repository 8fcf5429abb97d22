/**
 * The f64 references against PyTorch: put together as the two small Llamas of tests/golden, they
 * must give the logits, every gradient and the ten AdamW losses that Transformers gives. This is
 * also the shortest statement of what the GPU decoder computes.
 */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as reference from "../src/ops/reference/mod.ts";

type Tensors = Map<string, Float64Array>;

const GOLDEN = new URL("./golden/", import.meta.url);
/** The goldens are float32 and partly computed in it; relative to the largest entry of a tensor. */
const TOLERANCE = 2e-6;

// The sizes that make_goldens.py builds both models with.
const [L, C, F, H, KV, D, V] = [2, 32, 48, 4, 2, 8, 52];
const [EPS, THETA] = [1e-5, 10000];

function readJson(path: string) {
  return JSON.parse(Deno.readTextFileSync(new URL(path, GOLDEN)));
}

/** All tensors of a float32 safetensors file, widened to f64. */
function readTensors(path: string): Tensors {
  const bytes = Deno.readFileSync(new URL(path, GOLDEN));
  const headerLength = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
  delete header.__metadata__;
  const entries = Object.entries(header as Record<string, { data_offsets: [number, number] }>);
  return new Map(entries.map(([name, { data_offsets: [begin, end] }]) => {
    const data = bytes.slice(8 + headerLength + begin, 8 + headerLength + end);
    return [name, Float64Array.from(new Float32Array(data.buffer))];
  }));
}

function assertClose(actual: Float64Array, expected: Float64Array, what: string) {
  assertEquals(actual.length, expected.length, what);
  const largest = expected.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  assert(largest > 0, `${what} is all zero`);
  actual.forEach((x, i) =>
    assertAlmostEquals(x, expected[i]!, TOLERANCE * largest, `${what}[${i}]`)
  );
}

/** y [T,O] = x [T,I] w [O,I]^T. */
function linear(x: Float64Array, w: Float64Array, I: number): Float64Array {
  return reference.matmul("nt", x, w, { M: x.length / I, N: w.length / I, K: I });
}

/**
 * Logits [T,V], mean next-token loss and its gradients, for sequences packed end to end. Written as
 * straight lines, forward then backward in reverse, without a tape to go wrong.
 */
function nllGradients(weights: Tensors, ids: number[], lengths: number[]) {
  const T = ids.length;
  const starts = lengths.map((_, s) => lengths.slice(0, s).reduce((a, b) => a + b, 0));
  const segmentStart = lengths.flatMap((length, s) => Array<number>(length).fill(starts[s]!));
  const positions = segmentStart.map((start, t) => t - start);
  const headName = weights.has("lm_head.weight") ? "lm_head.weight" : "model.embed_tokens.weight";
  const gradients: Tensors = new Map();
  const weight = (name: string) => weights.get(name)!;
  const accumulate = (name: string, value: Float64Array) => {
    const sum = gradients.get(name);
    gradients.set(name, sum === undefined ? value : reference.addForward(sum, value));
  };
  const linearBackward = (name: string, x: Float64Array, dy: Float64Array, I: number) => {
    const O = dy.length / T;
    accumulate(name, reference.matmul("tn", dy, x, { M: O, N: I, K: T }));
    return reference.matmul("nn", dy, weight(name), { M: T, N: I, K: O });
  };
  const norm = (name: string, x: Float64Array) =>
    reference.rmsnormForward(x, weight(name), EPS, { T, C }).y;
  const normBackward = (name: string, x: Float64Array, dy: Float64Array) => {
    const { dx, dw } = reference.rmsnormBackward(x, weight(name), EPS, dy, { T, C });
    accumulate(name, dw);
    return dx;
  };

  let x = reference.embeddingForward(ids, weight("model.embed_tokens.weight"), C);
  const layers = [];
  for (let l = 0; l < L; l++) {
    const p = `model.layers.${l}.`;
    const x0 = x;
    const n1 = norm(p + "input_layernorm.weight", x0);
    const rope = (y: Float64Array, heads: number) =>
      reference.ropeForward(y, positions, THETA, { H: heads, D });
    const q = rope(linear(n1, weight(p + "self_attn.q_proj.weight"), C), H);
    const k = rope(linear(n1, weight(p + "self_attn.k_proj.weight"), C), KV);
    const v = linear(n1, weight(p + "self_attn.v_proj.weight"), C);
    const { out } = reference.attentionForward(q, k, v, segmentStart, { T, H, KV, D });
    const x1 = reference.addForward(x0, linear(out, weight(p + "self_attn.o_proj.weight"), H * D));
    const n2 = norm(p + "post_attention_layernorm.weight", x1);
    const gate = linear(n2, weight(p + "mlp.gate_proj.weight"), C);
    const up = linear(n2, weight(p + "mlp.up_proj.weight"), C);
    const hidden = reference.gluForward(gate, up, "silu");
    x = reference.addForward(x1, linear(hidden, weight(p + "mlp.down_proj.weight"), F));
    layers.push({ p, x0, n1, q, k, v, out, x1, n2, gate, up, hidden });
  }
  const last = norm("model.norm.weight", x);
  const logits = linear(last, weight(headName), C);

  // Token t predicts t + 1 inside its own sequence; the last of each has nothing to predict.
  const predicts = ids.map((_, t) => t + 1 < T && segmentStart[t + 1] === segmentStart[t]);
  const count = predicts.filter(Boolean).length;
  const targets = ids.map((_, t) => ids[t + 1] ?? 0);
  const { logprob } = reference.lmHeadForward(last, weight(headName), targets, 1, { N: T, C, V });
  const mean = reference.nllLoss(logprob, predicts.map((yes) => yes ? 1 / count : 0));
  const loss = mean.loss.reduce((a, b) => a + b);

  const zero = new Float64Array(T);
  const dhead = reference.lmHeadBackward(
    last,
    weight(headName),
    targets,
    1,
    mean.dlogprob,
    zero,
    { N: T, C, V },
  );
  accumulate(headName, dhead.dW);
  let dx = normBackward("model.norm.weight", x, dhead.dx);
  for (const { p, x0, n1, q, k, v, out, x1, n2, gate, up, hidden } of layers.reverse()) {
    const dhidden = linearBackward(p + "mlp.down_proj.weight", hidden, dx, F);
    const { dgate, dup } = reference.gluBackward(gate, up, dhidden, "silu");
    const dn2 = reference.addForward(
      linearBackward(p + "mlp.gate_proj.weight", n2, dgate, C),
      linearBackward(p + "mlp.up_proj.weight", n2, dup, C),
    );
    const post = normBackward(p + "post_attention_layernorm.weight", x1, dn2);
    const dx1 = reference.addForward(dx, post);
    const dout = linearBackward(p + "self_attn.o_proj.weight", out, dx1, H * D);
    const shape = { T, H, KV, D };
    const { dq, dk, dv } = reference.attentionBackward(q, k, v, segmentStart, dout, shape);
    const unrope = (dy: Float64Array, heads: number) =>
      reference.ropeBackward(dy, positions, THETA, { H: heads, D });
    const dn1 = [
      linearBackward(p + "self_attn.q_proj.weight", n1, unrope(dq, H), C),
      linearBackward(p + "self_attn.k_proj.weight", n1, unrope(dk, KV), C),
      linearBackward(p + "self_attn.v_proj.weight", n1, dv, C),
    ].reduce(reference.addForward);
    dx = reference.addForward(dx1, normBackward(p + "input_layernorm.weight", x0, dn1));
  }
  accumulate("model.embed_tokens.weight", reference.embeddingBackward(ids, dx, { V, C }));
  return { logits, loss, gradients };
}

for (const name of ["llama_untied", "llama_tied"]) {
  const weights = readTensors(`${name}/model.safetensors`);
  const expected = readTensors(`${name}/expected.safetensors`);
  const golden = readJson(`${name}/adamw_losses.json`);
  const { ids, packedLengths } = golden;

  Deno.test(`${name}: the references give PyTorch's logits, loss and every gradient`, () => {
    const { logits, loss, gradients } = nllGradients(weights, ids, [ids.length]);
    assertClose(logits, expected.get("logits")!, "logits");
    assertAlmostEquals(loss, golden.loss, TOLERANCE);
    assertEquals([...gradients.keys()].sort(), [...weights.keys()].sort());
    for (const [key, gradient] of gradients) {
      assertClose(gradient, expected.get(`gradients.${key}`)!, key);
    }
  });

  Deno.test(`${name}: packed sequences give PyTorch's logits of each alone`, () => {
    const { logits, loss } = nllGradients(weights, ids, packedLengths);
    assertClose(logits, expected.get("packed_logits")!, "packed_logits");
    assertAlmostEquals(loss, golden.packedLoss, TOLERANCE);
  });

  for (const packed of [false, true]) {
    const batch = packed ? "the packed batch" : "one sequence";
    Deno.test(`${name}: ten AdamW steps on ${batch} follow PyTorch's losses`, () => {
      const losses: number[] = packed ? golden.packedLosses : golden.losses;
      const norms: number[] = packed ? golden.packedGradientNorms : golden.gradientNorms;
      const { maxNorm, ...optimizer } = golden.optimizer;
      const parameters = new Map(weights);
      const moments: Map<string, { m: Float64Array; v: Float64Array }> = new Map();
      losses.forEach((expectedLoss, i) => {
        const lengths = packed ? packedLengths : [ids.length];
        const { loss, gradients } = nllGradients(parameters, ids, lengths);
        const norm = reference.globalNorm(gradients.values());
        assertAlmostEquals(loss, expectedLoss, 1e-5, `loss of step ${i + 1}`);
        assertAlmostEquals(norm, norms[i]!, 1e-5 * norms[0]!, `gradient norm of step ${i + 1}`);
        const options = {
          ...optimizer,
          step: i + 1,
          gradientScale: reference.clipScale(norm, maxNorm),
        };
        for (const [key, value] of parameters) {
          const zeros = new Float64Array(value.length);
          const { m, v } = moments.get(key) ?? { m: zeros, v: zeros };
          const next = reference.adamwStep(value, gradients.get(key)!, m, v, options);
          parameters.set(key, next.parameter);
          moments.set(key, next);
        }
      });
    });
  }
}

Deno.test("the policy loss and its derivative equal PyTorch's autograd for every token", () => {
  const golden = readJson("policy_loss.json");
  const { loss, dlogprob, clipped } = reference.policyLoss(golden, golden);
  assert(clipped.includes(1) && clipped.includes(0));
  golden.loss.forEach((value: number, n: number) => assertAlmostEquals(loss[n]!, value, 1e-12));
  golden.dlogprob.forEach((value: number, n: number) =>
    assertAlmostEquals(dlogprob[n]!, value, 1e-12)
  );
});
