/**
 * Checks of the kernels that give each lane a few elements: sums, activations, rotary embedding,
 * cast.
 *
 * @module
 */

import { Tensor } from "../../tensor.ts";
import { add } from "../add.ts";
import type { HeadSizes } from "../attention.ts";
import { bf16ToF32, f32ToBf16 } from "../cast.ts";
import { activate, type Activation, glu } from "../glu.ts";
import { elementwise } from "../launch.ts";
import * as reference from "../reference/mod.ts";
import { rope, ropeTable, ropeToCache } from "../rope.ts";
import { NONE } from "../sample.ts";
import { selectRows } from "../select.ts";
import {
  type Bench,
  bf16Bits,
  type Case,
  type Comparison,
  equal,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
  same,
} from "./check.ts";

/** A gated activation of rows of gates and ups. */
function gating(
  bench: Bench,
  activation: Activation,
  rows: number,
  gates: Float32Array,
  ups: Float32Array,
  held: boolean,
): Comparison[] {
  const width = gates.length / rows;
  /** Side by side in each row. */
  const joined = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Float32Array.from({ length: 2 * rows * width }, (_, i) => {
      const [row, column] = [Math.floor(i / (2 * width)), i % (2 * width)];
      return column < width ? a[row * width + column]! : b[row * width + column - width]!;
    });
  const shape = [rows, 2 * width];
  const x = bench.input(shape, joined(gates, ups));
  const result = glu(bench.forward, x, activation);
  const y = glu(bench.tape, x, activation);
  const [dy, before] = [bench.random([rows, width]), bench.random(shape)];
  bench.seed(y, dy);
  if (held) bench.hold(x, before);
  bench.tape.backward();
  const { dgate, dup } = reference.gluBackward(gates, ups, dy, activation);
  const dx = joined(dgate, dup);
  return [
    near("y", result, reference.gluForward(gates, ups, activation)),
    near("dx", x.grad!, held ? plus(dx, before) : dx),
  ];
}

/** A gated activation on random numbers. */
export function gate(
  rows: number,
  width: number,
  held: boolean,
  activation: Activation = "silu",
): Case {
  return (bench) => {
    const [gates, ups] = [bench.random([rows, width], 4), bench.random([rows, width], 4)];
    return gating(bench, activation, rows, gates, ups, held);
  };
}

/** An activation without a gate. */
function activation(bench: Bench, name: Activation, values: Float32Array, held: boolean) {
  const shape = [1, values.length];
  const x = bench.input(shape, values);
  const result = activate(bench.forward, x, name);
  const y = activate(bench.tape, x, name);
  const [dy, before] = [bench.random(shape), bench.random(shape)];
  bench.seed(y, dy);
  if (held) bench.hold(x, before);
  bench.tape.backward();
  const dx = reference.activationBackward(values, dy, name);
  return [
    near("y", result, reference.activationForward(values, name)),
    near("dx", x.grad!, held ? plus(dx, before) : dx),
  ];
}

/** y = a + b of one size, and their gradients. */
function addition(bench: Bench, count: number, held: boolean): Comparison[] {
  const [va, vb, dy] = [bench.random([count]), bench.random([count]), bench.random([count])];
  const [a, b] = [bench.input([count], va), bench.input([count], vb)];
  const result = add(bench.forward, a, b);
  const y = add(bench.tape, a, b);
  const before = bench.random([count]);
  bench.seed(y, dy);
  if (held) { for (const x of [a, b]) bench.hold(x, before); }
  bench.tape.backward();
  const expected = held ? plus(dy, before) : dy;
  return [
    near("y", result, plus(va, vb)),
    near("da", a.grad!, expected),
    near("db", b.grad!, expected),
  ];
}

/** y = a + beta y on the first `count` elements and no others. */
export function accumulation(count: number, beta: number): Case {
  return (bench) => {
    const [a, before] = [bench.random([count + 8]), bench.random([count + 8])];
    const y = bench.tensor([count + 8], before);
    const x = bench.tensor([count + 8], a);
    elementwise(bench.gpu, "add", "accumulate", count / 4, { a: x, y }, { count, beta });
    return [near("y", y, before.map((v, i) => i < count ? a[i]! + beta * v : v))];
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

/** Queries, keys and values of T tokens at positions up to 1,099, and what they should become. */
function projection(bench: Bench, T: number, sizes: HeadSizes, R: number) {
  const { heads, kvHeads, headDim: D } = sizes;
  const theta = 10_000;
  const length = 1100;
  const at = bench.integers(T, length);
  at[T - 1] = length - 1;
  const magnitude = R === D ? 1 : 1.2;
  const frequencies = Float64Array.from({ length: R / 2 }, (_, i) => theta ** (-2 * i / R));
  const table = ropeTable(bench.gpu, length, frequencies, magnitude);
  bench.defer(() => bench.gpu.free([table.cosines.buffer, table.sines.buffer]));
  const widths = [heads * D, kvHeads * D, kvHeads * D];
  const [q, k, v] = widths.map((width) => bench.random([T, width]));
  const heights = { q: { H: heads, D, R, magnitude }, k: { H: kvHeads, D, R, magnitude } };
  return {
    table,
    at,
    qkv: beside(T, [q!, k!, v!]),
    rotated: {
      q: reference.ropeForward(q!, at, theta, heights.q),
      k: reference.ropeForward(k!, at, theta, heights.k),
      v: v!,
    },
    /** dqkv of the parts' gradients. */
    backward: (dq: Float32Array, dk: Float32Array, dv: Float32Array) =>
      beside(T, [
        reference.ropeBackward(dq, at, theta, heights.q),
        reference.ropeBackward(dk, at, theta, heights.k),
        dv,
      ]),
  };
}

/** Matrices of T rows side by side. */
function beside(T: number, parts: readonly ArrayLike<number>[]): Float32Array {
  const rows = Array.from(
    { length: T },
    (_, t) =>
      parts.flatMap((part) => {
        const width = part.length / T;
        return Array.from({ length: width }, (_, i) => part[t * width + i]!);
      }),
  );
  return Float32Array.from(rows.flat());
}

/** Parts and rotates T tokens. */
export function rotation(
  T: number,
  sizes: HeadSizes,
  held: boolean,
  rotatedDims = sizes.headDim,
): Case {
  return (bench) => {
    const { table, at, qkv, rotated, backward } = projection(bench, T, sizes, rotatedDims);
    const shape = [T, qkv.length / T];
    const before = bench.random(shape);
    const positions = bench.tensor([T], at);
    const x = bench.input(shape, qkv);
    const result = rope(bench.forward, x, positions, table, sizes);
    const parts = rope(bench.tape, x, positions, table, sizes);
    const [dq, dk, dv] = [parts.q, parts.k, parts.v].map((part) => {
      const gradient = bench.random(part.shape);
      bench.seed(part, gradient);
      return gradient;
    });
    if (held) bench.hold(x, before);
    bench.tape.backward();
    const dx = backward(dq!, dk!, dv!);
    return [
      near("q", result.q, rotated.q),
      near("k", result.k, rotated.k),
      same("v", result.v, rotated.v),
      near("dqkv", x.grad!, held ? plus(dx, before) : dx),
    ];
  };
}

/** The same into a cache, every seventh row skipped: the bits of `rope`, at the right places. */
export function cachedRotation(
  T: number,
  sizes: HeadSizes,
  rotatedDims = sizes.headDim,
): Case {
  return (bench) => {
    const { table, at, qkv } = projection(bench, T, sizes, rotatedDims);
    const { heads, kvHeads, headDim: D } = sizes;
    const length = 1100;
    const [slots, width] = [4, kvHeads * D];
    const x = bench.tensor([T, qkv.length / T], qkv);
    // Rows of one slot are at places of their own.
    const owner = Uint32Array.from(at, (_, t) => t % slots);
    const free = [0, 1, 2, 3].map(() => new Set<number>());
    at.forEach((position, t) => {
      const taken = free[owner[t]!]!;
      while (taken.has(position)) position = (position + 1) % length;
      taken.add(at[t] = position);
    });
    const positions = bench.tensor([T], at);
    const { q, k, v } = rope(bench.forward, x, positions, table, sizes);
    // Idle, or past the end of the cache.
    const kept = at.map((position, t) => t % 7 === 3 ? (t % 2 === 0 ? NONE : length) : position);
    const cache = {
      k: bench.tensor([slots, length, width], new Float32Array(slots * length * width)),
      v: bench.tensor([slots, length, width], new Float32Array(slots * length * width)),
    };
    const into = ropeToCache(bench.forward, x, table, sizes, cache, {
      slots: bench.tensor([T], owner),
      positions: bench.tensor([T], kept),
    });
    const places = [...kept.keys()].filter((t) => kept[t]! < length);
    const rows = (tensor: Tensor, width: number, of: (t: number) => number): Tensor =>
      gatherRows(bench, tensor, width, places.map(of));
    const own = (t: number) => t;
    const cached = (t: number) => owner[t]! * length + kept[t]!;
    return [
      ...equal("queries", [rows(q, heads * D, own)], [rows(into, heads * D, own)]),
      ...equal("keys", [rows(k, width, own)], [rows(cache.k, width, cached)]),
      ...equal("values", [rows(v, width, own)], [rows(cache.v, width, cached)]),
      untouched("other keys", cache.k, width, places.map(cached)),
      untouched("other values", cache.v, width, places.map(cached)),
    ];
  };
}

/** Some rows of a matrix, in a tensor of their own. */
function gatherRows(bench: Bench, tensor: Tensor, width: number, rows: number[]): Tensor {
  const source = new Tensor(tensor.buffer, [tensor.size / width, width], "f32", "rows");
  return selectRows(bench.forward, source, Uint32Array.from(rows));
}

/** Fails if a row of a matrix of zeros other than `rows` was written. */
function untouched(what: string, tensor: Tensor, width: number, rows: number[]): Comparison {
  const written = new Set(rows);
  return {
    what,
    tensor,
    error: (content) =>
      new Float32Array(content).every((v, i) => v === 0 || written.has(Math.floor(i / width)))
        ? 0
        : Infinity,
  };
}

/** Ties in both directions, signs, zeros, the largest and smallest numbers, infinities. */
const awkwardFloats = Float32Array.from([
  ...[0, -0, 1, -1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 65504, -1e-3],
  ...[3.4028234e38, -3.4028234e38, 1.17549435e-38, Infinity, -Infinity],
]);

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

const accumulations: Record<string, Case> = {};
const gates: Record<string, Case> = {
  // exp() overflows at one end and vanishes at the other.
  "gates of +-100": (bench) => {
    const gates = Float32Array.of(-100, -95, -20, 0, 20, 80, 95, 100);
    return gating(bench, "silu", 1, gates, bench.random([8]), false);
  },
};
const activations: Record<string, Case> = {
  "GELU of +-100": (bench) =>
    activation(bench, "gelu", Float32Array.of(-100, -10, -3, 0, 1e-3, 3, 10, 100), false),
};
const additions: Record<string, Case> = {};
const clears: Record<string, Case> = {};
// One vec4, the edges of a 256-lane workgroup of vec4s, several workgroups.
for (const count of [4, 1020, 1024, 1028, 5004]) {
  for (const beta of [0, 1]) {
    accumulations[`${count} of ${count + 8} elements, beta ${beta}`] = accumulation(count, beta);
  }
  clears[`${count} of ${count + 8} elements`] = clearing(count);
}
for (const [rows, width] of [[1, 4], [3, 340], [1, 1024], [257, 4], [9, 556]] as const) {
  for (const held of [false, true]) {
    const label = `${rows} x ${width}, beta ${held ? 1 : 0}`;
    gates[`SiLU, ${label}`] = gate(rows, width, held, "silu");
    gates[`GELU, ${label}`] = gate(rows, width, held, "gelu");
    for (const name of ["silu", "gelu"] as const) {
      activations[`${name}, ${label}`] = (bench) =>
        activation(bench, name, bench.random([rows * width], 4), held);
    }
    additions[label] = (bench) => addition(bench, rows * width, held);
  }
}

const rotations: Record<string, Case> = {};
const cachedRotations: Record<string, Case> = {};
for (const [T, heads, kvHeads, D] of [[1, 1, 1, 8], [7, 3, 1, 16], [9, 4, 2, 64], [130, 2, 2, 8]]) {
  const sizes = { heads: heads!, kvHeads: kvHeads!, headDim: D! };
  const label = `T ${T}, ${heads}/${kvHeads} heads of ${D}`;
  for (const held of [false, true]) {
    rotations[`${label}, beta ${held ? 1 : 0}`] = rotation(T!, sizes, held);
  }
  cachedRotations[label] = cachedRotation(T!, sizes);
}
// A part of each head, or nothing.
for (const [T, heads, kvHeads, D, R] of [[9, 3, 1, 32, 8], [9, 2, 1, 24, 16], [5, 2, 2, 8, 0]]) {
  const sizes = { heads: heads!, kvHeads: kvHeads!, headDim: D! };
  const label = `T ${T}, ${heads}/${kvHeads} heads of ${D}, ${R} rotated`;
  rotations[label] = rotation(T!, sizes, true, R!);
  cachedRotations[label] = cachedRotation(T!, sizes, R!);
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
  kernelCheck("accumulate", ["add.accumulate"], 1e-6, accumulations),
  kernelCheck("clear", ["add.clear"], 0, clears),
  kernelCheck("gated activation", ["glu.forward", "glu.backward"], 1e-5, gates),
  kernelCheck("activation", ["glu.plain_forward", "glu.plain_backward"], 1e-5, activations),
  kernelCheck("add", ["add.sum"], 1e-6, additions),
  kernelCheck("rope", ["rope.split", "rope.join"], 1e-5, rotations),
  kernelCheck("rope into the cache", ["rope.split_to_cache"], 0, cachedRotations),
  kernelCheck("cast bf16", ["cast.bf16_to_f32", "cast.f32_to_bf16"], 0, casts),
];
