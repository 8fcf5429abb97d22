/**
 * Checks of the divergence between two LM heads.
 *
 * @module
 */

import type { FloatType } from "../../tensor.ts";
import { divergenceLoss, type DivergenceOptions, type Head } from "../divergence.ts";
import * as reference from "../reference/mod.ts";
import {
  type Case,
  type Comparison,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
  rootMeanSquare,
} from "./check.ts";

/** One case of the divergence. */
export interface DivergenceCase extends Partial<DivergenceOptions> {
  /** Rows, width of the student and of the teacher, vocabulary. */
  readonly sizes: readonly [N: number, C: number, teacherC: number, V: number];
  /** How the teacher's table is stored. */
  readonly teacher?: FloatType;
  /** How the student's table is stored where it is no parameter. */
  readonly frozen?: FloatType;
  /** Whether inputs hold gradients already. */
  readonly held?: boolean;
  /** Scale of the hidden states: a large one makes certain predictions. */
  readonly scale?: number;
  /** Caps of the logits of student and teacher. */
  readonly caps?: readonly [student: number, teacher: number];
  /** How far the student is from the teacher, where it is a copy of it. */
  readonly apart?: number;
}

const betas = [0, 0.1, 0.5, 1];
const shapes: Readonly<Record<string, DivergenceCase>> = {
  "one row": { sizes: [1, 4, 8, 4] },
  "one chunk": { sizes: [9, 12, 4, 60] },
  "one chunk, held, temperature 0.7": { sizes: [17, 8, 8, 264], held: true, temperature: 0.7 },
  "four chunks, frozen table": { sizes: [9, 16, 12, 200], chunk: 64, frozen: "bf16" },
  "two chunks, held, temperature 2": {
    sizes: [70, 4, 8, 132],
    chunk: 128,
    held: true,
    temperature: 2,
    teacher: "f16",
  },
  "logits of +-60": { sizes: [9, 12, 8, 140], chunk: 64, scale: 20, teacher: "bf16" },
  "logits of +-200": { sizes: [5, 12, 12, 68], scale: 70 },
  "capped logits": { sizes: [9, 12, 8, 140], chunk: 64, scale: 5, caps: [3, 7], held: true },
  "a padded table": { sizes: [9, 12, 8, 140], chunk: 64, vocabulary: 117 },
  "a chunk of nothing but padding": { sizes: [3, 4, 4, 192], chunk: 64, vocabulary: 61 },
  "a padded table in one chunk, capped": { sizes: [5, 8, 4, 12], vocabulary: 9, caps: [2, 3] },
  "near its teacher": { sizes: [9, 12, 12, 60], apart: 1e-3 },
};

/** The loss of two random heads, and its gradients. */
export function divergenceCase(
  { sizes: [N, C, D, V], teacher = "f32", frozen, held, scale = 1, caps, apart, ...rest }:
    DivergenceCase,
): Case {
  return (bench) => {
    const { beta = 0.5, temperature = 1, vocabulary = V } = rest;
    const options = { beta, temperature, vocabulary, ...rest };
    const theirs = bench.stored([V, D], bench.random([V, D]), teacher);
    const values = { tx: bench.random([N, D], scale), x: bench.random([N, C], scale) };
    const table = bench.stored([V, C], bench.random([V, C]), frozen ?? "f32");
    let w = table.values;
    if (apart) {
      values.x = values.tx.slice();
      w = theirs.values.map((v, i) => v + apart * table.values[i]!);
    }
    const weight = Float32Array.from({ length: N }, (_, n) => n % 3 === 2 ? 0 : 1 / N);
    const before = { x: bench.random([N, C]), w: bench.random([V, C]) };
    const x = bench.input([N, C], values.x);
    const trained = frozen ? null : bench.parameter([V, C], w);
    const metrics = bench.sums();
    const heads: [Head, Head] = [
      { x, w: trained ?? table.tensor, cap: caps?.[0] ?? null },
      { x: bench.tensor([N, D], values.tx), w: theirs.tensor, cap: caps?.[1] ?? null },
    ];
    if (held) {
      bench.hold(x, before.x);
      if (trained) bench.hold(trained, before.w);
    }
    divergenceLoss(bench.tape, ...heads, bench.tensor([N], weight), options, metrics);
    bench.tape.backward();
    const cap = (which: 0 | 1) => caps ? { cap: caps[which] } : {};
    const expected = reference.headDivergence(
      { x: values.x, w, C, ...cap(0) },
      { x: values.tx, w: theirs.values, C: D, ...cap(1) },
      weight,
      { beta, temperature },
      { N, V, vocabulary },
    );
    const mean = (of: Float64Array) => of.reduce((sum, v, n) => sum + weight[n]! * v, 0);
    const sums = [expected.divergence, expected.divergence, expected.entropy].map(mean);
    const { dx, dW } = expected;
    // Where the student is sure, or is its teacher, the gradient is a difference of larger numbers too.
    const least = apart || scale > 1 ? scale / N : 0;
    const floor = (of: Float64Array) => Math.max(rootMeanSquare(of), least);
    // A divergence is a difference of larger numbers: absolute below 1, relative above.
    return [
      near("metrics", metrics.tensors[0]!, [...sums, mean(expected.teacherEntropy)], 1),
      near("dx", x.grad!, held ? plus(dx, before.x) : dx, floor(dx)),
      ...(trained ? [near("dW", trained.grad!, held ? plus(dW, before.w) : dW, floor(dW))] : []),
    ];
  };
}

const cases: Record<string, Case> = {};
for (const [label, shape] of Object.entries(shapes)) {
  for (const beta of betas) cases[`${label}, beta ${beta}`] = divergenceCase({ ...shape, beta });
}
cases["a large vocabulary"] = divergenceCase({ sizes: [2, 4, 4, 140_000] });

for (const beta of betas) {
  cases[`a student that is its teacher, beta ${beta}`] = (bench) => {
    const [values, table] = [bench.random([3, 8], 5), bench.random([68, 8])];
    const [x, w] = [bench.input([3, 8], values), bench.tensor([68, 8], table)];
    const weight = bench.tensor([3], Float32Array.of(1, 1, 1));
    const metrics = bench.sums();
    divergenceLoss(bench.tape, { x, w }, { x, w }, weight, { beta, chunk: 64 }, metrics);
    bench.tape.backward();
    return [
      near("divergence", metrics.tensors[0]!, [0, 0], 1),
      near("dx", x.grad!, new Float32Array(24), 1),
    ];
  };
  for (const whose of ["student", "teacher"] as const) {
    cases[`NaN in the ${whose} shows in loss and gradient, beta ${beta}`] = (bench) => {
      const state = (of: string) =>
        bench.random([2, 4]).map((v, i) => of === whose && i === 1 ? NaN : v);
      const x = bench.input([2, 4], state("student"));
      const teacher = bench.tensor([2, 4], state("teacher"));
      const w = bench.tensor([8, 4], bench.random([8, 4]));
      const weight = bench.tensor([2], Float32Array.of(0.5, 0.5));
      const metrics = bench.sums();
      divergenceLoss(bench.tape, { x, w }, { x: teacher, w }, weight, { beta }, metrics);
      bench.tape.backward();
      const shows: Comparison["error"] = (content) =>
        Number.isNaN(new Float32Array(content)[0]) ? 0 : Infinity;
      return [
        { what: "loss", tensor: metrics.tensors[0]!, error: shows },
        { what: "dx", tensor: x.grad!, error: shows },
      ];
    };
  }
}

/** The divergence loss, in one chunk of the vocabulary and in several. */
export const divergenceChecks: readonly KernelCheck[] = [
  kernelCheck(
    "divergence loss",
    ["divergence.accumulate", "divergence.finish", "divergence.backward"],
    2e-5,
    cases,
  ),
];
