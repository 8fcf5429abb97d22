/**
 * Steps of imitation, the GPU always one ahead of the numbers that are back.
 *
 * @module
 */

import type { Learner, Update, UpdateMetrics } from "../rl/learner.ts";
import { demonstration, sftStep } from "../rl/sft.ts";
import type { RunConfig } from "./config.ts";
import type { Student } from "./student.ts";
import type { TaskSource } from "./tasks.ts";

/** Imitates the teacher on the tasks of a run. */
export class Imitation {
  readonly #config: RunConfig;
  readonly #student: Student;
  readonly #tasks: TaskSource;
  readonly #learner: Learner;
  #ahead: Update | null = null;

  constructor(config: RunConfig, student: Student, tasks: TaskSource, learner: Learner) {
    this.#config = config;
    this.#student = student;
    this.#tasks = tasks;
    this.#learner = learner;
  }

  /** Whether the step after the last one was submitted: the weights are its own already. */
  get isAhead(): boolean {
    return this.#ahead !== null;
  }

  /**
   * Makes step `step`, counted from 0; whoever is ahead must be asked for the next one next.
   *
   * @param goesOn whether the next step is imitation, too, and nobody is to see the weights before it
   * @throws {DivergedError} if loss or gradient are not finite.
   */
  step(step: number, goesOn: boolean): Promise<UpdateMetrics> {
    const update = this.#ahead ?? this.#submit(step);
    this.#ahead = goesOn ? this.#submit(step + 1) : null;
    return update.metrics();
  }

  #submit(step: number): Update {
    const { sft: { batch, learningRate }, tokenBudget } = this.#config;
    const { chat } = this.#student;
    const sequences = this.#tasks.draw(step, 0, batch)
      .map((task) => demonstration(chat, task, task.reference!));
    return sftStep(this.#learner, sequences, { learningRate, tokenBudget });
  }
}
