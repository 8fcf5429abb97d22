/**
 * Checks of the kernels that measure what the adapter can do.
 *
 * @module
 */

import { copy, multiplyAdd } from "../roofline.ts";
import { type Case, type KernelCheck, kernelCheck, same } from "./check.ts";

const cases: Record<string, Case> = {};
for (const count of [4, 1020, 1028, 70_000]) {
  cases[`a copy of ${count} elements and no more`] = (bench) => {
    const values = bench.random([count + 8]);
    const before = bench.random([count + 8]);
    const y = bench.tensor([count + 8], before);
    copy(bench.gpu, bench.tensor([count + 8], values), y, count);
    return [same("y", y, before.map((v, i) => i < count ? values[i]! : v))];
  };
}
for (const lanes of [1, 7, 300]) {
  cases[`multiply-adds in ${lanes} lanes converge`] = (bench) => {
    const y = bench.tensor([lanes + 2, 4], new Float32Array(4 * lanes + 8));
    multiplyAdd(bench.gpu, y, lanes, 20);
    const expected = Float32Array.from({ length: 4 * lanes + 8 }, (_, i) => i < 4 * lanes ? 4 : 0);
    return [same("y", y, expected)];
  };
}

/** What bounds the others. */
export const rooflineChecks: readonly KernelCheck[] = [
  kernelCheck("roofline", ["roofline.copy", "roofline.multiply_add"], 0, cases),
];
