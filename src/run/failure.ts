/**
 * What the error that ends a run says of what is left to go on from.
 *
 * @module
 */

import { LogitsError } from "../model/decode_slots.ts";
import { DivergedError } from "../rl/learner.ts";
import { ToolUnavailableError } from "../tools/tool.ts";
import type { RunFolder } from "./store.ts";

/** The same error, or one that says more. @param step the one under way */
export function explainFailure(error: Error, step: number, folder: RunFolder): Error {
  const last = folder.checkpoints().at(-1);
  if (error instanceof DivergedError || error instanceof LogitsError) {
    const kept = last === undefined
      ? "no checkpoint was due yet"
      : `the last good checkpoint is "${folder.checkpoint(last)}"`;
    return new DivergedError(`Step ${step}: ${error.message}; ${kept}`, { cause: error });
  }
  if (error instanceof ToolUnavailableError) {
    const rest = last === undefined
      ? "No step was kept: see to it that the tool can be had, and start again"
      : `Once the tool can be had again, go on with --resume ${folder.path}`;
    const { permanent } = error;
    return new ToolUnavailableError(`${error.message}. ${rest}`, { cause: error, permanent });
  }
  return error;
}
