/**
 * Loads models to serve.
 *
 * @module
 */

import { Generator } from "../../model/generator.ts";
import { openAdapter } from "../../run/adapter.ts";
import type { RunConfig } from "../../run/config/mod.ts";
import { loadStudent } from "../../run/student.ts";
import type { ServedModel } from "./engine.ts";

/** What a model is served with; memory is fixed by it. */
export interface ServingOptions extends Pick<RunConfig, "tuning" | "dtype" | "chat"> {
  /** Sequences at a time. */
  readonly slots: number;
  /** Longest sequence in tokens; shorter where the model's own context is. */
  readonly context: number;
}

/**
 * Loads a model onto a device of its own, so that one that was lost leaves nothing behind.
 *
 * @throws {CheckpointError} if a file is missing or damaged.
 * @throws {GpuUnavailableError} if no adapter will do.
 */
export async function loadServed(path: string, options: ServingOptions): Promise<ServedModel> {
  using opened = new DisposableStack();
  const gpu = opened.adopt(await openAdapter(options), (gpu) => gpu.close());
  const { dtype, chat, slots, context } = options;
  const student = opened.use(await loadStudent(gpu, path, { dtype, chat }));
  const { vocabSize, maxPositions } = student.model.config;
  const length = Math.min(context, maxPositions);
  const generator = opened.use(
    new Generator(student.model, { slots, length, stops: student.chat.stops }),
  );
  const { tokenizer } = student;
  const held = opened.move();
  return {
    ...{ tokenizer, chat: student.chat, vocabSize, length, generator },
    [Symbol.dispose]: () => held.dispose(),
  };
}
