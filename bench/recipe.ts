/**
 * A GRPO step of the embedded recipe, and what its parts take.
 *
 *     deno run -A bench/main.ts step
 *
 * @module
 */

import { train } from "../mod.ts";
import type { StepEvent } from "../mod.ts";
import type { BenchRow } from "./report.ts";
import { median, spread } from "./statistics.ts";

/** Steps that are run, the first of which compiles and does not count. */
const STEPS = 12;

/** Which part of an update a kernel belongs to; what is in none of them is the forward pass. */
const BACKWARD = /backward|\.join$|matmul\w*\.(nn|tn)$|fold_rows|add\./;
const OPTIMIZER = /^adamw|sum_squares|clip_norm/;

/**
 * Trains from the embedded base for a few steps, twice: undisturbed, and with timestamps of every
 * kernel.
 *
 * @returns rows of a whole step, of its phases on the host's clock, and of its GPU time
 */
export async function recipe(
  { onProgress }: { onProgress?: (done: number, total: number, what: string) => void } = {},
): Promise<BenchRow[]> {
  const shape = "embedded recipe, 16 prompts x 8 episodes";
  let done = 0;
  const run = async (detail: "submits" | "kernels") => {
    const folder = await Deno.makeTempDir({ prefix: "mentor-bench-" });
    const steps: StepEvent[] = [];
    try {
      const result = await train({
        steps: STEPS,
        evaluation: { prompts: 0 },
        out: `${folder}/run`,
      }, {
        profile: detail,
        onEvent(event) {
          if (event.type !== "step") return;
          steps.push(event);
          onProgress?.(++done, 2 * STEPS, detail);
        },
      });
      return { steps: steps.slice(1), profile: result.profile! };
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  const { steps, profile } = await run("submits");
  const whole = steps.map(({ timing }) => 1000 * timing!.seconds);
  const row = (work: string, times: readonly number[]): BenchRow => ({
    work,
    shape,
    contender: "mentor",
    medianMs: median(times),
    spread: spread(times),
    rate: 1000 / median(times),
    unit: "steps/s",
    ratioToMentor: 1,
    limit: null,
  });
  const part = (name: string) => steps.map(({ timing }) => 1000 * timing![name]!);
  const rollout = part("rollout");
  const update = part("update");
  const rest = whole.map((ms, i) => ms - rollout[i]! - update[i]!);
  const mean = (ms: number) => [ms];
  const waiting = profile.hostShare * 1000 * profile.seconds / profile.steps;

  const { profile: detailed } = await run("kernels");
  const updates = detailed.kernels.filter(({ name }) =>
    !/decode|to_cache|sample|kv_cache/.test(name)
  );
  const sum = (wanted: (name: string) => boolean) =>
    updates.reduce((ms, kernel) => wanted(kernel.name) ? ms + kernel.ms : ms, 0) / detailed.steps;
  return [
    row("grpo step", whole),
    row("grpo step: rollout and rewards", rollout),
    row("grpo step: update", update),
    row("grpo step: logging", rest),
    row("grpo step: GPU idle", mean(waiting)),
    row("grpo step: GPU, backward", mean(sum((name) => BACKWARD.test(name)))),
    row("grpo step: GPU, optimizer", mean(sum((name) => OPTIMIZER.test(name)))),
    row(
      "grpo step: GPU, rollout and forward",
      mean(
        detailed.kernels.reduce((ms, kernel) => ms + kernel.ms, 0) / detailed.steps -
          sum((name) => BACKWARD.test(name) || OPTIMIZER.test(name)),
      ),
    ),
  ];
}
