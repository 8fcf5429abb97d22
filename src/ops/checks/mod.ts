/**
 * Every kernel against its f64 reference, at awkward sizes: what `./mentor doctor` runs on the
 * user's machine and the tests run here.
 *
 * @module
 */

import { advantageChecks } from "./advantage.ts";
import { attentionChecks } from "./attention.ts";
import type { KernelCheck } from "./check.ts";
import { divergenceChecks } from "./divergence.ts";
import { elementwiseChecks } from "./elementwise.ts";
import { likeliestChecks } from "./likeliest.ts";
import { linearChecks } from "./linear.ts";
import { lmHeadChecks } from "./lm_head.ts";
import { loraChecks } from "./lora.ts";
import { lossChecks } from "./losses.ts";
import { optimizerChecks } from "./optimizer.ts";
import { preferenceChecks } from "./preference.ts";
import { rooflineChecks } from "./roofline.ts";
import { rowChecks } from "./rows.ts";
import { samplingChecks } from "./sampling.ts";
import { valueLossChecks } from "./value_loss.ts";

export type { CheckResult, KernelCheck } from "./check.ts";

/** One check per kernel, or per few kernels that only work together. */
export const kernelChecks: readonly KernelCheck[] = [
  ...linearChecks,
  ...elementwiseChecks,
  ...rowChecks,
  ...attentionChecks,
  ...lmHeadChecks,
  ...loraChecks,
  ...lossChecks,
  ...divergenceChecks,
  ...preferenceChecks,
  ...valueLossChecks,
  ...advantageChecks,
  ...optimizerChecks,
  ...samplingChecks,
  ...likeliestChecks,
  ...rooflineChecks,
];
