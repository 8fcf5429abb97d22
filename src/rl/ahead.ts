/**
 * Updates of which the GPU always has the next one to go on with, while the numbers of the last are
 * read back.
 *
 * @module
 */

import type { Update, UpdateMetrics } from "./learner.ts";

/** Steps whose updates depend on nothing but their number. */
export class StepsAhead {
  readonly #submit: (step: number) => Update;
  #ahead: Update | null = null;

  /** @param submit submits the update of a step, counted from 0 */
  constructor(submit: (step: number) => Update) {
    this.#submit = submit;
  }

  /** Whether the next step was submitted: the weights are its own already. */
  get isAhead(): boolean {
    return this.#ahead !== null;
  }

  /**
   * Makes a step; the one after it must come next if `goesOn` is true.
   *
   * @param goesOn whether there is a next step, and nobody is to see the weights before it
   * @throws {DivergedError} if loss or gradient are not finite.
   */
  step(step: number, goesOn: boolean): Promise<UpdateMetrics> {
    const update = this.#ahead ?? this.#submit(step);
    this.#ahead = goesOn ? this.#submit(step + 1) : null;
    return update.metrics();
  }
}
