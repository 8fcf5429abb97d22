/**
 * Checks of the kernels that look rows up or work along them: embedding, selection, RMSNorm, sums.
 *
 * @module
 */

import type { FloatType } from "../../tensor.ts";
import { embedding } from "../embedding.ts";
import type { HeadSizes } from "../attention.ts";
import { headNorm, layernorm, rmsnorm } from "../norm.ts";
import { foldRows } from "../reduce.ts";
import * as reference from "../reference/mod.ts";
import { selectRows } from "../select.ts";
import { type Case, type KernelCheck, kernelCheck, near, plus, same } from "./check.ts";

/** T tokens looked up in a frozen table. */
export function frozenLookup(T: number, V: number, C: number, dtype: FloatType): Case {
  return (bench) => {
    const table = bench.stored([V, C], bench.random([V, C]), dtype);
    const ids = bench.integers(T, V);
    const y = embedding(bench.tape, table.tensor, ids);
    return [same("y", y, Float32Array.from(reference.embeddingForward(ids, table.values, C)))];
  };
}

/** T tokens of a vocabulary of V; `held`: the table holds a gradient already. */
export function lookup(T: number, V: number, C: number, held: boolean, scale = 1): Case {
  return (bench) => {
    const table = bench.random([V, C]);
    const before = bench.random([V, C]);
    const dy = bench.random([T, C]);
    const ids = bench.integers(T, V);
    const w = bench.parameter([V, C], table);
    const result = embedding(bench.forward, w, bench.tensor([T], ids), scale);
    const y = embedding(bench.tape, w, ids, scale);
    bench.seed(y, dy);
    if (held) bench.hold(w, before);
    bench.tape.backward();
    const scaled = (values: Float64Array) => values.map((v) => scale * v);
    const dtable = scaled(reference.embeddingBackward(ids, dy, { V, C }));
    return [
      near("y", result, scaled(reference.embeddingForward(ids, table, C))),
      near("dtable", w.grad!, held ? plus(dtable, before) : dtable),
    ];
  };
}

/** N of T rows in no order, the last one among them. */
export function selection(T: number, N: number, C: number, held: boolean): Case {
  return (bench) => {
    const values = bench.random([T, C]);
    const before = bench.random([T, C]);
    const dy = bench.random([N, C]);
    const order = bench.random([T]);
    const rows = Uint32Array.from(order.keys()).sort((a, b) => order[a]! - order[b]!).slice(0, N);
    if (!rows.includes(T - 1)) rows[0] = T - 1;
    const x = bench.input([T, C], values);
    const result = selectRows(bench.forward, x, rows);
    const y = selectRows(bench.tape, x, rows);
    bench.seed(y, dy);
    if (held) bench.hold(x, before);
    bench.tape.backward();
    // Selecting rows is looking them up in x.
    const dx = reference.embeddingBackward(rows, dy, { V: T, C });
    return [
      near("y", result, reference.embeddingForward(rows, values, C)),
      near("dx", x.grad!, held ? plus(dx, before) : dx),
    ];
  };
}

/** RMSNorm over T rows. */
export function norm(T: number, C: number, held: boolean, offset = 0): Case {
  return (bench) => {
    const epsilon = 1e-5;
    const values = bench.random([T, C], 3);
    const weights = bench.random([C]);
    const dy = bench.random([T, C]);
    const [hx, hw] = [bench.random([T, C]), bench.random([C])];
    const x = bench.input([T, C], values);
    const w = bench.parameter([C], weights);
    const result = rmsnorm(bench.forward, x, w, epsilon, offset);
    const y = rmsnorm(bench.tape, x, w, epsilon, offset);
    bench.seed(y, dy);
    if (held) {
      bench.hold(x, hx);
      bench.hold(w, hw);
    }
    bench.tape.backward();
    const scale = Float64Array.from(weights, (w) => w + offset);
    const { dx, dw } = reference.rmsnormBackward(values, scale, epsilon, dy, { T, C });
    return [
      near("y", result, reference.rmsnormForward(values, scale, epsilon, { T, C }).y),
      near("dx", x.grad!, held ? plus(dx, hx) : dx),
      near("dw", w.grad!, held ? plus(dw, hw) : dw),
    ];
  };
}

/** LayerNorm over T rows. */
function layer(T: number, C: number, held: boolean): Case {
  return (bench) => {
    const epsilon = 1e-5;
    // A mean that is large beside the deviation.
    const values = bench.random([T, C], 3).map((v) => v + 5);
    const [weights, biases] = [bench.random([C]), bench.random([C])];
    const dy = bench.random([T, C]);
    const [hx, hw, hb] = [bench.random([T, C]), bench.random([C]), bench.random([C])];
    const x = bench.input([T, C], values);
    const [w, b] = [bench.parameter([C], weights), bench.parameter([C], biases)];
    const result = layernorm(bench.forward, x, w, b, epsilon);
    const y = layernorm(bench.tape, x, w, b, epsilon);
    bench.seed(y, dy);
    if (held) {
      bench.hold(x, hx);
      bench.hold(w, hw);
      bench.hold(b, hb);
    }
    bench.tape.backward();
    const { dx, dw, db } = reference.layernormBackward(values, weights, epsilon, dy, { T, C });
    return [
      near("y", result, reference.layernormForward(values, weights, biases, epsilon, { T, C })),
      near("dx", x.grad!, held ? plus(dx, hx) : dx),
      near("dw", w.grad!, held ? plus(dw, hw) : dw),
      near("db", b.grad!, held ? plus(db, hb) : db),
    ];
  };
}

/** RMSNorm of heads. */
function heads(T: number, sizes: HeadSizes, held: boolean, offset: number): Case {
  return (bench) => {
    const epsilon = 1e-6;
    const { heads, kvHeads, headDim: D } = sizes;
    const all = heads + 2 * kvHeads;
    const values = bench.random([T, all * D], 3);
    const weights = [bench.random([D]), bench.random([D])] as const;
    const dy = bench.random([T, all * D]);
    const before = { x: bench.random([T, all * D]), w: [bench.random([D]), bench.random([D])] };
    const x = bench.input([T, all * D], values);
    const w = weights.map((values) => bench.parameter([D], values));
    const result = headNorm(bench.forward, x, w[0]!, w[1]!, sizes, epsilon, offset);
    const y = headNorm(bench.tape, x, w[0]!, w[1]!, sizes, epsilon, offset);
    bench.seed(y, dy);
    if (held) {
      bench.hold(x, before.x);
      w.forEach((w, i) => bench.hold(w, before.w[i]!));
    }
    bench.tape.backward();
    const [expected, dx] = [Float64Array.from(values), Float64Array.from(dy)];
    const dw: Float64Array[] = [];
    for (const [kind, first, count] of [[0, 0, heads], [1, heads, kvHeads]] as const) {
      // The heads of one kind, as rows of their own.
      const shape = { T: T * count, C: D };
      const at = (row: number) => (Math.floor(row / count) * all + first + row % count) * D;
      const rows = (from: ArrayLike<number>) =>
        Float64Array.from(
          { length: shape.T * D },
          (_, i) => from[at(Math.floor(i / D)) + i % D]!,
        );
      const scale = Float64Array.from(weights[kind], (w) => w + offset);
      const { y } = reference.rmsnormForward(rows(values), scale, epsilon, shape);
      const back = reference.rmsnormBackward(rows(values), scale, epsilon, rows(dy), shape);
      dw.push(back.dw);
      for (let row = 0; row < shape.T; row++) {
        expected.set(y.subarray(row * D, (row + 1) * D), at(row));
        dx.set(back.dx.subarray(row * D, (row + 1) * D), at(row));
      }
    }
    return [
      near("y", result, expected),
      near("dx", x.grad!, held ? plus(dx, before.x) : dx),
      ...w.map((w, i) => near(`dw ${i}`, w.grad!, held ? plus(dw[i]!, before.w[i]!) : dw[i]!)),
    ];
  };
}

const lookups: Record<string, Case> = {};
const selections: Record<string, Case> = {};
const norms: Record<string, Case> = {};
const layers: Record<string, Case> = {};
const headNorms: Record<string, Case> = {};
for (const dtype of ["f32", "bf16", "f16"] as const) {
  lookups[`frozen table of ${dtype}`] = frozenLookup(70, 300, 20, dtype);
}
for (const held of [false, true]) {
  const beta = `beta ${held ? 1 : 0}`;
  for (const [T, V, C] of [[1, 4, 4], [9, 5, 12], [70, 300, 20], [300, 3, 8]] as const) {
    lookups[`T ${T}, vocabulary ${V}, width ${C}, ${beta}`] = lookup(T, V, C, held);
    lookups[`T ${T}, vocabulary ${V}, width ${C}, ${beta}, scaled`] = lookup(T, V, C, held, 2.5);
  }
  for (const [T, N, C] of [[1, 1, 4], [9, 7, 12], [300, 299, 8], [65, 1, 20]] as const) {
    selections[`${N} of ${T} rows, width ${C}, ${beta}`] = selection(T, N, C, held);
  }
  // 600 rows are several blocks of partial sums whatever the tuning.
  for (const [T, C] of [[1, 4], [7, 12], [8, 36], [9, 260], [65, 20], [600, 8]] as const) {
    norms[`T ${T}, width ${C}, ${beta}`] = norm(T, C, held);
    norms[`T ${T}, width ${C}, ${beta}, 1 + w`] = norm(T, C, held, 1);
    layers[`T ${T}, width ${C}, ${beta}`] = layer(T, C, held);
  }
  for (const [T, H, KV, D] of [[1, 1, 1, 4], [9, 4, 2, 16], [70, 3, 1, 40], [600, 2, 2, 8]]) {
    for (const offset of [0, 1]) {
      const label = `T ${T}, ${H}/${KV} heads of ${D}, ${beta}${offset ? ", 1 + w" : ""}`;
      headNorms[label] = heads(T!, { heads: H!, kvHeads: KV!, headDim: D! }, held, offset);
    }
  }
}
norms["a row of zeros"] = (bench) => {
  const values = bench.random([3, 8]);
  values.fill(0, 8, 16);
  const weights = bench.random([8]);
  const y = rmsnorm(bench.forward, bench.tensor([3, 8], values), bench.tensor([8], weights), 1e-5);
  return [near("y", y, reference.rmsnormForward(values, weights, 1e-5, { T: 3, C: 8 }).y)];
};

const folds: Record<string, Case> = {};
for (const [R, C] of [[1, 4], [63, 8], [65, 36], [257, 260], [20_000, 4]] as const) {
  for (const beta of [0, 1] as const) {
    folds[`${R} rows, width ${C}, beta ${beta}`] = (bench) => {
      const values = bench.random([R, C]);
      const before = bench.random([C]);
      const y = beta === 0 ? bench.blank([C]) : bench.tensor([C], before);
      foldRows(bench.forward, bench.tensor([R, C], values), y, beta);
      const sums = new Float64Array(C);
      values.forEach((v, i) => sums[i % C]! += v);
      return [near("y", y, beta === 0 ? sums : plus(sums, before))];
    };
  }
}

/** Kernels that work on rows. */
export const rowChecks: readonly KernelCheck[] = [
  kernelCheck("embedding", ["embedding.forward", "embedding.backward", "add.clear"], 1e-5, lookups),
  kernelCheck("select rows", ["select.forward", "select.backward"], 1e-6, selections),
  kernelCheck(
    "rmsnorm",
    ["rmsnorm.forward", "rmsnorm.backward_x", "rmsnorm.backward_w"],
    1e-5,
    norms,
  ),
  kernelCheck(
    "layernorm",
    ["layernorm.forward", "layernorm.backward_x", "layernorm.backward_w"],
    2e-5,
    layers,
  ),
  kernelCheck(
    "head norm",
    ["head_norm.forward", "head_norm.backward_x", "head_norm.backward_w"],
    1e-5,
    headNorms,
  ),
  kernelCheck("fold rows", ["reduce.fold_rows", "reduce.partial_rows"], 1e-5, folds),
];
