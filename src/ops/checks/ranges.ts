/**
 * Cases of matrices larger than the device sees at once, which are worked on range by range. They
 * are cheap only where it sees little, so they are for tests with such a device, not for `doctor`.
 *
 * @module
 */

import { type KernelCheck, kernelCheck } from "./check.ts";
import { divergenceCase } from "./divergence.ts";
import { head } from "./lm_head.ts";
import { added, product } from "./linear.ts";
import { updates } from "./optimizer.ts";
import { frozenLookup, lookup } from "./rows.ts";

/** What such a device sees of a buffer, in bytes: less than every large matrix below. */
export const smallBinding = 2 ** 17;

/** Everything that meets a vocabulary table, or another large matrix. */
export const rangeChecks: readonly KernelCheck[] = [
  kernelCheck("ranges", [], 5e-5, {
    "nt, all in ranges": product("nt", [700, 500, 68], 0),
    "nt, A in ranges, beta 1": product("nt", [530, 12, 132], 1),
    "nt, all in ranges, with an addend": added(520, 508, 76),
    "nn, B in ranges": product("nn", [9, 72, 1000], 0),
    "nn, all in ranges, beta 1": product("nn", [700, 68, 500], 1),
    "tn, A and B in ranges": product("tn", [68, 76, 517], 0),
    "tn, all in ranges, beta 1": product("tn", [500, 72, 517], 1),
    "nt, bf16 in ranges": product("nt", [20, 1000, 76], 0, "bf16"),
    "nn, bf16 in ranges": product("nn", [9, 76, 1000], 1, "bf16"),
    "embedding of bf16": frozenLookup(100, 1000, 68, "bf16"),
    "LM head, table of f16": head({ sizes: [30, 132, 600], frozen: "f16" }),
    "embedding": lookup(300, 1000, 68, false),
    "embedding, beta 1": lookup(50, 700, 100, true),
    "LM head, one chunk of several ranges": head({ sizes: [3, 68, 1000] }),
    "LM head, several chunks": head({ sizes: [400, 76, 560] }),
    "LM head, beta 1": head({ sizes: [30, 132, 300], held: true, chunk: 64 }),
    "LM head, beta 1, one chunk of several ranges": head({ sizes: [3, 76, 520], held: true }),
    "divergence, one chunk of several ranges": divergenceCase({ sizes: [3, 68, 76, 1000] }),
    "divergence, several chunks": divergenceCase({ sizes: [400, 76, 12, 560], teacher: "f16" }),
    "AdamW": updates(1, 0.1, [[5, 4], [1000, 72], [33, 1024]]),
  }),
];
