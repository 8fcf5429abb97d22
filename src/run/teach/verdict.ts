/**
 * Which trajectories of a teacher are worth learning from.
 *
 * @module
 */

import { callsAnswer } from "../../tasks/call_match.ts";
import { checkAnswer, type Reference, type Task } from "../../tasks/task.ts";
import { callIdentity } from "../../rl/episode.ts";
import { statedAnswers } from "./answer.ts";
import type { Trajectory } from "./trajectory.ts";

/** Why trajectories are rejected. */
export const rejections = [
  "wrong answer",
  "failed call",
  "no answer",
  "cut short",
  "too many calls",
  "refused",
] as const;

/** What a trajectory comes to. */
export type Verdict = "accepted" | typeof rejections[number];

/** A trajectory that was judged. */
export interface Judged {
  /** Whether it is accepted, or why not. */
  readonly verdict: Verdict;
  /** The answer that it states; null if there is none. */
  readonly answer: string | null;
  /** Whether that is right, also where the trajectory is not accepted. */
  readonly correct: boolean;
}

const ENDS = { length: "cut short", calls: "too many calls", refused: "refused" } as const;

/**
 * Judges a trajectory: it has to come to an end, with the right answer, and without a call that failed,
 * since a student that learns from it would learn that call, too.
 */
export function judge(task: Task, { calls, text, end }: Trajectory): Judged {
  if (end !== "answer") return { verdict: ENDS[end], answer: null, correct: false };
  const readings = answersOf(task, calls, text);
  const right = readings.find((reading) => checkAnswer(task, reading));
  const answer = right ?? readings[0] ?? null;
  const correct = right !== undefined;
  if (answer === null) return { verdict: "no answer", answer, correct };
  if (!correct) return { verdict: "wrong answer", answer, correct };
  const sound = calls.every(({ status }) => status === "ok");
  return { verdict: sound ? "accepted" : "failed call", answer, correct };
}

function answersOf(
  task: Task,
  calls: Trajectory["calls"],
  text: Trajectory["text"],
): readonly string[] {
  if (task.check !== "calls") return text === null ? [] : statedAnswers(text);
  const made = calls.flatMap(({ name, arguments: args }) =>
    args === null ? [] : [{ name, arguments: args }]
  );
  return [callsAnswer(made.length === calls.length ? made : [])];
}

/**
 * The trajectories of a task as its reference: the first that is accepted, and the calls of others
 * that differ from it and from each other.
 *
 * @returns null if none is accepted
 */
export function referenceOf(task: Task, trajectories: readonly Trajectory[]): Reference | null {
  const accepted = new Map<string, { calls: Reference["calls"]; answer: string }>();
  for (const trajectory of trajectories) {
    const { verdict, answer } = judge(task, trajectory);
    if (verdict !== "accepted") continue;
    const calls = trajectory.calls.map(({ name, arguments: args, result }) => ({
      name,
      arguments: args!,
      ...(result === undefined ? {} : { result }),
    }));
    const identity = calls.map((call) => callIdentity(call.name, call.arguments)).join("\n");
    if (!accepted.has(identity)) accepted.set(identity, { calls, answer: answer! });
  }
  const [first, ...others] = accepted.values();
  if (!first) return null;
  return {
    ...first,
    ...(others.length === 0 ? {} : { alternatives: others.map(({ calls }) => calls) }),
  };
}
