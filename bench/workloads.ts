/**
 * Work for each kernel at the sizes of a transformer, with the bytes and operations that it cannot
 * do without.
 *
 * @module
 */

import type { Gpu } from "../src/gpu/device.ts";
import { attention, lanesTogether, segmentBounds } from "../src/ops/attention.ts";
import { attentionDecode } from "../src/ops/attention_decode.ts";
import { embedding } from "../src/ops/embedding.ts";
import { glu } from "../src/ops/glu.ts";
import { elementwise } from "../src/ops/launch.ts";
import { lmHead } from "../src/ops/lm_head.ts";
import { matmul, tile } from "../src/ops/matmul.ts";
import { rmsnorm } from "../src/ops/norm.ts";
import { foldRows } from "../src/ops/reduce.ts";
import { rope, ropeTable, ropeToCache } from "../src/ops/rope.ts";
import { sampleNext, SLOT_WORDS, slotWords } from "../src/ops/sample.ts";
import { selectRows } from "../src/ops/select.ts";
import { AdamW } from "../src/optim/adamw.ts";
import { Random } from "../src/random.ts";
import { Tape } from "../src/tape.ts";
import { elements, Parameter, Tensor } from "../src/tensor.ts";

/** What one dispatch must read and write, and compute. */
export interface Cost {
  /** Each operand once; what a kernel reads twice is its own fault. */
  readonly bytes: number;
  /** Floating-point operations; a multiply-add is two. */
  readonly flops: number;
}

/** Something to record that dispatches kernels whose cost is known. */
export interface Workload {
  readonly shape: string;
  /** Cost of each kernel of interest, by label. */
  readonly costs: Readonly<Record<string, Cost>>;
  /** Records it once. */
  record(): void;
}

/** Tensors that live as long as the bench. */
class Fixture {
  readonly gpu: Gpu;
  readonly #random = new Random("bench");

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** Numbers in +-1. */
  tensor(shape: readonly number[], needsGrad = false): Tensor {
    const values = Float32Array.from(
      { length: elements(shape) },
      () => 2 * this.#random.float() - 1,
    );
    return this.#store(values, shape, "f32", needsGrad);
  }

  /** Whole numbers below `bound`. */
  integers(shape: readonly number[], bound: number): Tensor {
    const length = elements(shape);
    const values = Uint32Array.from({ length }, () => this.#random.int(0, bound - 1));
    return this.#store(values, shape, "u32", false);
  }

  numbers(values: Uint32Array, shape: readonly number[] = [values.length]): Tensor {
    return this.#store(values, shape, "u32", false);
  }

  parameter(shape: readonly number[]): Parameter {
    const values = Float32Array.from({ length: elements(shape) }, () => this.#random.float() - 0.5);
    return new Parameter(this.gpu, shape, "bench", values);
  }

  /** Runs an op and its backward with what stands for the gradient of its output. */
  backward(outputs: readonly Tensor[], tape: Tape): void {
    for (const y of outputs) {
      y.grad = tape.tensor(y.shape, "dy");
      const count = Math.ceil(y.size / 4) * 4;
      elementwise(this.gpu, "add", "clear", count / 4, { y: y.grad }, { count });
    }
    tape.backward();
  }

  #store(
    values: Float32Array | Uint32Array,
    shape: readonly number[],
    dtype: "f32" | "u32",
    needsGrad: boolean,
  ) {
    const buffer = this.gpu.allocate(Math.ceil(values.byteLength / 16) * 16, "other", "bench");
    this.gpu.write(buffer, values);
    return new Tensor(buffer, shape, dtype, "bench", needsGrad);
  }
}

const F32 = 4;

/** Matrix products: [what, layout, M, N, K], with the sizes of d 256 and 1,024 tokens, and of the base. */
export const products = [
  ["qkv forward", "nt", 1024, 768, 256],
  ["out forward", "nt", 1024, 256, 256],
  ["gate-up forward", "nt", 1024, 1408, 256],
  ["down forward", "nt", 1024, 256, 704],
  ["qkv dX", "nn", 1024, 256, 768],
  ["down dX", "nn", 1024, 704, 256],
  ["qkv dW", "tn", 768, 256, 1024],
  ["gate-up dW", "tn", 1408, 256, 1024],
  ["base qkv forward", "nt", 2048, 192, 64],
  ["base gate-up dX", "nn", 2048, 64, 384],
  ["base down dW", "tn", 64, 192, 2048],
  ["decode 64 rows", "nt", 64, 1408, 256],
  ["decode 1 row", "nt", 1, 1408, 256],
] as const;

/** One product. */
export function productWorkload(
  gpu: Gpu,
  [name, layout, M, N, K]: (typeof products)[number],
): Workload {
  const fixture = new Fixture(gpu);
  const [a, b] = [fixture.tensor([M, K]), fixture.tensor([K, N])];
  const c = fixture.tensor([M, N]);
  const { kernel } = tile(gpu, layout, M, N);
  const cost = { bytes: F32 * (M * K + K * N + M * N), flops: 2 * M * N * K };
  return {
    shape: `${name}, ${M} x ${N} x ${K}`,
    costs: { [`${kernel}.${layout}`]: cost },
    record: () => matmul(gpu, layout, a, b, c, { M, N, K }),
  };
}

/** Every other kernel of a step. */
export function workloads(gpu: Gpu): Workload[] {
  const fixture = new Fixture(gpu);
  const [T, C, F, V, D, H, length] = [4096, 256, 704, 8192, 64, 4, 128];
  const pass = (n: number, flops = n) => (count: number): Cost => ({
    bytes: F32 * n * count,
    flops: flops * count,
  });
  const sizes = { heads: H, kvHeads: H, headDim: D };
  const lengths = Array<number>(T / length).fill(length);
  const bounds = segmentBounds(lengths);
  const segments = { start: fixture.numbers(bounds.start), end: fixture.numbers(bounds.end) };
  const positions = fixture.numbers(bounds.positions);
  const table = ropeTable(
    gpu,
    2048,
    Float64Array.from({ length: D / 2 }, (_, i) => 10_000 ** (-2 * i / D)),
  );
  // Causal: half of the length x length scores of each head, D multiply-adds each.
  const scores = T * H * (length + 1) / 2 * D * 2;

  const simd = gpu.tuning.simd ? "_simd" : "";
  const x = fixture.tensor([T, C], true);
  const w = fixture.parameter([C]);
  const norm: Workload = {
    shape: `${T} x ${C}`,
    costs: {
      "rmsnorm.forward": pass(2, 4)(T * C),
      "rmsnorm.backward_x": pass(3, 8)(T * C),
      "rmsnorm.backward_w": pass(2, 3)(T * C),
    },
    record() {
      const tape = new Tape(gpu);
      fixture.backward([rmsnorm(tape, x, w, 1e-5)], tape);
      x.grad = w.grad = null;
      gpu.recycle();
    },
  };

  const gateUp = fixture.tensor([T, 2 * F], true);
  const gate: Workload = {
    shape: `${T} x ${F}`,
    costs: { "glu.forward": pass(3, 8)(T * F), "glu.backward": pass(5, 16)(T * F) },
    record() {
      const tape = new Tape(gpu);
      fixture.backward([glu(tape, gateUp, "silu")], tape);
      gateUp.grad = null;
      gpu.recycle();
    },
  };

  const qkv = fixture.tensor([T, 3 * C], true);
  const rotation: Workload = {
    shape: `${T} x ${3 * C}`,
    costs: { "rope.split": pass(2, 4)(3 * T * C), "rope.join": pass(2, 4)(3 * T * C) },
    record() {
      const tape = new Tape(gpu);
      const { q, k, v } = rope(tape, qkv, positions, table, sizes);
      fixture.backward([q, k, v], tape);
      qkv.grad = null;
      gpu.recycle();
    },
  };

  const [q, k, v] = [0, 1, 2].map(() => fixture.tensor([T, C], true));
  const attending: Workload = {
    shape: `${T / length} sequences of ${length}, ${H} heads of ${D}`,
    costs: {
      [`attention${simd}.forward`]: { bytes: F32 * 4 * T * C, flops: 2 * scores },
      "attention_backward.delta_rows": pass(2, 2)(T * C),
      [`attention${simd}_backward.backward_q`]: { bytes: F32 * 5 * T * C, flops: 3 * scores },
      [`attention${simd}_backward.backward_kv`]: { bytes: F32 * 6 * T * C, flops: 4 * scores },
    },
    record() {
      const tape = new Tape(gpu);
      fixture.backward([attention(tape, q!, k!, v!, segments, sizes)], tape);
      q!.grad = k!.grad = v!.grad = null;
      gpu.recycle();
    },
  };

  const [N, CH] = [512, 128];
  const hidden = fixture.tensor([N, CH], true);
  const head = fixture.parameter([V, CH]);
  const targets = fixture.integers([N], V);
  const vocabulary: Workload = {
    shape: `${N} x ${V}`,
    costs: { "lm_head.accumulate": pass(1, 4)(N * V), "lm_head.backward": pass(2, 4)(N * V) },
    record() {
      const tape = new Tape(gpu);
      const { logprob } = lmHead(tape, hidden, head, targets);
      fixture.backward([logprob], tape);
      hidden.grad = head.grad = null;
      gpu.recycle();
    },
  };

  const { partialRows } = gpu.tuning;
  const [dy, sums] = [fixture.tensor([T, 3 * C]), fixture.tensor([3 * C])];
  const columnSums: Workload = {
    shape: `${T} x ${3 * C}`,
    costs: {
      "reduce.partial_rows": pass(1, 1)(T * 3 * C),
      "reduce.fold_rows": pass(1, 1)(Math.ceil(T / partialRows) * 3 * C),
    },
    record() {
      foldRows(new Tape(gpu), dy, sums, 0);
      gpu.recycle();
    },
  };

  const ids = Uint32Array.from({ length: T }, (_, t) => (t * 2654435761) % V);
  const embeddings = fixture.parameter([V, C]);
  const lookup: Workload = {
    shape: `${T} of ${V} rows of ${C}`,
    costs: {
      "embedding.forward": pass(2, 0)(T * C),
      "embedding.backward": { bytes: F32 * (T + V) * C, flops: T * C },
    },
    record() {
      const tape = new Tape(gpu);
      fixture.backward([embedding(tape, embeddings, ids)], tape);
      embeddings.grad = null;
      gpu.recycle();
    },
  };

  const rows = Uint32Array.from({ length: T / 2 }, (_, n) => 2 * n);
  const selection: Workload = {
    shape: `${T / 2} of ${T} rows of ${C}`,
    costs: { "select.forward": pass(2, 0)(T / 2 * C), "select.backward": pass(1.5, 0)(T * C) },
    record() {
      const tape = new Tape(gpu);
      fixture.backward([selectRows(tape, x, rows)], tape);
      x.grad = null;
      gpu.recycle();
    },
  };

  const weights = fixture.parameter([2048, 1024]);
  const optimizer = new AdamW(gpu, new Map([["weights", weights]]), {
    betas: [0.9, 0.95],
    epsilon: 1e-8,
    weightDecay: 0.1,
    gradClip: 1,
  });
  const update: Workload = {
    shape: `${2048 * 1024} parameters`,
    costs: {
      "adamw.step": pass(7, 14)(weights.size),
      "reduce.sum_squares": pass(1, 2)(weights.size),
    },
    record() {
      weights.grad = weights.gradientStorage();
      optimizer.step(1e-3);
    },
  };

  const [S, context] = [64, 128];
  const shape = [S, context, C];
  const cache = { k: fixture.tensor(shape), v: fixture.tensor(shape) };
  const cacheRows = {
    slots: fixture.numbers(Uint32Array.from({ length: S }, (_, s) => s)),
    positions: fixture.numbers(new Uint32Array(S).fill(context - 1)),
  };
  const query = fixture.tensor([S, C]);
  const qkvRows = fixture.tensor([S, 3 * C]);
  const decoding: Workload = {
    shape: `${S} sequences at ${context}, ${H} heads of ${D}`,
    costs: {
      [`attention_decode${lanesTogether(gpu) > 1 ? "_simd" : simd}.forward`]: pass(2, 4)(
        S * context * C,
      ),
      "rope.split_to_cache": pass(2, 4)(3 * S * C),
    },
    record() {
      const tape = new Tape(gpu, { recording: false });
      ropeToCache(tape, qkvRows, table, sizes, cache, cacheRows);
      attentionDecode(tape, query, cache, cacheRows, sizes);
      gpu.recycle();
    },
  };

  const logits = fixture.tensor([S, V]);
  const unfiltered = { temperature: 1, topK: 0, topP: 1, seed: 0 };
  const start = { token: 0, position: 0, end: context, sampling: unfiltered };
  const state = {
    state: fixture.numbers(
      Uint32Array.from(
        Array.from({ length: S }, (_, stream) => slotWords({ ...start, stream })).flat(),
      ),
      [S, SLOT_WORDS],
    ),
    slots: cacheRows.slots,
    tokens: fixture.numbers(new Uint32Array(S)),
    positions: fixture.numbers(new Uint32Array(S)),
    ring: fixture.numbers(new Uint32Array(2 * S), [1, S, 2]),
  };
  const sampling: Workload = {
    shape: `${S} x ${V}`,
    costs: { "sample.next": pass(1, 30)(S * V) },
    record() {
      sampleNext(gpu, logits, state, 0, [0xffffffff, 0xffffffff]);
    },
  };
  return [
    ...[norm, gate, rotation, attending, columnSums, vocabulary, lookup, selection, update],
    ...[decoding, sampling],
  ];
}
