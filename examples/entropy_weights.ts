/**
 * A reward whose terms are weighed by how much they tell (the entropy-weight method, as OSS Mentor
 * weighs what developers do): a term that is the same for every episode of a step weighs nothing,
 * one that few episodes have weighs most, and the weights change as the student does.
 *
 * @module
 */

import { type RunResult, train, type TrainOptions } from "../mod.ts";

/** The weights of the terms, step by step. */
export type WeightHistory = Record<string, number>[];

export async function trainByEntropyWeights(
  settings: Record<string, unknown> = {},
  options: TrainOptions = {},
): Promise<{ result: RunResult; history: WeightHistory }> {
  const history: WeightHistory = [];
  const config = { ...settings, grpo: { weighting: "entropy" } };
  const result = await train(config, {
    ...options,
    onEvent(event) {
      options.onEvent?.(event);
      if (event.type !== "step" || event.method !== "grpo") return;
      const weights = Object.entries(event.metrics).flatMap(([name, value]) =>
        name.startsWith("term_weights/") ? [[name.slice("term_weights/".length), value]] : []
      );
      history.push(Object.fromEntries(weights));
    },
  });
  return { result, history };
}

if (import.meta.main) {
  const { result, history } = await trainByEntropyWeights({ steps: 40 });
  console.table(history);
  console.table(result.domains.map(({ name, split, before, after }) => ({
    domain: `${name}, ${split}`,
    before: before.pass1,
    after: after.pass1,
  })));
}
