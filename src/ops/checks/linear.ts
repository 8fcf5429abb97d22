/**
 * Checks of the matrix products.
 *
 * @module
 */

import { linear, matmul, type MatmulSizes, matvec } from "../linear.ts";
import * as reference from "../reference/mod.ts";
import {
  type Case,
  contained,
  equal,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
  same,
} from "./check.ts";

/** One row, edges of the 8-row and 32/64/256/512-column tiles, several of them, K down to 1. */
const sizes: readonly (readonly [M: number, N: number, K: number])[] = [
  [1, 4, 1],
  [7, 8, 3],
  [8, 64, 16],
  [9, 60, 5],
  [17, 132, 33],
  [33, 36, 130],
  [3, 260, 9],
  [10, 516, 12],
];
/** A sum that is split into several dispatches. */
const long = [3, 8, 70_000] as const;

function products(layout: "nn" | "nt" | "tn"): Record<string, Case> {
  const cases: Record<string, Case> = {};
  for (const [M, N, K] of [...sizes, long]) {
    for (const beta of K > 1000 ? [1] as const : [0, 1] as const) {
      cases[`${M} x ${N} x ${K}, beta ${beta}`] = (bench) => {
        const a = bench.random([M, K]);
        const b = bench.random([K, N]);
        const held = bench.random([M, N]);
        const c = beta === 0 ? bench.blank([M, N]) : bench.tensor([M, N], held);
        matmul(bench.gpu, layout, bench.tensor([M, K], a), bench.tensor([K, N], b), c, {
          M,
          N,
          K,
        }, beta);
        return [
          near("C", c, reference.matmul(layout, a, b, { M, N, K }, beta, held)),
          ...(beta === 0 ? [contained(c)] : []),
        ];
      };
    }
  }
  return cases;
}

function vectors(): Record<string, Case> {
  const cases: Record<string, Case> = {};
  for (const [M, N, K] of sizes) {
    cases[`${M} x ${N} x ${K}`] = (bench) => {
      const a = bench.random([M, K]);
      const b = bench.random([K, N]);
      const shape: MatmulSizes = { M, N, K };
      const [x, w] = [bench.tensor([M, K], a), bench.tensor([K, N], b)];
      const [c, product] = [bench.blank([M, N]), bench.blank([M, N])];
      matvec(bench.gpu, x, w, c, shape);
      matmul(bench.gpu, "nn", x, w, product, shape);
      return [
        near("y", c, reference.matmul("nn", a, b, shape)),
        contained(c),
        ...equal("same bits as matmul.nn", [c], [product]),
      ];
    };
  }
  return cases;
}

/** The copy that a parameter [rows, columns] keeps. */
export function transposition(rows: number, columns: number): Case {
  return (bench) => {
    const values = bench.random([rows, columns]);
    const transposed = bench.parameter([rows, columns], values).transposed();
    const expected = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
    return [same("y", transposed, expected)];
  };
}

const transpositions: Record<string, Case> = {};
for (const [rows, columns] of [[4, 1], [8, 7], [12, 129], [260, 20]] as const) {
  transpositions[`${rows} x ${columns}`] = transposition(rows, columns);
}

/** The layer through the tape: y, dx and dW; first or further contribution; trained or frozen W. */
function layers(): Record<string, Case> {
  const cases: Record<string, Case> = {};
  for (const T of [1, 4, 5, 19]) {
    for (const trained of [true, false]) {
      for (const held of [true, false]) {
        const [N, K] = [20, 12];
        const label = `T ${T}, ${trained ? "trained" : "frozen"} W, beta ${held ? 1 : 0}`;
        cases[label] = (bench) => {
          const values = { x: bench.random([T, K]), w: bench.random([N, K]) };
          const before = { dx: bench.random([T, K]), dw: bench.random([N, K]) };
          const x = bench.input([T, K], values.x);
          const w = trained ? bench.parameter([N, K], values.w) : bench.tensor([N, K], values.w);
          const result = linear(bench.forward, x, w);
          const y = linear(bench.tape, x, w);
          const dy = bench.random([T, N]);
          bench.seed(y, dy);
          if (held) {
            bench.hold(x, before.dx);
            if (trained) bench.hold(w, before.dw);
          }
          bench.tape.backward();
          const added = (gradient: Float64Array, old: Float32Array) =>
            held ? plus(gradient, old) : gradient;
          const dx = reference.matmul("nn", dy, values.w, { M: T, N: K, K: N });
          const dw = reference.matmul("tn", dy, values.x, { M: N, N: K, K: T });
          return [
            near("y", result, reference.matmul("nt", values.x, values.w, { M: T, N, K })),
            near("dx", x.grad!, added(dx, before.dx)),
            ...(trained ? [near("dW", w.grad!, added(dw, before.dw))] : []),
          ];
        };
      }
    }
  }
  return cases;
}

/** Matrix products, the transposed copy of a weight, and the linear layer made of them. */
export const linearChecks: readonly KernelCheck[] = [
  kernelCheck("matmul nn", ["matmul.nn"], 2e-5, products("nn")),
  kernelCheck("matmul nt", ["matmul.nt"], 2e-5, products("nt")),
  kernelCheck("matmul tn", ["matmul.tn"], 2e-5, products("tn")),
  kernelCheck("matvec", ["matvec.forward"], 1e-5, vectors()),
  kernelCheck("transpose", ["transpose.forward"], 0, transpositions),
  kernelCheck(
    "linear layer",
    ["matmul.nn", "matmul.nt", "matmul.tn", "matvec.forward", "transpose.forward"],
    1e-5,
    layers(),
  ),
];
