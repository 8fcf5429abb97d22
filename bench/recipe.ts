/**
 * A GRPO step of the embedded recipe, and what its parts take.
 *
 * @module
 */

import { type Profile, type StepEvent, train } from "../mod.ts";
import type { BenchRow } from "./report.ts";
import { median, spread } from "./statistics.ts";

/** Steps that are run. The first compiles: the median leaves it out, averages of parts do not. */
const STEPS = 16;

/** Kernels of a backward pass. */
const BACKWARD = /backward|\.join$|matmul\w*\.(nn|tn)$|fold_rows|^add\./;
/** Kernels of an optimizer's step. */
const OPTIMIZER = /^adamw|sum_squares|clip_norm/;
/** Kernels that run in rollouts alone; products and norms run in both. */
const DECODING = /decode|to_cache|^sample|kv_cache/;

/**
 * Trains from the embedded base for a few steps, twice: with timestamps of submits, which cost next
 * to nothing, and with timestamps of every kernel.
 *
 * @returns rows of a whole step, of its phases on the host's clock, and of its GPU time
 */
export async function recipe(
  { onProgress }: { onProgress?: (done: number, total: number, what: string) => void } = {},
): Promise<BenchRow[]> {
  let done = 0;
  const run = (detail: "submits" | "kernels") =>
    shortRun(detail, () => onProgress?.(++done, 2 * STEPS, `by ${detail}`));
  const undisturbed = await run("submits");
  const detailed = await run("kernels");
  return [
    row("grpo step", undisturbed.times),
    ...phases(undisturbed.profile),
    ...kernelTime(detailed.profile),
  ];
}

async function shortRun(
  detail: "submits" | "kernels",
  onStep: () => void,
): Promise<{ times: number[]; profile: Profile }> {
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
        onStep();
      },
    });
    const times = steps.slice(1).map(({ timing }) => 1000 * timing!.seconds);
    return { times, profile: result.profile! };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What the phases take on average, and in how much of a step the GPU waits. */
function phases({ phases, steps, seconds, hostShare }: Profile): BenchRow[] {
  const perStep = (share: number) => 1000 * share * seconds / steps;
  return [
    ...phases.filter(({ share }) => share > 0)
      .map(({ name, share }) => row(`grpo step: ${name}`, [perStep(share)])),
    row("grpo step: GPU waits", [perStep(hostShare)]),
  ];
}

/** What each pass takes of the GPU's time, on average. */
function kernelTime({ kernels, steps }: Profile): BenchRow[] {
  const sum = (wanted: (name: string) => boolean) => [
    kernels.reduce((ms, { name, ms: own }) => wanted(name) ? ms + own : ms, 0) / steps,
  ];
  const known = [BACKWARD, OPTIMIZER, DECODING];
  return [
    row("GPU: decoding's own", sum((name) => DECODING.test(name))),
    row("GPU: forward", sum((name) => !known.some((kind) => kind.test(name)))),
    row("GPU: backward", sum((name) => BACKWARD.test(name) && !DECODING.test(name))),
    row("GPU: optimizer", sum((name) => OPTIMIZER.test(name))),
  ];
}

function row(work: string, times: readonly number[]): BenchRow {
  return {
    work,
    shape: "embedded recipe, 16 prompts x 8",
    contender: "mentor",
    medianMs: median(times),
    spread: spread(times),
    rate: 1000 / median(times),
    unit: "steps/s",
    ratioToMentor: 1,
    limit: null,
  };
}
