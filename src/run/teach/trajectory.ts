/**
 * What a teacher is asked for, and what it did.
 *
 * @module
 */

import type { Task } from "../../tasks/task.ts";
import type { CallStatus } from "../../text/tool_call.ts";

/** One of the trajectories of a task that a teacher is asked for. */
export interface Job {
  /** What is to be solved. */
  readonly task: Task;
  /** Which of the task's trajectories, from 0. */
  readonly sample: number;
}

/** A call that a teacher made. */
export interface TeacherCall {
  /** The tool's name, as the teacher wrote it. */
  readonly name: string;
  /** Null if they could not be read. */
  readonly arguments: Record<string, unknown> | null;
  /** What became of it. */
  readonly status: CallStatus;
  /** What the tool returned, where it ran. */
  readonly result?: unknown;
  /** What the teacher was told, where it was. */
  readonly text?: string;
}

/** What a teacher did with a task. */
export interface Trajectory {
  /** Every call, in order. */
  readonly calls: readonly TeacherCall[];
  /** Its last message; null where it said nothing. */
  readonly text: string | null;
  /**
   * What ended it: a message without calls, the length of one, too many calls, or an endpoint that
   * would not go on with this conversation.
   */
  readonly end: "answer" | "length" | "calls" | "refused";
}
