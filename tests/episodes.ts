// Hand-built episodes for the tests of rewards: a price is looked up, then multiplied.

import type { Reference, ReferenceCall } from "../src/tasks/task.ts";
import type { AttemptStatus, Episode, ToolAttempt } from "../src/rl/reward.ts";

/** An attempt that is not yet part of a turn. */
export type Made = Omit<ToolAttempt, "turn">;

/** A call that executed. */
export function call(name: string, args: Record<string, unknown>, result?: unknown): Made {
  return { name, arguments: args, status: "ok", result };
}

/** A call that did not. */
export function broken(status: AttemptStatus, name = "look"): Made {
  return { name, arguments: status === "malformed" ? null : { item: "?" }, status };
}

/** An episode of one turn per list of calls, then an answer turn. */
export function episodeOf(turns: readonly Made[][], rest: Partial<Episode> = {}): Episode {
  return {
    attempts: turns.flatMap((calls, turn) => calls.map((made) => ({ ...made, turn }))),
    answer: "68",
    correct: true,
    finished: true,
    turns: [
      ...turns.map((calls) => ({ wellFormed: calls.every((c) => c.status !== "malformed") })),
      { wellFormed: true },
    ],
    tokens: 10,
    maxTokens: 100,
    ...rest,
  };
}

/** An episode of one call per turn, then an answer turn. */
export function episode(made: readonly Made[], rest: Partial<Episode> = {}): Episode {
  return episodeOf(made.map((one) => [one]), rest);
}

export const look = call("look", { item: "pen" }, 17);
export const mul = call("mul", { a: 17, b: 4 }, 68);
export const add = (a: number, b: number) => call("add", { a, b }, a + b);
export const chain: Reference = { calls: [look, mul].map(asReference), answer: "68" };
export const noCalls: Reference = { calls: [], answer: "68" };
export const wrong = { correct: false, answer: "1" };

/** The same call as a teacher makes it. */
export function asReference({ name, arguments: args, result }: Made): ReferenceCall {
  return { name, arguments: args ?? {}, result };
}
