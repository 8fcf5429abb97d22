/**
 * Checks of the kernels that give each lane a few elements: add, SwiGLU, rotary embedding, cast.
 *
 * @module
 */

import type { Tape } from "../../tape.ts";
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

/** An op of two tensors of one shape with its references. */
interface BinaryOp {
  readonly run: (tape: Tape, a: Tensor, b: Tensor) => Tensor;
  readonly forward: (a: Float32Array, b: Float32Array) => Float64Array;
  readonly backward: (
    a: Float32Array,
    b: Float32Array,
    dy: Float32Array,
  ) => { readonly da: Float64Array; readonly db: Float64Array };
}

const addition: BinaryOp = {
  run: add,
  forward: reference.addForward,
  backward: (_a, _b, dy) => reference.addBackward(dy),
};

const gate: BinaryOp = {
  run: swiglu,
  forward: reference.swigluForward,
  backward: (a, b, dy) => {
    const { dgate, dup } = reference.swigluBackward(a, b, dy);
    return { da: dgate, db: dup };
  },
};

/** Which inputs hold a gradient already. */
type Held = "neither" | "a" | "b" | "both";

function binary(
  bench: Bench,
  { run, forward, backward }: BinaryOp,
  [va, vb]: readonly [Float32Array, Float32Array],
  held: Held,
): Comparison[] {
  const shape = [va.length / 4, 4];
  const [a, b] = [bench.input(shape, va), bench.input(shape, vb)];
  const result = run(bench.forward, a, b);
  const y = run(bench.tape, a, b);
  const [dy, ha, hb] = [bench.random(shape), bench.random(shape), bench.random(shape)];
  bench.seed(y, dy);
  const [holdsA, holdsB] = [held === "a" || held === "both", held === "b" || held === "both"];
  if (holdsA) bench.hold(a, ha);
  if (holdsB) bench.hold(b, hb);
  bench.tape.backward();
  const { da, db } = backward(va, vb, dy);
  return [
    near("y", result, forward(va, vb)),
    near("da", a.grad!, holdsA ? plus(da, ha) : da),
    near("db", b.grad!, holdsB ? plus(db, hb) : db),
  ];
}

/** `op` on `count` random elements. */
export function elementwiseCase(op: "add" | "swiglu", count: number, held: Held): Case {
  return (bench) => {
    const values = [bench.random([count], 4), bench.random([count], 4)] as const;
    return binary(bench, op === "add" ? addition : gate, values, held);
  };
}

/** Zeroes the first `count` elements and no others. */
export function clearing(count: number): Case {
  return (bench) => {
    const before = bench.random([count + 8]);
    const y = bench.tensor([count + 8], before);
    elementwise(bench.gpu, "add", "clear", count / 4, { y }, { count });
    return [same("y", y, before.map((v, i) => i < count ? 0 : v))];
  };
}

/** Rotates T tokens at positions up to 1,099. */
export function rotation(T: number, heads: number, D: number, held: boolean): Case {
  return (bench) => {
    const theta = 10_000;
    const length = 1100;
    const values = bench.random([T, heads * D]);
    const before = bench.random([T, heads * D]);
    const dy = bench.random([T, heads * D]);
    const at = bench.integers(T, length);
    at[T - 1] = length - 1;
    const table = ropeTable(bench.gpu, length, D, theta);
    bench.defer(() => bench.gpu.free([table.cosines.buffer, table.sines.buffer]));
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

/** To bf16 and from it. */
export function casting(count: number): Case {
  return (bench) => {
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

const additions: Record<string, Case> = {};
const gates: Record<string, Case> = {
  // exp() overflows at one end and vanishes at the other.
  "gates of +-100": (bench) => {
    const gates = Float32Array.of(-100, -95, -20, 0, 20, 80, 95, 100);
    return binary(bench, gate, [gates, bench.random([8])], "neither");
  },
};
const clears: Record<string, Case> = {};
// One vec4, the edges of a 256-lane workgroup of vec4s, several workgroups.
for (const count of [4, 1020, 1024, 1028, 5004]) {
  for (const held of ["neither", "a", "b", "both"] as const) {
    const label = `${count} elements, gradients held by ${held}`;
    additions[label] = elementwiseCase("add", count, held);
    gates[label] = elementwiseCase("swiglu", count, held);
  }
  clears[`${count} of ${count + 8} elements`] = clearing(count);
}

const rotations: Record<string, Case> = {};
for (const [T, heads, D] of [[1, 1, 8], [7, 3, 16], [9, 4, 64], [130, 2, 8]] as const) {
  for (const held of [false, true]) {
    const label = `T ${T}, ${heads} heads of ${D}, beta ${held ? 1 : 0}`;
    rotations[label] = rotation(T, heads, D, held);
  }
}

const casts: Record<string, Case> = {
  "NaN": (bench) => {
    const narrow = bench.tensor([1], Uint32Array.of(0));
    // A NaN whose upper mantissa bits are all zero would become an infinity if it were cut off.
    f32ToBf16(bench.gpu, bench.tensor([2], Uint32Array.of(0x7f800001, 0xffffffff)), narrow, 2);
    return [same("bf16", narrow, Uint32Array.of(0xffff7fc0))];
  },
};
for (const count of [2, 14, 510, 512, 514, 4098]) casts[`${count} values`] = casting(count);

/** Elementwise kernels. */
export const elementwiseChecks: readonly KernelCheck[] = [
  kernelCheck("add", ["add.forward", "add.accumulate"], 1e-6, additions),
  kernelCheck("clear", ["add.clear"], 0, clears),
  kernelCheck("swiglu", ["glu.forward", "glu.backward"], 1e-5, gates),
  kernelCheck("rope", ["rope.rotate"], 1e-5, rotations),
  kernelCheck("cast bf16", ["cast.bf16_to_f32", "cast.f32_to_bf16"], 0, casts),
];
