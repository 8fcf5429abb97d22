/**
 * The f64 references are the oracle of every kernel, so they are checked on their own: each
 * backward against central differences of its forward, at sizes that are multiples of nothing.
 */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as reference from "../src/ops/reference/mod.ts";

const STEP = 1e-5;
/** Largest error allowed, as a fraction of the largest entry of the gradient. */
const TOLERANCE = 1e-7;

/** Deterministic numbers in [-1, 1). */
function random(length: number, seed: number): Float64Array {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return Float64Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

/** Checks `gradient` against the differences of `loss` as each entry of `input` moves. */
function assertIsGradient(gradient: Float64Array, input: Float64Array, loss: () => number) {
  assertEquals(gradient.length, input.length);
  const largest = gradient.reduce((max, g) => Math.max(max, Math.abs(g)), 0);
  assert(largest > 0, "a gradient of zeros proves nothing");
  for (let i = 0; i < input.length; i++) {
    const value = input[i]!;
    input[i] = value + STEP;
    const above = loss();
    input[i] = value - STEP;
    const below = loss();
    input[i] = value;
    assertAlmostEquals(gradient[i]!, (above - below) / (2 * STEP), TOLERANCE * largest);
  }
}

Deno.test("the three matmul layouts are one linear layer and its two gradients", () => {
  const [T, C, O] = [5, 7, 3];
  const [x, w, dy] = [random(T * C, 1), random(O * C, 2), random(T * O, 3)];
  const forward = () => reference.matmul("nt", x, w, { M: T, N: O, K: C });
  const loss = () => dot(forward(), dy);
  assertIsGradient(reference.matmul("nn", dy, w, { M: T, N: C, K: O }), x, loss);
  assertIsGradient(reference.matmul("tn", dy, x, { M: O, N: C, K: T }), w, loss);
});

Deno.test("matmul adds beta times the previous result, which beta zero never reads", () => {
  const [a, b] = [[1, 2], [3, 4]];
  const shape = { M: 1, N: 1, K: 2 };
  assertEquals([...reference.matmul("nn", a, b, shape, 0.5, [10])], [16]);
  assertEquals([...reference.matmul("nn", a, b, shape, 0, [NaN])], [11]);
});

Deno.test("embedding backward sums over repeated tokens", () => {
  const [ids, V, C] = [[2, 0, 2, 4, 2], 5, 3];
  const [table, dout] = [random(V * C, 1), random(ids.length * C, 2)];
  const loss = () => dot(reference.embeddingForward(ids, table, C), dout);
  assertIsGradient(reference.embeddingBackward(ids, dout, { V, C }), table, loss);
});

Deno.test("rmsnorm backward is the gradient of its forward", () => {
  const shape = { T: 3, C: 7 };
  const [x, w, dy] = [random(21, 1), random(7, 2), random(21, 3)];
  // An eps as large as the input, so that a misplaced one shows.
  const eps = 0.3;
  const loss = () => dot(reference.rmsnormForward(x, w, eps, shape).y, dy);
  const { dx, dw } = reference.rmsnormBackward(x, w, eps, dy, shape);
  assertIsGradient(dx, x, loss);
  assertIsGradient(dw, w, loss);
});

Deno.test("layernorm backward is the gradient of its forward", () => {
  const shape = { T: 3, C: 7 };
  const [x, w, b, dy] = [random(21, 1), random(7, 2), random(7, 3), random(21, 4)];
  const loss = () => dot(reference.layernormForward(x, w, b, 0.3, shape), dy);
  const { dx, dw, db } = reference.layernormBackward(x, w, 0.3, dy, shape);
  assertIsGradient(dx, x, loss);
  assertIsGradient(dw, w, loss);
  assertIsGradient(db, b, loss);
});

Deno.test("rope that rotates a part and scales it is its own gradient's forward", () => {
  const shape = { H: 2, D: 10, R: 6, magnitude: 1.3 };
  const [x, dy] = [random(40, 1), random(40, 2)];
  const dx = reference.ropeBackward(dy, [3, 50], 100, shape);
  assertIsGradient(dx, x, () => dot(reference.ropeForward(x, [3, 50], 100, shape), dy));
});

Deno.test("activations without a gate have the gradient of their forward", () => {
  for (const name of ["silu", "gelu"] as const) {
    const [x, dy] = [random(11, 1).map((x) => 4 * x), random(11, 2)];
    const dx = reference.activationBackward(x, dy, name);
    assertIsGradient(dx, x, () => dot(reference.activationForward(x, name), dy));
  }
});

Deno.test("rope backward is the gradient of its forward, and position zero is left as it is", () => {
  const shape = { H: 3, D: 6 };
  const positions = [0, 5, 1, 70];
  const [x, dy] = [random(4 * 18, 1), random(4 * 18, 2)];
  const forward = () => reference.ropeForward(x, positions, 100, shape);
  assertEquals(forward().slice(0, 18), x.slice(0, 18));
  const dx = reference.ropeBackward(dy, positions, 100, shape);
  assertIsGradient(dx, x, () => dot(forward(), dy));
});

Deno.test("attention backward is the gradient of its forward on packed grouped-query heads", () => {
  const shape = { T: 8, H: 6, KV: 2, D: 3, scale: 0.4 };
  // The last sequence with a window of two.
  const segmentStart = [0, 1, 1, 1, 1, 5, 5, 6];
  const [q, k, v] = [random(144, 1), random(48, 2), random(48, 3)];
  const dout = random(144, 4);
  const loss = () => dot(reference.attentionForward(q, k, v, segmentStart, shape).out, dout);
  const { dq, dk, dv } = reference.attentionBackward(q, k, v, segmentStart, dout, shape);
  assertIsGradient(dq, q, loss);
  assertIsGradient(dk, k, loss);
  assertIsGradient(dv, v, loss);
});

Deno.test("attention gives each packed sequence what it gives it alone", () => {
  const [H, KV, D] = [4, 2, 3];
  const [q, k, v] = [random(7 * H * D, 1), random(7 * KV * D, 2), random(7 * KV * D, 3)];
  const packed = reference.attentionForward(q, k, v, [0, 0, 0, 3, 3, 3, 3], { T: 7, H, KV, D });
  const alone = reference.attentionForward(
    q.slice(3 * H * D),
    k.slice(3 * KV * D),
    v.slice(3 * KV * D),
    [0, 0, 0, 0],
    { T: 4, H, KV, D },
  );
  assertEquals(packed.out.slice(3 * H * D), alone.out);
  assertEquals(packed.logSumExp.slice(3 * H), alone.logSumExp);
});

Deno.test("attention over the cache equals the packed attention of the same sequence", () => {
  const [T, H, KV, D, maxLength] = [5, 4, 2, 3, 9];
  const [q, k, v] = [random(T * H * D, 1), random(T * KV * D, 2), random(T * KV * D, 3)];
  const { out } = reference.attentionForward(q, k, v, [0, 0, 0, 0, 0], { T, H, KV, D });
  // The sequence lies in slot 2 of 3; whatever lies around it must not be read.
  const cacheK = new Float64Array(3 * maxLength * KV * D).fill(NaN);
  const cacheV = cacheK.slice();
  cacheK.set(k, 2 * maxLength * KV * D);
  cacheV.set(v, 2 * maxLength * KV * D);
  const shape = { R: 2, H, KV, D, maxLength };
  const rows = Float64Array.of(...q.slice(4 * H * D), ...q.slice(0, H * D));
  const decoded = reference.attentionDecode(rows, cacheK, cacheV, [2, 2], [4, 0], shape);
  assertEquals(decoded, Float64Array.of(...out.slice(4 * H * D), ...out.slice(0, H * D)));
});

for (const name of ["silu", "gelu"] as const) {
  Deno.test(`gated ${name} backward is the gradient of its forward`, () => {
    const [gate, up, dy] = [random(11, 1).map((x) => 4 * x), random(11, 2), random(11, 3)];
    const loss = () => dot(reference.gluForward(gate, up, name), dy);
    const { dgate, dup } = reference.gluBackward(gate, up, dy, name);
    assertIsGradient(dgate, gate, loss);
    assertIsGradient(dup, up, loss);
  });
}

Deno.test("lm head backward is the gradient of logprob and entropy at a temperature", () => {
  const shape = { N: 3, C: 5, V: 9, vocabulary: 7, cap: 1.5 };
  const [x, W, targets] = [random(15, 1), random(45, 2), [6, 0, 3]];
  const [dlogprob, dentropy] = [random(3, 3), random(3, 4)];
  const loss = () => {
    const { logprob, entropy } = reference.lmHeadForward(x, W, targets, 0.7, shape);
    return dot(logprob, dlogprob) + dot(entropy, dentropy);
  };
  const { dx, dW } = reference.lmHeadBackward(x, W, targets, 0.7, dlogprob, dentropy, shape);
  assertIsGradient(dx, x, loss);
  assertIsGradient(dW, W, loss);
});

Deno.test("lm head survives logits far beyond the range of exp", () => {
  const shape = { N: 1, C: 1, V: 2 };
  const { logprob, entropy } = reference.lmHeadForward([1], [5000, 4000], [1], 1, shape);
  assertEquals([...logprob], [-1000]);
  assertEquals([...entropy], [0]);
});

Deno.test("the divergence differentiates to its dlogits, in both limits and between", () => {
  const shape = { N: 3, V: 7, vocabulary: 5 };
  for (const beta of [0, 0.1, 0.5, 1]) {
    const options = { beta, temperature: 0.7 };
    const [student, teacher] = [random(21, 1), random(21, 2)];
    const run = () => reference.divergence(student, teacher, options, shape);
    const loss = () => run().divergence.reduce((a, b) => a + b);
    assertIsGradient(run().dlogits, student, loss);
    assert(run().divergence.every((d) => d > 0));
  }
});

Deno.test("the divergence of two heads differentiates to dx and dW, capped or not", () => {
  const shape = { N: 2, V: 6, vocabulary: 5 };
  for (const caps of [[], [1.5, 2]]) {
    const [x, w, weight] = [random(6, 1), random(18, 2), random(2, 3).map(Math.abs)];
    const cap = (which: number) => caps.length ? { cap: caps[which]! } : {};
    const student = { x, w, C: 3, ...cap(0) };
    const teacher = { x: random(8, 4), w: random(24, 5), C: 4, ...cap(1) };
    const options = { beta: 0.3, temperature: 0.7 };
    const run = () => reference.headDivergence(student, teacher, weight, options, shape);
    assertIsGradient(run().dx, x, () => run().loss);
    assertIsGradient(run().dW, w, () => run().loss);
  }
});

Deno.test("the limits of the divergence are the two KL divergences, the right way round", () => {
  const [p, q] = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]];
  const kl = (a: number[], b: number[]) =>
    a.reduce((sum, v, i) => sum + v * Math.log(v / b[i]!), 0);
  const at = (beta: number) => {
    const options = { beta, temperature: 1 };
    const logits = [p, q].map((values) => values.map(Math.log)) as [number[], number[]];
    return reference.divergence(...logits, options, { N: 1, V: 3 }).divergence[0]!;
  };
  assertAlmostEquals(at(0), kl(q, p), 1e-12);
  assertAlmostEquals(at(1), kl(p, q), 1e-12);
  // What lies between is 0 at both ends, so that each limit is one by its slope.
  assertAlmostEquals(at(1e-6) / 1e-6, kl(q, p), 1e-5);
  assertAlmostEquals(at(1 - 1e-6) / 1e-6, kl(p, q), 1e-5);
});

Deno.test("a divergence between what is certain of different tokens is finite", () => {
  for (const beta of [0, 0.5, 1]) {
    const options = { beta, temperature: 1 };
    const result = reference.divergence([5000, 0], [0, 4000], options, { N: 1, V: 2 });
    assertEquals(result.divergence[0], beta === 0 ? 5000 : beta === 1 ? 4000 : Math.LN2);
    assert(result.dlogits.every(Number.isFinite));
  }
});

Deno.test("the preference loss differentiates to what every token of both completions has", () => {
  for (const labelSmoothing of [0, 0.2]) {
    const [chosen, rejected] = [random(3, 1), random(5, 2)];
    const pair = { chosen, rejected, referenceChosen: -1, referenceRejected: -2.5 };
    const run = () => reference.preferenceLoss(pair, { beta: 0.4, labelSmoothing });
    const { dchosen } = run();
    assertIsGradient(new Float64Array(3).fill(dchosen), chosen, () => run().loss);
    assertIsGradient(new Float64Array(5).fill(-dchosen), rejected, () => run().loss);
  }
});

for (const level of ["token", "sequence"] as const) {
  for (const rule of ["clipped", "cispo", "sapo"] as const) {
    for (const klForm of ["k1", "k2", "k3", "unbiased"] as const) {
      if (klForm === "unbiased" && (level === "sequence" || rule === "cispo")) continue;
      Deno.test(`${rule} with ${klForm} and the ratio of the ${level} differentiates to its dlogprob`, () => {
        const N = 40;
        const logprob = random(N, 1);
        const tokens = {
          logprob,
          oldLogprob: random(N, 2),
          advantage: random(N, 3),
          weight: level === "token" ? random(N, 4).map(Math.abs) : random(N, 4).fill(1 / N),
          reference: random(N, 5),
          ...(level === "sequence" ? { starts: [0, 1, 8, 20, N] } : {}),
        };
        const options = {
          ...{ rule, klForm, klCoefficient: 0.1, clipLow: 0.2, clipHigh: 0.28 },
          ratioMax: rule === "cispo" ? 1.1 : 1.5,
        };
        const { dlogprob, clipped } = reference.policyLoss(tokens, options);
        const logRatios = logprob.map((lp, n) => lp - tokens.oldLogprob[n]!);
        const loss = () => {
          // The weight of cispo is a constant of the step: the ratio stays as it was.
          const oldLogprob = rule === "cispo"
            ? logprob.map((lp, n) => lp - logRatios[n]!)
            : tokens.oldLogprob;
          return reference.policyLoss({ ...tokens, oldLogprob }, options).loss
            .reduce((a, b) => a + b);
        };
        assertIsGradient(dlogprob, logprob, loss);
        const cut = clipped.reduce((a, b) => a + b);
        if (rule !== "sapo") assert(cut > 3 && cut < 37, `clipped ${cut} of ${N}`);
      });
    }
  }
}

Deno.test("the clip acts only where moving on would lower the loss", () => {
  const options = { clipLow: 0.2, clipHigh: 0.28, klCoefficient: 0 };
  const ratios = [2, 2, 0.5, 0.5, 1.27, 0.81];
  const { clipped, loss } = reference.policyLoss({
    logprob: ratios.map(Math.log),
    oldLogprob: ratios.map(() => 0),
    advantage: [1, -1, 1, -1, 1, -1],
    weight: ratios.map(() => 1),
  }, options);
  assertEquals([...clipped], [1, 0, 0, 1, 0, 0]);
  [-1.28, 2, -0.5, 0.8, -1.27, 0.81].forEach((value, i) =>
    assertAlmostEquals(loss[i]!, value, 1e-12)
  );
});

Deno.test("nll is the weighted negative log probability and its gradient the negative weight", () => {
  const { loss, dlogprob } = reference.nllLoss([-2, -3], [0.5, 0.25]);
  assertEquals([...loss], [1, 0.75]);
  assertEquals([...dlogprob], [-0.5, -0.25]);
});

Deno.test("adamw's first step moves by the learning rate against the sign of the gradient", () => {
  const options = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, eps: 0, weightDecay: 0, step: 1 };
  const { parameter } = reference.adamwStep([1, 1], [3, -0.001], [0, 0], [0, 0], options);
  assertAlmostEquals(parameter[0]!, 0.99, 1e-12);
  assertAlmostEquals(parameter[1]!, 1.01, 1e-12);
  const decayed = reference.adamwStep([2], [0], [0], [0], {
    ...options,
    eps: 1e-8,
    weightDecay: 0.1,
  });
  assertAlmostEquals(decayed.parameter[0]!, 2 * (1 - 0.001), 1e-12);
});

Deno.test("the clip scale brings the global norm to its maximum and leaves smaller ones alone", () => {
  assertEquals(reference.globalNorm([[3], [0, 4]]), 5);
  assertEquals(reference.clipScale(0.5, 1), 1);
  assertAlmostEquals(reference.clipScale(5, 1), 0.2, 1e-6);
});

Deno.test("sampling keeps the smallest set that reaches top-p, after top-k", () => {
  const logits = [0.1, 0.4, 0.2, 0.3].map(Math.log);
  const filter = (temperature: number, topK: number, topP: number) =>
    reference.samplingFilter(logits, { temperature, topK, topP });
  assertEquals(filter(1, 0, 1).kept, [1, 3, 2, 0]);
  assertEquals(filter(1, 0, 0.69).kept, [1, 3]);
  assertEquals(filter(1, 0, 0.71).kept, [1, 3, 2]);
  assertEquals(filter(1, 0, 0).kept, [1]);
  assertEquals(filter(1, 2, 1).kept, [1, 3]);
  // Among the two that top-k keeps, the first has 0.4 / 0.7 = 0.57 of the mass.
  assertEquals(filter(1, 2, 0.57).kept, [1]);
  assertEquals(filter(1, 2, 0.58).kept, [1, 3]);
  const { probabilities } = filter(0.5, 3, 1);
  [0, 16 / 29, 4 / 29, 9 / 29].forEach((p, id) => assertAlmostEquals(probabilities[id]!, p, 1e-12));
});

Deno.test("sampling at temperature zero is greedy and ties go to the lower token", () => {
  const greedy = reference.samplingFilter([1, 3, 3], { temperature: 0, topK: 0, topP: 1 });
  assertEquals(greedy.kept, [1]);
  assertEquals([...greedy.probabilities], [0, 1, 0]);
  const tied = reference.samplingFilter([2, 3, 2], { temperature: 1, topK: 2, topP: 1 });
  assertEquals(tied.kept, [1, 0]);
});

Deno.test("the value loss differentiates to its dvalue, on both sides of the clip", () => {
  const N = 40;
  const value = random(N, 1);
  const tokens = {
    value,
    oldValue: random(N, 2),
    returns: random(N, 3),
    weight: random(N, 4).map(Math.abs),
  };
  const options = { clip: 0.2, coefficient: 0.1 };
  const loss = () => 0.1 * reference.valueLoss(tokens, options).loss.reduce((a, b) => a + b);
  const { dvalue, clipped } = reference.valueLoss(tokens, options);
  assertIsGradient(dvalue, value, loss);
  const clippedCount = clipped.reduce((a, b) => a + b);
  assert(clippedCount > 5 && clippedCount < 35, `clipped ${clippedCount} of ${N}`);
});

Deno.test("lambda 1 takes the rewards to come for the return, lambda 0 the next state's value", () => {
  const [rewards, values] = [[1, 2, 4, 8], [10, 20, 30, 40]];
  const gae = (lambda: number) =>
    reference.generalisedAdvantages(rewards, values, [3, 1], { gamma: 0.5, lambda });
  assertEquals([...gae(1).returns], [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4, 8]);
  assertEquals([...gae(0).returns], [1 + 0.5 * 20, 2 + 0.5 * 30, 4, 8]);
  assertEquals([...gae(0).advantages], [1, -3, -26, -32]);
});

Deno.test("whitened values have mean 0, or what it was, and variance 1", () => {
  const x = random(7, 1).map((v) => 3 * v + 5);
  const mean = x.reduce((a, b) => a + b) / 7;
  for (const shiftMean of [true, false]) {
    const y = reference.whiten(x, { shiftMean });
    const centre = y.reduce((a, b) => a + b) / 7;
    assertAlmostEquals(centre, shiftMean ? 0 : mean, 1e-12);
    assertAlmostEquals(y.reduce((sum, v) => sum + (v - centre) ** 2, 0) / 6, 1, 1e-7);
  }
  assertEquals([...reference.whiten([3])], [0]);
  assertEquals([...reference.whiten([3], { shiftMean: false })], [3]);
});
