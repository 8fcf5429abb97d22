/**
 * The works that are one operation each: their sizes, inputs and costs, how often they are repeated,
 * and what of them is compared.
 *
 * Forward and backward together are a pass. All passes of a repetition but those of `adamw` have
 * the same inputs, so that a contender may make as many as suit its speed.
 *
 * @module
 */

/** Names of these works. */
export const operations = ["rmsnorm", "attention", "lmhead", "adamw"] as const;

/** One of them. */
export type Operation = typeof operations[number];

/** y = x / rms(x) * w; from dy: dx, dw. */
export const rmsnormSizes = { rows: 4096, width: 256, eps: 1e-5 } as const;

/** y = softmax(q k^T / sqrt(headDim)) v, causal; from dy: dq, dk, dv. */
export const attentionSizes = { batch: 8, length: 128, heads: 4, headDim: 64 } as const;

/** Mean NLL of targets under softmax(x w^T); dx, dw. */
export const lmheadSizes = { rows: 1024, width: 256, vocabulary: 8192 } as const;

/** Updates with two gradients by turns; as many in each repetition, since each goes on from the last. */
export const adamwSizes = { rows: 4096, columns: 1024, updates: 16 } as const;

/** What a pass costs at least, in bytes or floating-point operations, and its sizes for people. */
export function operationCost(
  operation: Operation,
): { shape: string; unit: "GB/s" | "GFLOP/s"; amount: number } {
  switch (operation) {
    case "rmsnorm": {
      // Forward reads x and writes y; backward reads x and dy and writes dx. The weights are small.
      const { rows, width } = rmsnormSizes;
      return { shape: `${rows} x ${width}, f32`, unit: "GB/s", amount: 5 * 4 * rows * width };
    }
    case "attention": {
      // q k^T and p v; p^T dy, dy v^T, ds k and ds^T q, each a multiply-add per position of a head
      // and pair of tokens that the mask leaves. Scores that are computed again do not count.
      const { batch, length, heads, headDim } = attentionSizes;
      const pairs = batch * heads * length * (length + 1) / 2;
      const shape = `${batch} x ${length} tokens, ${heads} x ${headDim}`;
      return { shape, unit: "GFLOP/s", amount: 6 * 2 * headDim * pairs };
    }
    case "lmhead": {
      // The logits, dx and dw are products; the softmax between them does not count.
      const { rows, width, vocabulary } = lmheadSizes;
      const shape = `${rows} x ${width}, ${vocabulary} tokens`;
      return { shape, unit: "GFLOP/s", amount: 3 * 2 * rows * width * vocabulary };
    }
    case "adamw": {
      // Reads the weight, its gradient and both moments; writes all but the gradient.
      const { rows, columns } = adamwSizes;
      return { shape: `${rows} x ${columns}, f32`, unit: "GB/s", amount: 7 * 4 * rows * columns };
    }
  }
}

/** x and dy [rows, width], w [width]. */
export function rmsnormInputs() {
  const { rows, width } = rmsnormSizes;
  const [x, w, dy] = uniforms(1, [rows * width, 1], [width, 1], [rows * width, 1]);
  return { x: x!, w: w!, dy: dy! };
}

/** q, k, v and dy [batch, length, heads, headDim]; q is long enough for scores of all sizes. */
export function attentionInputs() {
  const { batch, length, heads, headDim } = attentionSizes;
  const size = batch * length * heads * headDim;
  const [q, k, v, dy] = uniforms(1, [size, 8], [size, 1], [size, 1], [size, 1]);
  return { q: q!, k: k!, v: v!, dy: dy! };
}

/** x [rows, width] and w [vocabulary, width], for logits of variance 1; targets [rows]. */
export function lmheadInputs() {
  const { rows, width, vocabulary } = lmheadSizes;
  const unit = Math.sqrt(12);
  const [x, w, t] = uniforms(
    1,
    [rows * width, unit],
    [vocabulary * width, unit / Math.sqrt(width)],
    [rows, 1],
  );
  return { x: x!, w: w!, targets: Int32Array.from(t!, (u) => Math.floor((u + 0.5) * vocabulary)) };
}

/** The weight, and the two gradients that it gets by turns; [rows, columns] each. */
export function adamwInputs() {
  const size = adamwSizes.rows * adamwSizes.columns;
  const [w, even, odd] = uniforms(1, [size, 1], [size, 1], [size, 1]);
  return { w: w!, gradients: [even!, odd!] as const };
}

/**
 * The factors of `matmul`: n x n of uniform numbers in +-0.5, the same for every contender.
 *
 * `w` is scaled so that a product of it keeps its length on average: chains stay finite.
 */
export function matmulFactors(n: number) {
  const [y, w] = uniforms(1, [n * n, 1], [n * n, Math.sqrt(12 / n)]);
  return { y: y!, w: w! };
}

/**
 * Products in one timed repetition: about 17 GFLOP, so that the 10 ms and more which Deno takes to
 * read anything back hardly count.
 */
export function matmulChain(n: number): number {
  return Math.max(1, Math.round(8 * (1024 / n) ** 3));
}

/** [how many, factor]: numbers in +-factor / 2. All arrays come from one stream, one after another. */
function uniforms(
  seed: number,
  ...wanted: readonly (readonly [count: number, factor: number])[]
): Float32Array<ArrayBuffer>[] {
  let state = seed;
  return wanted.map(([length, factor]) =>
    Float32Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 32 - 0.5) * factor;
    })
  );
}

/**
 * One number that differs wherever any tensor does: the product of each one's dot product with
 * random numbers. A relative error in one of them is as large in the product, however small the
 * tensor is beside the others.
 */
export function checksum(...tensors: readonly ArrayLike<number>[]): number {
  const longest = Math.max(...tensors.map(({ length }) => length));
  const [random] = uniforms(2, [longest, 1]);
  let product = 1;
  for (const tensor of tensors) {
    let dot = 0;
    for (let i = 0; i < tensor.length; i++) dot += tensor[i]! * random![i]!;
    product *= dot;
  }
  return product;
}

/** How far `now` is from where it began; both may be just the first part of a tensor. */
export function change(now: Float32Array, begin: Float32Array): Float32Array {
  return now.map((value, i) => value - begin[i]!);
}

/** A repetition should take so long, in ms, that the 11 ms of a read-back in Deno hardly count. */
const REPETITION_MS = 400;

/** How many passes take about 400 ms, when warm; a slow contender makes one. */
export async function howMany(passes: (count: number) => Promise<unknown>): Promise<number> {
  await passes(1);
  for (let count = 1;; count *= 2) {
    const begin = performance.now();
    await passes(count);
    const ms = performance.now() - begin;
    if (ms > REPETITION_MS / 2) return Math.ceil(count * REPETITION_MS / ms);
  }
}
