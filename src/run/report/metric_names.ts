/**
 * The metrics of a step: which belong together, and what they are called.
 *
 * @module
 */

/** How a metric is shown. */
export interface MetricView {
  readonly topic: Topic;
  readonly title: string;
  /** Of the axis. */
  readonly unit: string;
  /** Whether its axis shows 0. */
  readonly zero: boolean;
  /** 100 for a share that is shown in %, 2^-20 for bytes in MiB. */
  readonly factor: number;
}

/** Headings of groups of metrics, in the order in which they are shown. */
export const topics = [
  "Reward and its terms",
  "Success",
  "Tool use",
  "Loss and gradient",
  "Distance from older policies",
  "Length, speed and memory",
  "Others",
] as const;

/** One of them. */
export type Topic = typeof topics[number];
type Kind = "share" | "bytes" | "positive" | "any";
type Row = [topic: Topic, title: string, unit: string, kind: Kind];

const [REWARD, SUCCESS, TOOLS, LOSS, DISTANCE, LENGTH, OTHERS] = topics;

const known: Readonly<Record<string, Row>> = {
  reward: [REWARD, "Reward", "mean per episode", "positive"],
  reward_std: [REWARD, "Spread of rewards", "standard deviation", "positive"],
  pass1: [SUCCESS, "pass@1 in training", "% of episodes", "share"],
  finished: [SUCCESS, "Finished", "% of episodes", "share"],
  unscorable: [SUCCESS, "Not scored", "% of episodes, for want of a tool", "share"],
  frac_reward_zero_std: [SUCCESS, "Dead groups", "% of groups, all rewards equal", "share"],
  "tools/validity": [TOOLS, "Valid calls", "% of attempted calls", "share"],
  "tools/call_frequency": [TOOLS, "Calls", "attempts per episode", "positive"],
  loss: [LOSS, "Loss", "mean per token", "any"],
  grad_norm: [LOSS, "Gradient norm", "before clipping", "positive"],
  entropy: [LOSS, "Entropy", "nats per token", "positive"],
  kl: [DISTANCE, "KL in the loss", "nats per token", "positive"],
  approx_kl: [DISTANCE, "KL to the sampling policy", "nats per token", "positive"],
  "clip_ratio/low_mean": [DISTANCE, "Clipped below", "% of tokens", "share"],
  "clip_ratio/high_mean": [DISTANCE, "Clipped above", "% of tokens", "share"],
  "sampling/sampling_logp_difference/mean": [
    ...[DISTANCE, "Change of log-probability", "nats per token", "positive"] as const,
  ],
  "completions/mean_length": [LENGTH, "Length of completions", "sampled tokens", "positive"],
  tokens_per_second: [LENGTH, "Speed", "tokens per second, over 5 steps", "positive"],
  "timing/seconds": [LENGTH, "Time of a step", "s", "positive"],
  "timing/gpuBytes": [LENGTH, "Memory of the GPU", "MiB in use after the step", "bytes"],
};

/** How a metric is shown, by its name; one that is not known keeps its name. */
export function metricView(name: string): MetricView {
  const [topic, title, unit, kind] = Object.hasOwn(known, name) ? known[name]! : guess(name);
  const factor = kind === "share" ? 100 : kind === "bytes" ? 2 ** -20 : 1;
  return { topic, title, unit, zero: kind !== "any", factor };
}

/** The names with those that are known first, else in the order given. */
export function knownFirst(names: readonly string[]): string[] {
  const isKnown = (name: string) => Object.hasOwn(known, name);
  return [...names.filter(isKnown), ...names.filter((name) => !isKnown(name))];
}

function guess(name: string): Row {
  const [family, ...rest] = name.split("/");
  const part = rest.join("/");
  if (family === "rewards" && part) {
    return [REWARD, `Reward term: ${part}`, "mean per episode", "positive"];
  }
  if (family === "timing" && part) return [LENGTH, `Time of ${part}`, "s per step", "positive"];
  return [OTHERS, name, "as logged", "any"];
}
