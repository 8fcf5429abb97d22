/**
 * Checks of the matrix products.
 *
 * @module
 */

import { linear } from "../linear.ts";
import { matmul } from "../matmul.ts";
import type { FloatType, Tensor } from "../../tensor.ts";
import * as reference from "../reference/mod.ts";
import {
  type Bench,
  type Case,
  contained,
  equal,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
} from "./check.ts";

/** One row, edges of tiles in both directions, several of them, K down to 1. */
const sizes: readonly (readonly [M: number, N: number, K: number])[] = [
  [1, 4, 1],
  [7, 8, 3],
  [8, 64, 16],
  [9, 60, 5],
  [17, 132, 33],
  [33, 36, 130],
  [3, 260, 9],
  [10, 516, 12],
  [20, 36, 1100],
];
/** A sum that is split into several dispatches. */
const long = [3, 8, 70_000] as const;

/** C = A B + beta C. */
export function product(
  layout: "nn" | "nt" | "tn",
  [M, N, K]: readonly [number, number, number],
  beta: 0 | 1,
  dtype: FloatType = "f32",
): Case {
  return (bench) => {
    const a = bench.random([M, K]);
    const b = bench.stored([K, N], bench.random([K, N]), dtype);
    const held = bench.random([M, N]);
    const c = beta === 0 ? bench.blank([M, N]) : bench.tensor([M, N], held);
    matmul(bench.gpu, layout, bench.tensor([M, K], a), b.tensor, c, { M, N, K }, beta);
    return [
      near("C", c, reference.matmul(layout, a, b.values, { M, N, K }, beta, held)),
      ...(beta === 0 ? [contained(c)] : []),
    ];
  };
}

function products(layout: "nn" | "nt" | "tn"): Record<string, Case> {
  const cases: Record<string, Case> = {};
  const whole = (n: number) => Math.ceil(n / 4) * 4;
  for (const size of [...sizes, long]) {
    // A is contiguous along K, or along M where it is transposed.
    const [M, N, K] = layout === "tn"
      ? [whole(size[0]), size[1], size[2]]
      : [size[0], size[1], whole(size[2])];
    for (const beta of K > 1000 ? [1] as const : [0, 1] as const) {
      cases[`${M} x ${N} x ${K}, beta ${beta}`] = product(layout, [M, N, K], beta);
    }
  }
  return cases;
}

/** C = A B^T + D. */
export function added(M: number, N: number, K: number, dtype: FloatType = "f32"): Case {
  return (bench) => {
    const [a, d] = [bench.random([M, K]), bench.random([M, N])];
    const b = bench.stored([N, K], bench.random([N, K]), dtype);
    const c = bench.blank([M, N]);
    const addend = bench.tensor([M, N], d);
    matmul(bench.gpu, "nt", bench.tensor([M, K], a), b.tensor, c, { M, N, K }, addend);
    return [near("C", c, reference.matmul("nt", a, b.values, { M, N, K }, 1, d)), contained(c)];
  };
}

/** A weight of two bytes gives the same bits as the f32 that it stands for. */
function packedAlike(
  layout: "nn" | "nt",
  [M, N, K]: readonly [number, number, number],
  dtype: FloatType,
): Case {
  return (bench) => {
    const a = bench.tensor([M, K], bench.random([M, K]));
    const b = bench.stored([K, N], bench.random([K, N]), dtype);
    const [narrow, wide] = [b.tensor, bench.tensor([K, N], b.values)].map((weight) => {
      const c = bench.blank([M, N]);
      matmul(bench.gpu, layout, a, weight, c, { M, N, K });
      return c;
    });
    return equal("C", [narrow!], [wide!]);
  };
}

/** A row's result is the same, bit for bit, whatever other rows are multiplied with it. */
function rowsAlone(layout: "nn" | "nt"): Case {
  return (bench) => {
    const [N, K] = [68, 44];
    const b = bench.tensor([K, N], bench.random([K, N]));
    const rows = bench.random([40, K]);
    const product = (M: number) => {
      const c = bench.blank([M, N]);
      const a = bench.tensor([M, K], rows.subarray(0, M * K));
      matmul(bench.gpu, layout, a, b, c, { M, N, K });
      return c;
    };
    const all = product(40);
    return [1, 7, 8, 9, 17, 33].flatMap((M) => {
      const { buffer } = all;
      const first = { ...all, buffer, bytes: M * N * 4 } as Tensor;
      return equal(`the first ${M} of 40 rows`, [product(M)], [first]);
    });
  };
}

/** What the layer's residual is: none, another tensor, x itself. */
type Residual = "no" | "a" | "its own";

/** The layer through the tape: y and gradients; first or further contribution; trained or frozen W. */
function layers(): Record<string, Case> {
  const cases: Record<string, Case> = {};
  for (const T of [1, 4, 5, 19, 40, 600]) {
    for (const residual of ["no", "a", "its own"] as const) {
      for (const weight of ["trained", "f32", "bf16"] as const) {
        for (const held of weight === "trained" ? [true, false] : [true]) {
          const label = `T ${T}, ${weight} W, ${residual} residual, beta ${held ? 1 : 0}`;
          // 600 tokens are there for the sums over tokens that are a bias's gradient.
          if (T < 600) cases[label] = (bench) => layer(bench, T, residual, weight, held, false);
          if (T !== 4) {
            cases[`${label}, biased`] = (bench) => layer(bench, T, residual, weight, held, true);
          }
        }
      }
    }
  }
  return cases;
}

function layer(
  bench: Bench,
  T: number,
  residual: Residual,
  weight: "trained" | FloatType,
  held: boolean,
  biased: boolean,
) {
  const [N, K] = residual === "its own" ? [20, 20] : [20, 12];
  const trained = weight === "trained";
  const frozen = bench.stored([N, K], bench.random([N, K]), trained ? "f32" : weight);
  const values = {
    x: bench.random([T, K]),
    w: frozen.values,
    r: bench.random([T, N]),
    b: bench.random([N]),
  };
  const before = {
    x: bench.random([T, K]),
    w: bench.random([N, K]),
    r: bench.random([T, N]),
    b: bench.random([N]),
  };
  const x = bench.input([T, K], values.x);
  const w = trained ? bench.parameter([N, K], values.w) : frozen.tensor;
  const r = residual === "no" ? undefined : residual === "a" ? bench.input([T, N], values.r) : x;
  const bias = biased ? bench.parameter([N], values.b) : undefined;
  const result = linear(bench.forward, x, w, { bias, residual: r });
  const y = linear(bench.tape, x, w, { bias, residual: r });
  const dy = bench.random([T, N]);
  bench.seed(y, dy);
  if (held) {
    bench.hold(x, before.x);
    if (trained) bench.hold(w, before.w);
    if (bias) bench.hold(bias, before.b);
    if (residual === "a") bench.hold(r!, before.r);
  }
  bench.tape.backward();
  const added = (gradient: ArrayLike<number>, old: Float32Array) =>
    held ? plus(gradient, old) : Float64Array.from(gradient);
  const whole = reference.matmul("nt", values.x, values.w, { M: T, N, K });
  const product = biased ? whole.map((v, i) => v + values.b[i % N]!) : whole;
  const dx = reference.matmul("nn", dy, values.w, { M: T, N: K, K: N });
  const dw = reference.matmul("tn", dy, values.x, { M: N, N: K, K: T });
  const db = new Float64Array(N);
  dy.forEach((d, i) => db[i % N]! += d);
  const of = {
    no: () => product,
    a: () => plus(product, values.r),
    "its own": () => plus(product, values.x),
  };
  return [
    near("y", result, of[residual]()),
    near("dx", x.grad!, added(residual === "its own" ? plus(dx, dy) : dx, before.x)),
    ...(bias ? [near("db", bias.grad!, added(db, before.b))] : []),
    ...(trained ? [near("dW", w.grad!, added(dw, before.w))] : []),
    ...(residual === "a" ? [near("dr", r!.grad!, added(dy, before.r))] : []),
  ];
}

const together = Object.fromEntries(
  (["nn", "nt"] as const).map((layout) => [layout, rowsAlone(layout)]),
);
const sums: Record<string, Case> = {};
for (const [M, N, K] of [...sizes, long]) {
  const whole = Math.ceil(K / 4) * 4;
  sums[`${M} x ${N} x ${whole}`] = added(M, N, whole);
}
// Each kernel takes a second to compile where it is unrolled, and f16 differs from bf16 in nothing
// but the function that unpacks it: that is tried on one of them.
const packedSizes: Readonly<
  Record<"bf16" | "f16", readonly (readonly [number, number, number])[]>
> = {
  bf16: [[1, 4, 4], [8, 60, 8], [9, 132, 36], [33, 260, 132], long],
  f16: [[33, 60, 132]],
};
const packed: Record<string, Case> = {};
const alike: Record<string, Case> = {};
for (const dtype of ["bf16", "f16"] as const) {
  for (const size of packedSizes[dtype]) {
    const label = `${size.join(" x ")}, ${dtype}`;
    for (const layout of ["nn", "nt"] as const) {
      packed[`${layout}, ${label}`] = product(layout, size, 0, dtype);
      alike[`${layout}, ${label}`] = packedAlike(layout, size, dtype);
    }
    packed[`nt with an addend, ${label}`] = added(...size, dtype);
  }
}
/** Of all the kernels that make products. */
const entries = (entry: string) => [
  `matmul.${entry}`,
  `matmul_simd.${entry}`,
  ...(entry.startsWith("nt") ? [`matmul_few.${entry}`] : []),
];

/** Matrix products and the linear layer made of them. */
export const linearChecks: readonly KernelCheck[] = [
  kernelCheck("matmul nn", entries("nn"), 2e-5, products("nn")),
  kernelCheck("matmul nt", entries("nt"), 2e-5, products("nt")),
  kernelCheck("matmul tn", entries("tn"), 2e-5, products("tn")),
  kernelCheck("matmul nt with an addend", entries("nt_add"), 2e-5, sums),
  kernelCheck("matmul by a packed weight", ["nn", "nt", "nt_add"].flatMap(entries), 2e-5, packed),
  kernelCheck("packed weights as f32", ["nn", "nt"].flatMap(entries), 0, alike),
  kernelCheck("rows of a product", [...entries("nn"), ...entries("nt")], 0, together),
  kernelCheck(
    "linear layer",
    [...["nn", "nt", "nt_add", "tn"].flatMap(entries), "add.bias"],
    1e-5,
    layers(),
  ),
];
