/**
 * Checks of low-rank adapters.
 *
 * @module
 */

import { elementwise } from "../launch.ts";
import { linear } from "../linear.ts";
import type { RowBlock } from "../lora.ts";
import * as reference from "../reference/mod.ts";
import { type Bench, type Case, type Comparison, type KernelCheck, kernelCheck } from "./check.ts";
import { near, plus } from "./check.ts";

/** T tokens through W[N,K]'s adapters of rank r each, of which all that lies outside of them is 0. */
function adapted(
  bench: Bench,
  [T, N, K, r]: readonly [number, number, number, number],
  blocks: readonly RowBlock[],
  held: boolean,
): Comparison[] {
  const R = r * blocks.length;
  const scale = 1.7;
  /** Zeroes b[N,R] outside of the blocks. */
  const inside = <A extends Float32Array | Float64Array>(b: A): A => {
    b.forEach((_, i) => {
      const [row, block] = [Math.floor(i / R), Math.floor(i % R / r)];
      if (row < blocks[block]!.first || row >= blocks[block]!.last) b[i] = 0;
    });
    return b;
  };
  const values = {
    x: bench.random([T, K]),
    base: bench.random([T, N]),
    a: bench.random([R, K]),
    b: inside(bench.random([N, R])),
  };
  const dy = bench.random([T, N]);
  const before = {
    x: bench.random([T, K]),
    base: bench.random([T, N]),
    a: bench.random([R, K]),
    b: inside(bench.random([N, R])),
  };
  const x = bench.input([T, K], values.x);
  const base = bench.input([T, N], values.base);
  const [a, b] = [bench.parameter([R, K], values.a), bench.parameter([N, R], values.b)];
  const adapter = { a, b, blocks, scale };
  // A layer whose own matrix is zero makes of its residual what the adapter adds to it.
  const w = bench.tensor([N, K], new Float32Array(N * K));
  const addends = { residual: base, adapted: { adapter, dropout: null } };
  const result = linear(bench.forward, x, w, addends);
  const y = linear(bench.tape, x, w, addends);
  bench.seed(y, dy);
  if (held) {
    for (const [name, tensor] of Object.entries({ x, base, a, b })) {
      bench.hold(tensor, before[name as keyof typeof before]);
    }
  }
  bench.tape.backward();
  const times = (m: Float64Array) => m.map((v) => scale * v);
  const narrow = times(reference.matmul("nt", values.x, values.a, { M: T, N: R, K }));
  const dnarrow = times(reference.matmul("nn", dy, values.b, { M: T, N: R, K: N }));
  const expected = {
    x: reference.matmul("nn", dnarrow, values.a, { M: T, N: K, K: R }),
    base: Float64Array.from(dy),
    a: reference.matmul("tn", dnarrow, values.x, { M: R, N: K, K: T }),
    b: inside(reference.matmul("tn", dy, narrow, { M: N, N: R, K: T })),
  };
  const product = reference.matmul("nt", narrow, values.b, { M: T, N, K: R });
  return [
    near("y", result, plus(product, values.base)),
    ...Object.entries({ x, base, a, b }).map(([name, tensor]) => {
      const key = name as keyof typeof before;
      return near(
        `d${name}`,
        tensor.grad!,
        held ? plus(expected[key], before[key]) : expected[key],
      );
    }),
  ];
}

const adapters: Record<string, Case> = {};
for (const held of [false, true]) {
  for (
    const [label, sizes, blocks] of [
      ["one", [5, 20, 12, 4], [[0, 20]]],
      ["three of different heights", [19, 36, 20, 4], [[0, 20], [20, 28], [28, 36]]],
      ["two with a gap between them", [9, 300, 8, 8], [[0, 260], [280, 300]]],
    ] as const
  ) {
    const rows = blocks.map(([first, last]) => ({ first, last }));
    adapters[`${label}, beta ${held ? 1 : 0}`] = (bench) => adapted(bench, sizes, rows, held);
  }
}

const drops: Record<string, Case> = {
  "as many as asked for, the same ones in every draw, others in another": (bench) => {
    const count = 40_000;
    const x = bench.tensor([count], bench.random([count]).map((v) => v + 2));
    const draw = (stream: number) => {
      const y = bench.blank([count]);
      const params = { count, scale: 1, rate: 0.3, seed: 5, stream, beta: 0 };
      elementwise(bench.gpu, "lora", "dropout", count / 4, { x, y }, params);
      return y;
    };
    const seen: Float32Array[] = [];
    const remember = (content: ArrayBuffer) => seen.push(new Float32Array(content).slice(0, count));
    const dropped = (values: Float32Array) => values.filter((v) => v === 0).length / count;
    return [
      { what: "first", tensor: draw(1), error: (content) => (remember(content), 0) },
      {
        what: "share",
        tensor: draw(1),
        error: (content) => {
          remember(content);
          const same = seen[0]!.every((v, i) => v === seen[1]![i]);
          // Five standard deviations.
          return same && Math.abs(dropped(seen[0]!) - 0.3) < 0.0115 ? 0 : Infinity;
        },
      },
      {
        what: "another stream",
        tensor: draw(2),
        error: (content) => {
          remember(content);
          const both = seen[0]!.filter((v, i) => v === 0 && seen[2]![i] === 0).length / count;
          return Math.abs(both - 0.09) < 0.0075 ? 0 : Infinity;
        },
      },
    ];
  },
};

/** Low-rank adapters. */
export const loraChecks: readonly KernelCheck[] = [
  kernelCheck("low-rank adapter", ["lora.dropout", "lora.keep_blocks"], 2e-5, adapters),
  kernelCheck("dropout", ["lora.dropout"], 0, drops),
];
