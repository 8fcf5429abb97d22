/**
 * Cases of more than 65,535 workgroups, which are numbered in two dimensions. They are cheap only
 * where a workgroup is one lane, so they are for tests with such a tuning, not for `doctor`.
 *
 * @module
 */

import { type Tuning, tunings } from "../../gpu/tuning.ts";
import { type KernelCheck, kernelCheck } from "./check.ts";
import { divergenceCase } from "./divergence.ts";
import { accumulation, casting, clearing, gate, rotation } from "./elementwise.ts";
import { head } from "./lm_head.ts";
import { likelihood, surrogate } from "./losses.ts";
import { updates } from "./optimizer.ts";
import { preferenceCase } from "./preference.ts";
import { lookup, norm, selection } from "./rows.ts";

/** One lane per workgroup. */
export const narrowTuning: Tuning = { ...tunings.software, lanes: 1, wide: 1, partialRows: 64 };

/** One more than fit in one dimension. */
const N = 65_537;

/** Every kernel whose workgroups grow with the number of tokens or weights. */
export const foldedChecks: readonly KernelCheck[] = [
  kernelCheck("folded grids", [], 5e-5, {
    "accumulate": accumulation(4 * N, 1),
    "clear": clearing(4 * N),
    "gated activation": gate(N, 4, true),
    "rope": rotation(N, { heads: 1, kvHeads: 1, headDim: 8 }, true),
    "cast": casting(2 * N),
    "embedding": lookup(N, N, 4, true),
    "select": selection(N, N, 4, true),
    "rmsnorm": norm(N, 4, true),
    "LM head": head({ sizes: [N, 4, 4], held: true }),
    "NLL loss": likelihood(N),
    "policy loss": surrogate(N, { klCoefficient: 0.05 }, "sequence"),
    "divergence": divergenceCase({ sizes: [N, 4, 4, 4], held: true }),
    "preference loss": preferenceCase(Array(2 * N).fill(1), { beta: 0.3, labelSmoothing: 0.1 }),
    "AdamW": updates(1, 0.1, [[N, 4]]),
  }),
];
