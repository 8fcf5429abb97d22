/**
 * Checks of attention, over packed sequences and over the cache, and of the cache's upkeep.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { attention, type HeadSizes, segmentBounds } from "../attention.ts";
import { attentionDecode, forkCache, type LayerCache } from "../attention_decode.ts";
import * as reference from "../reference/mod.ts";
import { NONE } from "../sample.ts";
import {
  type Bench,
  type Case,
  type Comparison,
  equal,
  type KernelCheck,
  kernelCheck,
  near,
  plus,
  rootMeanSquare,
  same,
} from "./check.ts";

/**
 * Sequence lengths; query heads, key/value heads, head dimension; scale of q: large is peaked;
 * window.
 */
const packings: readonly (readonly [number[], number, number, number, number?, number?])[] = [
  [[1], 1, 1, 8],
  [[7], 2, 1, 16],
  [[8], 4, 4, 8],
  [[9], 4, 1, 64],
  [[1, 1, 1], 2, 2, 8],
  [[17, 1, 30, 2], 4, 2, 16],
  [[3, 70, 5], 2, 1, 8],
  [[64, 1, 64], 2, 2, 8],
  [[3, 18], 2, 1, 12],
  [[19], 1, 1, 20],
  [[40, 25], 2, 1, 16, 30],
  [[40, 25, 3], 2, 1, 8, 1, 1],
  [[40, 25, 3], 2, 1, 16, 1, 17],
  [[9], 2, 1, 128],
];

/**
 * Compares gradients that go through dP - delta. In a sequence of one token the two are equal, the
 * gradient is 0, and what is left is the rounding error of the terms, which are of size 0.1 and more.
 */
function difference(what: string, tensor: Tensor, expected: Float64Array): Comparison {
  return near(what, tensor, expected, Math.max(rootMeanSquare(expected), 0.1));
}

function packed(
  bench: Bench,
  lengths: readonly number[],
  sizes: HeadSizes,
  scale: number,
  window: number | null,
  held: readonly ("q" | "k" | "v")[],
): Comparison[] {
  const { heads, kvHeads, headDim, attentionScale } = sizes;
  const bounds = segmentBounds(lengths, window);
  const T = bounds.start.length;
  const shape = {
    T,
    H: heads,
    KV: kvHeads,
    D: headDim,
    ...(attentionScale === undefined ? {} : { scale: attentionScale }),
  };
  const [wide, narrow] = [[T, heads * headDim], [T, kvHeads * headDim]];
  const values = {
    q: bench.random(wide, scale),
    k: bench.random(narrow),
    v: bench.random(narrow),
  };
  const inputs = {
    q: bench.input(wide, values.q),
    k: bench.input(narrow, values.k),
    v: bench.input(narrow, values.v),
  };
  const segments = {
    start: bench.tensor([T], bounds.start),
    end: bench.tensor([T], bounds.end),
  };
  const { q, k, v } = inputs;
  const result = attention(bench.forward, q, k, v, segments, sizes);
  const y = attention(bench.tape, q, k, v, segments, sizes);
  const dy = bench.random(wide);
  bench.seed(y, dy);
  const before = { q: bench.random(wide), k: bench.random(narrow), v: bench.random(narrow) };
  for (const name of held) bench.hold(inputs[name], before[name]);
  bench.tape.backward();
  const from = [values.q, values.k, values.v, bounds.start] as const;
  const { dq, dk, dv } = reference.attentionBackward(...from, dy, shape);
  const added = (gradient: Float64Array, name: "q" | "k" | "v") =>
    held.includes(name) ? plus(gradient, before[name]) : gradient;
  return [
    near("y", result, reference.attentionForward(...from, shape).out),
    difference("dq", q.grad!, added(dq, "q")),
    difference("dk", k.grad!, added(dk, "k")),
    near("dv", v.grad!, added(dv, "v")),
  ];
}

const sequences: Record<string, Case> = {};
for (const [lengths, heads, kvHeads, headDim, scale = 1, window = null] of packings) {
  for (const held of [[], ["k"], ["q", "v"]] as const) {
    const label = `lengths ${lengths}, ${heads}/${kvHeads} heads of ${headDim}` +
      `${scale === 1 ? "" : `, scores x ${scale}`}${
        window ? `, window ${window}` : ""
      }, held gradients: ${held.join() || "none"}`;
    // Those with a window have a scale of their own as well.
    const sizes = { heads, kvHeads, headDim, ...(window ? { attentionScale: 0.2 } : {}) };
    sequences[label] = (bench) => packed(bench, lengths, sizes, scale, window, held);
  }
}

/** A cache of `slots` slots of `length` positions, full of random numbers. */
function randomCache(bench: Bench, slots: number, length: number, width: number) {
  const shape = [slots, length, width];
  const values = { k: bench.random(shape), v: bench.random(shape) };
  const cache: LayerCache = {
    k: bench.tensor(shape, values.k),
    v: bench.tensor(shape, values.v),
  };
  return { cache, values };
}

const decodes: Record<string, Case> = {};
for (
  const [heads, kvHeads, headDim, window, attentionScale] of [
    [1, 1, 8],
    [2, 1, 16],
    [4, 2, 8],
    [4, 4, 64],
    [2, 1, 256],
    [1, 1, 12],
    [2, 2, 40],
    [2, 1, 128, 33],
    [2, 1, 8, 1],
    [2, 1, 8, 33, 0.2],
  ] as const
) {
  const label = `${heads}/${kvHeads} heads of ${headDim}${window ? `, window ${window}` : ""}`;
  decodes[label] = (bench) => {
    const [slots, length] = [5, 150];
    const own = attentionScale ? { attentionScale } : {};
    const sizes = { heads, kvHeads, headDim, ...own };
    const { cache, values } = randomCache(bench, slots, length, kvHeads * headDim);
    // Lane and workgroup edges, the whole cache, two rows of one slot, rows to skip.
    const at = Uint32Array.of(0, 6, 7, 8, NONE, 63, 64, length - 1, 65, NONE);
    const owner = Uint32Array.of(4, 3, 0, 1, 2, 1, 2, 2, 4, 0);
    const R = at.length;
    const q = bench.random([R, heads * headDim], 3);
    const rows = { slots: bench.tensor([R], owner), positions: bench.tensor([R], at) };
    const queries = bench.tensor([R, heads * headDim], q);
    const y = attentionDecode(bench.forward, queries, cache, rows, sizes, window);
    const seen = at.map((position) => position === NONE ? 0 : position);
    const expected = reference.attentionDecode(q, values.k, values.v, owner, seen, {
      R,
      H: heads,
      KV: kvHeads,
      D: headDim,
      maxLength: length,
      ...(window ? { window } : {}),
      ...(attentionScale ? { scale: attentionScale } : {}),
    });
    at.forEach((position, r) => {
      if (position === NONE) expected.fill(0, r * heads * headDim, (r + 1) * heads * headDim);
    });
    return [near("y", y, expected)];
  };
}

/** Attends in pieces of a sequence that is in the cache, and returns what its rows attended to. */
function feed(
  bench: Bench,
  pieces: readonly number[],
  data: { q: Float32Array; k: Float32Array; v: Float32Array },
  slot: number,
): Tensor[] {
  const sizes = { heads: 2, kvHeads: 1, headDim: 8 };
  const { values } = randomCache(bench, 3, 80, 8);
  for (const name of ["k", "v"] as const) values[name].set(data[name], slot * 80 * 8);
  const cache = { k: bench.tensor([3, 80, 8], values.k), v: bench.tensor([3, 80, 8], values.v) };
  let first = 0;
  return pieces.map((n) => {
    const part = (values: Float32Array, width: number) =>
      bench.tensor([n, width], values.slice(first * width, (first + n) * width));
    const rows = {
      slots: bench.tensor([n], new Uint32Array(n).fill(slot)),
      positions: bench.tensor([n], Uint32Array.from({ length: n }, (_, i) => first + i)),
    };
    const y = attentionDecode(bench.forward, part(data.q, 16), cache, rows, sizes);
    first += n;
    return y;
  });
}

decodes["in pieces or at once, in any slot: the same bits"] = (bench) => {
  const T = 75;
  const data = { q: bench.random([T, 16]), k: bench.random([T, 8]), v: bench.random([T, 8]) };
  const whole = feed(bench, [T], data, 0);
  const pieces = feed(bench, [1, 7, 66, 1], data, 2);
  const shape = { T, H: 2, KV: 1, D: 8 };
  const { out } = reference.attentionForward(data.q, data.k, data.v, new Uint32Array(T), shape);
  return [near("y", whole[0]!, out), ...equal("same bits", whole, pieces)];
};

const forks: Record<string, Case> = {
  "one prompt to several slots, and another": (bench) => {
    const [length, width] = [80, 20];
    const { cache, values } = randomCache(bench, 6, length, width);
    const rows = [[0, 2, 77], [0, 5, 77], [1, 3, 1], [1, 4, length]] as const;
    const table = bench.tensor([rows.length, 3], Uint32Array.from(rows.flat()));
    forkCache(bench.gpu, cache, table, length);
    for (const [source, target, count] of rows) {
      for (const part of [values.k, values.v]) {
        const from = source * length * width;
        part.copyWithin(target * length * width, from, from + count * width);
      }
    }
    return [same("keys", cache.k, values.k), same("values", cache.v, values.v)];
  },
  "two slots that then decode alike": (bench) => {
    const { cache } = randomCache(bench, 2, 30, 8);
    forkCache(bench.gpu, cache, bench.tensor([1, 3], Uint32Array.of(1, 0, 20)), 20);
    const q = bench.random([1, 16]);
    const sizes = { heads: 2, kvHeads: 1, headDim: 8 };
    const decode = (slot: number) =>
      attentionDecode(bench.forward, bench.tensor([1, 16], q), cache, {
        slots: bench.tensor([1], Uint32Array.of(slot)),
        positions: bench.tensor([1], Uint32Array.of(19)),
      }, sizes);
    return equal("same bits", [decode(0)], [decode(1)]);
  },
};

/** Attention, and the key/value cache. */
export const attentionChecks: readonly KernelCheck[] = [
  kernelCheck(
    "attention",
    [
      "attention.forward",
      "attention_backward.delta_rows",
      "attention_backward.backward_q",
      "attention_backward.backward_kv",
      "attention_simd.forward",
      "attention_simd_backward.backward_q",
      "attention_simd_backward.backward_kv",
    ],
    5e-5,
    sequences,
  ),
  kernelCheck(
    "attention over cache",
    ["attention_decode.forward", "attention_decode_simd.forward"],
    2e-5,
    decodes,
  ),
  kernelCheck("fork cache", ["kv_cache.fork"], 0, forks),
];
