/**
 * What a run of a comparison took, and how it went, read off its events.
 *
 * @module
 */

import type { RunConfig } from "../config.ts";
import type { RunEvent } from "../events.ts";
import type { ComparisonRun, CurvePoint } from "../report/comparison.ts";

/** What a run took, and how it went. */
export function accountOf(
  { seed, steps, rollout, sft, method }: RunConfig,
  events: readonly RunEvent[],
): Omit<ComparisonRun, "arm" | "domains"> {
  const made = events.filter((event) => event.type === "step");
  const perStep = method === "sft" ? sft.batch : rollout.prompts;
  const episodes = method === "sft" ? sft.batch : rollout.prompts * rollout.group;
  return {
    seed,
    seconds: events.reduce(
      (sum, event) => sum + (event.type === "run-end" ? 0 : secondsOf(event)),
      0,
    ),
    steps,
    prompts: made.length * perStep,
    optimizerTokens: made.reduce((sum, { metrics }) => sum + (metrics.num_tokens ?? 0), 0),
    curve: curveOf(events, episodes),
  };
}

function secondsOf(event: RunEvent): number {
  return "timing" in event ? event.timing?.seconds ?? 0 : 0;
}

/** The evaluations of a run as a curve; means over domains, all of which have as many prompts. */
function curveOf(events: readonly RunEvent[], episodes: number): CurvePoint[] {
  return events.filter((event) => event.type === "eval").map(({ step, domains }) => {
    const mean = (held: boolean) => {
      const own = domains.filter(({ split }) => (split !== "train") === held);
      return own.reduce((sum, { pass1 }) => sum + (pass1 as number), 0) / own.length;
    };
    const reward = events.find((event) => event.type === "step" && event.step === step) as
      | Extract<RunEvent, { type: "step" }>
      | undefined;
    return {
      step,
      rollouts: step * episodes,
      pass1: { train: mean(false), "held-out": mean(true) },
      reward: reward?.metrics.reward ?? null,
    };
  });
}
