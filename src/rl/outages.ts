/**
 * Episodes that nobody can score since a tool could not be had: what is to be said of them, and when
 * there is no point in going on.
 *
 * @module
 */

import { ToolUnavailableError } from "../tools/tool.ts";
import type { Rollout } from "./rollout.ts";

/** Steps in a row without an episode to learn from, after which a run is over. */
const DARK_STEPS = 3;

/** Reasons that a sentence names. */
const REASONS = 3;

/** What an outage is told of an episode. */
type Witness = Pick<Rollout, "episode" | "unavailable">;

/**
 * How many of these episodes could not be scored, and why.
 *
 * @returns a sentence without its end; null if all could
 */
export function describeOutage(episodes: readonly Witness[]): string | null {
  const lost = episodes.filter(({ episode }) => episode.unscorable);
  if (lost.length === 0) return null;
  const counts = new Map<string, number>();
  for (const { unavailable = "a tool could not be had" } of lost) {
    counts.set(unavailable, (counts.get(unavailable) ?? 0) + 1);
  }
  const reasons = [...counts].sort(([, a], [, b]) => b - a).map(([reason]) => reason);
  const others = reasons.length > REASONS ? ` (and ${reasons.length - REASONS} other reasons)` : "";
  return `${lost.length} of ${episodes.length} episodes could not be scored, and count for nothing: ` +
    reasons.slice(0, REASONS).join("; ") + others;
}

/** Watches the episodes of a run's steps. */
export class Outages {
  #episodes: Witness[] = [];
  /** Whether the last step with episodes had one that could not be scored. */
  #lasting = false;
  #dark = 0;

  /** Takes in an episode of the step under way. */
  observe({ episode, unavailable }: Witness): void {
    this.#episodes.push({ episode, ...(unavailable === undefined ? {} : { unavailable }) });
  }

  /**
   * Ends a step.
   *
   * @returns what is to be said of it: once, until all episodes of a step could be scored again
   * @throws {ToolUnavailableError} if nothing could be learned from for several steps in a row.
   */
  endStep(): string | null {
    const episodes = this.#episodes;
    this.#episodes = [];
    if (episodes.length === 0) return null;
    const outage = describeOutage(episodes);
    const isNews = !this.#lasting;
    this.#lasting = outage !== null;
    this.#dark = episodes.every(({ episode }) => episode.unscorable) ? this.#dark + 1 : 0;
    if (this.#dark === DARK_STEPS) {
      throw new ToolUnavailableError(
        `Cannot learn: no episode of the last ${DARK_STEPS} steps could be scored. ${outage}`,
      );
    }
    return isNews ? outage : null;
  }
}
