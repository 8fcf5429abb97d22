/**
 * Checks of the LM head.
 *
 * @module
 */

import type { FloatType } from "../../tensor.ts";
import { lmHead, type LmHeadOptions } from "../lm_head.ts";
import * as reference from "../reference/mod.ts";
import { type Case, type KernelCheck, kernelCheck, near, plus } from "./check.ts";

/** One case of the LM head. */
export interface HeadCase extends LmHeadOptions {
  /** Rows, width, vocabulary. */
  readonly sizes: readonly [N: number, C: number, V: number];
  /** Which gradients arrive; both by default. */
  readonly gradients?: readonly ("logprob" | "entropy")[];
  /** How the table is stored where it is no parameter. */
  readonly frozen?: FloatType;
  /** Whether inputs hold gradients already. */
  readonly held?: boolean;
  /** Scale of x: a large one makes certain predictions. */
  readonly scale?: number;
}

const headCases: Readonly<Record<string, HeadCase>> = {
  "one row": { sizes: [1, 4, 4] },
  "one chunk": { sizes: [9, 12, 60] },
  "one chunk, beta 1, temperature 0.7": { sizes: [17, 8, 264], held: true, temperature: 0.7 },
  "one chunk, frozen table": { sizes: [9, 12, 132], frozen: "f32" },
  "one chunk, table of bf16": { sizes: [9, 12, 132], frozen: "bf16" },
  "four chunks": { sizes: [9, 16, 200], chunk: 64 },
  "two chunks, beta 1, temperature 2": {
    sizes: [70, 4, 132],
    chunk: 128,
    held: true,
    temperature: 2,
  },
  "three chunks, frozen table": { sizes: [5, 8, 192], chunk: 64, frozen: "f32" },
  "three chunks, table of bf16": { sizes: [5, 8, 192], chunk: 64, frozen: "bf16" },
  "four chunks, table of f16, beta 1": { sizes: [5, 8, 200], chunk: 64, frozen: "f16", held: true },
  "logprob alone": { sizes: [9, 12, 140], chunk: 64, gradients: ["logprob"] },
  "entropy alone": { sizes: [10, 12, 60], gradients: ["entropy"] },
  "a large vocabulary": { sizes: [2, 4, 140_000] },
  "logits of +-60": { sizes: [9, 12, 140], chunk: 64, scale: 20 },
  "capped logits": { sizes: [9, 12, 140], chunk: 64, scale: 5, cap: 3, held: true },
  "a padded table": { sizes: [9, 12, 140], chunk: 64, vocabulary: 137 },
  "a padded table in one chunk, capped": { sizes: [5, 8, 12], vocabulary: 9, cap: 2 },
};

/** The LM head through the tape. */
export function head(
  { sizes: [N, C, V], gradients = ["logprob", "entropy"], frozen, held, scale = 1, ...options }:
    HeadCase,
): Case {
  return (bench) => {
    const { temperature = 1, cap, vocabulary = V } = options;
    const shape = { N, C, V, vocabulary, ...(cap ? { cap } : {}) };
    const table = bench.stored([V, C], bench.random([V, C]), frozen ?? "f32");
    const values = { x: bench.random([N, C], scale), w: table.values };
    const ids = bench.integers(N, vocabulary);
    const seeds = { logprob: bench.random([N]), entropy: bench.random([N]) };
    const before = { x: bench.random([N, C]), w: bench.random([V, C]) };
    const x = bench.input([N, C], values.x);
    const trained = frozen ? null : bench.parameter([V, C], values.w);
    const w = trained ?? table.tensor;
    const targets = bench.tensor([N], ids);
    const result = lmHead(bench.forward, x, w, targets, options);
    const output = lmHead(bench.tape, x, w, targets, options);
    for (const name of gradients) bench.seed(output[name], seeds[name]);
    if (held) {
      bench.hold(x, before.x);
      if (trained) bench.hold(trained, before.w);
    }
    bench.tape.backward();
    const from = [values.x, values.w, ids, temperature] as const;
    const { logprob, entropy } = reference.lmHeadForward(...from, shape);
    const upstream = (["logprob", "entropy"] as const).map((name) =>
      gradients.includes(name) ? seeds[name] : new Float32Array(N)
    ) as [Float32Array, Float32Array];
    const { dx, dW } = reference.lmHeadBackward(...from, ...upstream, shape);
    return [
      // Near probability 1 both are differences of larger numbers: absolute below 1, relative above.
      near("logprob", result.logprob, logprob, 1),
      near("entropy", result.entropy, entropy, 1),
      near("dx", x.grad!, held ? plus(dx, before.x) : dx),
      ...(trained ? [near("dW", trained.grad!, held ? plus(dW, before.w) : dW)] : []),
    ];
  };
}

const heads: Record<string, Case> = {};
for (const [label, options] of Object.entries(headCases)) heads[label] = head(options);
heads["a certain target"] = (bench) => {
  const x = Float32Array.of(30, 0, 0, 0);
  const w = new Float32Array(16);
  w[0] = 1;
  const targets = bench.tensor([1], Uint32Array.of(0));
  const inputs = [bench.tensor([1, 4], x), bench.tensor([4, 4], w)] as const;
  const { logprob, entropy } = lmHead(bench.forward, ...inputs, targets);
  const expected = reference.lmHeadForward(x, w, [0], 1, { N: 1, C: 4, V: 4 });
  return [
    near("logprob", logprob, expected.logprob, 1),
    near("entropy", entropy, expected.entropy, 1),
  ];
};

/** The LM head, in one chunk of the vocabulary and in several. */
export const lmHeadChecks: readonly KernelCheck[] = [
  kernelCheck(
    "LM head",
    ["lm_head.accumulate", "lm_head.limit", "lm_head.finish", "lm_head.backward"],
    2e-5,
    heads,
  ),
];
