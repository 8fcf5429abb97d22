/**
 * What a teacher is, wherever it runs.
 *
 * @module
 */

import type { Task } from "../../tasks/task.ts";
import type { Journal } from "./journal.ts";
import type { Job } from "./trajectory.ts";

/** A model that solves tasks. */
export interface Teacher {
  /** Where it is asked; null if it runs here. */
  readonly url: string | null;
  /** All that decides what it does with a task. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * Brings trajectories that a journal does not have to their end.
   *
   * @returns why some were given up; a later process finds them where they are
   * @throws {HaltError} if it was halted.
   */
  solve(tasks: readonly Task[], work: Work): Promise<string[]>;
}

/** What is to be done with each task. */
export interface Work {
  /** Trajectories per task. */
  readonly samples: number;
  /** Where they go. */
  readonly journal: Journal;
  /** Aborted where the user wants it to end. */
  readonly signal: AbortSignal;
  /** Called as each trajectory has ended, or was given up. */
  readonly onEnd: (job: Job) => void;
}

/**
 * Why there are trajectories left to bring to their end: the user or the budget ended it, the endpoint
 * asked to be left alone, or it did not answer.
 */
export type TeachHalt = "interrupt" | "budget" | "wait" | "unanswered";

/** Collecting ends before its end; the same command goes on from there. */
export class HaltError extends Error {
  /** Why. */
  readonly halt: TeachHalt;

  constructor(halt: TeachHalt, message: string) {
    super(message);
    this.halt = halt;
  }
}
