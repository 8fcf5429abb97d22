/**
 * What a run of a comparison took, and how it went, read off its events.
 *
 * @module
 */

import type { RunConfig } from "../config/mod.ts";
import type { RunEvent } from "../events.ts";
import type { ComparisonRun, CurvePoint } from "../report/comparison.ts";

/**
 * What a run took, and how it went.
 *
 * @param until the step whose model counts; the account ends there
 */
export function accountOf(
  config: RunConfig,
  events: readonly RunEvent[],
  until: number = config.steps,
): Omit<ComparisonRun, "arm" | "domains"> {
  const { seed, rollout, sft, method } = config;
  const counted = events.filter((event) => event.type === "run-start" || event.step <= until);
  const made = counted.filter((event) => event.type === "step");
  const imitates = method === "sft";
  const tokens = made.map(({ metrics }) =>
    (metrics.num_tokens ?? 0) * (metrics.epochs ?? epochsOf(config))
  );
  return {
    seed,
    seconds: counted.reduce((sum, event) => sum + secondsOf(event), 0),
    steps: until,
    prompts: made.length * (imitates ? sft.batch : rollout.prompts),
    optimizerTokens: tokens.reduce((sum, count) => sum + count, 0),
    curve: curveOf(counted, imitates ? 0 : rollout.prompts * rollout.group),
  };
}

/** How often a step goes over its tokens; PPO may end earlier, and says so. */
function epochsOf({ method, grpo, ppo, distill }: RunConfig): number {
  if (method === "grpo") return grpo.epochs;
  if (method === "ppo") return ppo.epochs;
  return method === "distill" ? distill.epochs : 1;
}

function secondsOf(event: RunEvent): number {
  return "timing" in event && event.type !== "run-end" ? event.timing?.seconds ?? 0 : 0;
}

/**
 * The evaluations of a run as a curve; means over domains, all of which have as many prompts.
 *
 * @param episodes sampled per step
 */
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
