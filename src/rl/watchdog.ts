/**
 * Says in words when a run is dead, and what to try.
 *
 * @module
 */

type Metrics = Readonly<Record<string, number>>;

/** A sign of trouble. */
interface Symptom {
  /** Whether the metrics of a step show it. */
  shows(metrics: Metrics, first: Metrics): boolean;
  /** Steps in a row after which it is worth a word. */
  readonly steps: number;
  readonly message: (metrics: Metrics, steps: number) => string;
}

const symptoms: readonly Symptom[] = [
  {
    steps: 3,
    shows: hasNoSignal,
    message: (_, steps) =>
      `All episodes of each prompt were worth the same for ${steps} steps: nothing is learned. ` +
      "Try a denser reward (--reward flex), more episodes per prompt (--rollout.group), a higher " +
      "--rollout.temperature, or imitation first (--warmup-sft)",
  },
  {
    steps: 3,
    // Without failures there are no pairs of preferences, and that is as it should be.
    shows: (metrics) =>
      metrics.reward !== undefined && metrics.loss === undefined &&
      metrics.grad_norm === undefined && metrics.pairs !== 0 && !hasNoSignal(metrics),
    message: (_, steps) =>
      `No update was made for ${steps} steps: no token that the model sampled counts. ` +
      "Look at completions/clipped_ratio; with --grpo.truncated mask, " +
      "raise --rollout.max-tokens",
  },
  {
    steps: 3,
    shows: ({ entropy, reward, pass1 }, first) =>
      reward !== undefined && entropy !== undefined && entropy < 0.01 && (pass1 ?? 0) < 0.9 &&
      (first.entropy ?? 0) > 0.05,
    message: ({ entropy }, steps) =>
      `Entropy has collapsed to ${
        entropy!.toPrecision(2)
      } nats for ${steps} steps while answers are ` +
      "still wrong: nothing new will be tried. Try a lower learning rate, from an earlier checkpoint; " +
      "of grpo also --grpo.entropy-coef 0.003 or a higher --grpo.clip-high",
  },
  {
    steps: 1,
    shows: ({ approx_kl }) => approx_kl !== undefined && approx_kl > 0.5,
    message: ({ approx_kl }) =>
      `The policy moved by ${
        approx_kl!.toPrecision(2)
      } nats per token within one step: updates are too ` +
      "large. Lower --optimizer.learning-rate, or make fewer of them (mini-batches, epochs)",
  },
  {
    steps: 1,
    shows: ({ kl }) => kl !== undefined && kl > 10,
    message: ({ kl }) =>
      `The divergence from the reference exploded to ${
        kl!.toPrecision(2)
      } nats per token. Go back to ` +
      "an earlier checkpoint with a lower learning rate or a larger --grpo.kl-coef",
  },
  {
    steps: 5,
    shows: (metrics) => metrics["tools/no_call_frequency"] === 1,
    message: (_, steps) =>
      `No tool was called for ${steps} steps. If tasks need tools, check that the model is told of them ` +
      "in a format it knows (--chat.format), or begin with imitation (--warmup-sft)",
  },
  {
    steps: 3,
    shows: (metrics) => (metrics["completions/clipped_ratio"] ?? 0) > 0.9,
    message: (metrics, steps) =>
      `${
        (100 * metrics["completions/clipped_ratio"]!).toFixed(0)
      } % of the episodes did not finish for ` +
      `${steps} steps. Raise --rollout.max-tokens or --rollout.max-calls`,
  },
];

/**
 * Whether all groups are dead. Where advantages are not relative to the group (estimator "none",
 * REINFORCE++, credit by turns), they teach all the same.
 */
function hasNoSignal({ frac_reward_zero_std: dead = 0, advantage_std = 0 }: Metrics): boolean {
  return dead >= 1 && advantage_std < 1e-6;
}

/** Watches the metrics of a run's steps. */
export class Watchdog {
  readonly #streaks = new Map<Symptom, number>();
  #first: Metrics | null = null;

  /**
   * Takes in a step.
   *
   * @returns what is to be said of it: each symptom once, until it has been away
   */
  observe(metrics: Metrics): string[] {
    if (metrics.reward !== undefined) this.#first ??= metrics;
    return symptoms.flatMap((symptom) => {
      const shows = symptom.shows(metrics, this.#first ?? {});
      const streak = shows ? (this.#streaks.get(symptom) ?? 0) + 1 : 0;
      this.#streaks.set(symptom, streak);
      return streak === symptom.steps ? [symptom.message(metrics, streak)] : [];
    });
  }
}
