/**
 * Checks of the kernels that give each lane a few elements: add, SwiGLU, rotary embedding, cast.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { add } from "../add.ts";
import { bf16ToF32, f32ToBf16 } from "../cast.ts";
import { swiglu } from "../glu.ts";
import { elementwise } from "../launch.ts";
import * as reference from "../reference/mod.ts";
import { rope, ropeTable } from "../rope.ts";
import {
  type Bench,
  type Case,
  type Comparison,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
  same,
} from "./check.ts";

/** One vec4, edges of a 256-lane workgroup of vec4s, several workgroups. */
const counts = [4, 1020, 1024, 1028, 5004];

/** One case per count and per state of the gradients. */
function perCount(run: (bench: Bench, count: number, held: boolean) => Comparison[]) {
  const cases: Record<string, Case> = {};
  for (const count of counts) {
    for (const held of [false, true]) {
      cases[`${count} elements, beta ${held ? 1 : 0}`] = (bench) => run(bench, count, held);
    }
  }
  return cases;
}

/** y, da and db of a function of two tensors, with gradients held before or not. */
function binary(
  bench: Bench,
  count: number,
  held: boolean,
  op: (tape: Bench["tape"], a: Tensor, b: Tensor) => Tensor,
  forward: (a: Float32Array, b: Float32Array) => Float64Array,
  backward: (a: Float32Array, b: Float32Array, dy: Float32Array) => [Float64Array, Float64Array],
): Comparison[] {
  const shape = [count / 4, 4];
  const [va, vb] = [bench.random(shape, 4), bench.random(shape, 4)];
  const [a, b] = [bench.input(shape, va), bench.input(shape, vb)];
  const result = op(bench.forward, a, b);
  const y = op(bench.tape, a, b);
  const dy = bench.random(shape);
  bench.seed(y, dy);
  const [ha, hb] = [bench.random(shape), bench.random(shape)];
  if (held) {
    bench.hold(a, ha);
    bench.hold(b, hb);
  }
  bench.tape.backward();
  const [da, db] = backward(va, vb, dy);
  return [
    near("y", result, forward(va, vb)),
    near("da", a.grad!, held ? plus(da, ha) : da),
    near("db", b.grad!, held ? plus(db, hb) : db),
  ];
}

const additions = perCount((bench, count, held) =>
  binary(bench, count, held, add, reference.addForward, (_a, _b, dy) => {
    const { da, db } = reference.addBackward(dy);
    return [da, db];
  })
);

const gates = perCount((bench, count, held) =>
  binary(bench, count, held, swiglu, reference.swigluForward, (gate, up, dy) => {
    const { dgate, dup } = reference.swigluBackward(gate, up, dy);
    return [dgate, dup];
  })
);

/** One gradient held, the other not; and gates so large that exp() overflows or vanishes. */
const oddGates: Record<string, Case> = {
  "gradients of which one is held": (bench) => {
    const [vg, vu, dy, held] = [1, 2, 3, 4].map(() => bench.random([3, 8])) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [gate, up] = [bench.input([3, 8], vg), bench.input([3, 8], vu)];
    const y = swiglu(bench.tape, gate, up);
    bench.seed(y, dy);
    bench.hold(up, held);
    bench.tape.backward();
    const { dgate, dup } = reference.swigluBackward(vg, vu, dy);
    return [near("dgate", gate.grad!, dgate), near("dup", up.grad!, plus(dup, held))];
  },
  "gates of +-100": (bench) => {
    const gate = Float32Array.of(-100, -95, -20, 0, 20, 80, 95, 100);
    const [up, dy] = [bench.random([8]), bench.random([8])];
    const a = bench.input([2, 4], gate);
    const b = bench.input([2, 4], up);
    const result = swiglu(bench.forward, a, b);
    const y = swiglu(bench.tape, a, b);
    bench.seed(y, dy);
    bench.tape.backward();
    const { dgate, dup } = reference.swigluBackward(gate, up, dy);
    return [
      near("y", result, reference.swigluForward(gate, up)),
      near("dgate", a.grad!, dgate),
      near("dup", b.grad!, dup),
    ];
  },
};

const clears: Record<string, Case> = {};
for (const count of counts) {
  clears[`${count} of ${count + 8} elements`] = (bench) => {
    const before = bench.random([count + 8]);
    const y = bench.tensor([count + 8], before);
    elementwise(bench.gpu, "add", "clear", count / 4, { y }, { count });
    return [same("y", y, before.map((v, i) => i < count ? 0 : v))];
  };
}

const rotations: Record<string, Case> = {};
for (
  const [T, heads, D] of [[1, 1, 8], [7, 3, 16], [9, 4, 64], [130, 2, 8]] as const
) {
  for (const held of [false, true]) {
    rotations[`T ${T}, ${heads} heads of ${D}, beta ${held ? 1 : 0}`] = (bench) => {
      const theta = 10_000;
      const length = 1100;
      const values = bench.random([T, heads * D]);
      const before = bench.random([T, heads * D]);
      const dy = bench.random([T, heads * D]);
      const at = bench.integers(T, length);
      at[T - 1] = length - 1;
      const table = ropeTable(bench.gpu, length, D, theta);
      bench.own([table.cosines.buffer, table.sines.buffer]);
      const positions = bench.tensor([T], at);
      const x = bench.input([T, heads * D], values);
      const result = rope(bench.forward, x, positions, table, heads);
      const y = rope(bench.tape, x, positions, table, heads);
      bench.seed(y, dy);
      if (held) bench.hold(x, before);
      bench.tape.backward();
      const shape = { H: heads, D };
      const dx = reference.ropeBackward(dy, at, theta, shape);
      return [
        near("y", result, reference.ropeForward(values, at, theta, shape)),
        near("dx", x.grad!, held ? plus(dx, before) : dx),
      ];
    };
  }
}

/** Ties in both directions, signs, zeros, the largest and smallest numbers, infinities. */
const awkwardFloats = Float32Array.from([
  ...[0, -0, 1, -1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 65504, -1e-3],
  ...[3.4028234e38, -3.4028234e38, 1.17549435e-38, Infinity, -Infinity],
]);

/** The 16 bits of the bf16 nearest to v, ties to even. */
function bf16Bits(v: number): number {
  const bits = new Uint32Array(Float32Array.of(v).buffer)[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

const casts: Record<string, Case> = {};
for (const count of [2, 14, 510, 512, 514, 4098]) {
  casts[`${count} values`] = (bench) => {
    const values = bench.random([count], 100);
    values.set(awkwardFloats.subarray(0, count));
    const packed = new Uint32Array(count / 2);
    const rounded = new Uint32Array(count);
    values.forEach((v, i) => {
      packed[i >> 1]! |= bf16Bits(v) << (16 * (i & 1));
      rounded[i] = bf16Bits(v) << 16;
    });
    const narrow = bench.blank([count / 2]);
    const wide = bench.blank([count]);
    f32ToBf16(bench.gpu, bench.tensor([count], values), narrow, count);
    bf16ToF32(bench.gpu, bench.tensor([count / 2], packed), wide, count);
    return [same("bf16", narrow, packed), same("f32", wide, rounded)];
  };
}
casts["NaN"] = (bench) => {
  const narrow = bench.tensor([1], Uint32Array.of(0));
  // A NaN whose upper mantissa bits are all zero would become an infinity if it were cut off.
  f32ToBf16(bench.gpu, bench.tensor([2], Uint32Array.of(0x7f800001, 0xffffffff)), narrow, 2);
  return [same("bf16", narrow, Uint32Array.of(0xffff7fc0))];
};

/** Elementwise kernels. */
export const elementwiseChecks: readonly KernelCheck[] = [
  kernelCheck("add", ["add.forward", "add.accumulate"], 1e-6, additions),
  kernelCheck("clear", ["add.clear"], 0, clears),
  kernelCheck("swiglu", ["glu.forward", "glu.backward"], 2e-5, { ...gates, ...oddGates }),
  kernelCheck("rope", ["rope.rotate"], 1e-5, rotations),
  kernelCheck("cast bf16", ["cast.bf16_to_f32", "cast.f32_to_bf16"], 0, casts),
];
